//! Stopping, thawing and killing everything in a group, and waiting until the kernel says that it is so. Works from a
//! directory descriptor alone, so that the shim can use it too.
//!
//! Invariant: on every error path of a freeze the group is thawed again (trust rule D28).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{file, parse};

/// How long a group may take to freeze; processes in uninterruptible sleep are waited for.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
/// How long killed processes may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(20);
/// A group that is removed while it is waited for wakes nobody: how often it is looked at without news.
const RENEWED_LOOK: Duration = Duration::from_millis(20);
/// Version 1 has no notification: how often its state is looked at.
const V1_INTERVAL: Duration = Duration::from_millis(2);

/// Freezes every process of the group and below; returns when the kernel says frozen.
///
/// # Errors
/// The group is gone, or a process did not stop within ten seconds; then the group has been thawed again.
pub fn freeze(unified: BorrowedFd<'_>) -> io::Result<()> {
    file::write(unified, "cgroup.freeze", "1")?;
    let frozen = wait_for_event(unified, FREEZE_DEADLINE, |events| parse::is_frozen(events) == Some(true));
    if frozen.is_err() {
        file::write(unified, "cgroup.freeze", "0")?;
    }
    frozen
}

/// Thaws the group.
///
/// # Errors
/// The group is gone.
pub fn thaw(unified: BorrowedFd<'_>) -> io::Result<()> {
    file::write(unified, "cgroup.freeze", "0")?;
    wait_for_event(unified, FREEZE_DEADLINE, |events| parse::is_frozen(events) != Some(true))
}

/// Kills every process of the group and below, frozen ones too; returns when the group is empty. A group that is removed
/// meanwhile held nobody.
///
/// # Errors
/// A process is stuck in the kernel.
pub fn kill(unified: BorrowedFd<'_>) -> io::Result<()> {
    unless_gone(file::write(unified, "cgroup.kill", "1").and_then(|()| wait_until_empty(unified, KILL_DEADLINE)))
}

fn unless_gone(killed: io::Result<()>) -> io::Result<()> {
    match killed {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

/// Whether this says that the group was removed. The kernel removes none with processes in it: one that is gone is empty.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Waits until no process lives in the group or below.
///
/// # Errors
/// The group is gone, or the time is up.
pub fn wait_until_empty(unified: BorrowedFd<'_>, within: Duration) -> io::Result<()> {
    wait_for_event(unified, within, |events| parse::is_populated(events) == Some(false))
}

/// Whether processes live in the group or below.
///
/// # Errors
/// The group is gone.
pub fn is_populated(unified: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(parse::is_populated(&file::read(unified, "cgroup.events")?) != Some(false))
}

/// Whether every process of the group has stopped.
///
/// # Errors
/// The group is gone.
pub fn is_frozen(unified: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(parse::is_frozen(&file::read(unified, "cgroup.events")?) == Some(true))
}

/// Waits on `cgroup.events`, which wakes poll(2) with POLLPRI on each change.
fn wait_for_event(unified: BorrowedFd<'_>, within: Duration, reached: impl Fn(&str) -> bool) -> io::Result<()> {
    let events = file::open(unified, "cgroup.events")?;
    let deadline = Instant::now() + within;
    let mut text = String::new();
    loop {
        file::reread(&events, &mut text)?;
        if reached(&text) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(left.min(RENEWED_LOOK).subsec_nanos()),
        };
        match poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Version 1: freezes through `freezer.state`. FREEZING is written again until it sticks, because a fork may slip through.
///
/// # Errors
/// As [`freeze`].
pub fn freeze_v1(freezer: BorrowedFd<'_>) -> io::Result<()> {
    let deadline = Instant::now() + FREEZE_DEADLINE;
    loop {
        file::write(freezer, "freezer.state", "FROZEN")?;
        if file::read(freezer, "freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            file::write(freezer, "freezer.state", "THAWED")?;
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        std::thread::sleep(V1_INTERVAL);
    }
}

/// Version 1: thaws.
///
/// # Errors
/// The group is gone.
pub fn thaw_v1(freezer: BorrowedFd<'_>) -> io::Result<()> {
    file::write(freezer, "freezer.state", "THAWED")
}

/// Version 1: freeze, kill all, thaw, until nobody is left. Frozen processes cannot fork and their numbers cannot be taken by
/// others, so that each number still means the process that was listed. A group that is removed meanwhile held nobody.
///
/// # Errors
/// A process is stuck in the kernel.
pub fn kill_v1(freezer: BorrowedFd<'_>) -> io::Result<()> {
    unless_gone(kill_all_listed(freezer))
}

fn kill_all_listed(freezer: BorrowedFd<'_>) -> io::Result<()> {
    let deadline = Instant::now() + KILL_DEADLINE;
    loop {
        let frozen = freeze_v1(freezer);
        let killed = kill_listed(freezer);
        // Thawed whatever happened: a frozen process cannot die.
        thaw_v1(freezer)?;
        if killed? == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(frozen.err().unwrap_or_else(|| io::Error::from(io::ErrorKind::TimedOut)));
        }
        std::thread::sleep(V1_INTERVAL);
    }
}

/// Version 1: whether processes live in the group or below.
///
/// # Errors
/// The group is gone.
pub fn is_populated_v1(group: BorrowedFd<'_>) -> io::Result<bool> {
    if parse::pids(&file::read(group, "cgroup.procs")?).next().is_some() {
        return Ok(true);
    }
    for child in file::children(group)? {
        match file::open_below(group, &child) {
            Ok(child) if is_populated_v1(child.as_fd())? => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Sends SIGKILL to everyone in the group and below; how many there were.
fn kill_listed(directory: BorrowedFd<'_>) -> io::Result<usize> {
    let text = file::read(directory, "cgroup.procs")?;
    let mut count = 0;
    for pid in parse::pids(&text).filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)) {
        count += 1;
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for child in file::children(directory)? {
        match file::open_below(directory, &child) {
            Ok(child) => count += kill_listed(child.as_fd())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
