//! The per-container parent: the messages it understands, and (with the feature `engine`) how it is started and asked.

#[cfg(feature = "engine")]
pub mod engine;
pub mod protocol;
