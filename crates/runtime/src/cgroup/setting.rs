//! One limit: what its file is called on each cgroup version, and writing it through cgroups-rs.
//!
//! The library takes directories by path. It gets `/proc/self/fd/N`, so that a group that was removed and made again under
//! the same name is another group here too. What it does not do well stays ours: finding hierarchies (it knows no hybrid
//! ones), freezing and killing, removal, and undoing.

use std::error::Error as _;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use cgroups_rs::MaxValue;
use cgroups_rs::blkio::BlkIoController;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuset::CpuSetController;
use cgroups_rs::memory::{MemController, SetMemory};
use cgroups_rs::pid::PidController;

/// A throttle rule that nothing reaches: without a rule version 1 counts no bytes.
const NO_THROTTLE_V1: u64 = 100_000_000_000;
/// What io.max reads as `max` (block/blk-throttle.c), which the library cannot spell.
const NO_THROTTLE_V2: u64 = u64::MAX;

/// A limit with its value; `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// cpu.weight, or the shares of version 1.
    Weight(u64),
    /// Version 1 only: on version 2 it stands beside the quota.
    Period {
        usec: u64,
    },
    Quota {
        usec: Option<u64>,
        period_usec: u64,
    },
    Cpus(String),
    Memory(Option<u64>),
    /// memory.high, or the soft limit of version 1.
    High(Option<u64>),
    /// Version 2: of swap alone. Version 1: of memory and swap together.
    Swap(Option<u64>),
    Pids(Option<u64>),
    Read {
        disk: (u32, u32),
        bps: Option<u64>,
    },
    Written {
        disk: (u32, u32),
        bps: Option<u64>,
    },
}

impl Setting {
    pub(super) fn controller(&self, is_v2: bool) -> &'static str {
        match self {
            Self::Weight(_) | Self::Period { .. } | Self::Quota { .. } => "cpu",
            Self::Cpus(_) => "cpuset",
            Self::Memory(_) | Self::High(_) | Self::Swap(_) => "memory",
            Self::Pids(_) => "pids",
            Self::Read { .. } | Self::Written { .. } if is_v2 => "io",
            Self::Read { .. } | Self::Written { .. } => "blkio",
        }
    }

    pub(super) fn file(&self, is_v2: bool) -> &'static str {
        let (v1, v2) = match self {
            Self::Weight(_) => ("cpu.shares", "cpu.weight"),
            Self::Period { .. } => ("cpu.cfs_period_us", "cpu.max"),
            Self::Quota { .. } => ("cpu.cfs_quota_us", "cpu.max"),
            Self::Cpus(_) => ("cpuset.cpus", "cpuset.cpus"),
            Self::Memory(_) => ("memory.limit_in_bytes", "memory.max"),
            Self::High(_) => ("memory.soft_limit_in_bytes", "memory.high"),
            Self::Swap(_) => ("memory.memsw.limit_in_bytes", "memory.swap.max"),
            Self::Pids(_) => ("pids.max", "pids.max"),
            Self::Read { .. } => ("blkio.throttle.read_bps_device", "io.max"),
            Self::Written { .. } => ("blkio.throttle.write_bps_device", "io.max"),
        };
        if is_v2 { v2 } else { v1 }
    }

    /// What is written, as strace would show it.
    pub(super) fn text(&self, is_v2: bool) -> String {
        let bytes = |value: Option<u64>| match value {
            Some(value) => most(Some(value)).to_string(),
            None if is_v2 => "max".to_owned(),
            None => "-1".to_owned(),
        };
        match self {
            Self::Weight(weight) => weight.to_string(),
            Self::Period { usec } => usec.to_string(),
            Self::Quota { usec, period_usec } if is_v2 => format!("{} {period_usec}", most(*usec)),
            Self::Quota { usec, .. } => bytes(*usec),
            Self::Cpus(list) => list.clone(),
            Self::Memory(value) | Self::High(value) | Self::Swap(value) => bytes(*value),
            Self::Pids(value) => most(*value).to_string(),
            Self::Read { disk: (major, minor), bps } if is_v2 => format!("{major}:{minor} rbps={}", bps.unwrap_or(NO_THROTTLE_V2)),
            Self::Written { disk: (major, minor), bps } if is_v2 => format!("{major}:{minor} wbps={}", bps.unwrap_or(NO_THROTTLE_V2)),
            Self::Read { disk: (major, minor), bps } | Self::Written { disk: (major, minor), bps } => {
                format!("{major}:{minor} {}", bps.unwrap_or(NO_THROTTLE_V1))
            }
        }
    }

    /// The same without a limit, where a file without a rule reads as empty: then there is no text to put back.
    pub(super) fn lifted(&self) -> Option<Self> {
        match *self {
            Self::Read { disk, .. } => Some(Self::Read { disk, bps: None }),
            Self::Written { disk, .. } => Some(Self::Written { disk, bps: None }),
            _ => None,
        }
    }

    /// Writes it. A file that is not there must be looked for before: the library opens with `O_CREAT`, for which cgroup
    /// file systems answer EACCES.
    ///
    /// # Errors
    /// The kernel's own.
    pub(super) fn put(&self, group: BorrowedFd<'_>, is_v2: bool) -> io::Result<()> {
        let place = PathBuf::from(format!("/proc/self/fd/{}", group.as_raw_fd()));
        let memory = |place| MemController::new(place, is_v2);
        let written = match self {
            Self::Weight(weight) => CpuController::new(place, is_v2).set_shares(*weight),
            Self::Period { usec } => CpuController::new(place, is_v2).set_cfs_period(*usec),
            Self::Quota { usec, period_usec } if is_v2 => {
                CpuController::new(place, true).set_cfs_quota_and_period(Some(or_minus_one(*usec)), Some(*period_usec))
            }
            Self::Quota { usec, .. } => CpuController::new(place, false).set_cfs_quota(or_minus_one(*usec)),
            Self::Cpus(list) => CpuSetController::new(place, is_v2).set_cpus(list),
            Self::Memory(value) => memory(place).set_limit(or_minus_one(*value)),
            // Its "soft limit" of version 2 is memory.low.
            Self::High(value) if is_v2 => memory(place).set_mem(SetMemory {
                high: Some(most(*value)),
                ..SetMemory::default()
            }),
            Self::High(value) => memory(place).set_soft_limit(or_minus_one(*value)),
            Self::Swap(value) => memory(place).set_memswap_limit(or_minus_one(*value)),
            Self::Pids(value) => PidController::new(place, is_v2).set_pid_max(most(*value)),
            Self::Read { disk: (major, minor), bps } => {
                let bps = bps.unwrap_or(if is_v2 { NO_THROTTLE_V2 } else { NO_THROTTLE_V1 });
                BlkIoController::new(place, is_v2).throttle_read_bps_for_device((*major).into(), (*minor).into(), bps)
            }
            Self::Written { disk: (major, minor), bps } => {
                let bps = bps.unwrap_or(if is_v2 { NO_THROTTLE_V2 } else { NO_THROTTLE_V1 });
                BlkIoController::new(place, is_v2).throttle_write_bps_for_device((*major).into(), (*minor).into(), bps)
            }
        };
        written.map_err(|error| errno(&error))
    }
}

