//! Folders of the host for the container: clones with the container's ids and with attributes that the guest cannot take
//! back.
//!
//! The guest's root may change every mount of its mount namespace, unless the kernel locked the mount's attributes, which it
//! does only when a mount namespace of a more privileged user namespace is copied (mount_namespaces(7)). So a child mounts
//! the clones in a namespace of its own, joins the container's user namespace, takes a copy of that mount namespace, and
//! clones them once more from there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags, open_tree};

use model::storage::Mount;
use runtime::error::{At, Error, Result};
use runtime::init::host_folder;
use runtime::init::mounts::{attach, file_system};
use runtime::mount::Given;
use runtime::sys;

use crate::child;
use crate::start::{Init, Start};

const STEP: &str = "prepare the folders of the host";
/// A guest's own file system could make a mount hang: the shim must not hang with it.
const PATIENCE_MS: i64 = 10_000;
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// Detached mounts of folders of the host, in their order: only the folder's own file system, without what is mounted
/// below it.
///
/// # Errors
/// Names the folder, and what its file system cannot do.
pub fn trees(sources: &[(Mount, OwnedFd)], stage: &Path, users: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let mapped: Vec<OwnedFd> = sources.iter().map(|(mount, folder)| mapped(mount, folder, users)).collect::<Result<_>>()?;
    child::ask(STEP, libc::CLONE_NEWNS, None, || locked(&mapped, stage, users))
}

/// Brings one more mount into the running container, and into every run that this shim makes after it.
///
/// # Errors
/// As [`trees`]; names the target where it cannot be mounted on, and then nothing is changed.
pub fn add(start: &mut Start, init: &Init, mount: Mount, folder: Option<OwnedFd>) -> Result<()> {
    let step = "add a mount to the container";
    if folder.is_some() == mount.is_tmpfs() {
        return Err(Error::invalid(step, "a folder of the host comes with its descriptor, and nothing else does"));
    }
    let path = format!("/proc/{}/ns/user", init.pid);
    let users = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(step, &format!("open({path:?})"))?;
    let sources: Vec<(Mount, OwnedFd)> = folder.map(|folder| (mount.clone(), folder)).into_iter().collect();
    let given = Given {
        mount: mount.clone(),
        tree: trees(&sources, start.stage(), users.as_fd())?.pop(),
    };
    child::ask(step, 0, Some(PATIENCE_MS), || {
        runtime::mount::attach_in(init.pidfd.as_fd(), given).map(|()| Vec::new())
    })?;
    start.sources.extend(sources);
    start.fields.0.push(("mount".to_owned(), runtime::mount::encode(&mount)));
    in_order(start);
    Ok(())
}

/// As the engine orders them for a start: those above come before what lies in them.
fn in_order(start: &mut Start) {
    let mut mounts: Vec<Mount> = start.fields.all("mount").filter_map(runtime::mount::decode).collect();
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    start.fields.0.retain(|(key, _)| key != "mount");
    let fields = mounts.iter().map(|mount| ("mount".to_owned(), runtime::mount::encode(mount)));
    start.fields.0.extend(fields);
    start.sources.sort_by(|(one, _), (other, _)| one.target.cmp(&other.target));
}

fn mapped(mount: &Mount, folder: &OwnedFd, users: BorrowedFd<'_>) -> Result<OwnedFd> {
    let read_only = if mount.read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | read_only;
    let way_out = "the folder must lie on a file system with idmapped mounts, such as ext4, xfs or btrfs, and be mounted without mapped ids";
    idmapped(&mount.source, folder, users, attributes, way_out)
}

/// A detached clone of a folder's mount with the ids of a user namespace and these attributes (mount_setattr(2)).
///
/// # Errors
/// Names what it is a clone of, and the way out where its file system cannot.
pub fn idmapped(what: &str, folder: &OwnedFd, users: BorrowedFd<'_>, attributes: u64, way_out: &str) -> Result<OwnedFd> {
    let step = format!("map the ids of {what}");
    let tree = open_tree(folder, "", CLONE | OpenTreeFlags::AT_EMPTY_PATH).at(&step, "open_tree(CLONE)")?;
    sys::mount_setattr(tree.as_fd(), attributes, 0, Some(users)).map_err(|error| {
        let mut error = Error::io(&step, "mount_setattr(IDMAP)", error);
        error.code = model::ErrorCode::Unsupported;
        error.hint(way_out)
    })?;
    Ok(tree)
}

/// In a mount namespace of this process's own.
fn locked(mapped: &[OwnedFd], stage: &Path, users: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let change = |kind: MountPropagationFlags, call: &str| rustix::mount::mount_change(c"/", kind | MountPropagationFlags::REC).at(STEP, call);
    change(MountPropagationFlags::DOWNSTREAM, "mount(\"/\", MS_REC|MS_SLAVE)")?;
    let place = file_system(
        STEP,
        "tmpfs",
        &[("size", Some("64k")), ("mode", Some("700"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID,
    )?;
    attach(STEP, &place, host_folder(stage)?.as_fd(), "stage")?;
    for (index, tree) in mapped.iter().enumerate() {
        let name = index.to_string();
        mkdirat(&place, name.as_str(), Mode::RWXU).at(STEP, &format!("mkdirat({name:?})"))?;
        let target = openat(&place, name.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(STEP, &format!("openat({name:?})"))?;
        attach(STEP, tree, target.as_fd(), &name)?;
    }
    // What is mounted there on the host later shall not appear inside, and nothing of the inside outside.
    change(MountPropagationFlags::PRIVATE, "mount(\"/\", MS_REC|MS_PRIVATE)")?;
    // The copy takes the working directory along.
    rustix::process::fchdir(&place).at(STEP, "fchdir(stage)")?;
    sys::join_namespaces(users, libc::CLONE_NEWUSER).at(STEP, "setns(user)")?;
    sys::unshare(libc::CLONE_NEWNS).at(STEP, "unshare(CLONE_NEWNS)")?;
    let clone = |index: usize| open_tree(CWD, index.to_string(), CLONE).at(STEP, &format!("open_tree(\"{index}\", CLONE)"));
    (0..mapped.len()).map(clone).collect()
}
