//! What the shim does alone: starting again after a reboot, keeping exits, restarting by policy; and life without it.

use model::container::{ExitReason, RestartPolicy};
use model::engine::{EngineEvent, Signal};
use model::leftover::LeftoverKind;
use model::{ContainerId, ContainerState, ErrorCode, Limits};
use runtime::shim::protocol::Fields;

use crate::host::{Down, Host, as_root, eventually};

/// Runs a command in a container past every engine: what its own administrator could do from inside.
fn inside(pid: u32, script: &str) {
    let status = std::process::Command::new("nsenter")
        .args(["--target", &pid.to_string(), "--all", "/bin/busybox", "sh", "-c", script])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    // A command that ends its container ends with it.
    drop(status);
}

/// The state file names the init that runs.
fn runs_another(down: &Down, id: ContainerId, before: &str) -> bool {
    let state = down.shim_state(id);
    !state.is_empty() && state != before
}

#[test]
fn smoke_a_reboot_inside_needs_no_engine() {
    let host = Host::new(as_root(), "alone");
    let id = host.busybox("alone");
    let first = host.start(id, Limits::default()).expect("it starts");
    let down = host.down();
    for _ in 0..2 {
        let before = down.shim_state(id);
        let pid = init_of(&before).unwrap_or(first.pid);
        inside(pid, "reboot -f");
        eventually("it is started again", || runs_another(&down, id, &before));
    }
    let host = down.up();
    let seen = host.runtime.observe_one(id);
    assert_eq!(seen.state, ContainerState::Running);
    assert_ne!(seen.pid, Some(first.pid));
    assert_eq!(seen.exits.iter().filter(|exit| exit.reason == ExitReason::Reboot).count(), 2);
    assert_eq!(host.sh(id, "true").0, 0);
}

/// The pid of init in a state file: the process whose parent is the shim.
fn init_of(state: &str) -> Option<u32> {
    let numbers = state
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|word| word.parse::<u32>().ok());
    let is_init = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            inner.is_some_and(|pids| pids.split_whitespace().count() == 2 && pids.split_whitespace().last() == Some("1"))
        })
    };
    numbers.into_iter().find(is_init)
}

#[test]
fn ends_while_the_console_was_down_are_told_afterwards() {
    let host = Host::new(as_root(), "ends");
    let off = host.busybox("off");
    let code = host.script("code", "mkfifo /run/go; read x < /run/go; exit 42", |_| {});
    let memory = host.script("memory", "mkfifo /run/go; read x < /run/go; exec tail /dev/zero", |_| {});
    let limits = Limits {
        memory_bytes: Some(32 << 20),
        swap_bytes: Some(0),
        ..Limits::default()
    };
    // As long as the record of an older version could become.
    let old = "{\"at\":\"2024-01-01T00:00:00.000Z\",\"reason\":\"reboot\",\"code\":129,\"oom_kills\":0}\n".repeat(230_000);
    let record = host.state().join("containers").join(code.to_string()).join("events");
    std::fs::write(&record, old).unwrap();
    let pids = [off, code, memory].map(|id| {
        let limits = if id == memory { limits.clone() } else { Limits::default() };
        host.start(id, limits).expect("it starts").pid
    });
    host.says(code, "until [ -p /run/go ]; do sleep 0.02; done");
    host.says(memory, "until [ -p /run/go ]; do sleep 0.02; done");
    let down = host.down();
    inside(pids[0], "poweroff -f");
    inside(pids[1], "echo > /run/go");
    inside(pids[2], "echo > /run/go");
    for id in [off, code, memory] {
        eventually("its shim has ended", || down.shim_state(id).is_empty());
    }
    let host = down.up();
    let last = |id: ContainerId| {
        let seen = host.runtime.observe_one(id);
        assert_eq!((seen.state, seen.degraded), (ContainerState::Stopped, false));
        seen.exits.last().cloned().expect("an exit")
    };
    assert_eq!(last(off).reason, ExitReason::PowerOff);
    assert_eq!((last(code).reason, last(code).code), (ExitReason::Exited, 42));
    let seen = host.runtime.observe_one(code);
    assert_eq!(seen.older_exits + seen.exits.len(), 230_001);
    assert!(std::fs::metadata(record).unwrap().len() < 256 << 10);
    let exit = last(memory);
    assert_eq!(exit.reason, ExitReason::OutOfMemory);
    assert!(exit.oom_kills >= 1, "{exit:?}");
}

