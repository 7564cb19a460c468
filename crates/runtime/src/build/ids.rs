//! Ids for one build at a time: packages' scripts of two builds, or of two Berths, never meet as the same user, and the
//! network rules of one do not bind the other.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat};
use rustix::io::Errno;

use crate::error::{At, Error, Result};
use crate::init::host_folder;

/// Above the pool of containers and what systemd gives out (systemd.io/UIDS-GIDS), below 2^31.
const FIRST: u32 = 1_879_113_728;
const COUNT: u32 = 65_536;
/// Builds at a time on one machine.
const MOST: u32 = 16;
/// Kernel locks, gone with their holder; the files say nothing.
const LOCKS: &str = "/run/berth-builders";

/// 65,536 ids that nobody else has while this lives.
#[derive(Debug)]
pub struct Ids {
    number: u32,
    #[expect(dead_code, reason = "held, not read: its flock is the claim")]
    lock: OwnedFd,
}

impl Ids {
    /// Claims the first free range.
    ///
    /// # Errors
    /// `Conflict` when all are in use.
    pub fn claim() -> Result<Self> {
        let step = "claim ids for the build";
        match mkdirat(CWD, LOCKS, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io(step, &format!("mkdir({LOCKS:?})"), errno)),
        }
        let folder = host_folder(Path::new(LOCKS))?;
        for number in 0..MOST {
            if let Some(ids) = Self::take(&folder, number)? {
                return Ok(ids);
            }
        }
        Err(Error::conflict(step, format!("{MOST} builds run on this machine already")).hint("wait until one has ended"))
    }

    /// Claims every range that no build holds, for what crashes left behind; empty when nothing was built since the boot.
    #[must_use]
    pub fn free() -> Vec<Self> {
        let Ok(folder) = host_folder(Path::new(LOCKS)) else { return Vec::new() };
        (0..MOST).filter_map(|number| Self::take(&folder, number).ok().flatten()).collect()
    }

    fn take(folder: &OwnedFd, number: u32) -> Result<Option<Self>> {
        let step = "claim ids for the build";
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(folder, number.to_string(), flags, Mode::RUSR | Mode::WUSR).at(step, &format!("openat(\"{LOCKS}/{number}\")"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { number, lock })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(Error::io(step, "flock()", errno)),
        }
    }

    /// The first of them.
    #[must_use]
    pub const fn first(&self) -> u32 {
        FIRST + self.number * COUNT
    }

    /// The last of them.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.first() + COUNT - 1
    }

    /// As /proc/PID/uid_map takes it.
    #[must_use]
    pub fn map(&self) -> String {
        format!("0 {} {COUNT}", self.first())
    }

    /// The name of their table of network rules.
    #[must_use]
    pub fn table(&self) -> String {
        format!("berth_build_{}", self.number)
    }

    /// A range that nobody claims.
    #[cfg(test)]
    pub fn for_test(number: u32) -> Self {
        let lock = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("every machine has it");
        Self { number, lock }
    }
}
