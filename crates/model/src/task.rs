//! Long operations as people see them: state, phase, progress, outcome.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::id::TaskId;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl TaskState {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How far a task is. `total` is absent while it is unknown; 100 % is shown only when the task is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
    /// `bytes`, `entries`, `steps` ...
    pub unit: String,
    /// Message id of the phase: `resolve download verify unpack create start stop ...`
    pub phase: String,
    /// Units per second over the last seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Milliseconds to go at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
    /// What a person should know now, for example "no data for 12 s, retry 2 of 5".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// One entry per file of a download.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ProgressPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProgressPart {
    pub name: String,
    pub done: u64,
    pub total: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaskError {
    pub code: ErrorCode,
    pub message: String,
    pub hint: Option<String>,
    pub log_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Task {
    pub id: TaskId,
    /// `container.create`, `container.start`, `template.download` ...
    pub kind: String,
    /// Name of what it works on, for people.
    pub target: String,
    pub state: TaskState,
    pub progress: Progress,
    pub user: String,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub error: Option<TaskError>,
    /// Whether `cancel` would do anything.
    #[serde(default)]
    pub cancellable: bool,
}
