//! An archive from its first byte to its last, with all caps and with progress.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::engine::{UnpackCaps, UnpackProgress, Unpacked};

use super::format::{self, Format};
use super::tree::Tree;
use super::{entry, plausible, squashfs};
use crate::error::{At, Error, Result};

/// Written before the ratio of unpacked to packed matters.
const FREE_RATIO_BYTES: u64 = 64 << 20;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
const CHUNK: usize = 128 << 10;

/// What was done so far, and how much is allowed.
pub struct Account<'a> {
    progress: File,
    told: Instant,
    origin: &'a str,
    caps: UnpackCaps,
    taken: Arc<AtomicU64>,
    pub unpacked: Unpacked,
    left_out: BTreeMap<&'static str, u64>,
}

impl Account<'_> {
    /// One more entry.
    ///
    /// # Errors
    /// Too many, or cancelled.
    pub fn entry(&mut self) -> Result<()> {
        self.unpacked.entries += 1;
        if self.unpacked.entries > self.caps.entries {
            return Err(self.refusal(&format!("it has more than {} entries", self.caps.entries)));
        }
        self.tell(false)
    }

    /// So many more bytes.
    ///
    /// # Errors
    /// Too many, or cancelled.
    pub fn bytes(&mut self, more: u64) -> Result<()> {
        self.unpacked.bytes += more;
        let (out, taken) = (self.unpacked.bytes, self.taken.load(Ordering::Relaxed));
        if out > self.caps.bytes {
            return Err(self.refusal(&format!("it unpacks to more than {} bytes", self.caps.bytes)));
        }
        if out > FREE_RATIO_BYTES && out > taken.saturating_mul(self.caps.ratio) {
            return Err(self.refusal(&format!("it unpacks to more than {} times its size", self.caps.ratio)));
        }
        self.tell(false)
    }

    /// Content that is read and not wanted; it counts like any other.
    ///
    /// # Errors
    /// Too many bytes, cancelled, or the archive is damaged.
    pub fn skip(&mut self, from: &mut dyn Read) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            match from.read(&mut buffer).map_err(damaged)? {
                0 => return Ok(()),
                got => self.bytes(got as u64)?,
            }
        }
    }

    /// A refusal of the archive as a whole.
    #[must_use]
    pub fn refusal(&self, why: &str) -> Error {
        Error::invalid("unpack the archive", format!("{} is refused: {why}", self.origin))
    }

    /// Below how many entries it is no root file system.
    #[must_use]
    pub fn least_entries(&self) -> u64 {
        self.caps.least_entries
    }

    /// Something that is not created.
    pub fn leave_out(&mut self, kind: &'static str) {
        *self.left_out.entry(kind).or_default() += 1;
    }

    /// Tells how far it is, when that was not told for a while.
    ///
    /// # Errors
    /// Cancelled.
    pub fn tell_if_due(&mut self) -> Result<()> {
        self.tell(false)
    }

    /// A reader that is gone has cancelled.
    fn tell(&mut self, is_last: bool) -> Result<()> {
        if !is_last && self.told.elapsed() < PROGRESS_INTERVAL {
            return Ok(());
        }
        self.told = Instant::now();
        let progress = UnpackProgress {
            read_bytes: self.taken.load(Ordering::Relaxed),
            written_bytes: self.unpacked.bytes,
            entries: self.unpacked.entries,
        };
        let mut line = serde_json::to_vec(&progress).unwrap_or_default();
        line.push(b'\n');
        self.progress
            .write_all(&line)
            .map_err(|_| Error::failed("unpack the archive", "it was cancelled"))
    }
}

/// Unpacks into the present root.
///
/// # Errors
/// What is refused names its entry.
pub fn unpack(input: File, progress: File, origin: &str, caps: UnpackCaps) -> Result<Unpacked> {
    let format = format::recognise(&input, origin)?;
    let taken = Arc::new(AtomicU64::new(0));
    let mut account = Account {
        progress,
        told: Instant::now(),
        origin,
        caps,
        taken: Arc::clone(&taken),
        unpacked: Unpacked::default(),
        left_out: BTreeMap::new(),
    };
    let tree = Tree::open()?;
    if format == Format::Squashfs {
        squashfs::unpack(input, &taken, &tree, &mut account)?;
    } else {
        let reader = format::tar_inside(input, format, taken).at("unpack the archive", "make a decoder")?;
        entry::unpack(reader, &tree, &mut account)?;
    }
    account.tell(true)?;
    account.unpacked.wrapper = plausible::wrapper(&tree)?;
    let root = account.unpacked.wrapper.as_deref().and_then(|name| tree.below(name));
    let root = root.as_ref().unwrap_or(&tree);
    plausible::require(root, &account)?;
    let Account { mut unpacked, left_out, .. } = account;
    unpacked.left_out = left_out.into_iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    let release = root.read("etc/os-release").or_else(|| root.read("usr/lib/os-release")).unwrap_or_default();
    (unpacked.os, unpacked.release) = (os_field(&release, "ID"), os_field(&release, "VERSION_ID"));
    Ok(unpacked)
}

/// os-release(5)
fn os_field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).chars().take(64).collect())
}

/// A content that is not what its format demands.
pub fn damaged(error: std::io::Error) -> Error {
    Error::invalid("unpack the archive", format!("the archive is damaged: {error}"))
}

/// Copies the content of a file, counted before it is written.
///
/// # Errors
/// A cap is reached, the archive is damaged or the disk is full.
pub fn copy(from: &mut dyn Read, to: &mut File, account: &mut Account<'_>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let got = from.read(&mut buffer).map_err(damaged)?;
        if got == 0 {
            return Ok(());
        }
        account.bytes(got as u64)?;
        let bytes = buffer.get(..got).unwrap_or_default();
        to.write_all(bytes).at("unpack the archive", "write()")?;
    }
}

#[cfg(test)]
mod tests {
    use super::os_field;

    #[test]
    fn the_release_is_read_as_os_release_says() {
        let text = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nID=debian\n";
        assert_eq!(os_field(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_field(text, "VERSION_ID").as_deref(), Some("13"));
        assert_eq!(os_field(text, "BUILD_ID"), None);
    }
}
