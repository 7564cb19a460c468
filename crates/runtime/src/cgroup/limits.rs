//! Limits as the files of each cgroup version want them: a pure list of writes, and the act of writing it, all or none.

use std::os::fd::{AsFd, BorrowedFd};

use model::Limits;
use model::limits::{DEFAULT_CPU_WEIGHT, format_cpu_list, parse_cpu_list};

use super::file;
use super::group::Group;
use super::layout::Mode;
use super::setting::Setting;
use crate::error::{Error, Result};

/// cpu.cfs_period_us and the second number of cpu.max.
const PERIOD_USEC: u64 = 100_000;

/// One write, and whether a host that cannot do it can still run the container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    setting: Setting,
    is_needed: bool,
}

fn write(setting: Setting, is_needed: bool) -> Write {
    Write { setting, is_needed }
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

/// The CPUs that a group has, whoever gave them to it.
#[must_use]
pub fn cpus_of(group: &Group) -> Option<Vec<u32>> {
    let place = group.v1("cpuset").or(group.unified.as_ref().map(AsFd::as_fd))?;
    parse_cpu_list(file::read(place, "cpuset.cpus").ok()?.trim()).ok()
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

/// What the limits shall be, what they were, and what they need of the host.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    limits: &'a Limits,
    before: Option<&'a Limits>,
    cpus: &'a [u32],
    disk: Option<(u32, u32)>,
}

impl Wish<'_> {
    /// Whether a limit is asked for now, or is to be lifted: then the write must succeed.
    fn concerns(&self, is_set: impl Fn(&Limits) -> bool) -> bool {
        is_set(self.limits) || self.before.is_some_and(is_set)
    }

    /// What no file of this host could carry.
    fn refuse_impossible(&self, mode: Mode) -> Result<()> {
        let step = "set the limits";
        if self.disk.is_none() && (self.limits.io_read_bps.is_some() || self.limits.io_write_bps.is_some()) {
            let error = Error::unsupported(
                step,
                "the disk under the state directory is not known, so that reading and writing cannot be limited",
            );
            return Err(error.hint("leave the io limits out, or put the state directory on a file system of one disk"));
        }
        if mode != Mode::V2 && self.limits.swap_bytes.is_some() && self.limits.memory_bytes.is_none() {
            let error = Error::unsupported(step, "this host limits memory and swap together only (cgroup version 1)");
            return Err(error.hint("give a memory limit too, or boot with cgroup version 2"));
        }
        Ok(())
    }
}

/// What both versions have.
fn writes_of_both(wish: &Wish<'_>) -> Vec<Write> {
    let limits = wish.limits;
    vec![
        write(Setting::Cpus(format_cpu_list(wish.cpus)), wish.concerns(has_cpus)),
        write(
            Setting::High(limits.memory_high_bytes),
            wish.concerns(|limits| limits.memory_high_bytes.is_some()),
        ),
        write(Setting::Pids(limits.pids), wish.concerns(|limits| limits.pids.is_some())),
    ]
}

fn quota(wish: &Wish<'_>) -> Write {
    let quota = Setting::Quota {
        usec: wish.limits.cpus.map(quota_usec),
        period_usec: PERIOD_USEC,
    };
    write(quota, wish.concerns(|limits| limits.cpus.is_some()))
}

fn throttles(wish: &Wish<'_>) -> Vec<Write> {
    let Some(disk) = wish.disk else { return Vec::new() };
    let (read, written) = (wish.limits.io_read_bps, wish.limits.io_write_bps);
    vec![
        write(Setting::Read { disk, bps: read }, wish.concerns(|limits| limits.io_read_bps.is_some())),
        write(Setting::Written { disk, bps: written }, wish.concerns(|limits| limits.io_write_bps.is_some())),
    ]
}

fn writes_v2(wish: &Wish<'_>) -> Vec<Write> {
    let limits = wish.limits;
    let weight = Setting::Weight(limits.cpu_weight.unwrap_or(DEFAULT_CPU_WEIGHT).into());
    let mut writes = vec![
        quota(wish),
        write(weight, wish.concerns(has_weight)),
        write(Setting::Memory(limits.memory_bytes), wish.concerns(|limits| limits.memory_bytes.is_some())),
        write(Setting::Swap(limits.swap_bytes), wish.concerns(|limits| limits.swap_bytes.is_some())),
    ];
    writes.extend(writes_of_both(wish));
    writes.extend(throttles(wish));
    writes
}

fn has_weight(limits: &Limits) -> bool {
    limits.cpu_weight.is_some_and(|weight| weight != DEFAULT_CPU_WEIGHT)
}

