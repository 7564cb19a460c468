//! Faults, and guests that make them on purpose: a shim that is held up, a host that cannot write, groups that the guest
//! prepared, devices that it must not open, memory that runs out, a host with version 1 alone.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use model::container::ExitReason;
use model::engine::{EngineEvent, ExecRequest, Signal};
use model::{ContainerState, ErrorCode, Limits};
use runtime::cgroup::layout::instance_directory;
use runtime::cgroup::{Group, Layout, Mode};

use crate::command;
use crate::host::{Host, as_root, exec_id};

/// The container's group in the unified hierarchy, or in that of a controller.
fn group(host: &Host, id: model::ContainerId, controller: &str) -> Option<PathBuf> {
    let layout = Layout::detect().unwrap();
    let hierarchy = if controller.is_empty() {
        layout.unified.as_ref()
    } else {
        layout.v1(controller)
    };
    Some(hierarchy?.root.join(instance_directory(Some(&host.instance()))).join(id.to_string()))
}

#[test]
fn smoke_a_guest_that_freezes_its_groups_can_neither_stop_commands_nor_a_kill() {
    let host = Host::new(as_root(), "frozen");
    let freeze = "mkdir /sys/fs/cgroup/berth-exec && echo 1 > /sys/fs/cgroup/berth-exec/cgroup.freeze; exec sleep 100000";
    let id = host.script("frozen", freeze, |_| {});
    host.start(id, Limits::default()).expect("it starts");
    // The file is there a moment before the guest has written.
    let trap = "cd /sys/fs/cgroup; until [ \"$(cat berth-exec/cgroup.freeze 2>&1)\" = 1 ]; do :; done; cat berth-exec/cgroup.freeze";
    assert_eq!(host.says(id, trap), "1");
    let begun = Instant::now();
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let seen = host.runtime.observe_one(id);
    assert_eq!(seen.exits.last().map(|exit| exit.reason), Some(ExitReason::Killed));
}

#[test]
fn a_shim_that_hangs_cannot_stop_a_kill_and_blocks_nobody() {
    let host = Host::new(as_root(), "hangs");
    let id = host.busybox("hangs");
    let started = host.start(id, Limits::default()).expect("it starts");
    let status = std::fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    let send = |signal: &str| assert!(Command::new("kill").args([signal, &shim]).status().unwrap().success());
    send("-STOP");
    let begun = Instant::now();
    let seen = host.runtime.observe_one(id);
    assert_eq!((seen.state, seen.degraded), (ContainerState::Running, true));
    // It goes on once nobody is left inside: the kill waits for its word at the end only.
    let kill = {
        let runtime = std::sync::Arc::clone(&host.runtime);
        std::thread::spawn(move || runtime.signal(id, Signal::Kill))
    };
    let state = format!("/proc/{}/stat", started.pid);
    let is_dead = || std::fs::read_to_string(&state).map_or(true, |stat| stat.contains(") Z "));
    crate::host::eventually("init is killed beside the shim", is_dead);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    send("-CONT");
    kill.join().unwrap().expect("it is killed");
    let seen = host.runtime.observe_one(id);
    assert_eq!(seen.exits.last().map(|exit| exit.reason), Some(ExitReason::Killed));
}

#[test]
fn groups_that_a_run_left_are_not_in_the_way_of_the_next() {
    let host = Host::new(as_root(), "left");
    let id = host.busybox("left");
    let first = host.start(id, Limits::default()).expect("it starts");
    let leave = "mkdir -p /sys/fs/cgroup/left/below/deep; for name in $(cat /sys/fs/cgroup/cgroup.controllers); do \
                 mkdir -p /sys/fs/cgroup/init; for pid in $(cat /sys/fs/cgroup/cgroup.procs); do echo $pid > /sys/fs/cgroup/init/cgroup.procs; done; \
                 echo +$name > /sys/fs/cgroup/cgroup.subtree_control; done; ls -d /sys/fs/cgroup/left/below/deep";
    host.says(id, leave);
    host.sh(id, "busybox reboot -f");
    host.wait_for(id, |seen| {
        seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != Some(first.pid)
    });
    assert_eq!(
        host.says(id, "ls -d /sys/fs/cgroup/left 2>&1 || true"),
        "ls: /sys/fs/cgroup/left: No such file or directory"
    );
    assert_eq!(host.says(id, "cat /sys/fs/cgroup/cgroup.subtree_control"), "");
    host.says(id, "mkdir /sys/fs/cgroup/again");
}

