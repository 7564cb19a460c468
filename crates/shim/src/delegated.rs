//! The part of the unified hierarchy that the guest may divide: which group a command is born in, and what a run of the
//! container must not leave to the next one.
//!
//! Invariant: nobody is born in a group that the guest made: it could be frozen, and its files are the guest's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use runtime::error::{At, Error, Result};

/// The group of commands; there already after the first one.
const EXECS: &str = "berth-exec";
/// rmdir may answer EBUSY for some 100 ms after the last process died.
const REMOVAL: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A group of our own below the delegated one, for commands: under systemd on version 2 the delegated one itself takes no
/// processes. `None` when there can be none (the guest used up all groups).
///
/// # Errors
/// The container is frozen: what is born in it would not run.
pub fn exec_group(delegated: &OwnedFd) -> Result<Option<OwnedFd>> {
    let group = ours(delegated, EXECS).or_else(|| {
        // The guest made that one; this name it cannot know before.
        let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid").ok()?;
        ours(delegated, &format!("{EXECS}.{}", unique.trim()))
    });
    let born_in = group.as_ref().unwrap_or(delegated);
    if read(born_in.as_fd(), "cgroup.events").is_some_and(|events| events.lines().any(|line| line == "frozen 1")) {
        return Err(Error::conflict("start a command in the container", "the container is frozen").hint("unfreeze it first"));
    }
    Ok(group)
}

/// Makes or opens a group; `None` when it is not the host root's, so that somebody inside made it.
fn ours(delegated: &OwnedFd, name: &str) -> Option<OwnedFd> {
    mkdirat(delegated, name, Mode::from_raw_mode(0o755)).ok();
    let group = open_folder(delegated.as_fd(), name).ok()?;
    (fstat(&group).ok()?.st_uid == 0).then_some(group)
}

fn open_folder(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Makes the delegated group a leaf again: the last run's groups are removed and no controller is passed down, because a
/// group that passes controllers down takes no processes, not even a new init.
///
/// # Errors
/// Something of the last run is still alive.
pub fn clear(delegated: &OwnedFd) -> Result<()> {
    let step = "clear the last run's cgroups";
    remove_children(delegated.as_fd(), Instant::now() + REMOVAL).at(step, "rmdir()")?;
    let passed_down = read(delegated.as_fd(), "cgroup.subtree_control").unwrap_or_default();
    for controller in passed_down.split_whitespace() {
        let file =
            openat(delegated, "cgroup.subtree_control", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\"cgroup.subtree_control\")")?;
        let word = format!("-{controller}");
        rustix::io::write(&file, word.as_bytes()).at(step, &format!("write(\"cgroup.subtree_control\", {word:?})"))?;
    }
    Ok(())
}

/// As deep as `cgroup.max.depth` lets a guest go.
fn remove_children(group: BorrowedFd<'_>, deadline: Instant) -> rustix::io::Result<()> {
    let mut names = Vec::new();
    for entry in Dir::read_from(group)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    for name in names {
        let open = openat(
            group,
            &name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        match open {
            Ok(child) => remove_children(child.as_fd(), deadline)?,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        }
        loop {
            match unlinkat(group, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => break,
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// A file of a group.
pub fn read(group: BorrowedFd<'_>, name: &str) -> Option<String> {
    let file = openat(group, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(file), &mut text).ok()?;
    Some(text)
}