/// A quota is a number of CPUs too: without them `nproc` would show the host's.
fn has_cpus(limits: &Limits) -> bool {
    limits.cpuset.is_some() || limits.cpus.is_some()
}

/// Memory and memory+swap must be written in the order that keeps the second at least as large as the first at each moment.
fn writes_v1(wish: &Wish<'_>, memory_shrinks: bool) -> Vec<Write> {
    let limits = wish.limits;
    let both = |limits: &Limits| limits.memory_bytes.zip(limits.swap_bytes).map(|(memory, swap)| memory.saturating_add(swap));
    let memory = write(Setting::Memory(limits.memory_bytes), wish.concerns(|limits| limits.memory_bytes.is_some()));
    let with_swap = write(Setting::Swap(both(limits)), wish.concerns(|limits| both(limits).is_some()));
    let shares = u64::from(limits.cpu_weight.unwrap_or(DEFAULT_CPU_WEIGHT)) * 1024 / u64::from(DEFAULT_CPU_WEIGHT);
    let has_quota = wish.concerns(|limits| limits.cpus.is_some());
    let mut writes = vec![
        write(Setting::Weight(shares.clamp(2, 262_144)), wish.concerns(has_weight)),
        write(Setting::Period { usec: PERIOD_USEC }, has_quota),
        quota(wish),
    ];
    writes.extend(writes_of_both(wish));
    writes.extend(if memory_shrinks { [memory, with_swap] } else { [with_swap, memory] });
    writes.extend(throttles(wish));
    writes
}

/// Writes the limits of a group; when one is refused those before it are put back. A limit that is asked for or lifted and
/// cannot be written is an error, never ignored.
///
/// # Errors
/// Names the limit, the file and the reason.
pub fn apply(group: &Group, limits: &Limits, before: Option<&Limits>, cpus: &[u32], disk: Option<(u32, u32)>) -> Result<()> {
    let wish = Wish { limits, before, cpus, disk };
    wish.refuse_impossible(group.mode)?;
    let shrinks = |old: Option<u64>, new: Option<u64>| new.is_some_and(|new| old.is_none_or(|old| new < old));
    // A group without limits so far is one that may use everything.
    let memory_shrinks = shrinks(before.and_then(|before| before.memory_bytes), limits.memory_bytes);
    let plan = match group.mode {
        Mode::V2 => writes_v2(&wish),
        Mode::Hybrid | Mode::V1 => writes_v1(&wish, memory_shrinks),
    };
    let mut undo: Vec<Undo<'_>> = Vec::new();
    for write in &plan {
        if let Err(error) = put_everywhere(group, write, &mut undo) {
            for step in undo.into_iter().rev() {
                // Best effort: the error that is told is the first one.
                drop(step.put_back(group.mode == Mode::V2));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// What a file said before.
struct Undo<'a> {
    place: BorrowedFd<'a>,
    setting: Setting,
    old: String,
}

impl Undo<'_> {
    fn put_back(&self, is_v2: bool) -> std::io::Result<()> {
        match (self.old.trim(), self.setting.lifted()) {
            ("", Some(lifted)) => lifted.put(self.place, is_v2),
            (old, _) => file::write(self.place, self.setting.file(is_v2), old),
        }
    }
}

fn put_everywhere<'a>(group: &'a Group, write: &Write, undo: &mut Vec<Undo<'a>>) -> Result<()> {
    let is_v2 = group.mode == Mode::V2;
    let places: Vec<BorrowedFd<'a>> = if is_v2 {
        group.limited().collect()
    } else {
        group.v1(write.setting.controller(false)).into_iter().collect()
    };
    if places.is_empty() && write.is_needed {
        return Err(absent(write, is_v2));
    }
    for place in places {
        let old = match file::read(place, write.setting.file(is_v2)) {
            // A file that this kernel lacks matters only when its limit was asked for.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !write.is_needed => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(absent(write, is_v2)),
            read => read.unwrap_or_default(),
        };
        put(place, write, is_v2)?;
        let setting = write.setting.clone();
        undo.push(Undo { place, setting, old });
    }
    Ok(())
}

fn absent(write: &Write, is_v2: bool) -> Error {
    let error = Error::unsupported("set the limits", format!("this host has no {}", write.setting.file(is_v2)));
    error.hint(format!("the kernel's {} controller is not available here", write.setting.controller(is_v2)))
}

