//! Writing one entry below the root: parents by openat2 beneath it, names byte-exact, nothing followed that an archive
//! could have planted.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags, chownat, fchmod, fchown, fsetxattr, linkat, mkdirat, mknodat, openat,
    openat2, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{At, Error, Result};

/// Longest path and component (path_resolution(7), limits.h).
const PATH_BYTES: usize = 4095;
const NAME_BYTES: usize = 255;

/// Owner, rights, time and attributes of an entry.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    pub uid: u64,
    pub gid: u64,
    pub mode: u32,
    pub mtime: i64,
    pub nanoseconds: u32,
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// The world below the root.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

/// A refusal that names the entry, with control characters escaped.
pub fn refuse(entry: &[u8], why: impl std::fmt::Display) -> Error {
    Error::invalid("unpack the archive", format!("the entry \"{}\" is refused: {why}", entry.escape_ascii()))
}

fn fail(entry: &[u8], call: &str, errno: Errno) -> Error {
    let error = Error::io("unpack the archive", &format!("{call} for \"{}\"", entry.escape_ascii()), errno);
    if errno == Errno::NOSPC || errno == Errno::DQUOT {
        Error {
            code: model::ErrorCode::NoSpace,
            ..error
        }
    } else {
        error
    }
}

/// The path of an entry without leading `/` and `./`; empty for the root itself.
///
/// # Errors
/// `..`, NUL, or too long.
pub fn clean(name: &[u8]) -> Result<Vec<&[u8]>> {
    if name.len() > PATH_BYTES {
        return Err(refuse(
            name.get(..64).unwrap_or_default(),
            format!("its path has {} bytes, more than {PATH_BYTES}", name.len()),
        ));
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    for part in &parts {
        if *part == b".." {
            return Err(refuse(name, "it leads out of the archive"));
        }
        if part.contains(&0) {
            return Err(refuse(name, "its name holds a NUL"));
        }
        if part.len() > NAME_BYTES {
            return Err(refuse(name, format!("a part of its path has more than {NAME_BYTES} bytes")));
        }
    }
    Ok(parts)
}

impl Tree {
    /// The tree below the present root.
    ///
    /// # Errors
    /// The root cannot be opened.
    pub fn open() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: openat(CWD, "/", flags, Mode::empty()).at("unpack the archive", "openat(\"/\")")?,
        })
    }

    /// Opens the folder of an entry, making what is missing; links are followed only where they stay inside.
    fn parent(&self, entry: &[u8], parts: &[&[u8]]) -> Result<OwnedFd> {
        let mut folder = self.root.try_clone().at("unpack the archive", "dup()")?;
        let mut path: Vec<u8> = Vec::new();
        for part in parts {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
            // From the root each time: a link on the way is judged as a whole.
            folder = match self.beneath(&path) {
                Ok(folder) => folder,
                Err(Errno::NOENT) => {
                    mkdirat(&folder, OsStr::from_bytes(part), Mode::from_raw_mode(0o755)).map_err(|errno| fail(entry, "mkdirat()", errno))?;
                    self.beneath(&path).map_err(|errno| fail(entry, "openat2()", errno))?
                }
                Err(Errno::XDEV | Errno::LOOP) => return Err(refuse(entry, "its folder is a link that leads out of the archive")),
                Err(Errno::NOTDIR) => return Err(refuse(entry, "its folder is a file")),
                Err(errno) => return Err(fail(entry, "openat2()", errno)),
            };
        }
        Ok(folder)
    }

    fn beneath(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(
            &self.root,
            OsStr::from_bytes(path),
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )
    }

    fn place<'a>(&self, entry: &[u8], parts: &[&'a [u8]]) -> Result<(OwnedFd, &'a OsStr)> {
        let (name, parents) = parts.split_last().ok_or_else(|| refuse(entry, "it has no name"))?;
        Ok((self.parent(entry, parents)?, OsStr::from_bytes(name)))
    }

    /// Takes away what stands in the way of an entry that comes again; a full folder stays and is a refusal.
    fn make_room(entry: &[u8], folder: &OwnedFd, name: &OsStr) -> Result<()> {
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
                Ok(()) => Ok(()),
                Err(_) => Err(refuse(entry, "a folder with content stands at its place")),
            },
            Err(errno) => Err(fail(entry, "unlinkat()", errno)),
        }
    }

    /// Makes a folder, or takes over one that is there.
    ///
    /// # Errors
    /// Refused, or the disk fails.
    pub fn folder(&self, entry: &[u8], parts: &[&[u8]], meta: &Meta) -> Result<()> {
        if parts.is_empty() {
            return apply(entry, self.root.as_fd(), meta);
        }
        let (parent, name) = self.place(entry, parts)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = match openat(&parent, name, flags, Mode::empty()) {
            Ok(there) => there,
            Err(errno) => {
                if errno != Errno::NOENT {
                    Self::make_room(entry, &parent, name)?;
                }
                mkdirat(&parent, name, Mode::RWXU).map_err(|errno| fail(entry, "mkdirat()", errno))?;
                openat(&parent, name, flags, Mode::empty()).map_err(|errno| fail(entry, "openat()", errno))?
            }
        };
        apply(entry, made.as_fd(), meta)
    }

    /// Makes a new file for writing.
    ///
    /// # Errors
    /// Refused, or the disk fails.
    pub fn file(&self, entry: &[u8], parts: &[&[u8]]) -> Result<File> {
        let (parent, name) = self.place(entry, parts)?;
        Self::make_room(entry, &parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(
            openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map_err(|errno| fail(entry, "openat()", errno))?,
        ))
    }

    /// Makes a symbolic link; its target is data.
    ///
    /// # Errors
    /// Refused, or the disk fails.
    pub fn symlink(&self, entry: &[u8], parts: &[&[u8]], target: &[u8], meta: &Meta) -> Result<()> {
        let (parent, name) = self.place(entry, parts)?;
        Self::make_room(entry, &parent, name)?;
        let target = CString::new(target).map_err(|_| refuse(entry, "its target holds a NUL"))?;
        symlinkat(target.as_c_str(), &parent, name).map_err(|errno| fail(entry, "symlinkat()", errno))?;
        let (uid, gid) = owner(entry, meta)?;
        chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| fail(entry, "fchownat()", errno))?;
        utimensat(&parent, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| fail(entry, "utimensat()", errno))
    }

    /// Makes a hard link to an entry that came before.
    ///
    /// # Errors
    /// Refused when the target is not there, or the disk fails.
    pub fn link(&self, entry: &[u8], parts: &[&[u8]], target: &[u8]) -> Result<()> {
        let target_parts = clean(target).map_err(|_| refuse(entry, "the file that it links to lies outside of the archive"))?;
        let (from, from_name) = self.place(entry, &target_parts)?;
        let stat =
            rustix::fs::statat(&from, from_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| refuse(entry, "the file that it links to is not in the archive"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(refuse(entry, "it links to a folder"));
        }
        if target_parts == parts {
            return Ok(());
        }
        let (parent, name) = self.place(entry, parts)?;
        Self::make_room(entry, &parent, name)?;
        // Without AT_SYMLINK_FOLLOW: a link is linked itself.
        linkat(&from, from_name, &parent, name, AtFlags::empty()).map_err(|errno| fail(entry, "linkat()", errno))
    }

    /// Makes a named pipe. It is never opened.
    ///
    /// # Errors
    /// Refused, or the disk fails.
    pub fn pipe(&self, entry: &[u8], parts: &[&[u8]], meta: &Meta) -> Result<()> {
        let (parent, name) = self.place(entry, parts)?;
        Self::make_room(entry, &parent, name)?;
        mknodat(&parent, name, FileType::Fifo, Mode::from_raw_mode(meta.mode & 0o777), 0).map_err(|errno| fail(entry, "mknodat()", errno))?;
        let (uid, gid) = owner(entry, meta)?;
        chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| fail(entry, "fchownat()", errno))?;
        utimensat(&parent, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| fail(entry, "utimensat()", errno))
    }

    /// Gives a folder its time again after its content was written.
    pub fn touch(&self, parts: &[&[u8]], meta: &Meta) {
        if parts.is_empty() {
            // The root itself; its owner may set it.
            rustix::fs::futimens(&self.root, &times(meta)).ok();
        } else if let Ok((parent, name)) = self.place(b"", parts) {
            // A folder that a later entry replaced needs none.
            utimensat(&parent, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW).ok();
        }
    }

    /// Names at the top.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let step = "look at what was unpacked";
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.root).at(step, "getdents()")? {
            let name = entry.at(step, "getdents()")?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The tree below a folder at the top.
    #[must_use]
    pub fn below(&self, name: &str) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat2(&self.root, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS).ok()?;
        Some(Self { root })
    }

    /// Whether something is there, as the container would find it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS).is_ok()
    }

    /// A small file below the root, for what is told about the template.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        use std::io::Read as _;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(&self.root, path, flags, Mode::empty(), resolve).ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut text = String::new();
        file.take(64 << 10).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

