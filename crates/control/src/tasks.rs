//! Long operations: a row before the side effect, steps as do/undo pairs, finished or rolled back after a crash.
//!
//! A module that has long operations implements [`Job`] for each kind and registers a constructor with
//! [`Tasks::register`]; starting one is [`Tasks::start`]. Every step must be idempotent, because after a crash it may
//! run again.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::task::{Progress, Task};
use model::TaskId;
use serde_json::Value;

use crate::caller::Caller;
use crate::error::Result;

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
    /// Undoes one step, also one that was only half done. Idempotent. Errors are collected, never a reason to stop.
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

/// What a step may use: progress, cancellation, the log, and facts that outlive a crash.
#[derive(Clone, Debug)]
pub struct Context {
    // Owned by the implementation: task id, handle to the row, cancellation token, log file.
    #[expect(dead_code, reason = "filled in with the implementation")]
    id: TaskId,
}

/// The public face; see the methods' documentation.
pub trait TasksContract {
    /// Teaches a kind. Called once per kind before [`TasksContract::recover`].
    fn register(&self, kind: &'static str, constructor: Constructor);
    /// Writes the row and runs the job in the background; the same `idempotency_key` gives the first task again.
    /// `exclusive` names what no other running task may work on (`container/<id>`): a second one is a conflict that names the first.
    fn start<'a>(&'a self, caller: &'a Caller, kind: &'static str, target: &'a str, exclusive: Option<String>, params: Value, idempotency_key: Option<&'a str>)
    -> BoxFuture<'a, Result<Task>>;
    /// Finishes or rolls back what an earlier run left open.
    fn recover(&self) -> BoxFuture<'_, Result<()>>;
    fn list<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<Vec<Task>>>;
    fn show<'a>(&'a self, caller: &'a Caller, id: TaskId) -> BoxFuture<'a, Result<Task>>;
    fn log<'a>(&'a self, caller: &'a Caller, id: TaskId) -> BoxFuture<'a, Result<String>>;
    fn cancel<'a>(&'a self, caller: &'a Caller, id: TaskId) -> BoxFuture<'a, Result<Task>>;
    /// Waits until the task is over.
    fn wait(&self, id: TaskId) -> BoxFuture<'_, Result<Task>>;
}

/// What [`Context`] offers.
pub trait ContextContract {
    fn id(&self) -> TaskId;
    fn caller(&self) -> &Caller;
    /// Shown to everybody who looks; at most a few times a second reaches the store, all of it the stream.
    fn progress(&self, progress: Progress);
    /// A line of the task's log.
    fn log(&self, line: &str);
    fn is_cancelled(&self) -> bool;
    /// Ends when somebody cancels.
    fn cancelled(&self) -> BoxFuture<'_, ()>;
    /// Keeps a JSON value in the row, for later steps and for the next start after a crash.
    fn remember(&self, key: &'static str, value: Value) -> BoxFuture<'_, Result<()>>;
    fn recall(&self, key: &'static str) -> Option<Value>;
}
