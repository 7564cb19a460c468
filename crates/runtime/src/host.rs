//! What this host is and can do, each finding with the way out, and the host's own counters.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use model::engine::{CheckLevel, HostCheck, HostReport};
use model::metrics::{HostCounters, PressureCounters};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::cgroup::{self, Layout, parse};
use crate::error::{At, Error, Result};
use crate::sys;

/// The oldest kernel that carries containers.
const FLOOR: (u32, u32) = (6, 1);

/// Refuses a host that cannot carry containers.
///
/// # Errors
/// `Unsupported`, naming what is missing.
pub fn require(state: &Path) -> Result<()> {
    let missing = report(state).checks.into_iter().find(|check| check.level == CheckLevel::Missing);
    match missing {
        None => Ok(()),
        Some(check) => {
            let error = Error::unsupported("check the host", format!("{}: {}", check.name, check.found));
            Err(check.fix.map_or(error.clone(), |fix| error.hint(fix)))
        }
    }
}

/// Everything that `berth check` prints.
#[must_use]
pub fn report(state: &Path) -> HostReport {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let layout = Layout::detect();
    let checks = vec![
        kernel(&text(name.release())),
        cgroups(&layout),
        limits(layout.as_ref().ok()),
        controllers(layout.as_ref().ok()),
        idmapped_mounts(state),
        user_namespaces(),
        overlay(&read("/proc/filesystems")),
        made_in_namespace("bridge", "CONFIG_BRIDGE", || crate::net::bridge::ensure(TRIED, &[])),
        made_in_namespace("veth", "CONFIG_VETH", || crate::net::veth::try_pair(TRIED)),
        made_in_namespace("nf_tables", "CONFIG_NF_TABLES", crate::net::link::try_nf_tables),
        program("nft", "/usr/sbin/nft", CheckLevel::Limited, "apt-get install nftables"),
        program("dnsmasq", "/usr/sbin/dnsmasq", CheckLevel::Limited, "apt-get install dnsmasq-base"),
        program(
            "lxcfs",
            crate::lxcfs::program().unwrap_or("/usr/bin/lxcfs"),
            CheckLevel::Limited,
            "apt-get install lxcfs",
        ),
        program("mmdebstrap", "/usr/bin/mmdebstrap", CheckLevel::Limited, "apt-get install mmdebstrap"),
        program("gpgv", "/usr/bin/gpgv", CheckLevel::Limited, "apt-get install gpgv"),
        limit("fs.inotify.max_user_instances", 1024),
        limit("kernel.keys.maxkeys", 2000),
        limit("kernel.pid_max", 65_536),
        limit("kernel.pty.max", 4096),
    ];
    let online = read("/sys/devices/system/cpu/online");
    HostReport {
        hostname: text(name.nodename()),
        kernel: text(name.release()),
        cgroup: layout.map_or("none", |layout| layout.mode.as_str()).to_owned(),
        arch: text(name.machine()),
        cpus: model::limits::parse_cpu_list(online.trim()).map_or(1, |cpus| u32::try_from(cpus.len()).unwrap_or(1)),
        cpu_list: online.trim().to_owned(),
        memory_bytes: meminfo(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        checks,
        disk_limits: false,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn check(name: &str, level: CheckLevel, found: impl Into<String>, fix: Option<&str>) -> HostCheck {
    HostCheck {
        name: name.to_owned(),
        level,
        found: found.into(),
        fix: fix.map(str::to_owned),
    }
}

fn kernel(release: &str) -> HostCheck {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= FLOOR {
        return check("kernel", CheckLevel::Good, format!("Linux {release}"), None);
    }
    check(
        "kernel",
        CheckLevel::Missing,
        format!("Linux {release} is older than 6.1"),
        Some("boot a kernel of Debian 12 or later"),
    )
}

fn cgroups(layout: &Result<Layout>) -> HostCheck {
    match layout {
        Ok(layout) => check("cgroup", CheckLevel::Good, layout.mode.as_str(), None),
        Err(error) => check("cgroup", CheckLevel::Missing, error.message.clone(), error.hint.as_deref()),
    }
}

/// What limits mean on this host; on version 1 some are weaker.
fn limits(layout: Option<&Layout>) -> HostCheck {
    let is_v2 = layout.is_some_and(|layout| layout.mode == cgroup::Mode::V2);
    if is_v2 {
        return check("limits", CheckLevel::Good, "all of them", None);
    }
    let swap = layout
        .and_then(|layout| layout.v1("memory"))
        .is_some_and(|memory| memory.root.join("memory.memsw.limit_in_bytes").exists());
    let swap = if swap {
        "swap can be limited together with memory only"
    } else {
        "swap cannot be limited"
    };
    check(
        "limits",
        CheckLevel::Limited,
        format!("cgroup version 1: memory-high is a soft limit that holds under pressure only; {swap}; io-write counts direct and synchronous writes"),
        Some("boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all"),
    )
}

/// Controllers without which a limit of `create` cannot be set.
const CONTROLLERS: [(&str, &str); 5] = [("cpu", "cpu"), ("cpuset", "cpuset"), ("memory", "memory"), ("pids", "pids"), ("io", "blkio")];

fn controllers(layout: Option<&Layout>) -> HostCheck {
    let offered = layout
        .and_then(|layout| layout.unified.as_ref())
        .map(|unified| read(&unified.root.join("cgroup.controllers").display().to_string()))
        .unwrap_or_default();
    judge_controllers(|v2, v1| match layout {
        Some(layout) if layout.mode == cgroup::Mode::V2 => offered.split_whitespace().any(|name| name == v2),
        Some(layout) => layout.v1(v1).is_some(),
        None => false,
    })
}

fn judge_controllers(is_there: impl Fn(&str, &str) -> bool) -> HostCheck {
    let (found, missing): (Vec<_>, Vec<_>) = CONTROLLERS.into_iter().partition(|(v2, v1)| is_there(v2, v1));
    let names = |of: &[(&str, &str)]| of.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return check("controllers", CheckLevel::Good, names(&found), None);
    }
    check(
        "controllers",
        CheckLevel::Limited,
        format!("{} cannot be limited", names(&missing)),
        Some("boot without cgroup_disable= and cgroup_no_v1= for these, or with a kernel that has the controllers"),
    )
}

fn overlay(filesystems: &str) -> HostCheck {
    // A module that is not loaded yet is loaded by the first mount.
    let is_loadable = || {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        read(&format!("/lib/modules/{release}/modules.dep")).contains("/overlayfs/overlay.ko")
    };
    if filesystems.split_whitespace().any(|word| word == "overlay") {
        return check("overlay", CheckLevel::Good, "the kernel has it", None);
    }
    if is_loadable() {
        return check("overlay", CheckLevel::Good, "as a module", None);
    }
    check(
        "overlay",
        CheckLevel::Missing,
        "the kernel has no overlay file system",
        Some("modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS"),
    )
}

/// What devices are called that are tried; they live in a namespace of their own, for a moment.
const TRIED: &str = "btcheck";

/// Makes something of the network for real, in a namespace that ends with the thread.
fn made_in_namespace(name: &str, option: &str, make: impl FnOnce() -> Result<()> + Send) -> HostCheck {
    let tried = std::thread::scope(|scope| {
        let work = || {
            sys::unshare(libc::CLONE_NEWNET).at("check the host", "unshare(CLONE_NEWNET)")?;
            make()
        };
        scope.spawn(work).join()
    });
    let failed = match tried {
        Ok(Ok(())) => return check(name, CheckLevel::Good, "the kernel has it", None),
        Ok(Err(error)) => error.message,
        Err(_) => "it could not be tried".to_owned(),
    };
    let fix = format!("modprobe {name}, or boot a kernel with {option}; without it containers have no network");
    check(name, CheckLevel::Limited, failed, Some(&fix))
}

fn program(name: &str, path: &str, level: CheckLevel, fix: &str) -> HostCheck {
    if Path::new(path).exists() {
        return check(name, CheckLevel::Good, path, None);
    }
    check(name, level, "not installed", Some(fix))
}

fn user_namespaces() -> HostCheck {
    match read("/proc/sys/user/max_user_namespaces").trim() {
        "0" => check(
            "user namespaces",
            CheckLevel::Missing,
            "switched off",
            Some("sysctl user.max_user_namespaces=15000"),
        ),
        "" => check(
            "user namespaces",
            CheckLevel::Missing,
            "this kernel has none",
            Some("boot a kernel with CONFIG_USER_NS"),
        ),
        most => check("user namespaces", CheckLevel::Good, format!("at most {most}"), None),
    }
}

/// A limit that dense hosts meet first (trust.md, "Host limits to pre-check").
fn limit(name: &str, advised: u64) -> HostCheck {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    match read(&path).trim().parse::<u64>() {
        Ok(value) if value >= advised => check(name, CheckLevel::Good, value.to_string(), None),
        Ok(value) => check(
            name,
            CheckLevel::Limited,
            format!("{value}, few for many containers"),
            Some(&format!("sysctl {name}={advised}")),
        ),
        Err(_) => check(name, CheckLevel::Limited, "not there", None),
    }
}

/// Tries it for real: a mount of the state directory mapped to a fresh user namespace.
fn idmapped_mounts(state: &Path) -> HostCheck {
    match try_idmap(state) {
        Ok(()) => check("idmapped mounts", CheckLevel::Good, state.display().to_string(), None),
        Err(error) => check(
            "idmapped mounts",
            CheckLevel::Missing,
            format!("{} cannot be mounted with mapped ids ({})", state.display(), error.message),
            Some("put the state directory on ext4, xfs or btrfs (--state-dir)"),
        ),
    }
}

fn try_idmap(state: &Path) -> Result<()> {
    let step = "try an idmapped mount";
    let existing = state.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let users = mapped_namespace()?;
    let tree = open_tree(CWD, existing, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).at(step, "open_tree(CLONE)")?;
    sys::mount_setattr(tree.as_fd(), 0, 0, Some(users.as_fd())).at(step, "mount_setattr(IDMAP)")
}

/// A user namespace with ids mapped, held by a program that waits on its standard input and ends when it is closed.
fn mapped_namespace() -> Result<OwnedFd> {
    let step = "try an idmapped mount";
    let mut command = std::process::Command::new("/usr/bin/env");
    command
        .arg("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = sys::in_user_namespace(&mut command).at(step, "unshare(CLONE_NEWUSER)")?;
    let pid = child.id();
    let opened = (|| {
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{pid}/{file}"), "0 524288 65536\n").at(step, &format!("write({file:?})"))?;
        }
        openat(CWD, format!("/proc/{pid}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(step, "open(\"ns/user\")")
    })();
    drop(child.stdin.take());
    drop(child.wait());
    opened
}

fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The host's counters through descriptors that stay open.
#[derive(Debug)]
pub struct Reader {
    stat: Option<File>,
    meminfo: Option<File>,
    diskstats: Option<File>,
    network: Option<File>,
    loadavg: Option<File>,
    pressure: [Option<File>; 3],
    state: Option<OwnedFd>,
    text: String,
}

impl Reader {
    /// Opens what this host has.
    #[must_use]
    pub fn open(state: &Path) -> Self {
        let open = |path: &str| File::open(path).ok();
        Self {
            stat: open("/proc/stat"),
            meminfo: open("/proc/meminfo"),
            diskstats: open("/proc/diskstats"),
            network: open("/proc/1/net/dev").or_else(|| open("/proc/net/dev")),
            loadavg: open("/proc/loadavg"),
            pressure: ["/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"].map(open),
            state: crate::init::host_folder(state).ok(),
            text: String::with_capacity(16 << 10),
        }
    }

    /// Reads everything; what cannot be read is `None`.
    pub fn read(&mut self) -> HostCounters {
        let mut text = std::mem::take(&mut self.text);
        let mut counters = HostCounters::default();
        if let Some(text) = reread(&self.stat, &mut text) {
            (counters.cpus, counters.cpu_usage_usec) = processors(text);
        }
        if let Some(text) = reread(&self.meminfo, &mut text) {
            let value = |key: &str| meminfo(text, key);
            counters.memory_total_bytes = value("MemTotal:");
            counters.memory_used_bytes = value("MemTotal:")
                .zip(value("MemAvailable:"))
                .map(|(total, available)| total.saturating_sub(available));
            counters.swap_used_bytes = value("SwapTotal:").zip(value("SwapFree:")).map(|(total, free)| total.saturating_sub(free));
        }
        if let Some(text) = reread(&self.diskstats, &mut text) {
            (counters.io_read_bytes, counters.io_write_bytes) = disks(text);
        }
        if let Some(text) = reread(&self.network, &mut text) {
            (counters.net_rx_bytes, counters.net_tx_bytes) = links(text);
        }
        if let Some(text) = reread(&self.loadavg, &mut text) {
            counters.processes = text
                .split_whitespace()
                .nth(3)
                .and_then(|field| field.split('/').nth(1))
                .and_then(|count| count.parse().ok());
        }
        let [cpu, memory, io] = &self.pressure;
        let mut pressure = |file: &Option<File>| reread(file, &mut text).map(parse::pressure).unwrap_or_default();
        counters.pressure = PressureCounters {
            cpu: pressure(cpu),
            memory: pressure(memory),
            io: pressure(io),
        };
        if let Some(disk) = self.state.as_ref().and_then(|state| rustix::fs::fstatvfs(state).ok()) {
            // As df(1) reckons: what is kept back for root is no room for containers.
            let used = disk.f_blocks.saturating_sub(disk.f_bfree);
            counters.disk_total_bytes = Some(used.saturating_add(disk.f_bavail) * disk.f_frsize);
            counters.disk_used_bytes = Some(used * disk.f_frsize);
        }
        self.text = text;
        counters
    }
}

fn reread<'a>(file: &Option<File>, text: &'a mut String) -> Option<&'a str> {
    crate::cgroup::reread(file.as_ref()?, text).ok()?;
    Some(text)
}

/// Number of CPUs and their busy time; `/proc/stat` counts ticks of 10 ms (USER_HZ is 100 on every architecture that matters).
fn processors(text: &str) -> (u32, Option<u64>) {
    let cpus = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    let all = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks: Option<Vec<u64>> = all.map(|line| line.split_whitespace().filter_map(|field| field.parse().ok()).collect());
    // user nice system idle iowait irq softirq steal: idle and iowait are not busy.
    let busy = ticks.map(|ticks| {
        ticks
            .iter()
            .take(8)
            .enumerate()
            .filter(|(index, _)| !matches!(index, 3 | 4))
            .map(|(_, ticks)| ticks)
            .sum::<u64>()
            * 10_000
    });
    (u32::try_from(cpus).unwrap_or(0), busy)
}

/// Bytes read and written by whole disks; partitions and stacked devices would count twice.
fn disks(text: &str) -> (Option<u64>, Option<u64>) {
    let is_whole = |name: &str| {
        let stacked = ["loop", "ram", "dm-", "md", "zram", "sr", "fd"].iter().any(|prefix| name.starts_with(prefix));
        !stacked && !name.is_empty() && Path::new("/sys/block").join(name).exists()
    };
    let (mut read, mut written) = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, name, _, _, sectors_read, _, _, _, sectors_written, ..] = fields.as_slice()
            && is_whole(name)
        {
            read += sectors_read.parse::<u64>().unwrap_or(0) * 512;
            written += sectors_written.parse::<u64>().unwrap_or(0) * 512;
        }
    }
    (Some(read), Some(written))
}