#[test]
fn who_shall_always_run_starts_again_and_who_failed_too() {
    let host = Host::new(as_root(), "policy");
    let always = host.script("always", "mkfifo /run/go; read x < /run/go; exit 0", |manifest| {
        manifest.spec.restart = RestartPolicy::Always;
    });
    let failing = host.script("failing", "mkfifo /run/go; read x < /run/go; exit $x", |manifest| {
        manifest.spec.restart = RestartPolicy::OnFailure;
    });
    let go = |id: ContainerId, word: &str| {
        host.says(id, "until [ -p /run/go ]; do sleep 0.02; done");
        let before = host.runtime.observe_one(id).pid;
        host.sh(id, &format!("echo {word} > /run/go"));
        before
    };
    let again = |id: ContainerId, before: Option<u32>| {
        host.wait_for(id, |seen| seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != before);
    };
    host.start(always, Limits::default()).expect("it starts");
    host.start(failing, Limits::default()).expect("it starts");
    let before = go(always, "0");
    again(always, before);
    let before = go(failing, "3");
    again(failing, before);
    go(failing, "0");
    let seen = host.wait_for(failing, |seen| seen.state == ContainerState::Stopped);
    assert_eq!(seen.exits.iter().map(|exit| exit.code).collect::<Vec<_>>(), [3, 0]);
    // Asked to stop it does not come back.
    host.runtime.signal(always, Signal::Kill).expect("it is killed");
    assert_eq!(host.runtime.observe_one(always).state, ContainerState::Stopped);
}

#[test]
fn who_is_killed_from_outside_or_runs_out_of_memory_starts_again() {
    let host = Host::new(as_root(), "revive");
    let killed = host.script("killed", "exec sleep 1000", |manifest| manifest.spec.restart = RestartPolicy::OnFailure);
    let hungry = host.script("hungry", "mkfifo /run/go; read x < /run/go; exec tail /dev/zero", |manifest| {
        manifest.spec.restart = RestartPolicy::OnFailure;
    });
    let limits = Limits {
        memory_bytes: Some(32 << 20),
        swap_bytes: Some(0),
        ..Limits::default()
    };
    let first = host.start(killed, Limits::default()).expect("it starts").pid;
    let second = host.start(hungry, limits).expect("it starts").pid;
    host.says(hungry, "until [ -p /run/go ]; do sleep 0.02; done");
    let down = host.down();
    let before = down.shim_state(killed);
    crate::host::kill(i32::try_from(first).unwrap());
    eventually("its shim starts it again", || runs_another(&down, killed, &before));
    let before = down.shim_state(hungry);
    inside(second, "echo > /run/go");
    eventually("its shim starts it again", || runs_another(&down, hungry, &before));
    let host = down.up();
    for (id, before, reason) in [(killed, first, ExitReason::Exited), (hungry, second, ExitReason::OutOfMemory)] {
        let seen = host.runtime.observe_one(id);
        assert_eq!((seen.state, seen.restarts, seen.next_start_at), (ContainerState::Running, Some(1), None));
        assert_ne!(seen.pid, Some(before));
        let last = seen.exits.last().expect("an exit");
        assert_eq!((last.reason, last.code), (reason, 137));
    }
}

#[test]
fn who_was_asked_to_end_stays_down() {
    let host = Host::new(as_root(), "asked");
    // As any init that nobody knows is asked to end, though the program is busybox.
    let listens = "trap 'exit 1' TERM; while :; do sleep 1000 & wait; done";
    let always = |manifest: &mut model::engine::Manifest| manifest.spec.restart = RestartPolicy::Always;
    let stopped = host.script("stopped", listens, always);
    let killed = host.script("killed", listens, always);
    let off = host.script("off", "mkfifo /run/go; read x < /run/go; exec poweroff -f", |manifest| {
        manifest.spec.restart = RestartPolicy::OnFailure;
    });
    let changed = host.script("changed", listens, always);
    let crashing = host.script("crashing", "exit 1", always);
    for id in [stopped, killed, off, changed, crashing] {
        host.start(id, Limits::default()).expect("it starts");
    }
    host.runtime.signal(stopped, Signal::PowerOff).expect("it is asked");
    host.runtime.signal(killed, Signal::Kill).expect("it is killed");
    host.says(off, "until [ -p /run/go ]; do sleep 0.02; done");
    host.sh(off, "echo > /run/go");
    host.runtime.set_restart(changed, RestartPolicy::No).expect("its shim takes it");
    let pid = host.runtime.observe_one(changed).pid.expect("a pid");
    crate::host::kill(i32::try_from(pid).unwrap());
    // Long enough for a stop to come before the next start.
    let waiting = host.wait_for(crashing, |seen| seen.state == ContainerState::Starting && seen.restarts >= Some(5));
    assert!(waiting.next_start_at > waiting.exits.last().map(|exit| exit.at), "{waiting:?}");
    host.runtime.signal(crashing, Signal::PowerOff).expect("it is called off");
    for id in [stopped, killed, off, changed, crashing] {
        let seen = host.wait_for(id, |seen| !seen.state.is_live());
        assert_eq!(seen.state, ContainerState::Stopped, "{seen:?}");
        let shims = host.state().with_file_name("run").join("shims");
        eventually("its shim, which could start it, has ended", || !shims.join(format!("{id}.state")).exists());
    }
}

