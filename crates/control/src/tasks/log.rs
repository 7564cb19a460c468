//! The log file of a task: what happened, line by line with its time, for the page and `berth task show`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::{TaskId, Timestamp};

use crate::error::{Error, Result};

/// A log larger than this gets no more lines.
const MAX_BYTES: u64 = 1 << 20;

/// Where a task's log lies.
pub(super) fn path(dir: &Path, id: TaskId) -> PathBuf {
    dir.join(format!("{id}.log"))
}

/// The log so far; empty when nothing was written.
pub(super) async fn read(dir: &Path, id: TaskId) -> Result<String> {
    match tokio::fs::read(path(dir, id)).await {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::failed(format!("the task's log cannot be read ({error})"))),
    }
}

/// A log that is opened with its first line.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    file: Option<File>,
    bytes: u64,
    is_full: bool,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    /// Appends the text, each line with its time. A log that cannot be written is no reason to fail a task.
    pub(super) fn write(&self, at: Timestamp, text: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.append(&mut open, at, text) {
            tracing::warn!(path = %self.path.display(), %error, "a line of a task's log is lost");
        }
    }

    fn append(&self, open: &mut Open, at: Timestamp, text: &str) -> std::io::Result<()> {
        if open.is_full {
            return Ok(());
        }
        if open.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
            open.bytes = file.metadata()?.len();
            open.file = Some(file);
        }
        let mut lines = String::new();
        for line in text.lines() {
            lines.push_str(&format!("{at} {}\n", printable(line)));
        }
        open.bytes += lines.len() as u64;
        if open.bytes > MAX_BYTES {
            open.is_full = true;
            lines = format!("{at} the log is full, what follows is not kept\n");
        }
        open.file.as_mut().map_or(Ok(()), |file| file.write_all(lines.as_bytes()))
    }
}

/// Control characters are shown, not passed on: a log line must neither move a terminal's cursor nor forge another line.
fn printable(line: &str) -> String {
    line.chars()
        .flat_map(|c| if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\u{1b}[2Jb\tc"), "a\\u{1b}[2Jb\tc");
    }

    #[test]
    fn a_full_log_says_so_once_and_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let log = Log::new(path.clone());
        let line = "x".repeat(100_000);
        for _ in 0..20 {
            log.write(Timestamp::from_ms(0), &line);
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.len() <= (1 << 20) + 100);
        assert_eq!(text.matches("the log is full").count(), 1);
    }
}
