//! Control groups of containers: where they live, their limits, what they count, and stopping everything in them.

pub mod counters;
pub mod devices;
mod file;
pub mod freezer;
pub mod group;
pub mod layout;
pub mod limits;
pub mod oom;
pub mod parse;
mod setting;

pub(crate) use file::reread;
pub use group::Group;
pub use layout::{Layout, Mode};
