//! Runs a task's steps forward and, when one fails or somebody cancels, back again.
//!
//! Invariant: the row names a step before the step is done or undone, so that the next start knows what may be half done.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use model::task::{Progress, TaskError, TaskState};
use serde_json::Value;

use super::active::Active;
use super::fail_points::FailPoints;
use super::queue::Queue;
use super::row::{Direction, Row};
use super::{Context, Job};
use crate::error::{Error, Result};

/// Pause between two tries to write a task's end.
const END_RETRY: Duration = Duration::from_secs(2);

pub(super) struct Run<'a> {
    pub(super) active: &'a Arc<Active>,
    pub(super) queue: &'a Arc<Queue>,
    pub(super) job: &'a dyn Job,
    pub(super) fail_points: &'a FailPoints,
}

/// Gives the row a step: the first one is written together with the row itself, or when the task leaves the queue.
pub(super) fn begin(row: &mut Row, steps: &[&str], step: usize) {
    row.at = Some(step);
    row.task.state = TaskState::Running;
    row.task.progress = Progress {
        done: step as u64,
        total: Some(steps.len() as u64),
        unit: "steps".into(),
        phase: steps.get(step).copied().unwrap_or_default().into(),
        ..Progress::default()
    };
}

impl Run<'_> {
    /// Brings the task to its end, from wherever its row says it is.
    pub(super) async fn to_the_end(&self) {
        let outcome = if self.active.row().direction == Direction::Forward {
            self.forward().await
        } else {
            Err(None)
        };
        if let Err(failure) = outcome {
            self.back(failure).await;
        }
        self.finish().await;
    }

    /// Does the steps that are left. `Err(None)` = cancelled.
    async fn forward(&self) -> std::result::Result<(), Option<Error>> {
        for (step, name) in self.job.steps().iter().enumerate() {
            let at = self.active.row().at;
            if at > Some(step) {
                // Done before a crash, or left out by the one before.
                continue;
            }
            if self.active.cancel.is_cancelled() {
                return Err(None);
            }
            if at != Some(step) {
                self.record(step).await.map_err(Some)?;
            }
            self.active.announce();
            let done = self.act(step).await;
            if let Err(error) = done {
                self.active.write_log(&format!("{name}: {error}"));
                return Err((!self.active.cancel.is_cancelled()).then_some(error));
            }
        }
        Ok(())
    }

    fn context(&self) -> Context {
        Context {
            active: Arc::clone(self.active),
            queue: Arc::clone(self.queue),
            steps: self.job.steps(),
            fail_points: self.fail_points.clone(),
        }
    }

    async fn record(&self, step: usize) -> Result<()> {
        let (kind, name) = (&self.active.kind, self.job.steps()[step]);
        self.fail_points.reach(kind, name, "begin", "before");
        let saved = self.active.save(|row| begin(row, self.job.steps(), step)).await;
        self.fail_points.reach(kind, name, "begin", "after");
        saved
    }

    async fn act(&self, step: usize) -> Result<()> {
        let (kind, name) = (&self.active.kind, self.job.steps()[step]);
        let context = self.context();
        self.fail_points.reach(kind, name, "act", "before");
        let done = unless_it_panics(self.job.act(step, &context)).await;
        self.fail_points.reach(kind, name, "act", "after");
        done
    }

    /// Undoes every step that was begun, newest first. Nothing stops it (trust rule D28).
    async fn back(&self, failure: Option<Error>) {
        let (newest, was_going_back) = {
            let row = self.active.row();
            (row.at, row.direction == Direction::Back)
        };
        if !was_going_back {
            let failure = failure.map(|error| self.explain(error));
            self.save_or_warn(|row| {
                row.direction = Direction::Back;
                row.is_cancelled = failure.is_none();
                row.failure = failure;
                row.task.cancellable = false;
            })
            .await;
        }
        self.active.announce();
        // The first step is undone even when it was never begun: what its asker prepared for it is cleared away there.
        for step in (0..=newest.unwrap_or(0)).rev() {
            self.undo(step).await;
        }
    }

    async fn undo(&self, step: usize) {
        let (kind, name) = (&self.active.kind, self.job.steps()[step]);
        if self.active.row().at != Some(step) {
            self.save_or_warn(|row| row.at = Some(step)).await;
        }
        let context = self.context();
        self.fail_points.reach(kind, name, "undo", "before");
        let undone = unless_it_panics(self.job.undo(step, &context)).await;
        self.fail_points.reach(kind, name, "undo", "after");
        if let Err(error) = undone {
            tracing::error!(task.id = %self.active.id, step = name, %error, "a step could not be undone");
            self.active.write_log(&format!("undoing {name}: {error}"));
            let mut row = self.active.row();
            if let Some(failure) = &mut row.failure {
                failure.message = format!("{}; undoing the step {name} failed too ({error})", failure.message);
            }
        }
    }

    async fn save_or_warn(&self, change: impl FnOnce(&mut Row)) {
        if let Err(error) = self.active.save(change).await {
            tracing::error!(task.id = %self.active.id, %error, "the task's progress is not in the store; the next start repeats it");
        }
    }

    /// Writes the end; on a store that refuses, until it takes it. The task's work is over before that.
    async fn finish(&self) {
        let (active, kind) = (self.active, &self.active.kind);
        let ended_at = active.now();
        self.fail_points.reach(kind, "task", "end", "before");
        while let Err(error) = active.save(|row| end(row, ended_at)).await {
            tracing::error!(task.id = %active.id, %error, "the end of a task is not in the store yet");
            tokio::time::sleep(END_RETRY).await;
        }
        self.fail_points.reach(kind, "task", "end", "after");
        let task = active.task();
        active.write_log(&format!("{:?}", task.state).to_lowercase());
        tracing::info!(task.id = %active.id, task.kind = kind, task.target = task.target, state = ?task.state, "a task has ended");
    }

    /// What people are told; the log has the same id.
    fn explain(&self, error: Error) -> TaskError {
        let body = *error.body;
        let log_id = body.log_id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..12].to_owned());
        tracing::error!(task.id = %self.active.id, task.kind = self.active.kind, log_id, code = ?body.code, error = body.message, "a task has failed");
        TaskError {
            code: body.code,
            message: body.message,
            hint: body.hint,
            log_id: Some(log_id),
        }
    }
}

fn end(row: &mut Row, ended_at: model::Timestamp) {
    row.task.state = match (row.direction, &row.failure) {
        (Direction::Forward, _) => TaskState::Done,
        (Direction::Back, Some(_)) => TaskState::Failed,
        (Direction::Back, None) => TaskState::Cancelled,
    };
    if row.task.state == TaskState::Done {
        row.task.progress.done = row.task.progress.total.unwrap_or(row.task.progress.done);
    }
    row.task.progress.rate = None;
    row.task.progress.eta_ms = None;
    row.task.progress.note = None;
    row.task.progress.parts.clear();
    row.task.error = row.failure.take();
    row.task.ended_at = Some(ended_at);
    row.task.cancellable = false;
    row.params = Value::Null;
    row.memory.clear();
}

/// A panic in a step is a failure of that step, not the end of the console.
async fn unless_it_panics(work: BoxFuture<'_, Result<()>>) -> Result<()> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::failed(format!("the step ended abnormally ({})", text.unwrap_or_default())).hint("this is a fault of Berth's own, please report it"))
    })
}
