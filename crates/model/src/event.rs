//! What the event stream carries (interface.md, "Events"). The SSE event name is the variant, its data the content.

use serde::{Deserialize, Serialize};

use crate::container::ContainerSummary;
use crate::id::ContainerId;
use crate::task::Task;
use crate::time::Timestamp;

/// One thing that happened, before it is filtered for a viewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum Event {
    /// First message of every stream.
    Hello(Hello),
    /// A container is new, changed or gone.
    Container(ContainerChange),
    Task(Box<Task>),
    /// Counters of the last second, as changes against the frame before on this stream.
    Metrics(MetricsFrame),
    /// What was missed cannot be replayed: fetch once and go on.
    Resync(Resync),
}

impl Event {
    /// The SSE event name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Container(_) => "container",
            Self::Task(_) => "task",
            Self::Metrics(_) => "metrics",
            Self::Resync(_) => "resync",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Hello {
    /// Names this stream for `POST /api/v1/events/{stream}/topics`.
    pub stream: String,
    /// Changes with every build: an old tab offers to reload.
    pub build: String,
    /// Names of the columns of [`MetricsRow::values`].
    pub columns: Vec<String>,
}

/// A container's new picture; `summary` is absent when it is gone from the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ContainerChange {
    pub id: ContainerId,
    pub name: String,
    pub summary: Option<Box<ContainerSummary>>,
    /// What happened, when it is worth a mark on a graph: `start stop exit oom reboot limits freeze unfreeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// When that happened, where a record says so; else the event tells it as it happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Everything that changed in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MetricsFrame {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub rows: Vec<MetricsRow>,
}

/// New values of one container (or of the host: `@host`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MetricsRow {
    #[serde(rename = "n")]
    pub name: String,
    /// (column, value): only what changed; `None` is a gap.
    #[serde(rename = "v")]
    pub values: Vec<(u8, Option<f64>)>,
    /// Series per NIC and per mount, by name; only for containers asked for by name.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<(String, Option<f64>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Resync {
    pub reason: String,
}

/// What an open stream shall carry: all containers' list columns, or every series of the named ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum MetricsTopic {
    /// `"all"`; any other word is a single name.
    Word(String),
    Names(Vec<String>),
}

impl Default for MetricsTopic {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}
