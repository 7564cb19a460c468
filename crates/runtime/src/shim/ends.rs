//! The record of a container's ends, `events` in its folder: one line of JSON each, oldest first. Its shim appends, the
//! engine reads. A record that has grown long is replaced by its newest lines, below one that says how many came before.
//!
//! Invariant: the number of an end never changes, whatever is left of the record; a line that a crash has torn is none.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Mode, OFlags, openat, renameat};

use crate::error::{At, Result};

/// The file's name.
pub const NAME: &str = "events";
const FRESH: &str = ".events.new";
/// A longer record is shortened.
const LONG_BYTES: u64 = 256 << 10;
/// To about so much.
const SHORT_BYTES: u64 = 64 << 10;
/// How each end begins. Inside of one it cannot come again: quotation marks of a message are escaped.
const END: &[u8] = b"{\"at\":\"";
/// How the line begins that counts what is gone.
const BEFORE: &[u8] = b"{\"before\":";

/// Adds an end, a line of JSON, and waits until the disk has it.
///
/// # Errors
/// The disk is full or fails. The end may be on record all the same, when only the record could not be shortened.
pub fn append(folder: &OwnedFd, line: &str) -> Result<()> {
    let step = "write the exit record";
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, NAME, flags, Mode::from_raw_mode(0o600)).at(step, "openat(\"events\")")?);
    let length = file.metadata().at(step, "fstat(\"events\")")?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1).at(step, "pread(\"events\")")?;
    }
    // What a crash has torn must not take this line with it.
    let start = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{start}{line}\n").as_bytes()).at(step, "write(\"events\")")?;
    file.sync_data().at(step, "fdatasync(\"events\")")?;
    if length > LONG_BYTES { shorten(folder, length) } else { Ok(()) }
}

/// Keeps the newest lines. Interrupted anywhere it leaves the long record or the short one.
fn shorten(folder: &OwnedFd, length: u64) -> Result<()> {
    let step = "shorten the exit record";
    let mut lines = Lines::open(folder).at(step, "openat(\"events\")")?;
    let mut before = 0;
    while lines.at < length - SHORT_BYTES && lines.next().at(step, "read(\"events\")")? {
        before += count(&lines.line);
    }
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut fresh = File::from(openat(folder, FRESH, flags, Mode::from_raw_mode(0o600)).at(step, "openat(\".events.new\")")?);
    writeln!(fresh, "{}{before}}}", String::from_utf8_lossy(BEFORE)).at(step, "write(\".events.new\")")?;
    std::io::copy(&mut lines.rest, &mut fresh).at(step, "write(\".events.new\")")?;
    fresh.sync_all().at(step, "fsync(\".events.new\")")?;
    renameat(folder, FRESH, folder, NAME).at(step, "renameat(\"events\")")?;
    rustix::fs::fsync(folder).at(step, "fsync(folder)")
}

/// The newest ends of a record, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// How many came before them.
    pub older: usize,
    pub lines: Vec<String>,
}

/// Reads at most so many ends; all are counted.
///
/// # Errors
/// The record cannot be read; one that is missing is empty.
pub fn newest(folder: &OwnedFd, most: usize) -> std::io::Result<Newest> {
    let mut lines = match Lines::open(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Newest::default()),
        other => other?,
    };
    let mut total = 0;
    let mut kept = std::collections::VecDeque::new();
    while lines.next()? {
        total += count(&lines.line);
        if is_end(&lines.line) {
            kept.push_back(String::from_utf8_lossy(&lines.line).into_owned());
            kept.drain(..kept.len().saturating_sub(most));
        }
    }
    Ok(Newest {
        older: total - kept.len(),
        lines: kept.into(),
    })
}

/// The ends that a line stands for.
fn count(line: &[u8]) -> usize {
    let before = |number: &[u8]| std::str::from_utf8(number.trim_ascii_end().strip_suffix(b"}")?).ok()?.parse().ok();
    match line.strip_prefix(BEFORE) {
        Some(number) => before(number).unwrap_or(0),
        None => usize::from(is_end(line)),
    }
}

fn is_end(line: &[u8]) -> bool {
    let is_whole = |rest: &[u8]| rest.trim_ascii_end().ends_with(b"}") && !rest.windows(END.len()).any(|part| part == END);
    line.strip_prefix(END).is_some_and(is_whole)
}

