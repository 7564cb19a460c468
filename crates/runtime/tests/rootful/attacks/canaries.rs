//! What no attack may change: everything of the host that a container's root would like to, read before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use runtime::cgroup::Layout;

use crate::host::said;

/// Settings that change by themselves.
const RESTLESS: [&str; 15] = [
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota/syncs",
    "kernel/ns_last_pid",
    "kernel/pty/nr",
    "kernel/random/entropy_avail",
    "kernel/random/uuid",
    "net/ipv4/route/flush",
    "net/ipv6/route/flush",
    "net/netfilter/nf_conntrack_count",
    "vm/compact_memory",
    "vm/stat_refresh",
];

/// A process of the host that attacks would like to reach.
#[derive(Debug)]
pub struct Victim(Child);

impl Victim {
    pub fn new() -> Self {
        Self(Command::new("sleep").arg("100000").spawn().expect("it starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The state of the host by what is told.
#[derive(Clone, Debug)]
pub struct Canaries {
    facts: BTreeMap<String, String>,
    /// By how much the wall clock is ahead of the one that cannot be set.
    clock: Duration,
}

impl Canaries {
    /// `folder` is the instance's; what lies in it beside the container's own is watched too.
    pub fn now(folder: &Path, victim: &Victim) -> Self {
        let mut facts = BTreeMap::new();
        settings(Path::new("/proc/sys"), &mut facts);
        for path in ["/etc", "/dev"] {
            tree(Path::new(path), &mut facts);
        }
        for path in ["/", "/root"].map(Path::new).into_iter().chain([folder, &folder.join("state")]) {
            facts.insert(
                format!("names in {}", path.display()),
                entries(path).iter().map(|path| format!("{} ", path.display())).collect(),
            );
        }
        for path in ["swaps", "partitions", "filesystems"] {
            facts.insert(format!("/proc/{path}"), read(&Path::new("/proc").join(path)));
        }
        // By name: they are used more and less.
        let modules = read(Path::new("/proc/modules"));
        let names = modules.lines().filter_map(|line| line.split(' ').next());
        facts.insert("modules".into(), names.collect::<Vec<_>>().join("\n"));
        // An instance beside this one may come and go meanwhile.
        let is_anothers = |line: &&str| line.contains("fuse.lxcfs") && !line.contains(&folder.display().to_string());
        let mounts = read(Path::new("/proc/self/mountinfo"));
        facts.insert("mounts".into(), mounts.lines().filter(|line| !is_anothers(line)).collect::<Vec<_>>().join("\n"));
        for program in programs() {
            facts.insert(format!("content of {}", program.display()), contents(&program));
        }
        for (program, arguments) in [("nft", "list ruleset"), ("ip", "-o link"), ("ip", "-o addr"), ("ip", "route")] {
            facts.insert(format!("{program} {arguments}"), said(program, &arguments.split(' ').collect::<Vec<_>>()));
        }
        for file in ["cgroup", "oom_score_adj", "limits", "comm"] {
            facts.insert(format!("{file} of a process"), read(&PathBuf::from(format!("/proc/{}/{file}", victim.pid()))));
        }
        groups(&mut facts);
        Self { facts, clock: clock() }
    }

    /// Everything that is not as it was.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let keys = self.facts.keys().chain(now.facts.keys().filter(|key| !self.facts.contains_key(*key)));
        let changed = keys.filter(|key| self.facts.get(*key) != now.facts.get(*key));
        let lines = |facts: &BTreeMap<String, String>, key: &String| facts.get(key).map(|fact| fact.lines().map(str::to_owned).collect::<BTreeSet<_>>());
        let mut changes: Vec<String> = changed
            .map(|key| {
                let (before, after) = (lines(&self.facts, key).unwrap_or_default(), lines(&now.facts, key).unwrap_or_default());
                let (gone, come): (Vec<_>, Vec<_>) = (before.difference(&after).collect(), after.difference(&before).collect());
                format!("{key}: {gone:?}, then {come:?}")
            })
            .collect();
        if self.clock.abs_diff(now.clock) > Duration::from_secs(2) {
            changes.push(format!("the clock: {:?}, then {:?}", self.clock, now.clock));
        }
        changes
    }
}

fn clock() -> Duration {
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::from_secs(since_boot.tv_sec.unsigned_abs());
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().saturating_sub(since_boot)
}

fn read(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn settings(folder: &Path, facts: &mut BTreeMap<String, String>) {
    for path in entries(folder) {
        let name = path.strip_prefix("/proc/sys").unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            settings(&path, facts);
        } else if !RESTLESS.contains(&name.as_str()) {
            facts.insert(path.display().to_string(), read(&path));
        }
    }
}

/// Names, owners, modes, sizes and times.
fn tree(folder: &Path, facts: &mut BTreeMap<String, String>) {
    for path in entries(folder) {
        // Terminals and shared memory of other programs of the host.
        if ["/dev/pts", "/dev/shm", "/dev/ptmx", "/dev/tty"].contains(&path.to_str().unwrap_or_default()) {
            continue;
        }
        let Ok(seen) = path.symlink_metadata() else { continue };
        let times = if seen.is_dir() || seen.is_file() { seen.mtime() } else { 0 };
        let fact = format!("{:o} {}:{} {} {} {times}", seen.mode(), seen.uid(), seen.gid(), seen.nlink(), seen.size());
        facts.insert(path.display().to_string(), fact);
        if seen.is_dir() {
            tree(&path, facts);
        }
    }
}

/// Programs of the host that run in a container's stead or beside it.
fn programs() -> Vec<PathBuf> {
    let shim = std::env::var_os("BERTH_SHIM_PATH").map(PathBuf::from).expect("set for the tests");
    let own = std::env::current_exe().expect("its path");
    vec![
        shim,
        own,
        "/usr/bin/perl".into(),
        "/bin/busybox".into(),
        "/etc/passwd".into(),
        "/etc/shadow".into(),
    ]
}

fn contents(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).unwrap_or_default().hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// Folders and switches of each hierarchy, without those of Berth's instances.
fn groups(facts: &mut BTreeMap<String, String>) {
    fn walk(folder: &Path, facts: &mut BTreeMap<String, String>) {
        let is_berths = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("berth"));
        if is_berths {
            return;
        }
        for file in [
            "release_agent",
            "notify_on_release",
            "cgroup.subtree_control",
            "cgroup.type",
            "cgroup.freeze",
            "memory.max",
            "memory.limit_in_bytes",
            "pids.max",
            "cpu.max",
            "cpuset.cpus",
        ] {
            let path = folder.join(file);
            if path.exists() {
                facts.insert(path.display().to_string(), read(&path));
            }
        }
        facts.insert(format!("group {}", folder.display()), String::new());
        entries(folder).into_iter().filter(|path| path.is_dir()).for_each(|path| walk(&path, facts));
    }
    for hierarchy in Layout::detect().expect("cgroups").all() {
        walk(&hierarchy.root, facts);
    }
}