#[test]
fn smoke_programs_have_the_usual_mask_and_limits_of_open_files() {
    let host = Host::new(as_root(), "usual");
    let id = host.busybox("usual");
    let started = host.start(id, Limits::default()).expect("it starts");
    assert_eq!(host.says(id, "umask; ulimit -Sn; ulimit -Sc"), "0022\n1024\n0");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", started.pid)).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("1024"), "{files}");
    let adjustment = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", started.pid)).unwrap();
    assert_eq!(adjustment.trim(), "0");
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(own.current, own.maximum, "the engine itself has all it can have");
}

#[test]
fn what_a_command_lacks_is_told_with_code_and_way_out() {
    let host = Host::new(as_root(), "lacks");
    let id = host.busybox("lacks");
    host.start(id, Limits::default()).expect("it starts");
    let user = ExecRequest {
        user: Some("nobody-of-this-name".into()),
        ..command(&["/bin/true"])
    };
    let folder = ExecRequest {
        cwd: Some("/nowhere".into()),
        ..command(&["/bin/true"])
    };
    let long = "x".repeat(200_000);
    for wrong in [user, folder, command(&["/bin/true", "a\0b"]), command(&["/bin/true", &long])] {
        let error = host.runtime.exec(id, exec_id(), &wrong).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
    let exec = exec_id();
    drop(host.runtime.exec(id, exec, &command(&["nothing-of-this-name"])).expect("Berth did its part"));
    let EngineEvent::ExecExited(exit) = host.event(
        crate::host::patience(),
        |event| matches!(event, EngineEvent::ExecExited(exit) if exit.exec == exec),
    ) else {
        unreachable!("that was asked for")
    };
    assert_eq!(exit.code, 127);
    assert!(exit.message.is_some_and(|message| message.contains("nothing-of-this-name")));
}

#[test]
fn an_init_whose_state_cannot_be_written_down_is_not_left_behind() {
    let host = Host::new(as_root(), "nostate");
    let id = host.busybox("nostate");
    let in_the_way = host.runtime.run_dir().join("shims").join(format!("{id}.state.new"));
    std::fs::create_dir(&in_the_way).unwrap();
    let error = host.start(id, Limits::default()).unwrap_err();
    assert_eq!(error.step, "write the state file");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    assert!(group(&host, id, "").is_none_or(|group| !group.exists()));
    host.start(id, Limits::default()).expect("nothing of the first try is in the way");
}

#[test]
fn smoke_a_kill_for_lack_of_memory_inside_is_told() {
    let host = Host::new(as_root(), "kills");
    let id = host.busybox("kills");
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        ..Limits::default()
    };
    host.start(id, limits).expect("it starts");
    drop(
        host.runtime
            .exec(
                id,
                exec_id(),
                &command(&["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]),
            )
            .expect("it runs"),
    );
    let told = host.event(
        crate::host::patience(),
        |event| matches!(event, EngineEvent::OomKill { id: other, .. } if *other == id),
    );
    assert!(matches!(told, EngineEvent::OomKill { total: 1.., .. }), "{told:?}");
}

#[test]
fn starts_at_once_take_different_cpus() {
    let host = Host::new(as_root(), "spread");
    let ids = [host.busybox("one"), host.busybox("two")];
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let limits = Limits {
        cpus: Some(1.0),
        ..Limits::default()
    };
    std::thread::scope(|scope| {
        for id in ids {
            let (host, limits) = (&host, limits.clone());
            scope.spawn(move || host.start(id, limits).expect("it starts"));
        }
    });
    let allowed = |id| host.says(id, "grep Cpus_allowed_list /proc/self/status");
    let [one, two] = ids.map(allowed);
    assert_ne!(one, two);
    // An engine that comes back knows what those that run have.
    let host = host.restarted();
    host.runtime.observe().expect("it looks");
    let third = host.busybox("three");
    host.start(third, limits).expect("it starts");
    assert_eq!(host.says(third, "nproc"), "1");
}

#[test]
fn only_the_containers_devices_open_in_its_groups() {
    let host = Host::new(as_root(), "devices");
    let id = host.busybox("devices");
    host.start(id, Limits::default()).expect("it starts");
    let outer = group(&host, id, "").expect("a unified hierarchy");
    let leaf = if Layout::detect().unwrap().mode == Mode::V2 {
        outer.join("payload")
    } else {
        outer
    };
    let opens = |device: &str| {
        let script = format!("echo $$ > {}/cgroup.procs && exec 3<{device}", leaf.display());
        Command::new("sh")
            .args(["-c", &script])
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(opens("/dev/zero") && opens("/dev/urandom"));
    assert!(!opens("/dev/kmsg"));
}

#[test]
fn shims_live_in_a_group_of_their_own() {
    let host = Host::new(as_root(), "apart");
    let id = host.busybox("apart");
    let started = host.start(id, Limits::default()).expect("it starts");
    let status = std::fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    let groups = std::fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
    let own = format!("/{}/shims", instance_directory(Some(&host.instance())));
    let layout = Layout::detect().unwrap();
    for hierarchy in layout.all().filter(|hierarchy| !hierarchy.controllers.iter().any(|name| name == "cpuset")) {
        let mark = format!(":{}:", hierarchy.controllers.join(","));
        let line = groups.lines().find(|line| line.contains(&mark)).unwrap();
        assert!(line.ends_with(&own), "{line}");
    }
}

#[test]
fn groups_that_are_removed_while_somebody_looks_are_empty_and_not_unknown() {
    let host = Host::new(as_root(), "removed");
    let id = host.busybox("removed");
    host.start(id, Limits::default()).expect("it starts");
    let look = || Group::look(&Layout::detect().unwrap(), Some(&host.instance()), &id.to_string()).unwrap();
    let group = look().expect("it has groups");
    assert_eq!(group.is_populated(), Some(true));
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    assert!(look().is_none());
    assert_eq!(group.is_populated(), Some(false));
}

#[test]
fn a_limit_that_this_host_cannot_set_is_refused_and_never_ignored() {
    if Layout::detect().unwrap().mode == Mode::V2 {
        return;
    }
    let host = Host::new(as_root(), "refused");
    let id = host.busybox("refused");
    let swap = Limits {
        swap_bytes: Some(1 << 20),
        ..Limits::default()
    };
    let refused = host.start(id, swap).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported, "{refused}");
    assert!(refused.hint.is_some());
}

#[test]
fn version_1_alone_carries_a_container() {
    let mut layout = Layout::detect().unwrap();
    if layout.mode != Mode::Hybrid {
        return;
    }
    (layout.mode, layout.unified) = (Mode::V1, None);
    let host = Host::on(as_root(), "v1", layout);
    let id = host.busybox("v1");
    let limits = Limits {
        memory_bytes: Some(64 << 20),
        ..Limits::default()
    };
    host.start(id, limits.clone()).expect("it starts");
    assert_eq!(host.says(id, "echo inside"), "inside");
    let counters = host.counters(id);
    assert!(counters.cpu.usage_usec.is_some_and(|used| used > 0), "{counters:?}");
    assert_eq!(counters.memory.limit_bytes, Some(64 << 20));
    host.runtime.signal(id, Signal::Freeze).expect("it freezes");
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Frozen);
    host.runtime.signal(id, Signal::Unfreeze).expect("it thaws");
    assert_eq!(host.start(id, limits).unwrap_err().code, ErrorCode::Conflict);
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
}

#[test]
fn each_boot_has_an_id_of_its_own() {
    let host = Host::new(as_root(), "bootid");
    let id = host.busybox("bootid");
    let first = host.start(id, Limits::default()).expect("it starts");
    let read = "cat /proc/sys/kernel/random/boot_id; ls -A /run | grep -c boot-id || true";
    let before = host.says(id, read);
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(before.ends_with("\n0") && !before.contains(own.trim()), "{before}");
    assert_eq!(host.says(id, read), before);
    host.sh(id, "busybox reboot -f");
    host.wait_for(id, |seen| {
        seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != Some(first.pid)
    });
    assert_ne!(host.says(id, read), before);
}

#[test]
fn a_new_host_name_is_in_the_files_at_the_next_start() {
    let host = Host::new(as_root(), "renamed");
    let id = host.busybox("renamed");
    for name in ["renamed", "other", "third"] {
        let mut request = host.request(id, Limits::default());
        request.hostname = name.into();
        host.runtime.start(&request).expect("it starts");
        assert_eq!(host.says(id, "hostname; cat /etc/hostname"), format!("{name}\n{name}"));
        host.runtime.signal(id, Signal::Kill).expect("it is killed");
    }
    let mut request = host.request(id, Limits::default());
    request.hostname = "third".into();
    host.runtime.start(&request).expect("it starts");
    host.says(id, "echo chosen > /etc/hostname");
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    request.hostname = "fourth".into();
    host.runtime.start(&request).expect("it starts");
    assert_eq!(host.says(id, "cat /etc/hostname"), "chosen");
}

/// The shim that a start has just made, by its arguments: a child of ours, whichever thread made it.
fn young_shim(id: model::ContainerId) -> Option<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> = children
        .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    let is_its = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains(&id.to_string()));
    children.into_iter().find(is_its)
}

