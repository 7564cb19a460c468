//! What the server says in English, in the visitor's language: the kind of an error, why an action is off, what a check
//! of the host is about, and why a session ended. Details that only the server knows stay as it wrote them.

use model::ErrorCode;
use model::container::Refusal;

use super::frame::{CONSOLE_UNREACHABLE, UNREACHABLE_HINT};
use super::{Lang, Text};
use crate::api::ApiError;
use crate::format::Locale;
use crate::texts;

texts! {
    BAD_REQUEST = "The request is wrong", "La requête est incorrecte";
    SIGN_IN_REQUIRED = "Nobody is signed in", "Personne n’est connecté";
    NOT_ALLOWED = "Your role does not include this", "Votre rôle ne permet pas cette action";
    NOT_FOUND = "It is not there", "L’objet n’existe pas";
    TIMEOUT = "It took too long", "Le délai est dépassé";
    CONFLICT = "The present state does not allow this", "L’état actuel ne le permet pas";
    STALE = "It was changed meanwhile", "L’objet a été modifié entre-temps";
    TOO_LARGE = "It is too large", "C’est trop volumineux";
    WRONG_HOST = "The address of the console is not one of its own", "L’adresse de la console n’est pas l’une des siennes";
    INVALID = "A value is not possible", "Une valeur n’est pas possible";
    SLOW_DOWN = "Too many tries", "Trop de tentatives";
    UNSUPPORTED = "This host or this version cannot do it", "Cet hôte ou cette version ne sait pas le faire";
    NO_SPACE = "There is no space left", "Il n’y a plus de place";
    FAILED = "A step failed on the host", "Une étape a échoué sur l’hôte";
    UPSTREAM = "Another server did not answer as it should", "Un autre serveur n’a pas répondu comme il le devrait";

    FROZEN = "The container is frozen; unfreeze it first", "Le conteneur est gelé\u{202f}; dégelez-le d’abord";
    FROZEN_CANNOT_STOP = "The container is frozen; unfreeze it first, or kill it", "Le conteneur est gelé\u{202f}; dégelez-le d’abord, ou forcez l’arrêt";
    RUNS = "The container runs already", "Le conteneur est déjà en marche";
    STOPPED = "The container is stopped", "Le conteneur est arrêté";
    CREATING = "The container is still being created", "Le conteneur est en cours de création";
    DELETING = "The container is being deleted", "Le conteneur est en cours de suppression";
    UNKNOWN = "Berth cannot tell what state the container is in", "Berth ignore dans quel état se trouve le conteneur";
    STOPPING = "The container is stopping; kill it if it does not end", "Le conteneur s’arrête\u{202f}; forcez l’arrêt s’il n’en finit pas";
    RUNS_CANNOT_DELETE = "The container runs; stop it first, or delete it by force", "Le conteneur est en marche\u{202f}; arrêtez-le d’abord, ou forcez la suppression";
    RUNS_CANNOT_RENAME = "The container runs; stop it first", "Le conteneur est en marche\u{202f}; arrêtez-le d’abord";
    OTHER_STATE = "The container is not in a state for this", "L’état du conteneur ne le permet pas";

    CHECK_KERNEL = "Kernel", "Noyau";
    CHECK_CGROUP = "Control groups", "Groupes de contrôle";
    CHECK_USER_NAMESPACES = "User namespaces", "Espaces d’utilisateurs";
    CHECK_IDMAP = "Mounts with mapped ids", "Montages à identifiants traduits";
    CHECK_LXCFS = "lxcfs (limits as seen inside)", "lxcfs (limites vues de l’intérieur)";
    CHECK_NFT = "nft (firewall)", "nft (pare-feu)";
    CHECK_DNSMASQ = "dnsmasq (addresses and names)", "dnsmasq (adresses et noms)";
    CHECK_LIMITS = "Limits of containers", "Limites des conteneurs";
    CHECK_MMDEBSTRAP = "mmdebstrap (building from a mirror)", "mmdebstrap (construction depuis un miroir)";
    CHECK_GPGV = "gpgv (signatures of a mirror)", "gpgv (signatures d’un miroir)";

    END_CONTAINER = "the container ended", "le conteneur s’est arrêté";
    END_SESSION = "your session ended, or your rights were withdrawn", "votre session a pris fin, ou vos droits ont été retirés";
    END_GONE = "the shell is gone: it ended, or the console was started anew", "le shell n’existe plus\u{202f}: il s’est terminé, ou la console a redémarré";
    END_STATE = "the container is not in a state for this", "l’état du conteneur ne le permet pas";
    END_LOST = "the console does not answer", "la console ne répond pas";
    WITH_DETAIL = "{what}: {detail}", "{what}\u{202f}: {detail}";
}

