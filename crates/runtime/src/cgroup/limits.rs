//! Limits as the files of each cgroup version want them: a pure list of writes, and the act of writing it, all or none.

use std::os::fd::BorrowedFd;

use model::Limits;
use model::limits::{DEFAULT_CPU_WEIGHT, format_cpu_list, parse_cpu_list};

use super::file;
use super::group::Group;
use super::layout::Mode;
use crate::error::{Error, Result};

/// cpu.cfs_period_us and the second number of cpu.max.
const PERIOD_USEC: u64 = 100_000;
/// A throttle rule that nothing reaches: without a rule version 1 counts no bytes.
const NO_THROTTLE: u64 = 100_000_000_000;

/// One write: controller, file, value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    controller: &'static str,
    file: &'static str,
    value: String,
    /// Whether a host without the file can still run the container.
    is_needed: bool,
}

fn write(controller: &'static str, file: &'static str, value: impl std::fmt::Display, is_needed: bool) -> Write {
    Write {
        controller,
        file,
        value: value.to_string(),
        is_needed,
    }
}

/// The CPUs of a container: those it asked for; else, with a quota, as many as that needs, where the fewest others are;
/// else all.
#[must_use]
pub fn cpus(limits: &Limits, online: &[u32], others: &[Vec<u32>]) -> Vec<u32> {
    if let Some(asked) = limits.cpuset.as_deref().and_then(|list| parse_cpu_list(list).ok()) {
        return asked;
    }
    let Some(quota) = limits.cpus else { return online.to_vec() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 0.01 and 8192")]
    let wanted = (quota.ceil() as usize).max(1);
    let load = |cpu: &u32| others.iter().filter(|other| other.len() < online.len() && other.contains(cpu)).count();
    let mut by_load = online.to_vec();
    by_load.sort_by_key(|cpu| (load(cpu), *cpu));
    by_load.truncate(wanted);
    by_load.sort_unstable();
    by_load
}

fn or_max(value: Option<u64>) -> String {
    value.map_or_else(|| "max".to_owned(), |value| value.to_string())
}

fn quota_usec(cpus: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "checked to lie between 0.01 and 8192"
    )]
    let quota = (cpus * PERIOD_USEC as f64).round() as u64;
    // The kernel's least quota.
    quota.max(1000)
}

fn writes_v2(limits: &Limits, cpus: &[u32], disk: Option<(u32, u32)>) -> Vec<Write> {
    let quota = limits
        .cpus
        .map_or_else(|| format!("max {PERIOD_USEC}"), |cpus| format!("{} {PERIOD_USEC}", quota_usec(cpus)));
    let mut writes = vec![
        write("cpu", "cpu.max", quota, limits.cpus.is_some()),
        write("cpu", "cpu.weight", limits.cpu_weight.unwrap_or(DEFAULT_CPU_WEIGHT), false),
        write("cpuset", "cpuset.cpus", format_cpu_list(cpus), limits.cpuset.is_some()),
        write("memory", "memory.max", or_max(limits.memory_bytes), limits.memory_bytes.is_some()),
        write("memory", "memory.high", or_max(limits.memory_high_bytes), limits.memory_high_bytes.is_some()),
        write("memory", "memory.swap.max", or_max(limits.swap_bytes), limits.swap_bytes.is_some()),
        write("pids", "pids.max", or_max(limits.pids), limits.pids.is_some()),
    ];
    if let Some((major, minor)) = disk {
        let value = format!("{major}:{minor} rbps={} wbps={}", or_max(limits.io_read_bps), or_max(limits.io_write_bps));
        writes.push(write("io", "io.max", value, limits.io_read_bps.is_some() || limits.io_write_bps.is_some()));
    }
    writes
}

/// Memory and memory+swap must be written in the order that keeps the second at least as large as the first at each moment.
fn writes_v1(limits: &Limits, cpus: &[u32], disk: Option<(u32, u32)>, memory_shrinks: bool) -> Vec<Write> {
    let unlimited = |value: Option<u64>| value.map_or_else(|| "-1".to_owned(), |value| value.to_string());
    let both = limits.memory_bytes.zip(limits.swap_bytes).map(|(memory, swap)| memory.saturating_add(swap));
    let memory = write("memory", "memory.limit_in_bytes", unlimited(limits.memory_bytes), limits.memory_bytes.is_some());
    let with_swap = write("memory", "memory.memsw.limit_in_bytes", unlimited(both), both.is_some());
    let shares = u64::from(limits.cpu_weight.unwrap_or(DEFAULT_CPU_WEIGHT)) * 1024 / u64::from(DEFAULT_CPU_WEIGHT);
    let quota = limits.cpus.map_or_else(|| "-1".to_owned(), |cpus| quota_usec(cpus).to_string());
    let mut writes = vec![
        write("cpu", "cpu.shares", shares.clamp(2, 262_144), false),
        write("cpu", "cpu.cfs_period_us", PERIOD_USEC, limits.cpus.is_some()),
        write("cpu", "cpu.cfs_quota_us", quota, limits.cpus.is_some()),
        write("cpuset", "cpuset.cpus", format_cpu_list(cpus), limits.cpuset.is_some()),
        write(
            "memory",
            "memory.soft_limit_in_bytes",
            unlimited(limits.memory_high_bytes),
            limits.memory_high_bytes.is_some(),
        ),
        write("pids", "pids.max", or_max(limits.pids), limits.pids.is_some()),
    ];
    writes.extend(if memory_shrinks { [memory, with_swap] } else { [with_swap, memory] });
    if let Some((major, minor)) = disk {
        for (file, bps) in [
            ("blkio.throttle.read_bps_device", limits.io_read_bps),
            ("blkio.throttle.write_bps_device", limits.io_write_bps),
        ] {
            writes.push(write("blkio", file, format!("{major}:{minor} {}", bps.unwrap_or(NO_THROTTLE)), bps.is_some()));
        }
    }
    writes
}