/// Bytes over links that lead out of the host.
fn links(text: &str) -> (Option<u64>, Option<u64>) {
    let leads_out = |name: &str| name != "lo" && Path::new("/sys/class/net").join(name).join("device").exists();
    let (mut received, mut sent) = (0, 0);
    for (name, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        let fields: Vec<u64> = rest.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        if let (true, Some(rx), Some(tx)) = (leads_out(name.trim()), fields.first(), fields.get(8)) {
            received += rx;
            sent += tx;
        }
    }
    (Some(received), Some(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let text = "cpu  10 0 20 1000 50 1 2 3 0 0\ncpu0 10 0 20 1000 50 1 2 3 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 1\n";
        assert_eq!(processors(text), (2, Some(36 * 10_000)));
    }

    #[test]
    fn weaker_limits_are_told_with_the_way_out() {
        let layout = |mode| Layout {
            mode,
            unified: None,
            v1: Vec::new(),
            disk: None,
        };
        assert_eq!(limits(Some(&layout(cgroup::Mode::V2))).level, CheckLevel::Good);
        let hybrid = limits(Some(&layout(cgroup::Mode::Hybrid)));
        assert!(hybrid.level == CheckLevel::Limited && hybrid.fix.is_some());
        assert!(hybrid.found.contains("memory-high is a soft limit"), "{}", hybrid.found);
    }

    #[test]
    fn controllers_that_are_missing_are_named_by_what_cannot_be_limited() {
        let all = judge_controllers(|_, _| true);
        assert_eq!((all.level, all.found.as_str()), (CheckLevel::Good, "cpu, cpuset, memory, pids, io"));
        let some = judge_controllers(|_, v1| v1 != "blkio" && v1 != "memory");
        assert_eq!(some.found, "memory, io cannot be limited");
        assert!(some.level == CheckLevel::Limited && some.fix.is_some());
    }

    #[test]
    fn a_kernel_without_overlay_carries_no_containers() {
        assert_eq!(overlay("nodev\tsysfs\nnodev\toverlay\n\text4\n").level, CheckLevel::Good);
        // A name that only begins so is another file system.
        let other = overlay("nodev\toverlayx\n");
        assert!(other.level == CheckLevel::Good || other.fix.is_some());
    }

    #[test]
    fn what_cannot_be_made_is_told_with_the_way_out() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a network namespace takes root");
            return;
        }
        let refused = made_in_namespace("veth", "CONFIG_VETH", || Err(Error::failed("make a link", "RTM_NEWLINK = EOPNOTSUPP")));
        assert!(refused.level == CheckLevel::Limited && refused.found.contains("EOPNOTSUPP"), "{refused:?}");
        assert!(refused.fix.is_some_and(|fix| fix.contains("modprobe veth")));
        let state = tempfile::tempdir().unwrap();
        let report = report(state.path());
        for name in ["controllers", "overlay", "bridge", "veth", "nf_tables"] {
            let found = report.checks.iter().find(|check| check.name == name);
            assert_eq!(found.map(|check| check.level), Some(CheckLevel::Good), "{name}: {found:?}");
        }
        assert!(!crate::net::bridge::exists(TRIED), "what was tried is gone");
    }

    #[test]
    fn every_program_that_a_mirror_needs_is_looked_for() {
        let state = tempfile::tempdir().unwrap();
        let checks = report(state.path()).checks;
        for name in ["mmdebstrap", "gpgv"] {
            let found = checks.iter().find(|check| check.name == name).unwrap();
            assert!(
                found.level == CheckLevel::Good || found.fix.as_ref().is_some_and(|fix| fix.contains(name)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn old_kernels_are_refused_with_the_way_out() {
        assert_eq!(kernel("6.1.0-56-cloud-amd64").level, CheckLevel::Good);
        let old = kernel("5.10.0-1-amd64");
        assert!(old.level == CheckLevel::Missing && old.fix.is_some());
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(meminfo("MemTotal:       16 kB\n", "MemTotal:"), Some(16_384));
    }
}