#[test]
fn a_wish_holds_though_the_container_is_about_to_start_again() {
    let host = Host::new(as_root(), "wishes");
    let always = |manifest: &mut model::engine::Manifest| manifest.spec.restart = RestartPolicy::Always;
    let asked = host.script("asked", "mkfifo /run/go; read x < /run/go; exec reboot -f", always);
    let answers = host.script("answers", "trap 'exec reboot -f' TERM; while :; do sleep 1000 & wait; done", always);
    let killed = host.script("killed", "exec sleep 1000", always);
    for id in [asked, answers, killed] {
        host.start(id, Limits::default()).expect("it starts");
    }
    // The wish reached an init that was on its way to a reboot.
    host.runtime.tell(asked, &Fields::command("wish-power-off")).expect("its shim takes it");
    host.says(asked, "until [ -p /run/go ]; do sleep 0.02; done");
    host.sh(asked, "echo > /run/go");
    host.runtime.signal(answers, Signal::PowerOff).expect("it is asked");
    // The groups had been killed before the shim read of the wish, and an init came in between.
    host.runtime.tell(killed, &Fields::command("wish-kill")).expect("its shim takes it");
    for (id, reason) in [(asked, ExitReason::PowerOff), (answers, ExitReason::PowerOff), (killed, ExitReason::Killed)] {
        let seen = host.wait_for(id, |seen| !seen.state.is_live());
        assert_eq!(seen.state, ContainerState::Stopped, "{seen:?}");
        let ends: Vec<ExitReason> = seen.exits.iter().map(|exit| exit.reason).collect();
        assert_eq!(ends, [reason]);
    }
}

#[test]
fn a_container_that_only_starts_is_held_after_ten_times() {
    let host = Host::new(as_root(), "loop");
    let rebooting = host.script("reboots", "reboot -f", |_| {});
    let crashing = host.script("crashes", "exit 1", |manifest| manifest.spec.restart = RestartPolicy::Always);
    for id in [rebooting, crashing] {
        host.start(id, Limits::default()).expect("it starts");
        let seen = host.wait_for(id, |seen| seen.state == ContainerState::Error);
        let last = seen.exits.last().expect("an exit");
        assert_eq!(last.reason, ExitReason::RestartLoop);
        assert!(last.message.as_ref().is_some_and(|message| message.contains("10 times")), "{last:?}");
    }
    // A start that somebody asks for is a new beginning.
    host.start(rebooting, Limits::default()).expect("it starts");
    host.wait_for(rebooting, |seen| seen.state == ContainerState::Error && seen.exits.len() > 20);
}

#[test]
fn smoke_a_container_outlives_its_shim_and_is_never_started_twice() {
    let host = Host::new(as_root(), "shimless");
    let id = host.busybox("shimless");
    let pid = host.start(id, Limits::default()).expect("it starts").pid;
    crate::host::kill(host.shim_of(id));
    let seen = host.wait_for(id, |seen| seen.degraded);
    assert_eq!(seen.state, ContainerState::Running);
    let runs = || std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"));
    assert!(runs(), "its init lives on");
    let refused = host.start(id, Limits::default()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.hint.is_some(), "{refused:?}");
    assert!(runs(), "and still does");
    let host = host.restarted();
    let seen = host.runtime.observe_one(id);
    assert_eq!((seen.state, seen.degraded), (ContainerState::Running, true));
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    eventually("nothing of it is left", || !runs());
    host.start(id, Limits::default()).expect("it starts again");
    assert_eq!(host.sh(id, "true").0, 0);
}

#[test]
fn a_damaged_program_of_shims_is_found_and_written_anew() {
    let host = Host::new(as_root(), "program");
    let id = host.busybox("program");
    let mut programs = std::fs::read_dir(host.state().join("bin")).unwrap();
    let program = programs.next().expect("it was installed").unwrap().path();
    std::fs::write(&program, b"damaged").unwrap();
    let left = host.runtime.leftovers().unwrap();
    let found: Vec<(LeftoverKind, &str)> = left.iter().map(|leftover| (leftover.kind, leftover.name.as_str())).collect();
    assert_eq!(found, [(LeftoverKind::Program, program.to_str().unwrap())]);
    host.start(id, Limits::default()).expect_err("it is no program");
    host.runtime.clear(&left[0]).expect("it is repaired");
    assert_eq!(host.runtime.leftovers().unwrap(), []);
    host.start(id, Limits::default()).expect("it starts");
    assert_eq!(host.sh(id, "true").0, 0);
}

#[test]
fn the_end_of_a_container_without_its_shim_is_heard_of() {
    let mut host = Host::new(as_root(), "orphan");
    let id = host.busybox("orphan");
    for is_found in [false, true] {
        let init = host.start(id, Limits::default()).expect("it starts").pid;
        crate::host::kill(host.shim_of(id));
        host.wait_for(id, |seen| seen.degraded);
        if is_found {
            host = host.restarted();
            assert!(host.runtime.observe_one(id).degraded);
        }
        crate::host::kill(i32::try_from(init).unwrap());
        let is_end = |event: &EngineEvent| matches!(event, EngineEvent::Changed(seen) if seen.id == id && !seen.state.is_live());
        host.event(crate::host::patience(), is_end);
        assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    }
    // Files of a shim that was killed: the next start would replace them.
    for leftover in host.runtime.leftovers().expect("they are found") {
        host.runtime.clear(&leftover).expect("it is removed");
    }
}
