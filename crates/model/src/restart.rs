//! How a restart policy paces itself, whoever follows it: how long it waits before a start, and when it gives up.

/// More starts than this within [`LOOP_WINDOW_MS`] are a loop.
pub const LOOP_STARTS: usize = 10;
pub const LOOP_WINDOW_MS: i64 = 60_000;
/// What the record of a loop says.
pub const LOOP: &str = "it ended more than 10 times within a minute";
/// Short enough that ten restarts fit into the window: a longer pause would keep a loop from ever being one.
const LONGEST_PAUSE_MS: u64 = 5_000;

/// How long a start waits that comes after so many others within the window.
#[must_use]
pub fn pause_ms(recent: usize) -> u64 {
    (100 << recent.min(10)).min(LONGEST_PAUSE_MS)
}
