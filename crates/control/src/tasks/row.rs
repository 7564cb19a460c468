//! What the store keeps about a task (`op/<id>`), and for how long.

use std::collections::BTreeMap;

use model::task::{Task, TaskError};
use model::{TaskId, Timestamp};
use model::{access::Role, id::UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caller::Caller;
use crate::store::Fact;

/// Ended tasks kept.
pub(super) const KEPT: usize = 1_000;
/// And for how long, as [`crate::age`] counts.
pub(super) const KEPT_MS: i64 = 30 * 86_400_000;
/// How long an idempotency key gives the first task again.
pub(super) const KEY_KEPT_MS: i64 = 86_400_000;

/// Which way the steps go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Forward,
    Back,
}

/// `op/<id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) task: Task,
    pub(super) origin: Origin,
    /// What the job is made from again after a crash. Dropped at the end: it may hold secrets.
    #[serde(default)]
    pub(super) params: Value,
    #[serde(default)]
    pub(super) exclusive: Option<String>,
    /// The newest step that was begun in this direction.
    #[serde(default)]
    pub(super) at: Option<usize>,
    pub(super) direction: Direction,
    /// Why it goes back, when not by cancellation.
    #[serde(default)]
    pub(super) failure: Option<TaskError>,
    #[serde(default)]
    pub(super) is_cancelled: bool,
    /// Starts of the console that took it up again.
    #[serde(default)]
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) memory: BTreeMap<String, Value>,
}

/// Who asked, without the session: a task outlives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    name: String,
    from: String,
    role: Option<Role>,
    user: Option<UserId>,
}

impl From<&Caller> for Origin {
    fn from(caller: &Caller) -> Self {
        Self {
            name: caller.name.clone(),
            from: caller.from.clone(),
            role: caller.role,
            user: caller.user,
        }
    }
}

impl Origin {
    pub(super) fn caller(&self) -> Caller {
        Caller {
            name: self.name.clone(),
            from: self.from.clone(),
            role: self.role,
            user: self.user,
            session: None,
        }
    }
}

/// `idem/<hash>`: the task that a repeated request gets again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) task: TaskId,
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) at: Timestamp,
}

/// The row's key in the store.
pub(super) fn key(id: TaskId) -> String {
    format!("op/{id}")
}

/// Which ended tasks are no longer kept.
pub(super) fn expired(rows: &BTreeMap<String, Fact<Row>>, now: Timestamp) -> Vec<TaskId> {
    let mut ended: Vec<(Timestamp, TaskId)> = rows.values().filter_map(|row| Some((row.value.task.ended_at?, row.value.task.id))).collect();
    ended.sort_unstable_by(|a, b| b.cmp(a));
    let is_old = |at: Timestamp| now.ms.saturating_sub(at.ms) > KEPT_MS;
    ended
        .into_iter()
        .enumerate()
        .filter(|(place, (at, _))| *place >= KEPT || is_old(*at))
        .map(|(_, (_, id))| id)
        .collect()
}
