//! One loop for the host and all containers: looks at the kernel's counters every second on a monotonic schedule,
//! whoever watches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use model::metrics::{Counters, HOST, HostCounters, Sample};
use uuid::Uuid;

use super::rates::{self, Values};
use super::writer::Written;
use super::{Inner, Tick, TickRow, disks, thread};

const EVERY: Duration = Duration::from_secs(1);

/// What the last look saw.
#[derive(Debug, Default)]
pub(super) struct Last {
    monotonic_ns: u64,
    host: Option<HostCounters>,
    containers: HashMap<model::ContainerId, Counters>,
}

/// Looks every second until the metrics are shut down.
pub(super) fn run(inner: &Arc<Inner>, writer: &SyncSender<Written>) {
    thread::keep_going("the sampler", inner, || {
        // After a panic the rates begin anew: what was seen before it may be half written.
        let mut last = Last::default();
        let mut next = Instant::now();
        loop {
            tick(inner, &mut last, writer);
            next += EVERY;
            let now = Instant::now();
            // After a pause (a suspended machine) the schedule starts anew instead of catching up in a burst.
            if next < now {
                next = now + EVERY;
            }
            if inner.pause(next - now) {
                return;
            }
        }
    });
}

fn tick(inner: &Arc<Inner>, last: &mut Last, writer: &SyncSender<Written>) {
    let mut sample = inner.engine.sample();
    disks::merge(inner, &mut sample);
    let at_ms = inner.clock.now().ms;
    let rows = values(&sample, last);
    remember(inner, &sample, at_ms);
    let names = inner.names();
    let tick = Tick {
        at_ms,
        rows: rows
            .iter()
            .filter_map(|(id, values)| {
                let name = if id.is_nil() {
                    HOST.to_owned()
                } else {
                    names.get(&model::ContainerId(*id))?.clone()
                };
                let id = (!id.is_nil()).then_some(model::ContainerId(*id));
                Some(TickRow {
                    id,
                    name,
                    values: values.fixed,
                    extra: values.extra.clone(),
                })
            })
            .collect(),
    };
    inner.publish(Arc::new(tick));
    // A disk that takes nothing costs a gap in the past, not the live values. A writer that is gone has said why.
    if let Err(TrySendError::Full(_)) = writer.try_send(Written { at_ms, rows }) {
        inner.tell_disk(Err(std::io::Error::other("the disk takes nothing")));
    }
    last.monotonic_ns = sample.monotonic_ns;
    last.containers = sample.containers.into_iter().collect();
    last.host = Some(sample.host);
}

fn remember(inner: &Arc<Inner>, sample: &Sample, at_ms: i64) {
    let mut latest = inner.counters();
    latest.at_ms = at_ms;
    latest.host = sample.host.clone();
    latest.containers = sample.containers.iter().cloned().collect();
}

fn values(sample: &Sample, last: &Last) -> Vec<(Uuid, Values)> {
    let elapsed_s = Duration::from_nanos(sample.monotonic_ns.saturating_sub(last.monotonic_ns)).as_secs_f64();
    let host = (Uuid::nil(), rates::of_host(last.host.as_ref(), &sample.host, elapsed_s));
    let containers = sample
        .containers
        .iter()
        .map(|(id, counters)| (id.0, rates::of_container(last.containers.get(id), counters, elapsed_s)));
    std::iter::once(host).chain(containers).collect()
}
