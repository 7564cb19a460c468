//! Removing and measuring a tree that a guest made: any names, any depth. Links are never followed and the tree is never
//! left.
//!
//! Invariant: a fixed number of descriptors and of stack frames, however deep the guest went.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::engine::DiskUse;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, fstat, openat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use crate::error::{At, Error, Result};

const REMOVE: &str = "remove a folder";
const MEASURE: &str = "measure the container";

fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn is_dots(name: &CStr) -> bool {
    name == c"." || name == c".."
}

/// Removes a tree below a folder, never leaving it; one that is not there is removed already.
///
/// # Errors
/// The disk fails.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let name = CString::new(name).map_err(|_| Error::invalid(REMOVE, "its name holds a NUL"))?;
    match unlinkat(parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(Error::io(REMOVE, &format!("unlinkat({name:?})"), errno)),
    }
    let top = open(parent, &name).at(REMOVE, &format!("openat({name:?})"))?;
    let mut moved = 0;
    // Folders inside a folder move up to the top and wait there for their turn: nothing is ever more than one level away.
    while let Some(folder) = empty(&top, None, &mut moved)? {
        loop {
            let inside = open(top.as_fd(), &folder).at(REMOVE, &format!("openat({folder:?})"))?;
            empty(&inside, Some(&top), &mut moved)?;
            match unlinkat(&top, &folder, AtFlags::REMOVEDIR) {
                Ok(()) => break,
                // A folder that changes while it is read may be read incompletely.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(Error::io(REMOVE, &format!("unlinkat({folder:?}, AT_REMOVEDIR)"), errno)),
            }
        }
    }
    unlinkat(parent, &name, AtFlags::REMOVEDIR).at(REMOVE, &format!("unlinkat({name:?}, AT_REMOVEDIR)"))
}

/// Removes the files of a folder. Its folders are moved to `above`; without that the first one is returned.
fn empty(folder: &OwnedFd, above: Option<&OwnedFd>, moved: &mut u64) -> Result<Option<CString>> {
    for entry in Dir::read_from(folder).at(REMOVE, "getdents()")? {
        let entry = entry.at(REMOVE, "getdents()")?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        match (unlinkat(folder, name, AtFlags::empty()), above) {
            (Ok(()) | Err(Errno::NOENT), _) => {}
            (Err(Errno::ISDIR | Errno::PERM), Some(above)) => move_up(folder, name, above, moved)?,
            (Err(Errno::ISDIR | Errno::PERM), None) => return Ok(Some(name.to_owned())),
            (Err(errno), _) => return Err(Error::io(REMOVE, &format!("unlinkat({name:?})"), errno)),
        }
    }
    Ok(None)
}

fn move_up(folder: &OwnedFd, name: &CStr, above: &OwnedFd, moved: &mut u64) -> Result<()> {
    loop {
        *moved += 1;
        let free = format!(".removed-{moved}");
        match renameat_with(folder, name, above, free.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // The guest had a file of this name.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io(REMOVE, &format!("renameat2({name:?})"), errno)),
        }
    }
}

/// A folder on the way down: which one it is, and which below it are still to be looked at.
struct Level {
    is: (u64, u64),
    pending: Vec<CString>,
}

/// What everything below takes on disk, hard links counted as often as they stand. What vanishes meanwhile is left out.
///
/// # Errors
/// A folder cannot be read, or was moved while it was measured.
pub(super) fn disk_use(top: BorrowedFd<'_>) -> Result<DiskUse> {
    let mut total = DiskUse::default();
    let mut at = open(top, c".").at(MEASURE, "openat()")?;
    let mut way = vec![level(&at, &mut total)?];
    while let Some(here) = way.last_mut() {
        if let Some(name) = here.pending.pop() {
            match open(at.as_fd(), &name) {
                Ok(below) => at = below,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(Error::io(MEASURE, &format!("openat({name:?})"), errno)),
            }
            way.push(level(&at, &mut total)?);
        } else {
            way.pop();
            let Some(above) = way.last() else { break };
            at = open(at.as_fd(), c"..").at(MEASURE, "openat(\"..\")")?;
            if identity(&at)? != above.is {
                return Err(Error::failed(MEASURE, "a folder was moved meanwhile").hint("try again when the container does less"));
            }
        }
    }
    Ok(total)
}

fn identity(folder: &OwnedFd) -> Result<(u64, u64)> {
    let stat = fstat(folder).at(MEASURE, "fstat()")?;
    Ok((stat.st_dev, stat.st_ino))
}

fn level(folder: &OwnedFd, total: &mut DiskUse) -> Result<Level> {
    let mut pending = Vec::new();
    for entry in Dir::read_from(folder).at(MEASURE, "getdents()")? {
        let entry = entry.at(MEASURE, "getdents()")?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other.at(MEASURE, "fstatat()")?,
        };
        total.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        total.inodes += 1;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            pending.push(name.to_owned());
        }
    }
    Ok(Level {
        is: identity(folder)?,
        pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH: usize = 5000;

    /// A tree deeper than any path is long, with a file in every folder.
    fn deep(top: &OwnedFd) {
        let mut at = top.try_clone().unwrap();
        for depth in 0..DEPTH {
            let name = if depth == 0 { "tree" } else { "d" };
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = openat(&at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            let file = openat(&at, "file", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RWXU).unwrap();
            rustix::io::write(&file, b"x").unwrap();
        }
    }

    #[test]
    fn a_tree_of_any_depth_is_measured_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top: OwnedFd = std::fs::File::open(dir.path()).unwrap().into();
        deep(&top);
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "stays").unwrap();
        // Names that the removal itself would use, and links out of the tree.
        std::fs::create_dir_all(dir.path().join("tree/a/b/c")).unwrap();
        std::fs::write(dir.path().join("tree/.removed-1"), "").unwrap();
        std::os::unix::fs::symlink(&outside, dir.path().join("tree/a/link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("tree/a/b/folder")).unwrap();
        let tree = open(top.as_fd(), c"tree").unwrap();
        let found = disk_use(tree.as_fd()).unwrap();
        // The folders below the top one, a file in each, and the six of this test.
        assert_eq!(found.inodes, 2 * DEPTH as u64 - 1 + 6);
        assert!(found.bytes >= DEPTH as u64 * 512);
        remove_tree(top.as_fd(), "tree").unwrap();
        assert!(!dir.path().join("tree").exists());
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "stays");
        remove_tree(top.as_fd(), "tree").unwrap();
    }

    #[test]
    fn a_layer_leaves_its_place_before_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folders = crate::rootfs::Folders::make(dir.path()).unwrap();
        let digest: model::Digest = "ab".repeat(32).parse().unwrap();
        std::fs::create_dir_all(dir.path().join("layers").join(digest.as_str()).join("etc")).unwrap();
        std::fs::create_dir_all(dir.path().join("staging").join(format!("removed-{}", digest.as_str())).join("half")).unwrap();
        folders.remove_layer(&digest).unwrap();
        assert_eq!(folders.layers(), []);
        assert_eq!(std::fs::read_dir(dir.path().join("staging")).unwrap().count(), 0);
        folders.remove_layer(&digest).unwrap();
    }
}
