//! What the console does: containers, templates, storage, networks, tasks, metrics, access and the store beneath them.
//! It reaches the kernel through [`engine::Engine`] and durable state through [`store::Store`], and knows neither HTTP
//! nor HTML.
//!
//! Invariant: every public operation takes the [`caller::Caller`] first and checks access in its first statement.

pub mod access;
mod age;
pub mod caller;
pub mod clock;
pub mod console;
pub mod containers;
pub mod engine;
pub mod error;
pub mod events;
pub mod exec;
pub mod host;
pub mod metrics;
pub mod networks;
pub mod store;
pub mod tasks;
pub mod templates;

pub use caller::Caller;
pub use console::{Config, Control};
pub use error::{Error, Result};
