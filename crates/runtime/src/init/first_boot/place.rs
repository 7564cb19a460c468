//! A folder of the container whose files are changed as a whole or not at all.
//!
//! Invariant: what was not read to its end is never written; a file is there as it was or as it shall be, whatever happens
//! in between.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{At, Result};
use crate::init::mounts::folder;

/// A longer file is left alone.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The folder, and its path for what is said.
#[derive(Debug)]
pub(super) struct Place {
    pub folder: OwnedFd,
    pub path: String,
}

/// What has a name.
pub(super) enum Found {
    Nothing,
    File(Whole),
    /// Something that is not changed, and why.
    Other(String),
}

/// A file that was read to its end.
pub(super) struct Whole {
    pub bytes: Vec<u8>,
    stat: Stat,
}

impl Place {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// Something else is there.
    pub fn open(root: BorrowedFd<'_>, path: &str, mode: u32) -> Result<Self> {
        Ok(Self {
            folder: folder(root, path, mode)?,
            path: format!("/{path}"),
        })
    }

    /// Reads a file to its end.
    pub fn look(&self, name: &str) -> Found {
        // Without waiting for the other end of a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Found::Nothing,
            Err(Errno::LOOP) => return Found::Other("it is a symbolic link".into()),
            Err(errno) => return Found::Other(format!("it cannot be opened ({errno})")),
        };
        let stat = match fstat(&file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => stat,
            Ok(_) => return Found::Other("it is no file".into()),
            Err(errno) => return Found::Other(format!("it cannot be looked at ({errno})")),
        };
        let mut bytes = Vec::new();
        match File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            Ok(got) if got as u64 > MAX_BYTES => Found::Other("it is longer than 1 MiB".into()),
            Ok(_) => Found::File(Whole { bytes, stat }),
            Err(error) => Found::Other(format!("it cannot be read ({error})")),
        }
    }

    /// Replaces a file by what `new` makes of it, or makes it; `None` from `new` leaves all as it is. The file keeps its
    /// owner and its rights, a new one is root's with `mode`. Says so when the file is nothing that can be changed.
    ///
    /// # Errors
    /// The disk is full or fails; the file is as it was.
    pub fn change(&self, name: &str, mode: u32, new: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>) -> Result<Option<String>> {
        let now = match self.look(name) {
            Found::Nothing => None,
            Found::File(whole) => Some(whole),
            Found::Other(why) => return Ok(Some(format!("{}/{name} was left as it is: {why}", self.path))),
        };
        let bytes = now.as_ref().map(|whole| whole.bytes.as_slice());
        match new(bytes) {
            Some(text) if bytes != Some(&text) => self.replace(name, &text, mode, now.as_ref().map(|whole| &whole.stat)).map(|()| None),
            _ => Ok(None),
        }
    }

    fn replace(&self, name: &str, text: &[u8], mode: u32, like: Option<&Stat>) -> Result<()> {
        let step = "prepare the container's files";
        let fresh = format!(".{name}.berth");
        // Left over from a start that was interrupted.
        unlinkat(&self.folder, fresh.as_str(), AtFlags::empty()).ok();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let call = |call: &str| format!("{call}(\"{}/{fresh}\")", self.path);
        let file = openat(&self.folder, fresh.as_str(), flags, Mode::RUSR | Mode::WUSR).at(step, &call("openat"))?;
        let fill = || {
            let (mode, owner) = like.map_or((mode, None), |stat| (stat.st_mode & 0o7777, Some((stat.st_uid, stat.st_gid))));
            if let Some((user, group)) = owner {
                fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).at(step, &call("fchown"))?;
            }
            // After the owner: a change of owner takes rights away.
            fchmod(&file, Mode::from_raw_mode(mode)).at(step, &call("fchmod"))?;
            let mut file = File::from(file);
            file.write_all(text).at(step, &call("write"))?;
            file.sync_all().at(step, &call("fsync"))?;
            renameat(&self.folder, fresh.as_str(), &self.folder, name).at(step, &call("renameat"))
        };
        fill().inspect_err(|_| {
            unlinkat(&self.folder, fresh.as_str(), AtFlags::empty()).ok();
        })
    }
}
