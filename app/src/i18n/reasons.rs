//! Why an action is off, what a check of the host is about, and why a session ended, in the visitor's language. What the
//! server says of errors and findings comes from it in that language already.

use model::container::Refusal;

use super::Text;
use super::frame::{CONSOLE_UNREACHABLE, UNREACHABLE_HINT};
use crate::api::ApiError;
use crate::format::Locale;
use crate::texts;

texts! {
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
    CHECK_CONTROLLERS = "Controllers of control groups", "Contrôleurs des groupes de contrôle";
    CHECK_LIMITS = "Limits of containers", "Limites des conteneurs";
    CHECK_MMDEBSTRAP = "mmdebstrap (building from a mirror)", "mmdebstrap (construction depuis un miroir)";
    CHECK_GPGV = "gpgv (signatures of a mirror)", "gpgv (signatures d’un miroir)";

    END_SESSION = "your session ended, or your rights were withdrawn", "votre session a pris fin, ou vos droits ont été retirés";
    END_GONE = "the shell is gone: it ended, or the console was started anew", "le shell n’existe plus\u{202f}: il s’est terminé, ou la console a redémarré";
    END_STATE = "the container is not in a state for this", "l’état du conteneur ne le permet pas";
    END_LOST = "the console does not answer", "la console ne répond pas";
}

/// Why something that was asked for is not done, in one line. What a browser says of a console that does not answer is in
/// words of its own, which help nobody.
#[must_use]
pub fn answer(locale: Locale, error: &ApiError) -> String {
    match error {
        ApiError::Refused(body) => body.message.clone(),
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
        "controllers" => CHECK_CONTROLLERS,
        "limits" => CHECK_LIMITS,
        "mmdebstrap" => CHECK_MMDEBSTRAP,
        "gpgv" => CHECK_GPGV,
        _ => return None,
    })
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
    fn the_english_words_of_a_refusal_are_the_models() {
        for reason in Refusal::ALL {
            assert_eq!(refusal(reason).en.to_lowercase(), reason.as_str().to_lowercase());
        }
    }
}
