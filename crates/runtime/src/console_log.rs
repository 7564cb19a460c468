//! What a container's console printed, and when. The shim writes two files, `console.log` and beside it `console.times`
//! with a line `<milliseconds> <offset>` for each second in which something was printed; both are begun anew together,
//! and one older pair stays.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;

use model::Timestamp;
use rustix::fs::{Mode, OFlags, openat};

use crate::error::{At, Error, Result};

/// The shim writes at most one line each so many milliseconds.
pub const STEP_MS: i64 = 1000;
/// Much larger than what the shim writes.
const MAX_INDEX: u64 = 4 << 20;

/// The log that grows.
///
/// # Errors
/// The container was never started.
pub fn open(folder: &OwnedFd) -> Result<OwnedFd> {
    file(folder, "console.log").map_err(|errno| {
        Error {
            code: model::ErrorCode::NotFound,
            ..Error::io("open the console's log", "openat(\"console.log\")", errno)
        }
        .hint("start the container: its console has not printed yet")
    })
}

/// Both logs, the older one first, each standing where what was printed at or after the moment begins.
///
/// # Errors
/// As [`open`], or the disk fails.
pub fn since(folder: &OwnedFd, since: Timestamp) -> Result<Vec<OwnedFd>> {
    // Opened first: what is moved away meanwhile is the older one then, and read once.
    let newer = open(folder)?;
    let older = file(folder, "console.log.1").ok();
    let mut files = Vec::new();
    for (log, index) in [(older, "console.times.1"), (Some(newer), "console.times")] {
        let Some(log) = log else { continue };
        let mut text = String::new();
        if let Ok(index) = file(folder, index) {
            std::fs::File::from(index)
                .take(MAX_INDEX)
                .read_to_string(&mut text)
                .at("read the console's times", "read()")?;
        }
        let mut log = std::fs::File::from(log);
        let length = log.metadata().at("read the console's log", "fstat()")?.len();
        log.seek(SeekFrom::Start(begin(&text, since.ms, length).min(length)))
            .at("read the console's log", "lseek()")?;
        files.push(log.into());
    }
    Ok(files)
}

/// The first byte that was printed at or after a moment, to a second. A log without times is read from its beginning.
fn begin(index: &str, since_ms: i64, length: u64) -> u64 {
    let mut lines = index.lines().filter_map(|line| {
        let (at, offset) = line.split_once(' ')?;
        Some((at.parse::<i64>().ok()?, offset.parse::<u64>().ok()?))
    });
    let mut is_empty = true;
    let found = lines.find(|(at, _)| {
        is_empty = false;
        *at > since_ms.saturating_sub(STEP_MS)
    });
    match found {
        Some((_, offset)) => offset,
        None if is_empty => 0,
        None => length,
    }
}

fn file(folder: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_leads_to_its_second() {
        let index = "10000 0\n11500 40\n60000 90\n";
        for (since, offset) in [(0, 0), (10_999, 0), (11_000, 40), (12_499, 40), (12_500, 90), (60_000, 90), (61_000, 100)] {
            assert_eq!(begin(index, since, 100), offset, "{since}");
        }
    }

    #[test]
    fn a_log_without_times_is_whole() {
        assert_eq!((begin("", 5, 100), begin("nonsense\n", 5, 100)), (0, 0));
    }
}
