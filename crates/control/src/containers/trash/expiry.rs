//! When what could not be removed for good is tried again: ever more rarely.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::ContainerId;

/// Pauses before what could not be removed is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Which removals failed, how often, and when each may be tried again.
#[derive(Debug, Default)]
pub struct Expiry {
    failed: Mutex<HashMap<ContainerId, (u32, Duration)>>,
}

impl Expiry {
    fn failed(&self) -> MutexGuard<'_, HashMap<ContainerId, (u32, Duration)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn may_try(&self, id: ContainerId, boot: Duration) -> bool {
        self.failed().get(&id).is_none_or(|(_, next)| *next <= boot)
    }

    pub(super) fn note_failure(&self, id: ContainerId, boot: Duration) {
        let mut failed = self.failed();
        let (times, next) = failed.entry(id).or_default();
        *next = boot + (FIRST_PAUSE * 2_u32.saturating_pow(*times)).min(LONGEST_PAUSE);
        *times = (*times + 1).min(16);
    }

    pub(super) fn forget(&self, id: ContainerId) {
        self.failed().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resists_is_tried_ever_more_rarely() {
        let (expiry, id) = (Expiry::default(), ContainerId(uuid::Uuid::nil()));
        let mut boot = Duration::ZERO;
        for pause in [60, 120, 240] {
            expiry.note_failure(id, boot);
            assert!(!expiry.may_try(id, boot + Duration::from_secs(pause - 1)));
            boot += Duration::from_secs(pause);
            assert!(expiry.may_try(id, boot));
        }
        for _ in 0..40 {
            expiry.note_failure(id, boot);
        }
        assert!(expiry.may_try(id, boot + LONGEST_PAUSE));
        expiry.forget(id);
        assert!(expiry.may_try(id, boot));
    }
}
