//! Limits of running containers, at the start and changed later: what the kernel's files say, what is seen inside, and what
//! they do.

use std::time::Instant;

use model::engine::Signal;
use model::{ContainerId, ErrorCode, Limits};

use crate::command;
use crate::host::{Host, as_root, eventually, exec_id};

const MIB: u64 = 1 << 20;

/// No limit at all, not even those that a new container has.
fn unlimited() -> Limits {
    Limits {
        cpu_weight: None,
        pids: None,
        ..Limits::default()
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// Whether this host counts swap at all; without, a swap limit is refused, which another test is about.
fn counts_swap(host: &Host, id: ContainerId) -> bool {
    let layout = runtime::cgroup::Layout::detect().unwrap();
    match layout.v1("memory") {
        Some(memory) => memory.root.join("memory.memsw.limit_in_bytes").exists(),
        None => !host.limit(id, "memory.swap.max", "memory", "").is_empty(),
    }
}

fn is_v1() -> bool {
    runtime::cgroup::Layout::detect().unwrap().v1("memory").is_some()
}

#[test]
fn every_limit_stands_in_the_kernel_and_none_takes_it_away() {
    let host = Host::new(as_root(), "files");
    let id = host.busybox("files");
    let all = Limits {
        cpus: Some(0.1),
        cpu_weight: Some(95),
        cpuset: Some("0".into()),
        memory_bytes: Some(128 * MIB),
        memory_high_bytes: Some(96 * MIB),
        swap_bytes: Some(64 * MIB),
        pids: Some(2000),
        io_read_bps: Some(10_000_000),
        io_write_bps: Some(20_000_000),
        disk_bytes: None,
    };
    let read = |host: &Host| {
        [
            host.limit(id, "cpu.max", "cpu", "cpu.cfs_quota_us"),
            host.limit(id, "cpu.weight", "cpu", "cpu.shares"),
            host.limit(id, "cpuset.cpus", "cpuset", "cpuset.cpus"),
            host.limit(id, "memory.max", "memory", "memory.limit_in_bytes"),
            host.limit(id, "memory.high", "memory", "memory.soft_limit_in_bytes"),
            host.limit(id, "pids.max", "pids", "pids.max"),
        ]
    };
    host.start(id, unlimited()).expect("it starts");
    let free = read(&host);
    assert_eq!(host.says(id, "nproc"), cpus().to_string());
    let (no_quota, normal, no_bytes) = if is_v1() {
        ("-1", "1024", "9223372036854771712")
    } else {
        ("max 100000", "100", "max")
    };
    assert_eq!(
        [&free[0], &free[1], &free[3], &free[4], &free[5]],
        [no_quota, normal, no_bytes, no_bytes, "max"]
    );
    host.runtime.set_limits(id, &all).expect("they change");
    let limited = read(&host);
    let wanted = if is_v1() {
        ["10000", "972", "0", "134217728", "100663296", "2000"]
    } else {
        ["10000 100000", "95", "0", "134217728", "100663296", "2000"]
    };
    assert_eq!(limited, wanted);
    if counts_swap(&host, id) {
        let both = host.limit(id, "memory.swap.max", "memory", "memory.memsw.limit_in_bytes");
        assert_eq!(both, if is_v1() { (192 * MIB).to_string() } else { (64 * MIB).to_string() });
    }
    let throttle = host.limit(id, "io.max", "blkio", "blkio.throttle.write_bps_device");
    assert!(throttle.contains("20000000"), "{throttle}");
    let throttle = host.limit(id, "io.max", "blkio", "blkio.throttle.read_bps_device");
    assert!(throttle.contains("10000000"), "{throttle}");
    assert_eq!(host.says(id, "nproc"), "1");
    assert_eq!(host.says(id, "grep MemTotal /proc/meminfo").split_whitespace().nth(1), Some("131072"));
    host.runtime.set_limits(id, &unlimited()).expect("they go");
    assert_eq!(read(&host), free);
    // The same by a start.
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    host.start(id, all).expect("it starts");
    assert_eq!(read(&host), wanted);
}

#[test]
fn memory_high_gives_back_what_lies_above_it() {
    const HIGH: u64 = 48 * MIB;
    let host = Host::new(as_root(), "high");
    let id = host.busybox("high");
    host.start(id, unlimited()).expect("it starts");
    let current = || host.counters(id).memory.current_bytes.expect("it is counted");
    // Pages of a file, which stay in memory until somebody wants them back.
    let write = "dd if=/dev/zero of=/root/file bs=1M count=160 conv=fsync status=none";
    host.says(id, write);
    let free = current();
    assert!(free > 128 * MIB, "{free} bytes without a limit");
    let limits = Limits {
        memory_high_bytes: Some(HIGH),
        ..unlimited()
    };
    host.runtime.set_limits(id, &limits).expect("it changes");
    host.says(id, write);
    let held = current();
    if is_v1() {
        // The kernel looks at it only when the whole machine is short of memory, which no test may bring about.
        let soft = host.limit(id, "memory.high", "memory", "memory.soft_limit_in_bytes");
        assert_eq!(soft, HIGH.to_string());
        eprintln!("not shown: memory is on cgroup version 1, where memory-high is a soft limit; {held} bytes stayed in use");
        return;
    }
    assert!(held <= HIGH + 8 * MIB, "{held} bytes in use above {HIGH}");
    let events = host.limit(id, "memory.events", "memory", "memory.oom_control");
    let count = |key: &str| runtime::cgroup::parse::keyed(&events, key);
    assert!(count("high").is_some_and(|high| high > 0), "{events}");
    assert_eq!((count("max"), count("oom_kill")), (Some(0), Some(0)), "it slows down and ends nobody");
}

#[test]
fn without_swap_nothing_is_swapped_out() {
    let host = Host::new(as_root(), "swap");
    let id = host.busybox("swap");
    host.start(id, unlimited()).expect("it starts");
    if !counts_swap(&host, id) {
        eprintln!("not shown: this host does not count swap (CONFIG_SWAP, or swapaccount=0)");
        return;
    }
    let limit = || host.limit(id, "memory.swap.max", "memory", "memory.memsw.limit_in_bytes");
    assert_ne!(limit(), if is_v1() { (64 * MIB).to_string() } else { "0".into() });
    let limits = Limits {
        memory_bytes: Some(64 * MIB),
        swap_bytes: Some(0),
        ..unlimited()
    };
    host.runtime.set_limits(id, &limits).expect("they change");
    // Version 1 counts memory and swap in one.
    assert_eq!(limit(), if is_v1() { (64 * MIB).to_string() } else { "0".into() });
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        eprintln!("this host has no swap: only the limit itself and the end of who is too greedy are shown");
    }
    let (code, _) = host.sh(id, "exec dd if=/dev/zero of=/dev/null bs=160M count=1");
    assert_eq!(code, 137, "what does not fit ends");
    let swapped = host.counters(id).memory.swap_bytes;
    assert_eq!(swapped, Some(0));
}

#[test]
fn half_a_core_is_half_a_core_and_less_when_it_is_changed() {
    let host = Host::new(as_root(), "quota");
    let id = host.busybox("quota");
    let limits = |cpus: f64| Limits {
        cpus: Some(cpus),
        ..Limits::default()
    };
    host.start(id, limits(0.5)).expect("it starts");
    let burn = |seconds: u32| {
        let used = || host.counters(id).cpu.usage_usec.expect("it is counted");
        let (before, begun) = (used(), Instant::now());
        host.sh(
            id,
            &format!("timeout {seconds} sh -c 'while :; do :; done' & timeout {seconds} sh -c 'while :; do :; done' & wait"),
        );
        #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
        let used = (used() - before) as f64;
        used / 1e6 / begun.elapsed().as_secs_f64()
    };
    let cores = burn(4);
    assert!((0.45..0.55).contains(&cores), "{cores} cores");
    host.runtime.set_limits(id, &limits(0.2)).expect("it changes");
    let cores = burn(4);
    assert!((0.16..0.24).contains(&cores), "{cores} cores");
}

#[test]
fn containers_of_one_cpu_each_are_spread_over_the_cpus() {
    if cpus() < 2 {
        eprintln!("skipped: this host has one CPU");
        return;
    }
    let host = Host::new(as_root(), "spread");
    let one = Limits {
        cpus: Some(1.0),
        ..Limits::default()
    };
    let ids = [host.busybox("left"), host.busybox("right")];
    for id in ids {
        host.start(id, one.clone()).expect("it starts");
        assert_eq!(host.says(id, "nproc"), "1");
    }
    let places = ids.map(|id| host.limit(id, "cpuset.cpus", "cpuset", "cpuset.cpus"));
    assert_ne!(places[0], places[1]);
    for (set, seen) in [("0", 1), ("0-1", 2), ("1", 1)] {
        let limits = Limits {
            cpuset: Some(set.into()),
            ..Limits::default()
        };
        host.runtime.set_limits(ids[0], &limits).expect("it changes");
        assert_eq!(host.says(ids[0], "nproc"), seen.to_string());
        assert_eq!(
            host.says(ids[0], "grep Cpus_allowed_list /proc/self/status").split_whitespace().last(),
            Some(set)
        );
    }
}

#[test]
fn reading_and_writing_keep_to_their_rates() {
    let host = Host::new(as_root(), "rates");
    let id = host.busybox("io");
    host.start(id, Limits::default()).expect("it starts");
    let seconds = |script: &str| {
        let begun = Instant::now();
        host.says(id, script);
        begun.elapsed().as_secs_f64()
    };
    let write = "dd if=/dev/zero of=/root/file bs=1M count=24 oflag=direct status=none";
    let read = "dd if=/root/file of=/dev/null bs=1M count=24 iflag=direct status=none";
    let (free_write, free_read) = (seconds(write), seconds(read));
    host.runtime
        .set_limits(
            id,
            &Limits {
                io_write_bps: Some(8 * MIB),
                io_read_bps: Some(12 * MIB),
                ..Limits::default()
            },
        )
        .expect("they change");
    let (slow_write, slow_read) = (seconds(write), seconds(read));
    assert!(
        (2.6..6.0).contains(&slow_write),
        "24 MiB at 8 MiB/s took {slow_write} s, {free_write} s without"
    );
    assert!((1.7..5.0).contains(&slow_read), "24 MiB at 12 MiB/s took {slow_read} s, {free_read} s without");
    host.runtime.set_limits(id, &Limits::default()).expect("they go");
    assert!(seconds(write) < slow_write / 1.5);
    let counted = host.counters(id).io;
    assert!(counted.write_bytes.is_some_and(|bytes| bytes >= 48 * MIB), "{counted:?}");
}

#[test]
fn a_fork_bomb_ends_at_the_containers_own_limit() {
    let host = Host::new(as_root(), "bomb");
    let (id, other) = (host.busybox("bomb"), host.busybox("calm"));
    let limits = Limits {
        pids: Some(64),
        ..Limits::default()
    };
    host.start(id, limits.clone()).expect("it starts");
    host.start(other, limits).expect("it starts");
    let bomb = command(&["/bin/sh", "-c", "b() { b | b & }; while :; do b; sleep 0.01; done"]);
    let streams = host.runtime.exec(id, exec_id(), &bomb).expect("it starts");
    eventually("the limit is reached", || host.counters(id).pids.current.is_some_and(|now| now >= 60));
    for _ in 0..500 {
        let now = host.counters(id).pids.current.expect("it is counted");
        assert!(now <= 64, "{now} processes");
    }
    // Neither the host nor a neighbour feels it.
    assert!(std::process::Command::new("true").status().expect("the host forks").success());
    assert_eq!(host.sh(other, "true").0, 0);
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    drop(streams);
    assert_eq!(host.runtime.observe_one(id).state, model::ContainerState::Stopped);
}

#[test]
fn the_container_sees_its_own_processors_uptime_and_load() {
    let host = Host::new(as_root(), "lxcfs");
    let id = host.busybox("lxcfs");
    let limits = Limits {
        cpus: Some(1.0),
        ..Limits::default()
    };
    host.start(id, limits).expect("it starts");
    assert_eq!(host.says(id, "grep -c '^cpu[0-9]' /proc/stat"), "1");
    assert_eq!(host.says(id, "grep -c ^processor /proc/cpuinfo"), "1");
    let inside: f64 = host.says(id, "cut -d' ' -f1 /proc/uptime").parse().unwrap();
    let outside = std::fs::read_to_string("/proc/uptime").unwrap();
    let outside: f64 = outside.split(' ').next().unwrap().parse().unwrap();
    assert!(inside < 60.0 || inside < outside / 2.0, "up for {inside} s inside, {outside} s outside");
    // Processes in all: the container's, not the host's.
    let load = host.says(id, "cat /proc/loadavg");
    let processes: u32 = load.split([' ', '/']).nth(4).unwrap().parse().unwrap();
    assert!(processes < 20, "{load}");
}

#[test]
fn a_limit_that_the_kernel_refuses_changes_none_and_the_next_start_works() {
    let host = Host::new(as_root(), "refused");
    let id = host.busybox("refused");
    let limits = Limits {
        memory_bytes: Some(128 * MIB),
        pids: Some(99),
        ..Limits::default()
    };
    // More than the kernel lets anybody have.
    let refused = Limits {
        pids: Some(u64::MAX / 2),
        ..limits.clone()
    };
    for _ in 0..2 {
        let error = host.start(id, refused.clone()).unwrap_err();
        assert_eq!(error.step, "set the limits", "{error}");
        assert!(error.message.contains("pids.max") && error.hint.is_some(), "{error:?}");
    }
    host.start(id, limits.clone()).expect("it starts");
    let error = host
        .runtime
        .set_limits(
            id,
            &Limits {
                memory_bytes: Some(512 * MIB),
                ..refused
            },
        )
        .unwrap_err();
    assert_ne!(error.code, ErrorCode::Unsupported);
    let counters = host.counters(id);
    assert_eq!((counters.memory.limit_bytes, counters.pids.limit), (Some(128 * MIB), Some(99)), "all or none");
}
