//! The container's console: a pseudo-terminal of its own devpts, bound over /dev/console; its master goes to the shim.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat};

use super::mounts::bind_over;
use crate::error::{At, Result};
use crate::sys;

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// The group `tty` of every distribution.
const TTY: u32 = 5;

impl Terminal {
    /// Opens a new terminal of the container's devpts; the slave by descriptor, never by path (CVE-2025-52565).
    ///
    /// # Errors
    /// No terminal is left, or the kernel refuses.
    pub fn open(pts: BorrowedFd<'_>) -> Result<Self> {
        let step = "open a terminal";
        let master = openat(pts, "ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\"pts/ptmx\")")?;
        sys::pty_unlock(master.as_fd()).at(step, "ioctl(TIOCSPTLCK)")?;
        let slave = sys::pty_peer(master.as_fd()).at(step, "ioctl(TIOCGPTPEER)")?;
        Ok(Self { master, slave })
    }
}

/// Opens the console and binds it over /dev/console.
///
/// # Errors
/// Names the call that failed.
pub fn make(pts: BorrowedFd<'_>) -> Result<Terminal> {
    let step = "make /dev/console";
    let terminal = Terminal::open(pts)?;
    fchown(&terminal.slave, Some(Uid::ROOT), Some(Gid::from_raw(TTY))).at(step, "fchown(console)")?;
    let dev = openat(
        CWD,
        "/dev",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step, "open(\"/dev\")")?;
    bind_over(step, terminal.slave.as_fd(), dev.as_fd(), "console")?;
    Ok(terminal)
}

/// Makes a terminal this process's own: a new session, the controlling terminal, standard input, output and error.
///
/// # Errors
/// Names the call that failed.
pub fn take(slave: BorrowedFd<'_>) -> Result<()> {
    let step = "take the terminal";
    rustix::process::setsid().at(step, "setsid()")?;
    sys::set_controlling_terminal(slave).at(step, "ioctl(TIOCSCTTY)")?;
    speak(slave)
}

/// As [`take`], but the terminal stays nobody's: a real init leads no session of its own on it, and the getty that it starts
/// there must find it free, or has no job control (busybox's does not even run).
///
/// # Errors
/// Names the call that failed.
pub fn share(slave: BorrowedFd<'_>) -> Result<()> {
    rustix::process::setsid().at("take the terminal", "setsid()")?;
    speak(slave)
}

/// Says something of Berth's on a terminal that nobody has taken yet, where the console's log keeps it.
pub fn say(slave: BorrowedFd<'_>, text: &str) {
    // Only a word: a container must not fail for it.
    rustix::io::write(slave, format!("berth: {text}\n").as_bytes()).ok();
}

fn speak(slave: BorrowedFd<'_>) -> Result<()> {
    let step = "take the terminal";
    for number in 0..3 {
        sys::duplicate_onto(slave, number).at(step, "dup2(slave)")?;
    }
    Ok(())
}