fn put(place: BorrowedFd<'_>, write: &Write, is_v2: bool) -> Result<()> {
    let step = "set the limits";
    let setting = &write.setting;
    let call = || format!("write({:?}, {:?})", setting.file(is_v2), setting.text(is_v2));
    match setting.put(place, is_v2) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) && setting.controller(is_v2) == "memory" => {
            Err(Error::conflict(step, format!("{} = {error}", call())).hint("the container uses more than that now; stop something in it first"))
        }
        // The default of a weight or a throttle that this host does not accept changes nothing.
        Err(_) if !write.is_needed => Ok(()),
        Err(error) => Err(Error::io(step, &call(), error).hint("the value must fit this host: its CPUs, its memory, its devices")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of version 2, or of version 1, writes into a file.
    fn find(writes: &[Write], is_v2: bool, file: &str) -> String {
        let found = writes.iter().map(|write| &write.setting).filter(|setting| setting.file(is_v2) == file);
        found.map(|setting| setting.text(is_v2)).collect::<Vec<_>>().join("; ")
    }

    fn wish(limits: &Limits) -> Wish<'_> {
        Wish {
            limits,
            before: None,
            cpus: &[0],
            disk: Some((8, 0)),
        }
    }

    #[test]
    fn what_is_asked_for_or_lifted_must_be_written_and_defaults_need_not() {
        let (none, all) = (
            Limits::default(),
            Limits {
                cpus: Some(1.0),
                cpu_weight: Some(50),
                memory_bytes: Some(1 << 30),
                memory_high_bytes: Some(1 << 29),
                swap_bytes: Some(0),
                io_read_bps: Some(1 << 20),
                io_write_bps: Some(1 << 20),
                ..Limits::default()
            },
        );
        let needed = |limits, before| {
            let wish = Wish { before, ..wish(limits) };
            let both = [(true, writes_v2(&wish)), (false, writes_v1(&wish, false))];
            let needed = both.into_iter().flat_map(|(is_v2, writes)| writes.into_iter().map(move |write| (is_v2, write)));
            let needed = needed.filter(|(_, write)| write.is_needed);
            needed.map(|(is_v2, write)| write.setting.file(is_v2)).collect::<Vec<_>>()
        };
        assert_eq!(needed(&none, None), ["pids.max", "pids.max"]);
        assert_eq!(needed(&all, None).len(), 19);
        assert_eq!(needed(&none, Some(&all)), needed(&all, None));
    }

    #[test]
    fn what_no_file_of_this_host_carries_is_refused_with_the_way_out() {
        let swap = Limits {
            swap_bytes: Some(1 << 20),
            ..Limits::default()
        };
        let refused = wish(&swap).refuse_impossible(Mode::Hybrid).unwrap_err();
        assert!(refused.code == model::ErrorCode::Unsupported && refused.hint.is_some());
        assert_eq!(wish(&swap).refuse_impossible(Mode::V2), Ok(()));
        let io = Limits {
            io_read_bps: Some(1 << 20),
            ..Limits::default()
        };
        assert!(Wish { disk: None, ..wish(&io) }.refuse_impossible(Mode::V2).is_err());
        assert_eq!(wish(&io).refuse_impossible(Mode::V1), Ok(()));
    }

    #[test]
    fn quota_is_ten_milliseconds_of_a_hundred_at_a_tenth_of_a_core() {
        let limits = Limits {
            cpus: Some(0.1),
            cpu_weight: Some(10),
            ..Limits::default()
        };
        let writes = writes_v2(&wish(&limits));
        assert_eq!(find(&writes, true, "cpu.max"), "10000 100000");
        assert_eq!(find(&writes, true, "cpu.weight"), "10");
        let writes = writes_v1(&wish(&limits), false);
        assert_eq!(find(&writes, false, "cpu.cfs_quota_us"), "10000");
        assert_eq!(find(&writes, false, "cpu.shares"), "102");
    }

    #[test]
    fn unset_means_unlimited_and_the_usual_weight() {
        let limits = Limits::default();
        let writes = writes_v2(&wish(&limits));
        assert_eq!(find(&writes, true, "cpu.max"), "max 100000");
        assert_eq!(find(&writes, true, "memory.high"), "max");
        assert_eq!(find(&writes, true, "io.max"), "8:0 rbps=18446744073709551615; 8:0 wbps=18446744073709551615");
        assert_eq!(find(&writes_v1(&wish(&limits), false), false, "cpu.shares"), "1024");
    }

    #[test]
    fn memory_and_swap_are_written_in_the_order_that_the_kernel_needs() {
        let limits = Limits {
            memory_bytes: Some(1 << 30),
            swap_bytes: Some(0),
            ..Limits::default()
        };
        let order = |shrinks| {
            writes_v1(&wish(&limits), shrinks)
                .iter()
                .map(|write| write.setting.file(false))
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
