//! Takes tasks in, runs them in the background, takes up again what a crash left open, and clears old rows away.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use model::task::{Progress, Task, TaskError, TaskState};
use model::{ErrorCode, TaskId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::active::{Active, Surroundings};
use super::log::{self, Log};
use super::queue::{Place, Queue};
use super::row::{self, Direction, Key, Origin, Row};
use super::steps::{self, Run};
use super::{AfterCrash, Constructor, FailPoints, Job, NewTask, Unfinished};
use crate::access::Access;
use crate::age::Age;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::store::{Edit, Fact, Rev};

/// Ended tasks between two clean-ups.
const PRUNE_EVERY: usize = 64;
/// Rows deleted in one transaction.
const PRUNE_AT_ONCE: usize = 100;
/// A task that so many starts of the console could not finish is rolled back: it may be what ends the console.
const MAX_ATTEMPTS: u32 = 5;

pub(super) struct Inner {
    pub(super) around: Surroundings,
    /// Where the logs lie.
    pub(super) dir: PathBuf,
    pub(super) queue: Arc<Queue>,
    fail_points: FailPoints,
    kinds: RwLock<HashMap<&'static str, Constructor>>,
    /// Requests with the same idempotency key wait for each other.
    turns: [tokio::sync::Mutex<()>; 16],
    ended: AtomicUsize,
    runners: Mutex<JoinSet<()>>,
    pub(super) access: OnceLock<Arc<Access>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("dir", &self.dir)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// The row of an idempotency key: a hash, because the key comes from outside, and of one person, because a key must not
/// show somebody else's task.
pub(super) fn key_row(caller: &Caller, key: &str) -> String {
    let digest = Sha256::new().chain_update(&caller.name).chain_update([0]).chain_update(key).finalize();
    format!("idem/{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The word of the interface.
pub(super) fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Queued => "queued",
        TaskState::Running => "running",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::Cancelled => "cancelled",
    }
}

impl Inner {
    pub(super) fn new(around: Surroundings, dir: PathBuf, fail_points: FailPoints) -> Result<Self> {
        std::fs::create_dir_all(&dir).map_err(|error| Error::failed(format!("{} cannot be made ({error})", dir.display())))?;
        Ok(Self {
            around,
            dir,
            queue: Arc::default(),
            fail_points,
            kinds: RwLock::default(),
            turns: Default::default(),
            ended: AtomicUsize::new(0),
            runners: Mutex::default(),
            access: OnceLock::new(),
        })
    }

    pub(super) fn register(&self, kind: &'static str, constructor: Constructor) {
        self.kinds.write().unwrap_or_else(PoisonError::into_inner).insert(kind, constructor);
    }

    pub(super) fn known(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.kinds.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        kinds.sort_unstable();
        kinds
    }

    fn job(&self, kind: &str, params: Value) -> Result<Arc<dyn Job>> {
        let constructor = self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(kind).cloned();
        constructor.ok_or_else(|| Error::failed(format!("this version of Berth knows no task of the kind {kind}")))?(params)
    }

    /// The turn of one idempotency key.
    pub(super) async fn turn(&self, key: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let place = key.bytes().last().map_or(0, usize::from) % self.turns.len();
        self.turns[place].lock().await
    }

    pub(super) async fn find_earlier(&self, key: &str, kind: &str, target: &str) -> Result<Option<Task>> {
        let Some(Fact { value: found, .. }) = self.around.facts.get::<Key>(key).await? else {
            return Ok(None);
        };
        let age = self.around.clock.now().ms.saturating_sub(found.at.ms);
        if age > row::KEY_KEPT_MS {
            return Ok(None);
        }
        if found.kind != kind || found.target != target {
            return Err(Error::conflict(format!("this idempotency key was used for {} {}", found.kind, found.target)).hint("give each request its own key"));
        }
        match self.show(found.task).await {
            Ok(task) => Ok(Some(task)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the row and starts the job. The future may be dropped: the row and the job are not.
    pub(super) async fn admit(self: &Arc<Self>, caller: &Caller, new: NewTask<'_>, edit: Edit, key: Option<String>) -> Result<Option<Task>> {
        let job = self.job(new.kind, new.params.clone())?;
        let id = TaskId(uuid::Uuid::new_v4());
        let place = self.queue.reserve(id, new.kind, new.exclusive.as_deref())?;
        let permit = self.queue.lane(new.kind).try_acquire_owned().ok();
        let mut row = self.first_row(caller, id, &new, job.as_ref());
        if permit.is_some() {
            // A job that need not wait has its first step in its first row: one durable write less.
            steps::begin(&mut row, job.steps(), 0);
        }
        let edit = edit.absent(row::key(id)).put(row::key(id), &row);
        let edit = match key {
            Some(key) => edit.put(key, &first_use(&row)),
            None => edit,
        };
        let inner = Arc::clone(self);
        let admitted = tokio::spawn(async move { inner.commit(row, edit, place, job, permit).await });
        admitted
            .await
            .map_err(|stopped| Error::failed(format!("the task was not started ({stopped})")))?
    }

    async fn commit(self: Arc<Self>, row: Row, edit: Edit, place: Place, job: Arc<dyn Job>, permit: Option<OwnedSemaphorePermit>) -> Result<Option<Task>> {
        let kind = row.task.kind.clone();
        self.fail_points.reach(&kind, "task", "begin", "before");
        let written = edit.commit().await;
        self.fail_points.reach(&kind, "task", "begin", "after");
        let rev = match written {
            Ok(Some(rev)) => rev,
            Ok(None) => return Ok(None),
            // The reply may be lost and the row written all the same (S7): the row itself decides.
            Err(error) => self.around.facts.get::<Row>(&row::key(row.task.id)).await?.ok_or(error)?.rev,
        };
        let active = self.enter(row, rev, place);
        self.spawn(Arc::clone(&active), job, permit);
        Ok(Some(active.task()))
    }

    fn first_row(&self, caller: &Caller, id: TaskId, new: &NewTask<'_>, job: &dyn Job) -> Row {
        Row {
            task: Task {
                id,
                kind: new.kind.to_owned(),
                target: new.target.to_owned(),
                state: TaskState::Queued,
                progress: Progress::default(),
                user: caller.name.clone(),
                created_at: self.around.clock.now(),
                ended_at: None,
                error: None,
                cancellable: job.is_cancellable(),
            },
            origin: Origin::from(caller),
            params: new.params.clone(),
            exclusive: new.exclusive.clone(),
            at: None,
            direction: Direction::Forward,
            failure: None,
            is_cancelled: false,
            attempts: 0,
            memory: BTreeMap::new(),
        }
    }

    fn enter(&self, row: Row, rev: Rev, place: Place) -> Arc<Active> {
        let log = Log::new(log::path(&self.dir, row.task.id));
        let lane = self.queue.lane(&row.task.kind);
        let active = Arc::new(Active::new(row, rev, log, &self.around, lane));
        place.take(Arc::clone(&active));
        active.announce();
        active
    }

    fn runners(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>, active: Arc<Active>, job: Arc<dyn Job>, permit: Option<OwnedSemaphorePermit>) {
        let inner = Arc::clone(self);
        let mut runners = self.runners();
        // Takes the ended ones out, so that the set stays as small as the queue.
        while runners.try_join_next().is_some() {}
        runners.spawn(async move { inner.run(&active, job.as_ref(), permit).await });
    }

    async fn run(&self, active: &Arc<Active>, job: &dyn Job, permit: Option<OwnedSemaphorePermit>) {
        match permit {
            Some(permit) => active.keep_place(Some(permit)),
            None => active.enter_lane().await,
        }
        let run = Run {
            active,
            queue: &self.queue,
            job,
            fail_points: &self.fail_points,
        };
        tokio::select! {
            () = run.to_the_end() => {}
            () = active.pass_progress_on() => {}
        }
        active.keep_place(None);
        self.queue.release(active.id);
        self.queue.forget(active.id);
        active.announce();
        active.end();
        if self.ended.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.prune().await;
        }
    }

    pub(super) async fn shut_down(&self) {
        let mut runners = std::mem::take(&mut *self.runners());
        runners.shutdown().await;
        for active in self.queue.all() {
            self.queue.release(active.id);
            self.queue.forget(active.id);
            active.end();
        }
    }

    async fn rows(&self) -> Result<BTreeMap<String, Fact<Row>>> {
        self.around.facts.list("op/").await
    }

    pub(super) async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let rows = self.rows().await?.into_values().map(|fact| fact.value);
        let living = rows.filter(|row| !row.task.state.is_over()).map(|row| Unfinished {
            id: row.task.id,
            kind: row.task.kind,
            params: row.params,
            memory: row.memory,
        });
        Ok(living.collect())
    }

    pub(super) async fn list(&self) -> Result<Vec<Task>> {
        let rows = self.rows().await?;
        let expired = row::expired(&rows, self.now().await?);
        let mut tasks: HashMap<TaskId, Task> = rows.into_values().map(|row| (row.value.task.id, row.value.task)).collect();
        for id in expired {
            tasks.remove(&id);
        }
        // The living ones know more than their rows.
        tasks.extend(self.queue.all().into_iter().map(|active| (active.id, active.task())));
        let mut tasks: Vec<Task> = tasks.into_values().collect();
        tasks.sort_unstable_by_key(|task| (std::cmp::Reverse(task.created_at), task.id));
        Ok(tasks)
    }

    pub(super) async fn show(&self, id: TaskId) -> Result<Task> {
        if let Some(active) = self.queue.find(id) {
            if active.task().state.is_over() {
                // Whoever hears that it has ended begins the next one at once: its end is in the store and its place free.
                active.ended().await;
            }
            return Ok(active.task());
        }
        let row = self.around.facts.get::<Row>(&row::key(id)).await?;
        row.map(|row| row.value.task).ok_or_else(|| Error::not_found("task", id))
    }

    pub(super) async fn recover(self: &Arc<Self>) -> Result<()> {
        for row in self.rows().await?.into_values().filter(|row| !row.value.task.state.is_over()) {
            if let Err(error) = self.take_up(row).await {
                tracing::error!(%error, "an interrupted task could not be taken up again");
            }
        }
        self.prune().await;
        Ok(())
    }

    async fn take_up(self: &Arc<Self>, fact: Fact<Row>) -> Result<()> {
        let Fact { value: mut row, rev } = fact;
        let id = row.task.id;
        let place = self.queue.reserve(id, &row.task.kind, row.exclusive.as_deref())?;
        let job = self.job(&row.task.kind, row.params.clone());
        row.attempts += 1;
        let must_go_back = job.as_ref().is_ok_and(|job| job.after_crash() == AfterCrash::RollBack) || row.attempts > MAX_ATTEMPTS;
        let has_begun = row.at.is_some();
        if row.direction == Direction::Forward && must_go_back && has_begun && !row.is_cancelled {
            row.direction = Direction::Back;
            row.failure = Some(interrupted());
            row.task.cancellable = false;
        }
        tracing::info!(task.id = %id, task.kind = row.task.kind, direction = ?row.direction, attempt = row.attempts, "takes up a task that was interrupted");
        let active = self.enter(row, rev, place);
        active.write_log("the console was started again");
        match job {
            Ok(job) => {
                if let Err(error) = active.save(|_| ()).await {
                    tracing::warn!(task.id = %id, %error, "the row of a task that is taken up again was not written");
                }
                self.spawn(active, job, None);
            }
            Err(error) => self.give_up(&active, &error).await,
        }
        Ok(())
    }

    /// A task whose kind or parameters this version does not understand. Nothing of it is undone, because nobody here
    /// knows how (trust rule D23).
    async fn give_up(&self, active: &Active, error: &Error) {
        active.write_log(&error.to_string());
        let failure = TaskError {
            hint: Some("nothing was undone; look at what it worked on".into()),
            ..interrupted()
        };
        let ended_at = active.now();
        let saved = active.save(|row| {
            row.task.state = TaskState::Failed;
            row.task.error = Some(TaskError {
                message: error.to_string(),
                ..failure
            });
            row.task.ended_at = Some(ended_at);
            row.task.cancellable = false;
        });
        if let Err(error) = saved.await {
            tracing::error!(task.id = %active.id, %error, "the end of a task is not in the store");
        }
        self.queue.release(active.id);
        self.queue.forget(active.id);
        active.announce();
        active.end();
    }

    /// By which rows grow old.
    async fn now(&self) -> Result<Timestamp> {
        Ok(Age::read(&self.around.facts, &self.around.clock).await?.cautious())
    }

    /// Clears away what is no longer kept: rows, logs, idempotency keys.
    async fn prune(&self) {
        if let Err(error) = self.try_to_prune().await {
            tracing::warn!(%error, "old tasks were not cleared away");
        }
    }

    async fn try_to_prune(&self) -> Result<()> {
        let now = self.now().await?;
        let old = row::expired(&self.rows().await?, now);
        let keys = self.around.facts.list::<Key>("idem/").await?;
        let stale = keys.iter().filter(|(_, key)| now.ms.saturating_sub(key.value.at.ms) > row::KEY_KEPT_MS);
        let gone: Vec<String> = old.iter().map(|id| row::key(*id)).chain(stale.map(|(key, _)| format!("idem/{key}"))).collect();
        for some in gone.chunks(PRUNE_AT_ONCE) {
            some.iter().fold(self.around.facts.change(), |edit, key| edit.delete(key)).commit().await?;
        }
        for id in old {
            // Most tasks have no log, so that it is missing is no news.
            drop(tokio::fs::remove_file(log::path(&self.dir, id)).await);
        }
        Ok(())
    }
}

fn first_use(row: &Row) -> Key {
    Key {
        task: row.task.id,
        kind: row.task.kind.clone(),
        target: row.task.target.clone(),
        at: row.task.created_at,
    }
}

fn interrupted() -> TaskError {
    TaskError {
        code: ErrorCode::Failed,
        message: "the console ended while the task ran, so it was undone".into(),
        hint: Some("start it again".into()),
        log_id: None,
    }
}
