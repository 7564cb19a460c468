//! The entries of a tar archive, one after the other. What lies between their contents is read on a short leash: headers
//! say themselves how long they are.

use std::cell::Cell;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use tar::{Archive, Entry, EntryType};

use super::archive::{Account, copy, damaged};
use super::sparse::Sparse;
use super::tree::{self, Meta, Tree, clean, refuse};
use crate::error::Result;

/// All headers of one entry together: long names, attributes, the map of a sparse file.
const HEADER_BYTES: u64 = 4 << 20;
/// Padding behind the last entry; tar fills up blocks of at most some MiB.
const MOST_BEHIND: u64 = 64 << 20;
/// metadata.yaml; the answer to the engine must fit into one message.
const METADATA_BYTES: u64 = 64 << 10;
/// Names of folders that get their times at the end.
const NAMES_BYTES: usize = 64 << 20;

/// A reader that goes no further than it is allowed.
struct Leashed {
    inner: Box<dyn Read>,
    left: Rc<Cell<u64>>,
}

impl Read for Leashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the headers of an entry are longer than 4 MiB"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left.set(left - got as u64);
        Ok(got)
    }
}

/// One way through an archive.
struct Walk<'a, 'b> {
    tree: &'a Tree,
    account: &'a mut Account<'b>,
    /// Folders in their order: what is written into one later changes its time.
    folders: Vec<(Vec<u8>, Meta)>,
    name_bytes: usize,
    /// A unified image holds `metadata.yaml` and `rootfs/`: then only what is below `rootfs` is the root.
    is_unified: Option<bool>,
}

/// Unpacks all entries below the tree.
///
/// # Errors
/// An entry is refused by name, the archive is damaged, a cap is reached, or the disk fails.
pub fn unpack(reader: Box<dyn Read>, tree: &Tree, account: &mut Account<'_>) -> Result<()> {
    let left = Rc::new(Cell::new(HEADER_BYTES));
    let mut archive = Archive::new(Leashed {
        inner: reader,
        left: Rc::clone(&left),
    });
    let mut walk = Walk {
        tree,
        account,
        folders: Vec::new(),
        name_bytes: 0,
        is_unified: None,
    };
    let mut entries = archive.entries().map_err(damaged)?;
    loop {
        left.set(HEADER_BYTES);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(damaged)?;
        left.set(u64::MAX);
        walk.account.entry()?;
        walk.take(&mut entry)?;
        // What nobody wanted counts too; the library would skip it unseen.
        walk.account.skip(&mut entry)?;
    }
    left.set(u64::MAX);
    walk.drain(archive.into_inner())?;
    walk.finish()
}

