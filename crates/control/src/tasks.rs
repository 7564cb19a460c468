//! Long operations: a row before the side effect, steps as do/undo pairs, finished or rolled back after a crash.
//!
//! A module that has long operations implements [`Job`] for each kind and registers a constructor with
//! [`Tasks::register`]; starting one is [`Tasks::start`]. Every step must be idempotent, because after a crash it may
//! run again. Each step costs one durable write, so few and meaningful steps are best; a step that ends with a write of its
//! own shares it with the next one's ([`Context::advance`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use model::task::{Progress, Task};
use model::{Permission, TaskId};
use serde_json::Value;

use crate::access::Access;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::store::{Edit, Facts, Rev};
use active::{Active, Surroundings};
use queue::Queue;
use runner::Inner;

mod active;
mod fail_points;
mod log;
mod queue;
mod rate;
mod row;
mod runner;
mod steps;

pub use fail_points::FailPoints;

/// What happens to a task that a crash interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterCrash {
    /// Goes on with the step that was interrupted.
    Resume,
    /// Undoes the steps that were begun, newest first, and ends as failed.
    RollBack,
}

/// One kind of long operation, made from its stored parameters.
pub trait Job: Send + Sync + 'static {
    /// Names of the steps in order, for logs, fail points and the crash test.
    fn steps(&self) -> &'static [&'static str];
    /// Does one step. Idempotent.
    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>>;
    /// Undoes one step, also one that was only half done or, because the row names it first, never begun; the first also
    /// when the row never named it (a task that is cancelled while it waits): what was prepared for it goes there.
    /// Idempotent. Errors are collected, never a reason to stop.
    fn undo<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>>;
    /// See [`AfterCrash`].
    fn after_crash(&self) -> AfterCrash;
    /// Whether a person may cancel it (then the steps are undone and it ends as cancelled).
    fn is_cancellable(&self) -> bool {
        true
    }
}

/// Makes a job from the parameters in the task's row.
pub type Constructor = Arc<dyn Fn(Value) -> Result<Arc<dyn Job>> + Send + Sync>;

/// A task to be started.
#[derive(Clone, Debug)]
pub struct NewTask<'a> {
    pub kind: &'static str,
    /// Name of what it works on, for people.
    pub target: &'a str,
    /// What no other living task may work on (`container/<id>`).
    pub exclusive: Option<String>,
    /// At most 64 KiB as JSON; dropped when the task ends.
    pub params: Value,
    pub idempotency_key: Option<&'a str>,
}

/// What a task that is not over was given and keeps.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    pub(crate) id: TaskId,
    pub(crate) kind: String,
    pub(crate) params: Value,
    pub(crate) memory: BTreeMap<String, Value>,
}

/// What a step may use: progress, cancellation, the log, and facts that outlive a crash.
#[derive(Clone, Debug)]
pub struct Context {
    active: Arc<Active>,
    queue: Arc<Queue>,
    steps: &'static [&'static str],
    fail_points: FailPoints,
}

/// What a task excludes for a while. Nothing to give back when the task has excluded it all along.
#[derive(Debug)]
pub struct Claim {
    queue: Arc<Queue>,
    what: Option<String>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(what) = &self.what {
            self.queue.give_back(what);
        }
    }
}

