//! The one thread that writes history, so that a slow disk delays neither a look at the counters nor a viewer.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use uuid::Uuid;

use super::rates::Values;
use super::{Inner, thread};

/// Ticks that wait for a disk which takes nothing just now; those beyond become a gap.
pub(super) const BACKLOG: usize = 120;

/// One tick on its way to the disk.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) at_ms: i64,
    pub(super) rows: Vec<(Uuid, Values)>,
}

/// Writes what comes until the sampler has ended.
pub(super) fn run(inner: &Arc<Inner>, ticks: &Receiver<Written>) {
    thread::keep_going("the writing of history", inner, || {
        while let Ok(tick) = ticks.recv() {
            inner.tell_disk(keep(inner, &tick));
        }
    });
}

/// The lock is held for what happens in memory and for short writes, never while the disk is waited for.
fn keep(inner: &Inner, tick: &Written) -> std::io::Result<()> {
    let (appended, chores) = {
        let mut history = inner.history();
        let appended = history.append(tick.at_ms, &tick.rows);
        (appended, history.chores(tick.at_ms))
    };
    let chores = chores?;
    if chores.is_empty() {
        return appended;
    }
    let (written, outcome) = chores.carry_out();
    inner.history().written(&written);
    appended.and(outcome)
}