#[test]
fn a_shim_that_is_killed_at_any_moment_of_a_start_leaves_a_container_that_can_be_started() {
    let host = Host::new(as_root(), "moments");
    let id = host.busybox("moments");
    // Starts it and gives the outcome, with how long it took from when the shim was there; it is killed after so long.
    let start = |id: model::ContainerId, kill_after: Option<Duration>| {
        std::thread::scope(|scope| {
            let start = scope.spawn(|| (host.start(id, Limits::default()), Instant::now()));
            let shim = loop {
                match young_shim(id) {
                    Some(shim) => break shim,
                    None => assert!(!start.is_finished(), "it was started without a shim: {:?}", host.runtime.observe_one(id)),
                }
            };
            let seen = Instant::now();
            if let Some(after) = kill_after {
                while seen.elapsed() < after {
                    std::hint::spin_loop();
                }
                crate::host::kill(shim);
            }
            let (outcome, at) = start.join().unwrap();
            (outcome, at.saturating_duration_since(seen))
        })
    };
    let (outcome, whole) = start(host.busybox("measured"), None);
    outcome.expect("it starts");
    let (mut failed, mut degraded) = (0, 0);
    for moment in 0..16 {
        // Up to a fourth beyond a whole start.
        let (outcome, _) = start(id, Some(whole * moment / 12));
        let seen = host.runtime.observe_one(id);
        assert_eq!(seen.degraded, outcome.is_ok(), "moment {moment}: {outcome:?}, {seen:?}");
        assert_eq!(seen.state.is_live(), outcome.is_ok(), "moment {moment}: {outcome:?}, {seen:?}");
        failed += u32::from(outcome.is_err());
        degraded += u32::from(seen.degraded);
        host.runtime.signal(id, Signal::Kill).unwrap_or_else(|error| panic!("moment {moment}: {error}"));
        assert!(!host.runtime.observe_one(id).state.is_live(), "moment {moment}");
    }
    assert!(
        failed > 0 && degraded > 0,
        "killed before and after init ran: {failed} starts failed, {degraded} lived on"
    );
    host.start(id, Limits::default()).expect("it starts again");
    assert_eq!(host.sh(id, "true").0, 0);
}
