//! R9, R10, R18: what a greedy or curious container leaves to its neighbour, to the host and to users of the host.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use model::{ContainerId, Limits};

use super::siege::{PROGRAM, attackers_root};
use crate::command;
use crate::host::{Host, as_root, exec_id};

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
