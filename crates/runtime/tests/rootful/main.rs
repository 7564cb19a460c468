//! Real containers on this host: each verb, with real root file systems, and nothing left behind. Fails without root.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod attacks;
mod boundary;
mod commands;
mod faults;
mod folders;
mod guests;
mod host;
mod limits;
mod links;
mod mounts;
mod shims;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use host::{Host, as_root};
use model::container::{ContainerState, ExitReason};
use model::engine::{ExecRequest, Signal};
use model::{ErrorCode, Limits};

pub fn command(words: &[&str]) -> ExecRequest {
    ExecRequest {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        ..ExecRequest::default()
    }
}

#[test]
fn smoke_busybox_starts_answers_and_is_killed() {
    let host = Host::new(as_root(), "smoke");
    let id = host.busybox("smoke");
    let started = host.start(id, Limits::default()).expect("it starts");
    assert!(started.pid > 0);
    let (code, out) = host.run(id, &command(&["/bin/busybox", "id", "-u"]));
    assert_eq!((code, out.as_str()), (0, "0\n"));
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    let seen = host.runtime.observe_one(id);
    assert_eq!(seen.state, ContainerState::Stopped);
    assert_eq!(seen.exits.last().map(|exit| exit.reason), Some(ExitReason::Killed));
}

#[test]
fn smoke_exit_codes_are_those_of_the_command() {
    let host = Host::new(as_root(), "codes");
    let id = host.busybox("codes");
    host.start(id, Limits::default()).expect("it starts");
    for (words, wanted) in [
        (vec!["/bin/true"], 0),
        (vec!["/bin/sh", "-c", "exit 7"], 7),
        (vec!["nothing-of-this-name"], 127),
        (vec!["/etc/passwd"], 126),
        (vec!["/bin/sh", "-c", "kill -9 $$"], 137),
    ] {
        assert_eq!(host.run(id, &command(&words)).0, wanted, "{words:?}");
    }
    let odd = ExecRequest {
        user: Some("0001".into()),
        ..command(&["/bin/true"])
    };
    assert!(host.runtime.exec(id, host::exec_id(), &odd).is_err());
}

#[test]
fn input_comes_back_unchanged() {
    let host = Host::new(as_root(), "input");
    let id = host.busybox("input");
    host.start(id, Limits::default()).expect("it starts");
    let sent: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut streams = host
        .runtime
        .exec(id, host::exec_id(), &command(&["/bin/busybox", "cat"]))
        .expect("cat runs")
        .into_iter()
        .map(std::fs::File::from);
    let (mut input, mut output) = (streams.next().unwrap(), streams.next().unwrap());
    let copy = sent.clone();
    let writer = std::thread::spawn(move || input.write_all(&copy));
    let mut back = Vec::new();
    output.read_to_end(&mut back).unwrap();
    writer.join().unwrap().unwrap();
    assert!(back == sent, "{} bytes came back of {}", back.len(), sent.len());
}

#[test]
fn smoke_power_off_and_reboot_are_told_apart() {
    let host = Host::new(as_root(), "off");
    let id = host.busybox("off");
    let first = host.start(id, Limits::default()).expect("it starts");
    // The shim starts it again without an engine: only the new pid is waited for here.
    host.run(id, &command(&["/bin/busybox", "reboot", "-f"]));
    let again = host.wait_for(id, |seen| {
        seen.state == ContainerState::Running && seen.pid != Some(first.pid) && seen.pid.is_some()
    });
    assert_eq!(again.exits.last().map(|exit| exit.reason), Some(ExitReason::Reboot));
    host.runtime.signal(id, Signal::PowerOff).expect("it is asked");
    let off = host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
    assert_eq!(off.exits.last().map(|exit| exit.reason), Some(ExitReason::PowerOff));
}

#[test]
fn the_console_replays_what_was_printed() {
    let host = Host::new(as_root(), "console");
    let id = host.busybox("console");
    host.start(id, Limits::default()).expect("it starts");
    let marker = "hello from the console";
    host.run(id, &command(&["/bin/sh", "-c", &format!("echo '{marker}' > /dev/console")]));
    let mut socket = std::os::unix::net::UnixStream::from(host.runtime.console(id).expect("it attaches"));
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut seen = String::new();
    while !seen.contains(marker) {
        let mut bytes = [0; 4096];
        let got = socket.read(&mut bytes).expect("the scrollback holds it");
        seen.push_str(&String::from_utf8_lossy(&bytes[..got]));
    }
}

#[test]
fn smoke_frozen_refuses_exec_and_goes_on_when_thawed() {
    let host = Host::new(as_root(), "freeze");
    let id = host.busybox("freeze");
    host.start(id, Limits::default()).expect("it starts");
    host.runtime.signal(id, Signal::Freeze).expect("it freezes");
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Frozen);
    let refused = host.runtime.exec(id, host::exec_id(), &command(&["/bin/true"])).unwrap_err();
    assert_eq!((refused.code, refused.hint.as_deref()), (ErrorCode::Conflict, Some("unfreeze it first")));
    host.runtime.signal(id, Signal::Unfreeze).expect("it thaws");
    assert_eq!(host.run(id, &command(&["/bin/true"])).0, 0);
}