/// Writes the limits of a group; when one is refused those before it are put back.
///
/// # Errors
/// Names the limit, the file and the reason.
pub fn apply(group: &Group, limits: &Limits, before: Option<&Limits>, cpus: &[u32], disk: Option<(u32, u32)>) -> Result<()> {
    let shrinks = |old: Option<u64>, new: Option<u64>| new.is_some_and(|new| old.is_none_or(|old| new < old));
    // A group without limits so far is one that may use everything.
    let memory_shrinks = shrinks(before.and_then(|before| before.memory_bytes), limits.memory_bytes);
    let plan = match group.mode {
        Mode::V2 => writes_v2(limits, cpus, disk),
        Mode::Hybrid | Mode::V1 => writes_v1(limits, cpus, disk, memory_shrinks),
    };
    let mut undo: Vec<(BorrowedFd<'_>, &'static str, String)> = Vec::new();
    for write in &plan {
        let places: Vec<BorrowedFd<'_>> = if group.mode == Mode::V2 {
            group.limited().collect()
        } else {
            group.v1(write.controller).into_iter().collect()
        };
        for place in places {
            let old = file::read(place, write.file).unwrap_or_default();
            match put(place, write) {
                Ok(()) => undo.push((place, write.file, old)),
                Err(error) => {
                    for (place, name, old) in undo.into_iter().rev() {
                        // Best effort: the error that is told is the first one.
                        drop(file::write(place, name, old.trim()));
                    }
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

fn put(place: BorrowedFd<'_>, write: &Write) -> Result<()> {
    let step = "set the limits";
    match file::write(place, write.file, &write.value) {
        Ok(()) => Ok(()),
        // A file that this kernel lacks matters only when its limit was asked for.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !write.is_needed => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::unsupported(step, format!("this host has no {}", write.file))
            .hint(format!("the kernel's {} controller is not available here", write.controller))),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) && write.controller == "memory" => {
            Err(Error::conflict(step, format!("write({:?}, {:?}) = {error}", write.file, write.value))
                .hint("the container uses more than that now; stop something in it first"))
        }
        // The default of a weight or a throttle that this host does not accept changes nothing.
        Err(_) if !write.is_needed => Ok(()),
        Err(error) => {
            let found = Error::io(step, &format!("write({:?}, {:?})", write.file, write.value), error);
            Err(found.hint("the value must fit this host: its CPUs, its memory, its devices"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(writes: &[Write], file: &str) -> String {
        writes.iter().find(|write| write.file == file).unwrap().value.clone()
    }

    #[test]
    fn quota_is_ten_milliseconds_of_a_hundred_at_a_tenth_of_a_core() {
        let limits = Limits {
            cpus: Some(0.1),
            cpu_weight: Some(10),
            ..Limits::default()
        };
        let writes = writes_v2(&limits, &[0], Some((8, 0)));
        assert_eq!(find(&writes, "cpu.max"), "10000 100000");
        assert_eq!(find(&writes, "cpu.weight"), "10");
        let writes = writes_v1(&limits, &[0], None, false);
        assert_eq!(find(&writes, "cpu.cfs_quota_us"), "10000");
        assert_eq!(find(&writes, "cpu.shares"), "102");
    }

    #[test]
    fn unset_means_unlimited_and_the_usual_weight() {
        let limits = Limits::default();
        let writes = writes_v2(&limits, &[0, 1], Some((8, 0)));
        assert_eq!(find(&writes, "cpu.max"), "max 100000");
        assert_eq!(find(&writes, "memory.high"), "max");
        assert_eq!(find(&writes, "io.max"), "8:0 rbps=max wbps=max");
        assert_eq!(find(&writes_v1(&limits, &[0], None, false), "cpu.shares"), "1024");
    }

    #[test]
    fn memory_and_swap_are_written_in_the_order_that_the_kernel_needs() {
        let limits = Limits {
            memory_bytes: Some(1 << 30),
            swap_bytes: Some(0),
            ..Limits::default()
        };
        let order = |shrinks| {
            writes_v1(&limits, &[0], None, shrinks)
                .iter()
                .map(|write| write.file)
                .filter(|file| file.ends_with("limit_in_bytes") && !file.contains("soft"))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(true), ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]);
        assert_eq!(order(false), ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]);
    }

    #[test]
    fn quotas_are_balanced_over_the_cpus() {
        let limits = Limits {
            cpus: Some(1.5),
            ..Limits::default()
        };
        let online = [0, 1, 2, 3];
        assert_eq!(cpus(&limits, &online, &[]), [0, 1]);
        assert_eq!(cpus(&limits, &online, &[vec![0, 1]]), [2, 3]);
        // Who may run everywhere weighs on no CPU in particular.
        assert_eq!(cpus(&limits, &online, &[online.to_vec()]), [0, 1]);
        assert_eq!(
            cpus(
                &Limits {
                    cpuset: Some("3".into()),
                    ..limits
                },
                &online,
                &[]
            ),
            [3]
        );
        assert_eq!(
            cpus(
                &Limits {
                    cpus: Some(200.0),
                    ..Limits::default()
                },
                &online,
                &[]
            ),
            online
        );
        assert_eq!(cpus(&Limits::default(), &online, &[]), online);
    }
}
