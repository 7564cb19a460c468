//! When what waits in the trash is removed for good: by a clock that does not leap, and what resists ever more rarely.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ContainerId, Timestamp};

/// Pauses before what could not be removed is tried again.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// The wall clock may be corrected by so much between two looks; more is a leap.
const LEAP_MS: i64 = 600_000;

/// When what has expired is removed: by a clock that does not jump, and what resists ever more rarely.
#[derive(Debug, Default)]
pub struct Expiry {
    clock: Mutex<Steady>,
    failed: Mutex<HashMap<ContainerId, (u32, Duration)>>,
}

impl Expiry {
    pub(super) fn now(&self, wall: Timestamp, boot: Duration) -> Timestamp {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).now(wall, boot)
    }

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

/// The wall clock without its leaps forward: a clock that is set a year ahead must not empty the trash. What it was ahead
/// counts as long as the console runs, or until the clock is set back.
#[derive(Debug, Default)]
struct Steady {
    last: Option<(Timestamp, Duration)>,
    ahead_ms: i64,
}

impl Steady {
    fn now(&mut self, wall: Timestamp, boot: Duration) -> Timestamp {
        if let Some((last_wall, last_boot)) = self.last.replace((wall, boot)) {
            let passed = i64::try_from(boot.saturating_sub(last_boot).as_millis()).unwrap_or(i64::MAX);
            let leap = wall.ms.saturating_sub(last_wall.ms).saturating_sub(passed);
            if leap.abs() > LEAP_MS {
                self.ahead_ms = self.ahead_ms.saturating_add(leap).max(0);
                tracing::warn!(leap_ms = leap, "the clock has leapt; the trash keeps what it holds as long as was promised");
            }
        }
        Timestamp::from_ms(wall.ms.saturating_sub(self.ahead_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR_MS: i64 = 365 * 86_400_000;

    #[test]
    fn a_clock_that_leaps_ahead_empties_no_trash() {
        let (mut steady, start) = (Steady::default(), Timestamp::from_ms(1_800_000_000_000));
        let at = |ms: i64| start.plus_ms(ms);
        assert_eq!(steady.now(start, HOUR), start);
        assert_eq!(steady.now(at(60_000), HOUR + FIRST_PAUSE), at(60_000));
        assert_eq!(steady.now(at(YEAR_MS + 120_000), HOUR + 2 * FIRST_PAUSE), at(120_000));
        assert_eq!(steady.now(at(YEAR_MS + 180_000), HOUR + 3 * FIRST_PAUSE), at(180_000), "and goes on from there");
        assert_eq!(steady.now(at(240_000), HOUR + 4 * FIRST_PAUSE), at(240_000), "set right, it is believed again");
        let back = at(-30 * YEAR_MS);
        assert_eq!(steady.now(back, HOUR + 5 * FIRST_PAUSE), back);
    }

    #[test]
    fn a_suspended_machine_has_not_leapt() {
        let (mut steady, start) = (Steady::default(), Timestamp::from_ms(1_800_000_000_000));
        steady.now(start, HOUR);
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(steady.now(start.plus_ms(7 * 86_400_000), HOUR + week), start.plus_ms(7 * 86_400_000));
    }

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
