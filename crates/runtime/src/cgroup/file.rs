//! Reading and writing kernel files by directory descriptor: a group that is removed and made again under the same name is
//! another group, and a descriptor notices.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};

/// Longest kernel file read here: `memory.stat` has about 2 KiB, `cgroup.procs` of a large group more.
const MAX_BYTES: usize = 1 << 20;

/// Opens a directory without following a link at its end.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a directory below another one.
pub(crate) fn open_below(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a file of the group for reading.
pub(crate) fn open(directory: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    Ok(openat(directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// The file's text.
pub(crate) fn read(directory: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut text = String::new();
    reread(&open(directory, name)?, &mut text)?;
    Ok(text)
}

/// Reads an open kernel file from its start into a buffer that is reused from tick to tick.
pub(crate) fn reread(file: impl AsFd, text: &mut String) -> io::Result<()> {
    let mut bytes = std::mem::take(text).into_bytes();
    bytes.resize(bytes.capacity().max(4096), 0);
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            if filled >= MAX_BYTES {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            bytes.resize(filled * 2, 0);
        }
        match rustix::io::pread(&file, &mut bytes[filled..], filled as u64) {
            // seq files hand out a page at a time: only an empty read is the end, but a short first one saves the second call.
            Ok(0) => break,
            Ok(got) => {
                filled += got;
                if got < 2048 {
                    break;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    *text = String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(())
}

/// Writes a value in one call, as kernel files need it.
pub(crate) fn write(directory: BorrowedFd<'_>, name: &str, value: &str) -> io::Result<()> {
    let file = openat(directory, name, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes()))?;
    if written == value.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Names of the directories below.
pub(crate) fn children(directory: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}
