//! The per-container parent: the messages it understands, and (with the feature `engine`) how it is started and asked.

pub mod ends;
#[cfg(feature = "engine")]
pub mod engine;
pub mod protocol;