/// More bytes than this no machine has; the kernel cuts them to its own most.
fn or_minus_one(value: Option<u64>) -> i64 {
    value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX))
}

fn most(value: Option<u64>) -> MaxValue {
    value.map_or(MaxValue::Max, |value| MaxValue::Value(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// The system call's error, which the library keeps as its own error's cause.
fn errno(error: &cgroups_rs::error::Error) -> io::Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn all() -> Vec<Setting> {
        let disk = (8, 16);
        vec![
            Setting::Weight(95),
            Setting::Quota {
                usec: Some(10_000),
                period_usec: 100_000,
            },
            Setting::Quota {
                usec: None,
                period_usec: 100_000,
            },
            Setting::Cpus("0,2-3".into()),
            Setting::Memory(Some((1 << 53) + 1)),
            Setting::Memory(None),
            Setting::High(Some(96 << 20)),
            Setting::High(None),
            Setting::Swap(Some(0)),
            Setting::Swap(None),
            Setting::Pids(Some(99)),
            Setting::Pids(None),
            Setting::Read { disk, bps: Some(10_000_001) },
            Setting::Read { disk, bps: None },
            Setting::Written { disk, bps: Some(7) },
            Setting::Written { disk, bps: None },
        ]
    }

    #[test]
    fn the_library_writes_what_the_messages_say_to_the_byte() {
        for is_v2 in [true, false] {
            let mut settings = all();
            if !is_v2 {
                settings.push(Setting::Period { usec: 100_000 });
            }
            for setting in settings {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join(setting.file(is_v2));
                std::fs::write(&file, "max 50000").unwrap();
                let group = std::fs::File::open(folder.path()).unwrap();
                setting.put(group.as_fd(), is_v2).unwrap();
                assert_eq!(std::fs::read_to_string(file).unwrap(), setting.text(is_v2), "{setting:?} v2={is_v2}");
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{setting:?} v2={is_v2} wrote elsewhere");
            }
        }
    }

    #[test]
    fn the_kernels_own_error_comes_through() {
        for is_v2 in [true, false] {
            for setting in all() {
                let folder = tempfile::tempdir().unwrap();
                std::fs::create_dir(folder.path().join(setting.file(is_v2))).unwrap();
                let group = std::fs::File::open(folder.path()).unwrap();
                let error = setting.put(group.as_fd(), is_v2).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EISDIR), "{setting:?} v2={is_v2}");
            }
        }
    }
}