impl Context {
    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.active.id
    }

    /// Who started the task.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.active.caller
    }

    /// Shown to everybody who looks: announced at most five times a second, written at most twice. Rate and time to go
    /// are worked out here unless they are given.
    pub fn progress(&self, progress: Progress) {
        self.active.progress(progress);
    }

    /// A line of the task's log.
    pub fn log(&self, line: &str) {
        self.active.write_log(line);
    }

    /// Whether somebody has cancelled the task.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.active.cancel.is_cancelled()
    }

    /// Ends when somebody cancels. A step that stops for it returns an error, which is not shown.
    pub async fn cancelled(&self) {
        self.active.cancel.cancelled().await;
    }

    /// Excludes one thing more, as long as the answer lives: for tasks on many things, one after the other.
    ///
    /// # Errors
    /// `Conflict` names the task that works on it.
    pub fn claim(&self, what: &str) -> Result<Claim> {
        let is_ours = self.queue.claim(self.active.id, &self.active.kind, what)?;
        Ok(Claim {
            queue: Arc::clone(&self.queue),
            what: is_ours.then(|| what.to_owned()),
        })
    }

    /// Lets another task have this one's place while it waits for what is done elsewhere, such as a download, and takes
    /// a place again before it goes on.
    pub async fn step_aside<T>(&self, work: impl Future<Output = T>) -> T {
        self.active.keep_place(None);
        let done = work.await;
        self.active.enter_lane().await;
        done
    }

    /// Keeps a JSON value in the row, for later steps and for the next start after a crash.
    ///
    /// # Errors
    /// The store fails, or the row grows beyond 64 KiB.
    pub async fn remember(&self, key: &'static str, value: Value) -> Result<()> {
        self.active.save(|row| drop(row.memory.insert(key.to_owned(), value))).await
    }

    /// Commits the last change of a step together with the row that names the next one: one durable write instead of two.
    /// Steps in between are left out. `None` when one of the edit's compares did not hold: then nothing is written.
    ///
    /// # Errors
    /// The store fails.
    pub async fn advance(&self, next: usize, edit: Edit) -> Result<Option<Rev>> {
        let (kind, name) = (&self.active.kind, self.steps[next]);
        self.fail_points.reach(kind, name, "begin", "before");
        let written = self.active.save_with(edit, |row| steps::begin(row, self.steps, next)).await;
        self.fail_points.reach(kind, name, "begin", "after");
        written
    }

    /// What an earlier step remembered.
    #[must_use]
    pub fn recall(&self, key: &'static str) -> Option<Value> {
        self.active.row().memory.get(key).cloned()
    }
}

/// All long operations of this console. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    inner: Arc<Inner>,
}

impl Tasks {
    /// Tasks in this store, with logs in `dir`.
    ///
    /// # Errors
    /// The folder of the logs cannot be made.
    pub fn new(facts: Facts, events: Arc<Events>, clock: Clock, dir: PathBuf) -> Result<Self> {
        Self::with_fail_points(facts, events, clock, dir, FailPoints::default())
    }

    /// As [`Tasks::new`], with points at which a test kills the process.
    ///
    /// # Errors
    /// As [`Tasks::new`].
    pub fn with_fail_points(facts: Facts, events: Arc<Events>, clock: Clock, dir: PathBuf, fail_points: FailPoints) -> Result<Self> {
        let inner = Inner::new(Surroundings { facts, events, clock }, dir, fail_points)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who keeps the audit log; told once.
    pub fn tell(&self, access: Arc<Access>) {
        // Whoever was told first stays.
        drop(self.inner.access.set(access));
    }

    /// Teaches a kind. Called once per kind before [`Tasks::recover`].
    pub fn register(&self, kind: &'static str, constructor: Constructor) {
        self.inner.register(kind, constructor);
    }

    /// Every kind that was taught, in order: what the crash tests must have visited.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.inner.known()
    }

    /// Writes the row and runs the job in the background; the same `idempotency_key` gives the first task again.
    /// `exclusive` names what no other living task may work on (`container/<id>`).
    ///
    /// # Errors
    /// `Conflict` names the task that works on the same thing, or says that the key was used for something else;
    /// `SlowDown` when too many tasks wait.
    pub async fn start(
        &self,
        caller: &Caller,
        kind: &'static str,
        target: &str,
        exclusive: Option<String>,
        params: Value,
        idempotency_key: Option<&str>,
    ) -> Result<Task> {
        let new = NewTask {
            kind,
            target,
            exclusive,
            params,
            idempotency_key,
        };
        let started = self.start_with(caller, new, self.inner.around.facts.change()).await?;
        started.ok_or_else(|| Error::failed("the task's row was not written, though nothing stood in its way"))
    }

