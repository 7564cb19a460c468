//! R9, R10, R11, R12, R15: what a greedy or curious container leaves to its neighbour and to the host.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use model::{ContainerId, Limits};

use super::siege::{PROGRAM, Siege, attackers_root};
use crate::command;
use crate::host::{Host, as_root, exec_id, in_own_network};

/// What the kernel counts for each user, and how to take one of it.
const COUNTED: &[(&str, &str)] = &[
    ("inotify instances", "call(294, 0)"),
    ("message queues", "call(240, \"queue-$$-$_[0]\\0\", 0x42, 0600, 0)"),
    ("pending signals", "queued()"),
];

fn two(name: &str) -> (Host, ContainerId, ContainerId) {
    let host = Host::new(as_root(), name);
    let (greedy, calm) = (host.container("greedy", attackers_root), host.container("calm", attackers_root));
    host.start(greedy, Limits::default()).expect("it starts");
    host.start(calm, Limits::default()).expect("it starts");
    (host, greedy, calm)
}

fn attacker(code: &str) -> model::engine::ExecRequest {
    command(&["/usr/bin/perl", &format!("/{PROGRAM}"), code])
}

#[test]
fn what_a_container_uses_up_is_its_own() {
    let (host, greedy, calm) = two("greedy");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rootful/attacks/attacker.pl");
    for (what, take) in COUNTED {
        let exec = exec_id();
        // More open files than a program usually may: what is counted shall end first.
        let hoard = format!("call(160, 7, pack('QQ', 4096, 4096)); hoard(sub {{ {take} }})");
        let streams = host.runtime.exec(greedy, exec, &attacker(&hoard)).expect("it starts");
        let mut streams = streams.into_iter().map(std::fs::File::from);
        let (input, output) = (streams.next().unwrap(), streams.next().unwrap());
        let (mut output, mut taken) = (BufReader::new(output), String::new());
        output.read_line(&mut taken).unwrap();
        let (_, left) = host.run(greedy, &attacker(take));
        assert_ne!(left.trim(), "0", "{what}: {taken} and there is more");
        let (_, said) = host.run(calm, &attacker(take));
        assert_eq!(said.trim(), "0", "{what} of the neighbour, after {taken}");
        let outside = Command::new("perl").args([program, take]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&outside.stdout).trim(), "0", "{what} of the host, after {taken}");
        drop(input);
        assert_eq!(host.exit(exec), 0);
    }
}

#[test]
fn terminals_of_one_container_end_before_those_of_all() {
    let (host, greedy, calm) = two("terminals");
    let exec = exec_id();
    let hoard = "call(160, 7, pack('QQ', 8192, 8192)); hoard(sub { call(2, \"/dev/ptmx\\0\", 2, 0) })";
    let streams = host.runtime.exec(greedy, exec, &attacker(hoard)).expect("it starts");
    let mut streams = streams.into_iter().map(std::fs::File::from);
    let (input, output) = (streams.next().unwrap(), streams.next().unwrap());
    let (mut output, mut taken) = (BufReader::new(output), String::new());
    output.read_line(&mut taken).unwrap();
    let taken: u32 = taken.split(':').next().unwrap().parse().unwrap();
    let all: u32 = std::fs::read_to_string("/proc/sys/kernel/pty/max").unwrap().trim().parse().unwrap();
    assert!((900..all / 2).contains(&taken), "{taken} of {all}");
    let (_, said) = host.run(calm, &attacker("call(2, \"/dev/ptmx\\0\", 2, 0)"));
    assert_eq!(said.trim(), "0", "after {taken} of {all}");
    drop(input);
    assert_eq!(host.exit(exec), 0);
}

#[test]
fn sockets_and_keys_of_the_host_are_not_seen() {
    use std::os::linux::net::SocketAddrExt as _;
    in_own_network(|| {
        let siege = Siege::lay("sockets");
        let name = format!("attack-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _listens = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let loopback = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = loopback.local_addr().unwrap().port();
        let local = format!("call(41, 1, 1, 0); my $n = pack('S', 1) . \"\\0{name}\"; socket(my $s, 1, 1, 0); $! = 0; call(42, fileno $s, $n, length $n)");
        let remote = format!("socket(my $s, 2, 1, 0); $! = 0; my $a = pack('Sna4 x8', 2, {port}, pack('C4', 127, 0, 0, 1)); call(42, fileno $s, $a, 16)");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rootful/attacks/attacker.pl");
        for attack in [local, remote] {
            let outside = Command::new("perl").args([program, &attack]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&outside.stdout).trim(), "0", "the host itself reaches it: {attack}");
            assert_eq!(siege.answer(&attack, false), Ok(libc::ECONNREFUSED), "{attack}");
            assert_ne!(siege.answer(&attack, true), Ok(0), "{attack}");
        }
        // A key of this process's user: described the same way, and not found.
        let add = "call(248, \"user\\0\", \"attack\\0\", \"x\", 1, -4)";
        let find = "call(250, 10, -4, \"user\\0\", \"attack\\0\", 0)";
        let outside = Command::new("perl").args([program, &format!("{add} && {find}")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&outside.stdout).trim(), "0");
        assert_eq!(siege.answer(find, false), Ok(libc::ENOKEY));
        assert_eq!(siege.answer(&format!("{add} && {find}"), false), Ok(0), "its own it finds");
        let forget = "my $key = syscall(250, 10, -4, my $k = \"user\\0\", my $d = \"attack\\0\", 0); call(250, 9, $key, -4)";
        let outside = Command::new("perl").args([program, forget]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&outside.stdout).trim(), "0", "the key goes");
    });
}

#[test]
fn terminals_and_rights_are_the_containers_own() {
    let (host, id, _) = two("rights");
    let of_host = std::fs::metadata("/dev/pts")
        .map(|seen| std::os::unix::fs::MetadataExt::dev(&seen))
        .unwrap_or_default();
    // The file system on which a terminal lies, and the major number of terminals.
    let place = |path: &str, tty: bool| {
        let code = format!("my @seen = stat '{path}' or die $!; open(my $out, '>', '/run/seen'); print $out $seen[0], ' ', $seen[6] >> 8; close $out");
        let (exec, request) = (exec_id(), model::engine::ExecRequest { tty, ..attacker(&code) });
        let streams = host.runtime.exec(id, exec, &request).expect("it starts");
        assert_eq!(host.exit(exec), 0, "{path}");
        drop(streams);
        host.says(id, "cat /run/seen")
    };
    let own = place("/dev/pts/0", false);
    assert_eq!(own, format!("{} 136", own.split(' ').next().unwrap()));
    assert_ne!(own, format!("{of_host} 136"));
    assert_eq!((place("/dev/console", false), place("/proc/self/fd/0", true)), (own.clone(), own));
    let status = host.says(id, "grep ^Cap /proc/self/status; grep ^Seccomp: /proc/self/status");
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_eq!(
        (field("CapInh:"), field("CapAmb:"), field("Seccomp:")),
        ("0".repeat(16), "0".repeat(16), "2".into())
    );
    let init = std::fs::read_to_string(format!("/proc/{}/status", host.runtime.observe_one(id).pid.expect("it runs"))).unwrap();
    assert!(
        init.contains(&format!("CapBnd:\t{}", field("CapBnd:"))),
        "a command has what init has: {status}"
    );
}
