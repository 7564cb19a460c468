//! Disk use of running containers, measured in idle time: one at a time, each as rarely as its own cost demands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::ContainerId;
use model::metrics::{DiskCounters, Sample};

use super::{Inner, thread};

/// A container is measured at most so often ...
const LEAST: Duration = Duration::from_secs(30);
/// ... and all walks together take at most this part of one CPU's and the disk's time.
const SHARE: u32 = 20;
/// What cannot be measured is tried again after this.
const RETRY: Duration = Duration::from_secs(300);
const BREATH: Duration = Duration::from_secs(1);
/// The one mount that a container has of its own: its root.
const ROOT: &str = "/";

/// Measures until the metrics are shut down.
pub(super) fn run(inner: &Arc<Inner>) {
    // Whoever needs the disk goes first.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "disks are measured with the ordinary priority");
    }
    let mut plan = Plan::default();
    thread::keep_going("the measuring of disks", inner, || {
        while !inner.pause(plan.rest()) {
            step(inner, &mut plan);
        }
    });
}

fn step(inner: &Arc<Inner>, plan: &mut Plan) {
    let running: Vec<ContainerId> = inner.counters().containers.keys().copied().collect();
    let begun = Instant::now();
    let Some(id) = plan.next(&running, begun) else { return };
    // Written down first: a walk that panics must not come up again at once.
    plan.failed(id, begun);
    match inner.engine.measure(id) {
        Ok(used) => {
            plan.measured(id, Instant::now(), begun.elapsed());
            let measured = DiskCounters {
                mount: ROOT.into(),
                used_bytes: Some(used.bytes),
                limit_bytes: None,
                used_inodes: Some(used.inodes),
                measured_at: Some(inner.clock.now()),
            };
            inner.disks().insert(id, measured);
        }
        Err(error) => tracing::debug!(container.id = %id, %error, "the container's disk use is not known"),
    }
}

/// Adds what was measured last to a look at the counters.
pub(super) fn merge(inner: &Inner, sample: &mut Sample) {
    let disks = inner.disks();
    for (id, counters) in &mut sample.containers {
        if counters.disk.is_empty() {
            counters.disk.extend(disks.get(id).cloned());
        }
    }
}

/// When which container is measured. Pure.
#[derive(Debug, Default)]
struct Plan {
    due: HashMap<ContainerId, Instant>,
    last_took: Duration,
}

impl Plan {
    /// The pause before the next look.
    fn rest(&self) -> Duration {
        (self.last_took * SHARE).max(BREATH)
    }

    /// The container that has waited longest; one that was never measured comes first.
    fn next(&mut self, running: &[ContainerId], now: Instant) -> Option<ContainerId> {
        self.due.retain(|id, _| running.contains(id));
        let longest = running.iter().min_by_key(|id| self.due.get(id).copied())?;
        self.due.get(longest).is_none_or(|due| *due <= now).then_some(*longest)
    }

    fn measured(&mut self, id: ContainerId, now: Instant, took: Duration) {
        self.last_took = took;
        self.due.insert(id, now + (took * SHARE).max(LEAST));
    }

    fn failed(&mut self, id: ContainerId, now: Instant) {
        self.last_took = Duration::ZERO;
        self.due.insert(id, now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> ContainerId {
        ContainerId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn each_is_measured_in_turn_and_a_dear_one_more_rarely() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        let both = [id(1), id(2)];
        assert_eq!(plan.next(&both, start), Some(id(1)));
        plan.measured(id(1), start, Duration::from_secs(10));
        assert_eq!(plan.rest(), Duration::from_secs(200));
        assert_eq!(plan.next(&both, start), Some(id(2)));
        plan.measured(id(2), start, Duration::from_millis(1));
        assert_eq!(plan.rest(), BREATH);
        assert_eq!(plan.next(&both, start + Duration::from_secs(29)), None);
        assert_eq!(plan.next(&both, start + Duration::from_secs(31)), Some(id(2)));
        plan.measured(id(2), start + Duration::from_secs(190), Duration::ZERO);
        assert_eq!(plan.next(&both, start + Duration::from_secs(201)), Some(id(1)));
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_fails_waits() {
        let (mut plan, start) = (Plan::default(), Instant::now());
        plan.failed(id(1), start);
        assert_eq!(plan.next(&[id(1)], start + Duration::from_secs(60)), None);
        assert_eq!(plan.next(&[], start), None);
        assert_eq!(plan.next(&[id(1)], start), Some(id(1)), "started anew, it is measured at once");
    }
}
