//! The words that the browser, the REST API and the host share: ids, specs, states, limits, tasks, metrics, events,
//! access and errors, together with the pure rules about them.
//!
//! Invariant: no IO, no clock, no randomness, and everything compiles for `wasm32-unknown-unknown`.

pub mod access;
pub mod container;
pub mod engine;
pub mod error;
pub mod event;
pub mod firewall;
pub mod id;
pub mod leftover;
pub mod limits;
pub mod metrics;
pub mod network;
pub mod number;
pub mod restart;
#[cfg(feature = "schema")]
mod schema;
pub mod storage;
pub mod task;
pub mod template;
pub mod time;

pub use access::{Permission, Role};
pub use container::{Action, ContainerSpec, ContainerState, ContainerSummary};
pub use error::{ErrorBody, ErrorCode};
pub use id::{ContainerId, ContainerName, Digest, TaskId, TemplateRef};
pub use limits::Limits;
pub use time::Timestamp;