fn owner(entry: &[u8], meta: &Meta) -> Result<(rustix::fs::Uid, rustix::fs::Gid)> {
    let id = |id: u64| {
        u32::try_from(id)
            .ok()
            .filter(|id| *id < 65_536)
            .ok_or_else(|| refuse(entry, format!("its owner {id} is not one of 0 to 65535")))
    };
    Ok((rustix::fs::Uid::from_raw(id(meta.uid)?), rustix::fs::Gid::from_raw(id(meta.gid)?)))
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.mtime,
        tv_nsec: meta.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Owner first: a change of owner takes set-user-id bits and capabilities away.
///
/// # Errors
/// An owner outside the container's ids, or the disk fails.
pub fn apply(entry: &[u8], file: BorrowedFd<'_>, meta: &Meta) -> Result<()> {
    let (uid, gid) = owner(entry, meta)?;
    fchown(file, Some(uid), Some(gid)).map_err(|errno| fail(entry, "fchown()", errno))?;
    fchmod(file, Mode::from_raw_mode(meta.mode & 0o7777)).map_err(|errno| fail(entry, "fchmod()", errno))?;
    for (name, value) in meta.xattrs.iter().filter(|(name, _)| is_kept(name)) {
        match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
            // A file system without them still carries the container.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(fail(entry, &format!("fsetxattr({name:?})"), errno)),
        }
    }
    rustix::fs::futimens(file, &times(meta)).map_err(|errno| fail(entry, "futimens()", errno))
}

/// What has a meaning inside: capabilities, access lists and what users wrote; never what overlayfs would act upon.
fn is_kept(name: &str) -> bool {
    let is_user = name.starts_with("user.") && !name.starts_with("user.overlay.");
    is_user || matches!(name, "security.capability" | "system.posix_acl_access" | "system.posix_acl_default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_root() {
        assert_eq!(clean(b"./usr//bin/./sh").unwrap(), [&b"usr"[..], b"bin", b"sh"]);
        assert_eq!(clean(b"/etc/passwd").unwrap(), [&b"etc"[..], b"passwd"]);
        assert!(clean(b"./").unwrap().is_empty());
        for evil in [&b"../x"[..], b"a/../../x", b"a\0b", b"./..//x"] {
            assert!(clean(evil).is_err(), "{}", evil.escape_ascii());
        }
        assert!(clean(&[b'a'; 256]).is_err() && clean(&[b'/'; 5000]).is_err());
    }

    #[test]
    fn only_attributes_with_a_meaning_inside_are_kept() {
        assert!(is_kept("security.capability") && is_kept("user.comment"));
        assert!(!is_kept("trusted.overlay.opaque") && !is_kept("user.overlay.opaque") && !is_kept("security.selinux"));
    }
}