/// What kind of error a code stands for.
#[must_use]
pub fn headline(code: ErrorCode) -> Text {
    match code {
        ErrorCode::BadRequest | ErrorCode::HeadersTooLarge => BAD_REQUEST,
        ErrorCode::SignInRequired => SIGN_IN_REQUIRED,
        ErrorCode::NotAllowed => NOT_ALLOWED,
        ErrorCode::NotFound => NOT_FOUND,
        ErrorCode::Timeout => TIMEOUT,
        ErrorCode::Conflict => CONFLICT,
        ErrorCode::Stale => STALE,
        ErrorCode::TooLarge => TOO_LARGE,
        ErrorCode::WrongHost => WRONG_HOST,
        ErrorCode::Invalid => INVALID,
        ErrorCode::SlowDown => SLOW_DOWN,
        ErrorCode::Unsupported => UNSUPPORTED,
        ErrorCode::NoSpace => NO_SPACE,
        ErrorCode::Failed => FAILED,
        ErrorCode::Upstream => UPSTREAM,
    }
}

/// An error of the server in one line. Its own words name the object and the cause, but only in English: elsewhere the
/// kind of the error goes before them.
#[must_use]
pub fn said(locale: Locale, code: ErrorCode, message: &str) -> String {
    match locale.lang {
        Lang::En => message.to_owned(),
        Lang::Fr => locale.fill(WITH_DETAIL, &[("what", locale.t(headline(code))), ("detail", message)]),
    }
}

/// Why something that was asked for is not done, in one line. What a browser says of a console that does not answer is in
/// words of its own, which help nobody.
#[must_use]
pub fn answer(locale: Locale, error: &ApiError) -> String {
    match error {
        ApiError::Refused(body) => said(locale, body.code, &body.message),
        ApiError::Unreachable(_) => format!("{}. {}", locale.t(CONSOLE_UNREACHABLE), locale.t(UNREACHABLE_HINT)),
    }
}

/// Why an action is off.
#[must_use]
pub fn refusal(reason: Refusal) -> Text {
    match reason {
        Refusal::Frozen => FROZEN,
        Refusal::FrozenCannotStop => FROZEN_CANNOT_STOP,
        Refusal::Runs => RUNS,
        Refusal::Stopped => STOPPED,
        Refusal::Creating => CREATING,
        Refusal::Deleting => DELETING,
        Refusal::Unknown => UNKNOWN,
        Refusal::Stopping => STOPPING,
        Refusal::RunsCannotDelete => RUNS_CANNOT_DELETE,
        Refusal::RunsCannotRename => RUNS_CANNOT_RENAME,
        Refusal::OtherState => OTHER_STATE,
    }
}

/// What a check of the host is about; the limits of the kernel keep their own names.
#[must_use]
pub fn check(name: &str) -> Option<Text> {
    Some(match name {
        "kernel" => CHECK_KERNEL,
        "cgroup" => CHECK_CGROUP,
        "user namespaces" => CHECK_USER_NAMESPACES,
        "idmapped mounts" => CHECK_IDMAP,
        "lxcfs" => CHECK_LXCFS,
        "nft" => CHECK_NFT,
        "dnsmasq" => CHECK_DNSMASQ,
        "limits" => CHECK_LIMITS,
        "mmdebstrap" => CHECK_MMDEBSTRAP,
        "gpgv" => CHECK_GPGV,
        _ => return None,
    })
}

/// Why a terminal's session ended, where the server's words are known ones.
#[must_use]
pub fn end(reason: &str) -> Option<Text> {
    (reason == END_CONTAINER.en).then_some(END_CONTAINER)
}

/// Why a terminal's socket was closed, by its close code.
#[must_use]
pub fn closed(code: i32) -> Text {
    match code {
        1008 => END_SESSION,
        4404 => END_GONE,
        4400..=4499 => END_STATE,
        _ => END_LOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_kind_where_its_own_words_are_foreign() {
        let fr = Locale {
            lang: Lang::Fr,
            ..Locale::default()
        };
        assert_eq!(said(Locale::default(), ErrorCode::Conflict, "it runs"), "it runs");
        assert_eq!(said(fr, ErrorCode::Conflict, "it runs"), "L’état actuel ne le permet pas\u{202f}: it runs");
    }

    #[test]
    fn the_english_words_of_a_refusal_are_the_models() {
        for reason in Refusal::ALL {
            assert_eq!(refusal(reason).en.to_lowercase(), reason.as_str().to_lowercase());
        }
    }
}
