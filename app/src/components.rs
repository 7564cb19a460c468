//! What pages are drawn with. A component takes plain values, signals and callbacks, never a server function.

pub mod announcer;
pub mod browser;
pub mod button;
pub mod chart;
pub mod copy;
pub mod dialog;
pub mod error_note;
pub mod field;
pub mod frame;
pub mod icon;
pub mod menu;
pub mod moment;
pub mod page_frame;
pub mod sparkline;
pub mod state_badge;
pub mod submit;
pub mod task_progress;
pub mod terminal;
pub mod toast;
pub mod waterline;
