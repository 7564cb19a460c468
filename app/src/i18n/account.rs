//! Texts of set-up and sign-in.

use crate::texts;

texts! {
    SET_UP = "Set up Berth", "Installer Berth";
    SET_UP_TEXT = "Make the first account. It administers this console.", "Créez le premier compte. Il administre cette console.";
    HAS_ACCOUNT = "An account exists already?", "Un compte existe déjà\u{202f}?";
    TOKEN = "Set-up link", "Lien d’installation";
    TOKEN_HINT = "The link that the console printed at its start. `berth setup-link` on the host prints a new one.", "Le lien affiché au démarrage de la console. `berth setup-link` sur l’hôte en affiche un nouveau.";
    TOKEN_MISSING = "Paste the link that the console printed.", "Collez le lien affiché par la console.";
    NO_ACCOUNT_YET = "No account yet?", "Pas encore de compte\u{202f}?";
    FIRST_ACCOUNT = "The first one is made with the link that the console prints at its start; `berth setup-link` on the host prints a new one.", "Le premier se crée avec le lien affiché au démarrage de la console\u{202f}; `berth setup-link` sur l’hôte en affiche un nouveau.";
    NO_ACCOUNT = "The account was not made", "Le compte n’a pas été créé";
    ACCOUNT_NAME = "Name", "Nom";
    PASSWORD = "Password", "Mot de passe";
    PASSWORD_HINT = "12 to 1024 characters; a long sentence is fine.", "De 12 à 1024 caractères\u{202f}; une longue phrase convient.";
    CREATE_ACCOUNT = "Create account", "Créer le compte";
    SIGN_IN = "Sign in", "Se connecter";
    WAIT = "Try again in {time}.", "Réessayez dans {time}.";
    NOT_SIGNED_IN = "You are not signed in", "Vous n’êtes pas connecté";
    SIGN_IN_HINT = "Accounts are made by an administrator on the account page, or with `berth user add` on the host.", "Un administrateur crée les comptes sur la page du compte, ou avec `berth user add` sur l’hôte.";
    SHOW_PASSWORD = "Show the password", "Afficher le mot de passe";
}