#[test]
fn smoke_limits_hold_inside_and_change_while_it_runs() {
    let host = Host::new(as_root(), "limits");
    let id = host.busybox("limits");
    let limits = Limits {
        cpus: Some(1.0),
        memory_bytes: Some(128 << 20),
        pids: Some(64),
        ..Limits::default()
    };
    host.start(id, limits.clone()).expect("it starts");
    assert_eq!(host.run(id, &command(&["/bin/busybox", "nproc"])).1, "1\n");
    let counters = host.counters(id);
    assert_eq!((counters.memory.limit_bytes, counters.pids.limit), (Some(128 << 20), Some(64)));
    host.runtime
        .set_limits(
            id,
            &Limits {
                memory_bytes: Some(256 << 20),
                cpus: None,
                pids: None,
                ..limits
            },
        )
        .expect("they change");
    let counters = host.counters(id);
    assert_eq!((counters.memory.limit_bytes, counters.pids.limit), (Some(256 << 20), None));
    let all = std::thread::available_parallelism().unwrap().to_string();
    assert_eq!(host.run(id, &command(&["/bin/busybox", "nproc"])).1.trim(), all);
    let none = host
        .runtime
        .set_limits(
            id,
            &Limits {
                cpuset: Some("4000".into()),
                ..Limits::default()
            },
        )
        .unwrap_err();
    assert_eq!(none.code, ErrorCode::Invalid);
}

#[test]
fn a_greedy_process_is_killed_and_counted() {
    let host = Host::new(as_root(), "oom");
    let id = host.busybox("oom");
    host.start(
        id,
        Limits {
            memory_bytes: Some(64 << 20),
            swap_bytes: Some(0),
            ..Limits::default()
        },
    )
    .expect("it starts");
    let (code, _) = host.run(id, &command(&["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]));
    assert_eq!(code, 137);
    assert!(host.counters(id).memory.oom_kills.is_some_and(|kills| kills >= 1));
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Running);
}

#[test]
fn containers_outlive_their_engine() {
    let host = Host::new(as_root(), "adopt");
    let id = host.busybox("adopt");
    let started = host.start(id, Limits::default()).expect("it starts");
    let host = host.restarted();
    let seen = host.runtime.observe_one(id);
    assert_eq!((seen.state, seen.pid), (ContainerState::Running, Some(started.pid)));
    assert_eq!(host.run(id, &command(&["/bin/true"])).0, 0);
    assert!(host.runtime.sample().containers.iter().any(|(other, _)| *other == id));
}

#[test]
fn an_image_without_init_names_the_step_and_leaves_nothing() {
    let host = Host::new(as_root(), "noinit");
    let id = host.container("noinit", |root| {
        std::fs::create_dir_all(root.join("etc")).unwrap();
    });
    let error = host.start(id, Limits::default()).unwrap_err();
    assert_eq!((error.step.as_str(), error.code), ("find the container's init", ErrorCode::Invalid));
    assert!(error.hint.is_some());
    assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    // A second try fails in the same words: nothing of the first is in its way.
    assert_eq!(host.start(id, Limits::default()).unwrap_err().step, error.step);
}

#[test]
fn a_folder_of_the_image_that_is_a_link_is_refused() {
    let host = Host::new(as_root(), "links");
    let id = host.container("links", |root| {
        host::busybox_root(root);
        std::fs::remove_dir(root.join("dev")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("dev")).unwrap();
    });
    let error = host.start(id, Limits::default()).unwrap_err();
    assert_eq!(error.step, "open a folder of the image", "{error}");
}

#[test]
fn smoke_init_has_few_capabilities_a_filter_and_its_own_ids() {
    let host = Host::new(as_root(), "caps");
    let id = host.busybox("caps");
    let pid = host.start(id, Limits::default()).expect("it starts").pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
            .trim_start_matches(':')
            .trim()
            .to_owned()
    };
    assert_eq!(field("Seccomp"), "2");
    assert_eq!((field("CapInh"), field("CapAmb")), ("0".repeat(16), "0".repeat(16)));
    let bounding = u64::from_str_radix(&field("CapBnd"), 16).unwrap();
    for dropped in [16, 17, 25, 29, 30, 37] {
        assert_eq!(bounding >> dropped & 1, 0, "capability {dropped}");
    }
    let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", &host.base_id(id).to_string(), "65536"]);
    let (_, descriptors) = host.run(id, &command(&["/bin/sh", "-c", "ls /proc/self/fd | wc -l"]));
    // Input, output, errors and the one with which ls reads the folder.
    assert_eq!(descriptors.trim(), "4");
}

#[test]
fn writes_stay_in_the_containers_own_layer() {
    let host = Host::new(as_root(), "layers");
    let (one, two) = (host.busybox("one"), host.busybox("two"));
    host.start(one, Limits::default()).expect("it starts");
    host.start(two, Limits::default()).expect("it starts");
    host.run(one, &command(&["/bin/sh", "-c", "echo changed > /etc/passwd && echo new > /root/new"]));
    let (_, passwd) = host.run(two, &command(&["/bin/busybox", "cat", "/etc/passwd"]));
    assert!(passwd.starts_with("root:"), "{passwd}");
    let written = host.state().join("containers").join(one.to_string()).join("layers/1/root/new");
    // Stored unshifted: root inside is root on the disk, below a folder that is root's alone.
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(written).unwrap());
    assert_eq!(owner, 0);
}

#[test]
fn a_graceful_stop_takes_no_longer_than_init_does() {
    let host = Host::new(as_root(), "stop");
    let id = host.busybox("stop");
    host.start(id, Limits::default()).expect("it starts");
    let begun = Instant::now();
    host.runtime.signal(id, Signal::PowerOff).expect("it is asked");
    host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
    // busybox init itself sleeps about two seconds between TERM and KILL.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