    /// As [`Tasks::start`], with the task's row in one transaction with other changes: a person's decision is one
    /// transaction. `None` when one of the edit's compares did not hold.
    ///
    /// # Errors
    /// As [`Tasks::start`].
    pub async fn start_with(&self, caller: &Caller, new: NewTask<'_>, edit: Edit) -> Result<Option<Task>> {
        caller.require(Permission::View)?;
        let Some(key) = new.idempotency_key else {
            return self.inner.admit(caller, new, edit, None).await;
        };
        let key = runner::key_row(caller, key);
        let _turn = self.inner.turn(&key).await;
        match self.inner.find_earlier(&key, new.kind, new.target).await? {
            Some(task) => Ok(Some(task)),
            None => self.inner.admit(caller, new, edit, Some(key)).await,
        }
    }

    /// The task that an earlier request with this key started, for callers whose own checks would refuse the repetition
    /// ("the name is taken": by the first request).
    ///
    /// # Errors
    /// `Conflict` when the key was used for something else.
    pub async fn earlier(&self, caller: &Caller, kind: &str, target: &str, idempotency_key: Option<&str>) -> Result<Option<Task>> {
        caller.require(Permission::View)?;
        let Some(key) = idempotency_key else { return Ok(None) };
        self.inner.find_earlier(&runner::key_row(caller, key), kind, target).await
    }

    /// Every task that is not over, as the store has it.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Unfinished>> {
        self.inner.unfinished().await
    }

    /// Finishes or rolls back, in the background, what an earlier run left open. What those tasks exclude is excluded
    /// when this returns.
    ///
    /// # Errors
    /// The store cannot be read. A task that cannot be taken up again ends as failed.
    pub async fn recover(&self) -> Result<()> {
        self.inner.recover().await
    }

    /// All living tasks and the newest ended ones, newest first.
    ///
    /// # Errors
    /// Nobody is signed in, or the store fails.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Task>> {
        caller.require(Permission::View)?;
        self.inner.list().await
    }

    /// One task.
    ///
    /// # Errors
    /// There is none, nobody is signed in, or the store fails.
    pub async fn show(&self, caller: &Caller, id: TaskId) -> Result<Task> {
        caller.require(Permission::View)?;
        self.inner.show(id).await
    }

    /// Its log so far.
    ///
    /// # Errors
    /// As [`Tasks::show`], or the file cannot be read.
    pub async fn log(&self, caller: &Caller, id: TaskId) -> Result<String> {
        caller.require(Permission::View)?;
        self.inner.show(id).await?;
        log::read(&self.inner.dir, id).await
    }

    /// Asks it to stop; what it has done is undone. Answers at once: the task ends as cancelled a little later.
    ///
    /// # Errors
    /// `Conflict` when it is over or cannot be cancelled.
    pub async fn cancel(&self, caller: &Caller, id: TaskId) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let cancelled = self.cancel_living(caller, id).await;
        if let Some(access) = self.inner.access.get() {
            let (target, detail) = match &cancelled {
                Ok(task) => (task.target.clone(), format!("{} {id}", task.kind)),
                Err(error) => (id.to_string(), error.to_string()),
            };
            access.record(caller, "task.cancel", &target, &detail, cancelled.is_ok()).await;
        }
        cancelled
    }

    async fn cancel_living(&self, caller: &Caller, id: TaskId) -> Result<Task> {
        let Some(active) = self.inner.queue.find(id) else {
            let task = self.inner.show(id).await?;
            return Err(Error::conflict(format!("the task is over already ({})", runner::word(task.state))));
        };
        if !active.row().task.cancellable {
            return Err(Error::conflict("this task cannot be cancelled (any more)").hint("wait until it has ended"));
        }
        active.save(|row| row.is_cancelled = true).await?;
        active.cancel.cancel();
        active.write_log(&format!("cancelled by {}", caller.name));
        active.announce();
        Ok(active.task())
    }

    /// Waits until the task is over and its end is in the store.
    ///
    /// # Errors
    /// There is no such task, or the store fails.
    pub async fn wait(&self, id: TaskId) -> Result<Task> {
        if let Some(active) = self.inner.queue.find(id) {
            active.ended().await;
            return Ok(active.task());
        }
        self.inner.show(id).await
    }

    /// Waits until no task is alive.
    pub async fn settle(&self) {
        while let Some(active) = self.inner.queue.all().pop() {
            active.ended().await;
        }
    }

    /// Stops all work where it stands, as a crash would; the next start takes it up again.
    pub async fn shut_down(&self) {
        self.inner.shut_down().await;
    }
}
