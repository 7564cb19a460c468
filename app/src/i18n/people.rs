//! Texts of the account page: one's own account, all accounts, tokens.

use crate::{plurals, texts};

texts! {
    PASSWORD = "Password", "Mot de passe";
    PASSWORD_HINT = "12 to 1024 characters; a long sentence is fine.", "De 12 à 1024 caractères\u{202f}; une longue phrase convient.";
    OLD_PASSWORD = "Current password", "Mot de passe actuel";
    NEW_PASSWORD = "New password", "Nouveau mot de passe";
    CHANGE_PASSWORD = "Change password", "Changer le mot de passe";
    PASSWORD_KEPT = "The password was not changed", "Le mot de passe n’a pas été changé";
    PASSWORD_ENDS = "All your sessions end, this one too. You then sign in with the new password.", "Toutes vos sessions prennent fin, celle-ci aussi. Vous vous reconnectez ensuite avec le nouveau mot de passe.";
    SETTINGS = "Language and theme", "Langue et thème";
    AS_BROWSER = "as the browser asks", "selon le navigateur";
    AS_SYSTEM = "as the system", "selon le système";
    LIGHT = "light", "clair";
    DARK = "dark", "sombre";
    ENGLISH = "English", "English";
    FRENCH = "Français", "Français";
    SESSIONS = "Your sessions", "Vos sessions";
    SESSIONS_HINT = "Where you are signed in. Ending a session closes its pages, streams and terminals within seconds.", "Où vous êtes connecté. Mettre fin à une session ferme ses pages, flux et terminaux en quelques secondes.";
    NO_SESSION = "You came in without a session", "Vous êtes entré sans session";
    DEVICE = "Device", "Appareil";
    AGENT_ON = "{browser} on {system}", "{browser} sur {system}";
    FROM = "From", "Depuis";
    SIGNED_IN_AT = "Signed in", "Connexion";
    LAST_SEEN = "Last seen", "Dernière activité";
    ENDS = "Ends", "Fin";
    THIS_SESSION = "this one", "celle-ci";
    END = "End", "Mettre fin";
    END_NAMED = "End the session of {device}", "Mettre fin à la session de {device}";
    SESSION_ENDED = "The session has ended", "La session a pris fin";
    ACTIONS = "Actions", "Actions";
    USERS = "Users", "Utilisateurs";
    USERS_HINT = "Who may sign in. At least one administrator stays.", "Qui peut se connecter. Il reste toujours au moins un administrateur.";
    NAME = "Name", "Nom";
    ROLE = "Role", "Rôle";
    ROLE_OF = "Role of {name}", "Rôle de {name}";
    ROLE_VIEWER = "A viewer looks at everything and changes nothing.", "Un lecteur voit tout et ne change rien.";
    ROLE_OPERATOR = "An operator also works with containers, terminals and templates.", "Un opérateur utilise aussi les conteneurs, les terminaux et les modèles.";
    ROLE_ADMINISTRATOR = "An administrator may do everything, users, tokens and sources included.", "Un administrateur peut tout faire, y compris gérer utilisateurs, jetons et sources.";
    ROLES = "What each role may do", "Ce que permet chaque rôle";
    CREATED = "Created", "Création";
    NEVER = "never", "jamais";
    YOU = "you", "vous";
    CHANGE_ROLE = "Change role", "Changer le rôle";
    CHANGE_ROLE_NAMED = "Change the role of {name}", "Changer le rôle de {name}";
    ROLE_CHANGED = "{name} has another role now; their sessions have ended", "{name} a maintenant un autre rôle\u{202f}; ses sessions ont pris fin";
    ROLE_SAME = "This is the role already", "C’est déjà son rôle";
    REMOVE_NAMED = "Remove {name}", "Retirer {name}";
    REMOVE_USER_TEXT = "The account is deleted and its sessions end within seconds. What it created stays.", "Le compte est supprimé et ses sessions prennent fin en quelques secondes. Ce qu’il a créé reste.";
    USER_REMOVED = "{name} was removed", "{name} est retiré";
    ADD_USER = "Add a user", "Ajouter un utilisateur";
    ADD = "Add", "Ajouter";
    USER_NOT_ADDED = "The user was not added", "L’utilisateur n’a pas été ajouté";
    USER_ADDED = "{name} was added", "{name} est ajouté";
    INITIAL_PASSWORD = "First password", "Premier mot de passe";
    INITIAL_PASSWORD_HINT = "12 to 1024 characters. Tell it to the person; they change it here.", "De 12 à 1024 caractères. Communiquez-le à la personne, qui le changera ici.";
    TOKENS = "API tokens", "Jetons d’API";
    TOKENS_HINT = "For scripts and other programs. A token may do what its role may do.", "Pour les scripts et autres programmes. Un jeton permet ce que permet son rôle.";
    NO_TOKEN = "No token yet", "Aucun jeton";
    CREATED_BY = "Created by", "Créé par";
    EXPIRES = "Expires", "Expiration";
    LAST_USED = "Last used", "Dernière utilisation";
    REVOKE_NAMED = "Revoke {name}", "Révoquer {name}";
    REVOKE_TEXT = "Programs that use it are refused at once. It cannot be brought back.", "Les programmes qui l’utilisent sont aussitôt refusés. C’est sans retour.";
    TOKEN_REVOKED = "{name} was revoked", "{name} est révoqué";
    CREATE_TOKEN = "Create a token", "Créer un jeton";
    CREATE = "Create", "Créer";
    NOT_CREATED = "The token was not created", "Le jeton n’a pas été créé";
    LIFETIME = "Ends after", "Expire après";
    NO_END = "never", "jamais";
    NEW_TOKEN = "The token {name}", "Le jeton {name}";
    SHOWN_ONCE = "Copy it now: it is shown only this once.", "Copiez-le maintenant\u{202f}: il n’est affiché que cette fois.";
    EXPIRED = "expired", "expiré";
}

plurals! {
    DAYS_N = ["{n} day", "{n} days"], ["{n} jour", "{n} de jours", "{n} jours"];
}
