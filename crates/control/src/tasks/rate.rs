//! How fast a task goes and how long it will take, from the counts it reports.

use std::collections::VecDeque;
use std::time::Duration;

use model::task::Progress;

/// The rate is an average over this long, so that it neither flickers nor lags.
const WINDOW: Duration = Duration::from_secs(8);
/// No rate is shown before so much time has been seen.
const SETTLED: Duration = Duration::from_millis(1_000);

/// Counts of the last seconds in one phase.
#[derive(Debug, Default)]
pub(super) struct Meter {
    phase: String,
    unit: String,
    seen: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// Fills in rate and time to go where the job did not say them.
    pub(super) fn fill(&mut self, progress: &mut Progress, now: Duration) {
        self.note(progress, now);
        if progress.rate.is_none() {
            progress.rate = self.rate();
        }
        if progress.eta_ms.is_none() {
            progress.eta_ms = eta_ms(progress);
        }
    }

    fn note(&mut self, progress: &Progress, now: Duration) {
        let went_back = self.seen.back().is_some_and(|(_, done)| *done > progress.done);
        if self.phase != progress.phase || self.unit != progress.unit || went_back {
            self.phase.clone_from(&progress.phase);
            self.unit.clone_from(&progress.unit);
            self.seen.clear();
        }
        self.seen.push_back((now, progress.done));
        // One sample older than the window stays, so that the window is always spanned.
        while self.seen.len() > 2 && now.saturating_sub(self.seen[1].0) >= WINDOW {
            self.seen.pop_front();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people needs no more than 52 bits")]
    fn rate(&self) -> Option<f64> {
        let (from, before) = self.seen.front()?;
        let (to, after) = self.seen.back()?;
        let span = to.saturating_sub(*from);
        (span >= SETTLED).then(|| after.saturating_sub(*before) as f64 / span.as_secs_f64())
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, bounded below"
)]
fn eta_ms(progress: &Progress) -> Option<u64> {
    let rate = progress.rate.filter(|rate| *rate > 0.0)?;
    let left = progress.total?.saturating_sub(progress.done);
    let ms = left as f64 / rate * 1000.0;
    // Longer than ten days says nothing to a person.
    (ms < 864_000_000.0).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(meter: &mut Meter, ms: u64, done: u64, phase: &str) -> Progress {
        let mut progress = Progress {
            done,
            total: Some(10_000),
            unit: "bytes".into(),
            phase: phase.into(),
            ..Progress::default()
        };
        meter.fill(&mut progress, Duration::from_millis(ms));
        progress
    }

    #[test]
    fn rate_and_time_to_go_come_from_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(at(&mut meter, 0, 0, "download").rate, None);
        let later = at(&mut meter, 2_000, 2_000, "download");
        assert_eq!(later.rate, Some(1_000.0));
        assert_eq!(later.eta_ms, Some(8_000));
    }

    #[test]
    fn a_new_phase_starts_a_new_rate() {
        let mut meter = Meter::default();
        at(&mut meter, 0, 0, "download");
        at(&mut meter, 5_000, 5_000, "download");
        assert_eq!(at(&mut meter, 5_100, 5_100, "unpack").rate, None);
    }

    #[test]
    fn a_stall_makes_the_rate_fall_to_nothing_and_gives_no_time() {
        let mut meter = Meter::default();
        for second in 0..30 {
            at(&mut meter, second * 1_000, if second < 5 { second * 100 } else { 400 }, "download");
        }
        let stalled = at(&mut meter, 30_000, 400, "download");
        assert_eq!(stalled.rate, Some(0.0));
        assert_eq!(stalled.eta_ms, None);
    }
}
