//! Which tasks are alive, what they exclude, and how many run at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ErrorCode, TaskId};
use tokio::sync::Semaphore;

use super::active::Active;
use crate::error::{Error, Result};

/// Tasks alive at once, waiting ones included.
const MAX_ALIVE: usize = 1_000;
/// Short work runs beside long work, so that eight slow downloads keep nobody from starting a container.
const SHORT_AT_ONCE: usize = 32;
const LONG_AT_ONCE: usize = 8;
/// Work that mostly waits for a container's init: it costs nothing while it does.
const PATIENT_AT_ONCE: usize = 256;

#[derive(Debug)]
pub(super) struct Queue {
    alive: Mutex<Alive>,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    patient: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Alive {
    tasks: HashMap<TaskId, Arc<Active>>,
    /// What is being worked on, by whom (id, for people).
    exclusive: HashMap<String, (TaskId, String)>,
    reserved: usize,
}

/// A place in the queue that is given back unless a task takes it.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Queue>,
    id: TaskId,
    exclusive: Option<String>,
    is_taken: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            alive: Mutex::default(),
            short: Arc::new(Semaphore::new(SHORT_AT_ONCE)),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            patient: Arc::new(Semaphore::new(PATIENT_AT_ONCE)),
            urgent: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }
}

impl Queue {
    fn alive(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place and what the task excludes.
    ///
    /// # Errors
    /// `Conflict` names the task that works on it already; `SlowDown` when the queue is full.
    pub(super) fn reserve(self: &Arc<Self>, id: TaskId, kind: &str, exclusive: Option<&str>) -> Result<Place> {
        let mut alive = self.alive();
        if alive.tasks.len() + alive.reserved >= MAX_ALIVE && !is_urgent(kind) {
            return Err(Error::new(ErrorCode::SlowDown, format!("{MAX_ALIVE} tasks are waiting already")).hint("wait until some have ended"));
        }
        if let Some(what) = exclusive {
            if let Some(holder) = alive.exclusive.get(what) {
                return Err(held(holder));
            }
            alive.exclusive.insert(what.to_owned(), (id, kind.to_owned()));
        }
        alive.reserved += 1;
        Ok(Place {
            queue: Arc::clone(self),
            id,
            exclusive: exclusive.map(ToOwned::to_owned),
            is_taken: false,
        })
    }

    /// Excludes one thing more for a task that runs; says whether it did not before.
    ///
    /// # Errors
    /// `Conflict` names the task that works on it already.
    pub(super) fn claim(&self, id: TaskId, kind: &str, what: &str) -> Result<bool> {
        match self.alive().exclusive.entry(what.to_owned()) {
            Entry::Occupied(holder) if holder.get().0 == id => Ok(false),
            Entry::Occupied(holder) => Err(held(holder.get())),
            Entry::Vacant(free) => {
                free.insert((id, kind.to_owned()));
                Ok(true)
            }
        }
    }

    /// Gives one thing back.
    pub(super) fn give_back(&self, what: &str) {
        self.alive().exclusive.remove(what);
    }

    /// The task has ended: what it excluded is free.
    pub(super) fn release(&self, id: TaskId) {
        self.alive().exclusive.retain(|_, (holder, _)| *holder != id);
    }

    /// The task's end is in the store.
    pub(super) fn forget(&self, id: TaskId) {
        self.alive().tasks.remove(&id);
    }

    pub(super) fn find(&self, id: TaskId) -> Option<Arc<Active>> {
        self.alive().tasks.get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Active>> {
        self.alive().tasks.values().cloned().collect()
    }

    /// The lane of a kind: what fetches from elsewhere is long, what waits for an init is patient, a kill never waits.
    pub(super) fn lane(&self, kind: &str) -> Arc<Semaphore> {
        Arc::clone(match kind {
            kind if is_urgent(kind) => &self.urgent,
            "container.stop" | "container.restart" => &self.patient,
            kind if kind.starts_with("template.") || kind.starts_with("source.") => &self.long,
            _ => &self.short,
        })
    }
}

fn held((holder, kind): &(TaskId, String)) -> Error {
    Error::conflict(format!("task {holder} ({kind}) is working on it")).hint("wait until it has ended, or cancel it")
}

/// What is the way out of everything that waits must itself wait for nothing.
fn is_urgent(kind: &str) -> bool {
    kind == "container.kill"
}

impl Place {
    /// The task exists: it keeps the place until [`Queue::forget`].
    pub(super) fn take(mut self, active: Arc<Active>) {
        self.is_taken = true;
        let mut alive = self.queue.alive();
        alive.reserved -= 1;
        alive.tasks.insert(self.id, active);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        let mut alive = self.queue.alive();
        alive.reserved -= 1;
        if let Some(what) = &self.exclusive {
            alive.exclusive.remove(what);
        }
    }
}