impl Walk<'_, '_> {
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            return Ok(());
        }
        let meta = meta_of(entry)?;
        let sparse = Sparse::of(entry)?;
        let name = sparse.as_ref().map_or_else(|| entry.path_bytes().into_owned(), |sparse| sparse.name.clone());
        let parts = clean(&name)?;
        if self.is_unified.is_none() && !parts.is_empty() {
            self.is_unified = Some(matches!(parts.first(), Some(&(b"metadata.yaml" | b"rootfs" | b"templates"))));
        }
        let below = match (self.is_unified, parts.split_first()) {
            (Some(true), Some((&b"rootfs", below))) => below,
            (Some(true), Some((&b"metadata.yaml", []))) => return self.take_metadata(entry, &name),
            (Some(true), _) => return Ok(()),
            _ => &parts,
        };
        match sparse {
            Some(sparse) => {
                let mut file = self.tree.file(&name, below)?;
                sparse.copy(entry, &mut file, self.account)?;
                tree::apply(&name, file.as_fd(), &meta)
            }
            None => self.make(entry, &name, below, meta),
        }
    }

    fn take_metadata<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &[u8]) -> Result<()> {
        let mut text = String::new();
        entry.by_ref().take(METADATA_BYTES + 1).read_to_string(&mut text).map_err(damaged)?;
        if text.len() as u64 > METADATA_BYTES {
            return Err(refuse(name, format!("it has more than {METADATA_BYTES} bytes")));
        }
        self.account.unpacked.metadata = Some(text);
        Ok(())
    }

    fn make<R: Read>(&mut self, entry: &mut Entry<'_, R>, name: &[u8], parts: &[&[u8]], meta: Meta) -> Result<()> {
        let kind = entry.header().entry_type();
        match kind {
            // Before ustar a folder was a file whose name ends like this.
            EntryType::Regular if name.ends_with(b"/") => self.make_folder(name, parts, meta),
            EntryType::Directory => self.make_folder(name, parts, meta),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = self.tree.file(name, parts)?;
                copy(entry, &mut file, self.account)?;
                tree::apply(name, file.as_fd(), &meta)
            }
            EntryType::Symlink => self.tree.symlink(name, parts, &target_of(entry, name)?, &meta),
            EntryType::Link => {
                let target = target_of(entry, name)?;
                self.tree.link(name, parts, self.below_rootfs(name, &target)?)
            }
            EntryType::Fifo => self.tree.pipe(name, parts, &meta),
            EntryType::Block | EntryType::Char => {
                self.account.leave_out("device nodes");
                Ok(())
            }
            _ => {
                self.account.leave_out("entries of an unknown kind");
                Ok(())
            }
        }
    }

    fn make_folder(&mut self, name: &[u8], parts: &[&[u8]], meta: Meta) -> Result<()> {
        self.tree.folder(name, parts, &meta)?;
        let path = parts.join(&b'/');
        self.name_bytes += path.len();
        if self.name_bytes > NAMES_BYTES {
            return Err(self.account.refusal(&format!("the names of its folders have more than {NAMES_BYTES} bytes")));
        }
        self.folders.push((path, Meta { xattrs: Vec::new(), ..meta }));
        Ok(())
    }

    /// Hard links of a unified image name their target with `rootfs/` too.
    fn below_rootfs<'t>(&self, name: &[u8], target: &'t [u8]) -> Result<&'t [u8]> {
        if self.is_unified != Some(true) {
            return Ok(target);
        }
        let plain = target.strip_prefix(b"./").unwrap_or(target);
        let plain = plain.strip_prefix(b"/").unwrap_or(plain);
        plain
            .strip_prefix(b"rootfs/")
            .ok_or_else(|| refuse(name, "the file that it links to lies outside of the image's root"))
    }

    /// Reads on to the end behind the last entry: only there a decoder can tell that nothing was cut off.
    fn drain(&self, reader: impl Read) -> Result<()> {
        let behind = io::copy(&mut reader.take(MOST_BEHIND + 1), &mut io::sink()).map_err(damaged)?;
        if behind > MOST_BEHIND {
            return Err(self.account.refusal(&format!("more than {MOST_BEHIND} bytes follow its last entry")));
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        for (path, meta) in self.folders.iter().rev() {
            if let Ok(parts) = clean(path) {
                self.tree.touch(&parts, meta);
            }
        }
        if self.account.unpacked.entries == 0 {
            return Err(self.account.refusal("it holds nothing"));
        }
        Ok(())
    }
}

fn target_of<R: Read>(entry: &Entry<'_, R>, name: &[u8]) -> Result<Vec<u8>> {
    let target = entry.link_name_bytes().ok_or_else(|| refuse(name, "it links to nothing"))?;
    Ok(target.into_owned())
}

fn meta_of<R: Read>(entry: &mut Entry<'_, R>) -> Result<Meta> {
    let header = entry.header();
    let mut meta = Meta {
        uid: header.uid().map_err(damaged)?,
        gid: header.gid().map_err(damaged)?,
        mode: header.mode().map_err(damaged)?,
        mtime: i64::try_from(header.mtime().map_err(damaged)?).unwrap_or(0),
        nanoseconds: 0,
        xattrs: Vec::new(),
    };
    let path = entry.path_bytes().into_owned();
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else {
        return Ok(meta);
    };
    for extension in extensions {
        // The library ends a record at a line feed, not at its length: what it misreads is refused, never guessed.
        let extension = extension.map_err(|error| refuse(&path, error))?;
        let Ok(key) = extension.key() else { continue };
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            meta.xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
            continue;
        }
        let wrong = || refuse(&path, format!("its extended header holds a wrong {key}"));
        match (key, extension.value()) {
            ("uid", value) => meta.uid = value.ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?,
            ("gid", value) => meta.gid = value.ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?,
            ("mtime", value) => (meta.mtime, meta.nanoseconds) = value.ok().and_then(time_of).ok_or_else(wrong)?,
            _ => {}
        }
    }
    Ok(meta)
}

/// Seconds with a fraction, before 1970 too (pax, IEEE 1003.1).
fn time_of(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds))
    } else {
        Some((seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_may_lie_before_1970() {
        assert_eq!(time_of("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(time_of("1700000000.5"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(time_of("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time_of("x"), None);
    }

    #[test]
    fn a_leash_ends_where_it_was_set() {
        let left = Rc::new(Cell::new(4));
        let mut reader = Leashed {
            inner: Box::new(io::repeat(0)),
            left: Rc::clone(&left),
        };
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 4);
        assert!(reader.read(&mut [0; 10]).is_err());
        left.set(u64::MAX);
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 10);
    }
}
