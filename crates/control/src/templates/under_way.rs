//! Which templates are on their way, so that two tasks never fetch the same twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::task::Progress;
use model::{TaskId, TemplateRef};
use tokio::sync::{OwnedMutexGuard, watch};

use super::fetch::cancelled;
use crate::error::Result;
use crate::tasks::Context;

#[derive(Debug, Default)]
pub(super) struct UnderWay {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    /// For lists: which task brings a template.
    shown: Mutex<HashMap<TemplateRef, TaskId>>,
}

#[derive(Debug)]
struct Lane {
    turn: Arc<tokio::sync::Mutex<()>>,
    progress: watch::Sender<Progress>,
}

/// The right to fetch one template.
#[derive(Debug)]
pub(super) struct Turn {
    lane: Arc<Lane>,
    _guard: OwnedMutexGuard<()>,
}

/// While it lives, lists show the task beside the template.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    all: &'a UnderWay,
    reference: TemplateRef,
}

impl UnderWay {
    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, HashMap<TemplateRef, TaskId>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, key: &str) -> Arc<Lane> {
        let mut lanes = self.lanes();
        // Lanes that nobody uses any more.
        lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        let new = || {
            Arc::new(Lane {
                turn: Arc::default(),
                progress: watch::Sender::default(),
            })
        };
        Arc::clone(lanes.entry(key.to_owned()).or_insert_with(new))
    }

    /// Waits until nobody else fetches the same, with that one's progress as this task's own.
    ///
    /// # Errors
    /// Somebody cancelled this task; the other one goes on.
    pub(super) async fn turn(&self, key: &str, context: &Context) -> Result<Turn> {
        let lane = self.lane(key);
        let mut progress = lane.progress.subscribe();
        let waiting = Arc::clone(&lane.turn).lock_owned();
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                guard = &mut waiting => return Ok(Turn { lane, _guard: guard }),
                () = context.cancelled() => return Err(cancelled()),
                changed = progress.changed() => {
                    let now = progress.borrow_and_update().clone();
                    if changed.is_ok() {
                        context.progress(Progress { rate: None, eta_ms: None, ..now });
                    }
                }
            }
        }
    }

    /// Shows the task beside the template as long as the answer lives.
    pub(super) fn show(&self, reference: &TemplateRef, task: TaskId) -> Shown<'_> {
        self.shown().insert(reference.clone(), task);
        Shown {
            all: self,
            reference: reference.clone(),
        }
    }

    /// The task that brings this template.
    pub(super) fn task(&self, reference: &TemplateRef) -> Option<TaskId> {
        self.shown().get(reference).copied()
    }
}

impl Turn {
    /// Where those who wait look.
    pub(super) fn progress(&self) -> watch::Sender<Progress> {
        self.lane.progress.clone()
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.all.shown().remove(&self.reference);
    }
}
