//! The loop over entries: tar as it comes, squashfs by its tree, with all caps and with progress.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::engine::{UnpackCaps, UnpackProgress, Unpacked};
use tar::{Archive, Entry, EntryType};

use super::format::{self, Format};
use super::squashfs;
use super::tree::{self, Meta, Tree, clean, refuse};
use crate::error::{At, Error, Result};

/// Written before the ratio of unpacked to packed matters.
const FREE_RATIO_BYTES: u64 = 64 << 20;
/// Padding behind the last entry; tar fills up blocks of at most some MiB.
const MOST_BEHIND: u64 = 64 << 20;
const METADATA_BYTES: u64 = 1 << 20;
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
            return Err(self.too_much(format!("it has more than {} entries", self.caps.entries)));
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
            return Err(self.too_much(format!("it unpacks to more than {} bytes", self.caps.bytes)));
        }
        if out > FREE_RATIO_BYTES && out > taken.saturating_mul(self.caps.ratio) {
            return Err(self.too_much(format!("it unpacks to more than {} times its size", self.caps.ratio)));
        }
        self.tell(false)
    }

    fn too_much(&self, why: String) -> Error {
        Error::invalid("unpack the archive", format!("{} is refused: {why}", self.origin))
    }

    /// Something that is not created.
    pub fn leave_out(&mut self, kind: &'static str) {
        *self.left_out.entry(kind).or_default() += 1;
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
        unpack_tar(reader, &tree, &mut account)?;
    }
    account.tell(true)?;
    let Account { mut unpacked, left_out, .. } = account;
    unpacked.left_out = left_out.into_iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    let release = tree.read("etc/os-release").or_else(|| tree.read("usr/lib/os-release")).unwrap_or_default();
    (unpacked.os, unpacked.release) = (os_field(&release, "ID"), os_field(&release, "VERSION_ID"));
    Ok(unpacked)
}

/// os-release(5)
fn os_field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).chars().take(64).collect())
}

fn damaged(error: std::io::Error) -> Error {
    Error::invalid("unpack the archive", format!("the archive is damaged: {error}"))
}

fn unpack_tar(reader: Box<dyn Read>, tree: &Tree, account: &mut Account<'_>) -> Result<()> {
    let mut archive = Archive::new(reader);
    let mut folders: Vec<(Vec<u8>, Meta)> = Vec::new();
    // A unified image holds `metadata.yaml` and `rootfs/`: then only what is below `rootfs` is the root.
    let mut is_unified = None;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        account.entry()?;
        let name = entry.path_bytes().into_owned();
        let parts = clean(&name)?;
        if is_unified.is_none() && !parts.is_empty() {
            is_unified = Some(matches!(parts.first(), Some(&(b"metadata.yaml" | b"rootfs" | b"templates"))));
        }
        let parts = match (is_unified, parts.split_first()) {
            (Some(true), Some((&b"rootfs", below))) => below.to_vec(),
            (Some(true), Some((&b"metadata.yaml", []))) => {
                let mut text = String::new();
                entry.by_ref().take(METADATA_BYTES).read_to_string(&mut text).map_err(damaged)?;
                account.unpacked.metadata = Some(text);
                continue;
            }
            (Some(true), _) => continue,
            _ => parts,
        };
        one(&mut entry, &name, &parts, tree, account, &mut folders)?;
    }
    drain(archive.into_inner(), account)?;
    // What was written into a folder after it changed its time.
    for (name, meta) in folders.iter().rev() {
        if let Ok(parts) = clean(name) {
            tree.touch(&parts, meta);
        }
    }
    if account.unpacked.entries == 0 {
        return Err(Error::invalid("unpack the archive", format!("{} holds nothing", account.origin)));
    }
    Ok(())
}

/// Reads on to the end behind the last entry: only there a decoder can tell that nothing was cut off.
fn drain(mut reader: Box<dyn Read>, account: &Account<'_>) -> Result<()> {
    let behind = std::io::copy(&mut reader.by_ref().take(MOST_BEHIND + 1), &mut std::io::sink()).map_err(damaged)?;
    if behind > MOST_BEHIND {
        Err(account.too_much(format!("more than {MOST_BEHIND} bytes follow its last entry")))
    } else {
        Ok(())
    }
}

fn one(
    entry: &mut Entry<'_, Box<dyn Read>>,
    name: &[u8],
    parts: &[&[u8]],
    tree: &Tree,
    account: &mut Account<'_>,
    folders: &mut Vec<(Vec<u8>, Meta)>,
) -> Result<()> {
    let meta = meta_of(entry)?;
    let target = |entry: &Entry<'_, Box<dyn Read>>| {
        entry
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| refuse(name, "it links to nothing"))
    };
    match entry.header().entry_type() {
        EntryType::Directory => {
            tree.folder(name, parts, &meta)?;
            folders.push((parts.join(&b'/'), Meta { xattrs: Vec::new(), ..meta }));
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = tree.file(name, parts)?;
            copy(entry, &mut file, account)?;
            tree::apply(name, file.as_fd(), &meta)
        }
        EntryType::Symlink => tree.symlink(name, parts, &target(entry)?, &meta),
        EntryType::Link => tree.link(name, parts, &strip_rootfs(&target(entry)?, account)),
        EntryType::Fifo => tree.pipe(name, parts, &meta),
        EntryType::Block | EntryType::Char => {
            account.leave_out("device nodes");
            Ok(())
        }
        _ => {
            account.leave_out("entries of an unknown kind");
            Ok(())
        }
    }
}

/// Hard links of a unified image name their target with `rootfs/` too.
fn strip_rootfs(target: &[u8], account: &Account<'_>) -> Vec<u8> {
    let is_unified = account.unpacked.metadata.is_some();
    let plain = target.strip_prefix(b"./").unwrap_or(target);
    plain.strip_prefix(b"rootfs/").filter(|_| is_unified).unwrap_or(plain).to_vec()
}

fn meta_of(entry: &mut Entry<'_, Box<dyn Read>>) -> Result<Meta> {
    let header = entry.header();
    let mut meta = Meta {
        uid: header.uid().map_err(damaged)?,
        gid: header.gid().map_err(damaged)?,
        mode: header.mode().map_err(damaged)?,
        mtime: i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(0),
        xattrs: Vec::new(),
    };
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else {
        return Ok(meta);
    };
    for extension in extensions.filter_map(std::result::Result::ok) {
        let Ok(key) = extension.key() else { continue };
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            meta.xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
        } else if let Some(id) = extension.value().ok().and_then(|value| value.parse().ok()) {
            match key {
                "uid" => meta.uid = id,
                "gid" => meta.gid = id,
                _ => {}
            }
        }
    }
    Ok(meta)
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
