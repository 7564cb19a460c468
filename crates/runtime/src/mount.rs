//! The mounts that a container was given: what they are on the way to the shim and init, how a folder of the host is
//! opened, and how a mount gets to its place inside.
//!
//! Invariant: a folder of the host is opened by a path without any symbolic link, and from then on it is a descriptor: what
//! a container with rights on a folder above renames or links leads nowhere else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use model::ErrorCode;
use model::storage::{self, Mount};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::error::{At, Error, Result};
use crate::init::identity;
use crate::init::mounts::{attach, file_system, folder};
use crate::sys;

/// Opens the folder of the host that a mount brings in, if it is released and nothing of Berth's own.
///
/// # Errors
/// `NotAllowed` when it is not released, `Invalid` when it is missing, no folder, or behind a symbolic link.
pub fn open_source(source: &str, roots: &[String], own: &[&Path]) -> Result<OwnedFd> {
    let step = format!("open the folder {source} of the host");
    storage::check_path(source).map_err(|why| Error::invalid(&step, why))?;
    let not_allowed = |message: String| Error {
        code: ErrorCode::NotAllowed,
        ..Error::failed(&step, message)
    };
    storage::check_released(source, roots).map_err(|why| not_allowed(why).hint(storage::HOW_TO_RELEASE))?;
    if let Some(own) = own.iter().find(|own| Path::new(source).starts_with(own) || own.starts_with(source)) {
        let error = not_allowed(format!("it holds or is {}, where Berth keeps its own files", own.display()));
        return Err(error.hint("choose another folder"));
    }
    openat2(
        CWD,
        source,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|errno| {
        let error = Error {
            code: ErrorCode::Invalid,
            ..Error::io(&step, &format!("openat2({source:?}, NO_SYMLINKS)"), errno)
        };
        match errno {
            Errno::NOENT => error.hint("make it, or give the mount another source"),
            Errno::LOOP => error.hint("its path holds a symbolic link: name the folder by its real path (`realpath`)"),
            Errno::NOTDIR => error.hint("only folders can be mounted: name the folder that the file is in"),
            _ => error,
        }
    })
}

/// As one field of the messages to shim and init.
#[must_use]
pub fn encode(mount: &Mount) -> String {
    let size = mount.size_bytes.map(|size| size.to_string()).unwrap_or_default();
    let mode = if mount.read_only { "ro" } else { "rw" };
    // No path of a mount holds a line break.
    [mode, &size, &mount.target, &mount.source].join("\n")
}

/// The inverse; `None` when a part is missing.
#[must_use]
pub fn decode(text: &str) -> Option<Mount> {
    let mut parts = text.splitn(4, '\n');
    let (mode, size, target, source) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: mode == "ro",
        size_bytes: size.parse().ok(),
    })
}

/// A mount for init: its target, and the tree that goes there.
#[derive(Debug)]
pub struct Given {
    pub mount: Mount,
    /// Absent for a file system in memory, which init makes.
    pub tree: Option<OwnedFd>,
}

/// Attaches mounts below this process's root, in their order. No target is reached through a symbolic link.
///
/// # Errors
/// Names the target.
pub fn attach_all(given: &[Given]) -> Result<()> {
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("open the root", "open(\"/\")")?;
    for Given { mount, tree } in given {
        let step = format!("mount {} on {}", mount.source, mount.target);
        let place = folder(root.as_fd(), &mount.target, 0o755)?;
        let attached = match tree {
            Some(tree) => attach(&step, tree, place.as_fd(), &mount.target),
            None => attach(&step, &memory(&step, mount)?, place.as_fd(), &mount.target),
        };
        attached?;
    }
    Ok(())
}

/// Joins a running container and attaches a mount there. Only for a process that has nothing else to do.
///
/// # Errors
/// Names the target, or the container has ended.
pub fn attach_in(init: BorrowedFd<'_>, given: Given) -> Result<()> {
    sys::join_namespaces(init, libc::CLONE_NEWUSER | libc::CLONE_NEWNS).at("join the container", "setns(user|mnt)")?;
    // What is made on the way to the target is the container's own.
    identity::become_root()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    attach_all(&[given])
}

fn memory(step: &str, mount: &Mount) -> Result<OwnedFd> {
    let size = mount.size_bytes.map(|size| size.to_string());
    let mut options = vec![("mode", Some("755"))];
    options.extend(size.as_deref().map(|size| ("size", Some(size))));
    file_system(step, "tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_survives_the_way() {
        for text in ["/srv/a b:/data", "/srv:/data:ro", "tmpfs:/cache", "tmpfs:/cache:size=1M"] {
            let mount: Mount = text.parse().unwrap();
            assert_eq!(decode(&encode(&mount)), Some(mount));
        }
        assert_eq!(decode("rw\n\n/data"), None);
    }

    /// A folder with a real path, which the system's folder for temporary files need not have.
    fn place() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(folder.path()).unwrap().display().to_string();
        (folder, real)
    }

    #[test]
    fn only_a_released_folder_with_a_real_path_is_opened() {
        let (_folder, top) = place();
        let at = |path: &str| format!("{top}/{path}");
        for folder in ["share/in", "secret/in"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("share/file"), "").unwrap();
        std::os::unix::fs::symlink(at("secret"), at("share/link")).unwrap();
        std::os::unix::fs::symlink("in", at("share/near")).unwrap();
        let roots = [at("share")];
        let open = |path: &str| open_source(&at(path), &roots, &[]).map(drop).map_err(|error| (error.code, error.message));
        assert_eq!((open("share"), open("share/in")), (Ok(()), Ok(())));
        for (path, code, said) in [
            ("secret", ErrorCode::NotAllowed, "is not released"),
            ("share/../secret", ErrorCode::Invalid, "`..`"),
            ("share/link", ErrorCode::Invalid, "NO_SYMLINKS"),
            ("share/link/in", ErrorCode::Invalid, "NO_SYMLINKS"),
            ("share/near", ErrorCode::Invalid, "NO_SYMLINKS"),
            ("share/missing", ErrorCode::Invalid, "No such file"),
            ("share/file", ErrorCode::Invalid, "Not a directory"),
        ] {
            let (refused, message) = open(path).unwrap_err();
            assert_eq!(refused, code, "{path}: {message}");
            assert!(message.contains(said), "{path}: {message}");
        }
    }

    #[test]
    fn berths_own_folders_stay_outside() {
        let (_folder, top) = place();
        let state = Path::new(&top).join("lib/berth");
        std::fs::create_dir_all(state.join("containers")).unwrap();
        let roots = [top.clone()];
        for inside in ["", "/lib", "/lib/berth", "/lib/berth/containers"] {
            let refused = open_source(&format!("{top}{inside}"), &roots, &[&state]).unwrap_err();
            assert_eq!(refused.code, ErrorCode::NotAllowed, "{inside}: {refused}");
        }
        std::fs::create_dir(format!("{top}/lib/other")).unwrap();
        open_source(&format!("{top}/lib/other"), &roots, &[&state]).unwrap();
    }
}
