//! How far a download is, told to the task that does it and to every task that waits for it.

use std::sync::{Mutex, PoisonError};

use model::task::{Progress, ProgressPart};
use tokio::sync::watch;

use crate::tasks::Context;

/// Progress of one download. Totals are weighted by bytes.
#[derive(Debug)]
pub(super) struct Gauge<'a> {
    context: &'a Context,
    /// For tasks that wait for the same files.
    shared: watch::Sender<Progress>,
    now: Mutex<Progress>,
}

impl<'a> Gauge<'a> {
    pub(super) fn new(context: &'a Context, shared: watch::Sender<Progress>) -> Self {
        Self {
            context,
            shared,
            now: Mutex::default(),
        }
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }

    /// A new phase whose total is in bytes.
    pub(super) fn phase(&self, phase: &str, total: Option<u64>, parts: Vec<ProgressPart>) {
        let done = parts.iter().map(|part| part.done).sum();
        self.change(|now| {
            *now = Progress {
                done,
                total,
                unit: "bytes".into(),
                phase: phase.into(),
                parts,
                ..Progress::default()
            }
        });
    }

    /// So many bytes of a part are here.
    pub(super) fn part(&self, part: usize, done: u64) {
        self.change(|now| {
            if let Some(part) = now.parts.get_mut(part) {
                part.done = done;
            }
            now.done = now.parts.iter().map(|part| part.done).sum();
        });
    }

    /// The size of a part that was not known before.
    pub(super) fn size_of_part(&self, part: usize, total: Option<u64>) {
        self.change(|now| {
            if let Some(part) = now.parts.get_mut(part) {
                part.total = total;
            }
            now.total = now.parts.iter().map(|part| part.total).sum();
        });
    }

    pub(super) fn done(&self, done: u64) {
        self.change(|now| now.done = now.total.map_or(done, |total| done.min(total)));
    }

    /// What a person should know now.
    pub(super) fn note(&self, note: Option<String>) {
        if let Some(text) = &note {
            self.context.log(text);
        }
        self.change(|now| now.note = note);
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        let progress = {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut now);
            now.clone()
        };
        self.shared.send_replace(progress.clone());
        self.context.progress(progress);
    }
}
