//! How much history a store keeps: one hour, and never more than 100,000 revisions.

use std::collections::VecDeque;
use std::time::Duration;

use super::Rev;

const KEPT_TIME: Duration = Duration::from_secs(3600);
const KEPT_REVISIONS: Rev = 100_000;
/// Revisions over the bound that are tolerated, so that a busy store does not compact after each write.
const SLACK: Rev = 1_000;
const MARK_EVERY: Duration = Duration::from_secs(60);

/// Remembers which revision was current when.
#[derive(Debug)]
pub(super) struct Retention {
    marks: VecDeque<(Duration, Rev)>,
}

impl Retention {
    /// History that exists at a start counts as made just now: the boot clock says nothing about an earlier run.
    pub(super) fn new(now: Duration, rev: Rev) -> Self {
        Self {
            marks: VecDeque::from([(now, rev)]),
        }
    }

    /// The revision to compact to, when it is time.
    pub(super) fn due(&mut self, now: Duration, rev: Rev, compacted: Rev) -> Option<Rev> {
        if self.marks.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= MARK_EVERY) {
            self.marks.push_back((now, rev));
        }
        let mut target = compacted;
        while let Some(&(at, marked)) = self.marks.front()
            && now.saturating_sub(at) >= KEPT_TIME
        {
            target = target.max(marked);
            self.marks.pop_front();
        }
        if rev.saturating_sub(target) > KEPT_REVISIONS + SLACK {
            target = rev - KEPT_REVISIONS;
        }
        (target > compacted).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn history_older_than_an_hour_goes() {
        let mut retention = Retention::new(Duration::ZERO, 7);
        assert_eq!(retention.due(MINUTE, 20, 0), None);
        assert_eq!(retention.due(MINUTE * 60, 90, 0), Some(7));
        assert_eq!(retention.due(MINUTE * 61, 95, 7), Some(20));
    }

    #[test]
    fn history_beyond_the_bound_goes_at_once() {
        let mut retention = Retention::new(Duration::ZERO, 0);
        assert_eq!(retention.due(MINUTE, 101_000, 0), None);
        assert_eq!(retention.due(MINUTE, 101_001, 0), Some(1_001));
    }
}