/// A record line by line, in little memory however long it is.
struct Lines {
    rest: BufReader<File>,
    line: Vec<u8>,
    /// Where the next line begins.
    at: u64,
}

impl Lines {
    fn open(folder: &OwnedFd) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self {
            rest: BufReader::new(File::from(openat(folder, NAME, flags, Mode::empty())?)),
            line: Vec::new(),
            at: 0,
        })
    }

    /// Reads the next line; false at the end.
    fn next(&mut self) -> std::io::Result<bool> {
        self.line.clear();
        let got = self.rest.read_until(b'\n', &mut self.line)?;
        self.at += got as u64;
        Ok(got > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let folder = File::open(dir.path()).unwrap().into();
        (dir, folder)
    }

    fn end(code: usize) -> String {
        format!("{{\"at\":\"1970-01-01T00:00:00.000Z\",\"reason\":\"exited\",\"code\":{code},\"oom_kills\":0}}")
    }

    /// How many there are, and the newest.
    fn seen(folder: &OwnedFd) -> (usize, Option<String>) {
        let newest = newest(folder, 20).unwrap();
        (newest.older + newest.lines.len(), newest.lines.last().map(|line| line.trim_end().to_owned()))
    }

    #[test]
    fn an_end_after_a_long_record_of_an_older_version_is_seen() {
        let (dir, folder) = folder();
        assert_eq!(newest(&folder, 20).unwrap(), Newest::default());
        let old: String = (0..230_000).map(|code| end(code) + "\n").collect();
        assert!(old.len() > 16 << 20);
        std::fs::write(dir.path().join(NAME), old).unwrap();
        assert_eq!(seen(&folder), (230_000, Some(end(229_999))));
        append(&folder, &end(230_000)).unwrap();
        assert_eq!(seen(&folder), (230_001, Some(end(230_000))));
        assert!(std::fs::metadata(dir.path().join(NAME)).unwrap().len() < 2 * SHORT_BYTES);
        append(&folder, &end(230_001)).unwrap();
        assert_eq!(seen(&folder), (230_002, Some(end(230_001))));
    }

    #[test]
    fn a_record_stays_short_and_its_numbers_go_on() {
        let (dir, folder) = folder();
        let block: String = (0..2000).map(|code| end(code) + "\n").collect();
        for round in 1..=5 {
            let mut file = File::options().create(true).append(true).open(dir.path().join(NAME)).unwrap();
            file.write_all(block.as_bytes()).unwrap();
            append(&folder, &end(round)).unwrap();
            assert_eq!(seen(&folder), (round * 2001, Some(end(round))));
            assert!(file.metadata().unwrap().len() < 2 * LONG_BYTES);
        }
        let newest = newest(&folder, 3).unwrap();
        assert_eq!(newest.older, 5 * 2001 - 3);
        assert_eq!(
            newest.lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
            [end(1998), end(1999), end(5)]
        );
    }

    #[test]
    fn an_interrupted_shortening_changes_nothing() {
        let (dir, folder) = folder();
        let block: String = (0..4000).map(|code| end(code) + "\n").collect();
        std::fs::write(dir.path().join(NAME), block).unwrap();
        std::fs::write(dir.path().join(FRESH), "{\"before\":17").unwrap();
        assert_eq!(seen(&folder), (4000, Some(end(3999))));
        append(&folder, &end(7)).unwrap();
        assert_eq!(seen(&folder), (4001, Some(end(7))));
        assert!(!dir.path().join(FRESH).exists());
    }

    #[test]
    fn a_torn_line_is_no_end_and_takes_no_other_with_it() {
        let (dir, folder) = folder();
        for torn in 0..end(2).len() {
            std::fs::write(dir.path().join(NAME), format!("{}\n{}", end(1), &end(2)[..torn])).unwrap();
            assert_eq!(seen(&folder), (1, Some(end(1))), "{torn}");
            append(&folder, &end(3)).unwrap();
            assert_eq!(seen(&folder), (2, Some(end(3))), "{torn}");
        }
        // Two in one line, as an older version wrote after a crash, and a tail that the disk never filled.
        let torn = format!("{}{}\n{}\n\0\0\0", &end(1)[..20], end(2), end(3));
        std::fs::write(dir.path().join(NAME), torn).unwrap();
        assert_eq!(seen(&folder), (1, Some(end(3))));
    }
}
