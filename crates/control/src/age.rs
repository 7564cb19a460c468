//! How old what is kept has become, told so that no wrong clock destroys anything: only time in which the host was up
//! counts. What the wall clock went beyond that, because it was set or the host was off, makes nothing older.
//!
//! The store holds a mark of both clocks; how far they drifted apart since is seen at a restart of the console too.

use std::time::Duration;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::error::Result;
use crate::store::Facts;

const KEY: &str = "clock";
/// The wall clock may be corrected by so much between two marks; more is a leap.
const LEAP_MS: i64 = 600_000;
/// How often a mark is written when nothing leaps.
const MARK_EVERY_MS: i64 = 600_000;

/// Both clocks at one moment, and the sum of all leaps until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Age {
    wall: Timestamp,
    boot_ms: i64,
    ahead_ms: i64,
}

impl Age {
    /// By what the store's mark says; a store without one believes the clock.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn read(facts: &Facts, clock: &Clock) -> Result<Self> {
        let mark = facts.get::<Self>(KEY).await?.map(|fact| fact.value);
        Ok(Self::after(mark, clock.now(), clock.boot()))
    }

    /// As [`Age::read`], and writes the next mark when it is time. Called from time to time.
    ///
    /// # Errors
    /// The store cannot be read. A mark that cannot be written is tried again the next time.
    pub(crate) async fn mark(facts: &Facts, clock: &Clock) -> Result<Self> {
        let mark = facts.get::<Self>(KEY).await?.map(|fact| fact.value);
        let age = Self::after(mark, clock.now(), clock.boot());
        let leap = age.ahead_ms - mark.map_or(age.ahead_ms, |mark| mark.ahead_ms);
        if leap != 0 {
            tracing::warn!(leap_ms = leap, "the clock was set, or the host was off: what is kept is none the older for it");
        }
        let is_due = mark.is_none_or(|mark| leap != 0 || (age.boot_ms - mark.boot_ms).abs() >= MARK_EVERY_MS);
        if is_due && let Err(error) = facts.change().put(KEY, &age).commit().await {
            tracing::warn!(%error, "the mark of the clocks was not written");
        }
        Ok(age)
    }

    fn after(mark: Option<Self>, wall: Timestamp, boot: Duration) -> Self {
        let boot_ms = i64::try_from(boot.as_millis()).unwrap_or(i64::MAX);
        let ahead_ms = mark.map_or(0, |mark| {
            // A boot clock that has gone back is that of another boot, and its whole time has passed since.
            let passed = if boot_ms < mark.boot_ms { boot_ms } else { boot_ms - mark.boot_ms };
            let leap = wall.ms.saturating_sub(mark.wall.ms).saturating_sub(passed);
            let is_leap = leap.saturating_abs() > LEAP_MS;
            mark.ahead_ms.saturating_add(if is_leap { leap } else { 0 })
        });
        Self { wall, boot_ms, ahead_ms }
    }

    /// A clock that never leaps, for deadlines. It differs from the wall clock by [`Age::ahead_ms`].
    pub(crate) fn steady(self) -> Timestamp {
        Timestamp::from_ms(self.wall.ms.saturating_sub(self.ahead_ms))
    }

    /// What the wall clock is to say when the steady one says `at`.
    pub(crate) fn shown(self, at: Timestamp) -> Timestamp {
        Timestamp::from_ms(at.ms.saturating_add(self.ahead_ms))
    }

    /// The wall clock, or less: what was recorded by the wall clock is at least so young.
    pub(crate) fn cautious(self) -> Timestamp {
        self.wall.min(self.steady())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 86_400_000;
    const YEAR: i64 = 365 * DAY;
    const START: i64 = 1_800_000_000_000;

    /// Steady milliseconds since the first look, after looks at (wall, boot), both in milliseconds since then.
    fn steady(looks: &[(i64, i64)]) -> Vec<i64> {
        let mut mark = None;
        let mut seen = Vec::new();
        for (wall, boot) in looks {
            let boot = Duration::from_millis(u64::try_from(boot + DAY).unwrap());
            let age = Age::after(mark, Timestamp::from_ms(START + wall), boot);
            seen.push(age.steady().ms - START);
            mark = Some(age);
        }
        seen
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_older_or_younger() {
        let looks = [(0, 0), (MINUTE, MINUTE), (YEAR + 2 * MINUTE, 2 * MINUTE), (YEAR + DAY, DAY), (DAY + 1, DAY + 1)];
        assert_eq!(steady(&looks), [0, MINUTE, 2 * MINUTE, DAY, DAY + 1]);
        assert_eq!(steady(&[(0, 0), (-30 * YEAR, DAY), (2 * DAY, 2 * DAY)]), [0, DAY, 2 * DAY]);
    }

    #[test]
    fn a_suspended_host_and_a_small_correction_are_no_leaps() {
        assert_eq!(steady(&[(0, 0), (7 * DAY, 7 * DAY)]), [0, 7 * DAY]);
        assert_eq!(steady(&[(0, 0), (5 * MINUTE, 0), (5 * MINUTE, MINUTE)]), [0, 5 * MINUTE, 5 * MINUTE]);
    }

    #[test]
    fn time_in_which_the_host_was_off_does_not_count() {
        // Boots begin at -DAY here: two months off, then a minute up; and a clock that lost its battery.
        let booted = -DAY + MINUTE;
        assert_eq!(steady(&[(0, 0), (60 * DAY, booted), (61 * DAY, booted + DAY)]), [0, MINUTE, DAY + MINUTE]);
        assert_eq!(steady(&[(0, 0), (-50 * YEAR, booted), (DAY, booted + MINUTE)]), [0, MINUTE, 2 * MINUTE]);
    }

    #[test]
    fn records_of_the_wall_clock_are_never_taken_for_older_than_they_are() {
        let at = |wall, ahead_ms| Age {
            wall: Timestamp::from_ms(wall),
            boot_ms: 0,
            ahead_ms,
        };
        assert_eq!(at(START, YEAR).cautious().ms, START - YEAR);
        assert_eq!(at(START, -YEAR).cautious().ms, START);
    }
}
