//! A task that is alive: its row, who waits for it, and the one way its row is written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::event::Event;
use model::task::{Progress, Task};
use model::{TaskId, Timestamp};
use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::log::Log;
use super::rate::Meter;
use super::row::{self, Row};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::store::{Edit, Facts, Rev};

/// Progress is announced at most this often (5 times a second) ...
const ANNOUNCE_EVERY: Duration = Duration::from_millis(200);
/// ... and written at most this often.
const WRITE_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Active {
    pub(super) id: TaskId,
    pub(super) kind: String,
    pub(super) caller: Caller,
    pub(super) cancel: CancellationToken,
    facts: Facts,
    events: Arc<Events>,
    clock: Clock,
    log: Log,
    row: Mutex<Row>,
    /// The row's revision; held while it is written, so that writes follow each other.
    rev: Arc<tokio::sync::Mutex<Rev>>,
    meter: Mutex<Meter>,
    progressed: Notify,
    /// Where it waits for its turn to work, and its place there while it works.
    lane: Arc<Semaphore>,
    place: Mutex<Option<OwnedSemaphorePermit>>,
    over: watch::Sender<bool>,
}

/// What every task is given.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) facts: Facts,
    pub(super) events: Arc<Events>,
    pub(super) clock: Clock,
}

impl Active {
    pub(super) fn new(row: Row, rev: Rev, log: Log, around: &Surroundings, lane: Arc<Semaphore>) -> Self {
        let cancel = CancellationToken::new();
        if row.is_cancelled {
            cancel.cancel();
        }
        Self {
            id: row.task.id,
            kind: row.task.kind.clone(),
            caller: row.origin.caller(),
            cancel,
            facts: around.facts.clone(),
            events: Arc::clone(&around.events),
            clock: around.clock.clone(),
            log,
            row: Mutex::new(row),
            rev: Arc::new(tokio::sync::Mutex::new(rev)),
            meter: Mutex::default(),
            progressed: Notify::new(),
            lane,
            place: Mutex::default(),
            over: watch::Sender::new(false),
        }
    }

    pub(super) fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn task(&self) -> Task {
        self.row().task.clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn write_log(&self, text: &str) {
        self.log.write(self.clock.now(), text);
    }

    /// Changes the row in memory and in the store. The memory keeps the change also when the store refuses it. The write
    /// goes on when the future is dropped, so that the revision in memory never falls behind the store's.
    pub(super) async fn save(&self, change: impl FnOnce(&mut Row)) -> Result<()> {
        let rev = Arc::clone(&self.rev).lock_owned().await;
        let row = {
            let mut row = self.row();
            change(&mut row);
            row.clone()
        };
        let (written, _) = self.write(rev, row, self.facts.change()).await?;
        let changed = || Error::failed(format!("`{}` was changed by somebody else", row::key(self.id)));
        written.map(drop).ok_or_else(changed)
    }

    /// Changes the row in one transaction with other changes, and in memory once the store has it. `None` when one of the
    /// edit's compares did not hold: then nothing has changed.
    pub(super) async fn save_with(&self, edit: Edit, change: impl Fn(&mut Row)) -> Result<Option<Rev>> {
        let rev = Arc::clone(&self.rev).lock_owned().await;
        let mut row = self.row().clone();
        change(&mut row);
        // Held until the memory has it too: another write would put the old row back.
        let (written, _rev) = self.write(rev, row, edit).await?;
        if written.is_some() {
            change(&mut self.row());
        }
        Ok(written)
    }

    async fn write(&self, mut rev: OwnedMutexGuard<Rev>, row: Row, edit: Edit) -> Result<(Option<Rev>, OwnedMutexGuard<Rev>)> {
        let (facts, key) = (self.facts.clone(), row::key(self.id));
        let write = tokio::spawn(async move {
            let written = match edit.unchanged(&key, *rev).put(&key, &row).commit().await {
                Ok(Some(new)) => {
                    *rev = new;
                    Some(new)
                }
                refused => match settle(&facts, &key, &row, &mut rev).await {
                    Some(new) => Some(new),
                    None => refused?,
                },
            };
            Ok((written, rev))
        });
        write
            .await
            .map_err(|stopped| Error::failed(format!("the task's row was not written ({stopped})")))?
    }

    /// Everybody who looks sees the task as it is now.
    pub(super) fn announce(&self) {
        self.events.announce(Event::Task(Box::new(self.task())));
    }

    /// New numbers; [`Active::pass_progress_on`] brings them out.
    pub(super) fn progress(&self, mut progress: Progress) {
        let now = self.clock.boot();
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut progress, now);
        self.row().task.progress = progress;
        self.progressed.notify_one();
    }

    /// Announces and writes progress at its own pace; never ends by itself.
    pub(super) async fn pass_progress_on(&self) {
        let mut written = tokio::time::Instant::now();
        loop {
            self.progressed.notified().await;
            self.announce();
            if written.elapsed() >= WRITE_EVERY {
                written = tokio::time::Instant::now();
                if let Err(error) = self.save(|_| ()).await {
                    tracing::warn!(task.id = %self.id, %error, "progress was not written");
                }
            }
            tokio::time::sleep(ANNOUNCE_EVERY).await;
        }
    }

    /// Waits for a place in its lane. A task that is cancelled meanwhile needs none: it only goes back.
    pub(super) async fn enter_lane(&self) {
        let permit = tokio::select! {
            permit = Arc::clone(&self.lane).acquire_owned() => permit.ok(),
            () = self.cancel.cancelled() => None,
        };
        self.keep_place(permit);
    }

    /// Takes a place that was there at once, or gives the one it has to the next.
    pub(super) fn keep_place(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    /// Waits until the task has ended and its end is in the store.
    pub(super) async fn ended(&self) {
        // The sender lives as long as `self`.
        drop(self.over.subscribe().wait_for(|over| *over).await);
    }
}

/// A write that failed may have happened all the same (S7): what is in the store decides, and its revision is where the
/// next write begins. `None` = it has not happened, or the store does not say.
async fn settle(facts: &Facts, key: &str, row: &Row, rev: &mut Rev) -> Option<Rev> {
    let found = facts.get::<serde_json::Value>(key).await.ok()??;
    // At its old revision it was not written, though it may have said the same before.
    let is_newer = std::mem::replace(rev, found.rev) != found.rev;
    let is_written = is_newer && serde_json::to_value(row).is_ok_and(|wanted| wanted == found.value);
    is_written.then_some(found.rev)
}
