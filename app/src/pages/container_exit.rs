//! How a run ended, in words.

use model::container::{ExitReason, ExitRecord};

use crate::format::Locale;
use crate::i18n::containers as text;

/// The cause of an end, in words.
#[must_use]
pub fn exit_words(locale: Locale, exit: &ExitRecord) -> String {
    let plain = match exit.reason {
        ExitReason::PowerOff => text::EXIT_POWER_OFF,
        ExitReason::Reboot => text::EXIT_REBOOT,
        ExitReason::Killed => text::EXIT_KILLED,
        ExitReason::OutOfMemory => text::EXIT_OOM,
        ExitReason::Seccomp => text::EXIT_SECCOMP,
        ExitReason::RestartLoop => text::EXIT_LOOP,
        ExitReason::HostDown => text::EXIT_HOST_DOWN,
        ExitReason::Exited => return locale.fill(text::EXIT_EXITED, &[("code", &exit.code.to_string())]),
        ExitReason::StartFailed => {
            return locale.fill(text::EXIT_START_FAILED, &[("message", exit.message.as_deref().unwrap_or_default())]);
        }
    };
    locale.t(plain).to_owned()
}
