//! Graphs.
pub mod geometry;
