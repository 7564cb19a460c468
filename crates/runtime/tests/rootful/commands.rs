//! Commands inside: terminal, folder, environment, user, groups, signals, and what they must not bring along or show.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use model::engine::ExecRequest;
use model::{ContainerId, Limits};
use runtime::shim::protocol::Fields;

use crate::command;
use crate::host::{Host, as_root, busybox_root, exec_id};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/srv:/bin/sh\n1234:x:5:5::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:1000:\nlogs:x:77:web\n";

fn started(name: &str) -> (Host, ContainerId) {
    let host = Host::new(as_root(), name);
    let id = host.container(name, |root| {
        busybox_root(root);
        std::fs::create_dir_all(root.join("srv")).unwrap();
        std::fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.join("etc/group"), GROUP).unwrap();
    });
    host.start(id, Limits::default()).expect("it starts");
    (host, id)
}

fn shell(script: &str) -> ExecRequest {
    command(&["/bin/sh", "-c", script])
}

#[test]
fn a_terminal_has_the_size_that_was_asked_for_and_then_another() {
    let (host, id) = started("tty");
    let exec = exec_id();
    let request = ExecRequest {
        tty: true,
        cols: Some(101),
        rows: Some(31),
        ..shell("tty; stty size; echo $TERM; read line; stty size; echo \"heard $line\"; exit 3")
    };
    let mut terminal = std::fs::File::from(host.runtime.exec(id, exec, &request).expect("it starts").pop().unwrap());
    let mut lines = BufReader::new(terminal.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut next = || lines.next().unwrap_or_default().trim().to_owned();
    let tty = next();
    assert!(tty.starts_with("/dev/pts/"), "{tty}");
    assert_eq!((next().as_str(), next().as_str()), ("31 101", "xterm-256color"));
    let resize = Fields::command("exec-resize").with("exec", exec).with("cols", 55).with("rows", 11);
    host.runtime.tell(id, &resize).expect("it is told");
    terminal.write_all(b"hello\n").unwrap();
    let rest: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    assert!(
        rest.iter().any(|line| line == "11 55") && rest.iter().any(|line| line == "heard hello"),
        "{rest:?}"
    );
    assert_eq!(host.exit(exec), 3);
}

#[test]
fn folder_environment_user_and_groups_are_the_asked_ones() {
    let (host, id) = started("who");
    let request = ExecRequest {
        cwd: Some("/tmp".into()),
        env: vec![("COLOUR".into(), "a b=c\n$x".into()), ("PATH".into(), "/bin:/odd".into())],
        ..shell("pwd; printf '%s' \"$COLOUR\"; echo; echo $PATH $HOME $USER $container")
    };
    assert_eq!(host.run(id, &request), (0, "/tmp\na b=c\n$x\n/bin:/odd /root root berth\n".into()));
    let who = "id -u; id -g; id -G; pwd; echo $USER";
    for (user, wanted) in [
        (None, "0\n0\n0\n/root\nroot\n"),
        (Some("web"), "1000\n1000\n1000 77\n/srv\nweb\n"),
        (Some("1000"), "1000\n1000\n1000 77\n/srv\nweb\n"),
        (Some("web:logs"), "1000\n77\n77\n/srv\nweb\n"),
        (Some("web:5"), "1000\n5\n5\n/srv\nweb\n"),
        (Some("1"), "1\n0\n0\n/\n1\n"),
        // The number, not the account that is called so.
        (Some("1234"), "1234\n0\n0\n/\n1234\n"),
    ] {
        let request = ExecRequest {
            user: user.map(str::to_owned),
            ..shell(who)
        };
        assert_eq!(host.run(id, &request), (0, wanted.into()), "{user:?}");
    }
    for odd in [
        "0001",
        "+1",
        "1:",
        "4294967295",
        "-1",
        "",
        "nobody",
        "web:none",
        "1 ",
        "99999999999",
        ":0",
        "root\n",
    ] {
        let request = ExecRequest {
            user: Some(odd.into()),
            ..shell("id")
        };
        assert!(host.runtime.exec(id, exec_id(), &request).is_err(), "{odd:?}");
    }
}

#[test]
fn a_folder_that_is_not_inside_is_refused() {
    let (host, id) = started("cwd");
    let folders = (3..=30).map(|number| format!("/proc/self/fd/{number}"));
    for folder in folders.chain(["/nothing".into(), "/etc/passwd".into()]) {
        let request = ExecRequest {
            cwd: Some(folder.clone()),
            ..shell("pwd")
        };
        let refused = host.runtime.exec(id, exec_id(), &request).expect_err(&folder);
        assert_eq!(refused.step, "enter the working directory", "{folder}: {refused}");
    }
}

#[test]
fn a_signal_reaches_the_command_alone() {
    let (host, id) = started("signal");
    for (signal, code) in [(15, 143), (9, 137), (10, 7)] {
        let exec = exec_id();
        let streams = host
            .runtime
            .exec(id, exec, &shell("trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"))
            .expect("it starts");
        let mut ready = [0; 6];
        std::fs::File::from(streams.into_iter().nth(1).unwrap()).read_exact(&mut ready).unwrap();
        let message = Fields::command("exec-signal").with("exec", exec).with("number", signal);
        host.runtime.tell(id, &message).expect("it is told");
        assert_eq!(host.exit(exec), code);
        assert!(host.runtime.tell(id, &message).is_err(), "it has ended");
    }
    assert_eq!(host.sh(id, "true").0, 0);
}

#[test]
fn a_command_is_a_member_of_every_group_of_the_container() {
    let (host, id) = started("groups");
    let exec = exec_id();
    let streams = host.runtime.exec(id, exec, &command(&["/bin/busybox", "cat"])).expect("it starts");
    let mut streams = streams.into_iter().map(std::fs::File::from);
    let (mut input, mut output) = (streams.next().unwrap(), streams.next().unwrap());
    input.write_all(b"it runs").unwrap();
    output.read_exact(&mut [0; 7]).unwrap();
    let pid = pid_of(&host, id, "/bin/busybox\0cat");
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let layout = runtime::cgroup::Layout::detect().unwrap();
    let wanted = format!("/{}/{id}", runtime::cgroup::layout::instance_directory(Some(&host.instance())));
    for hierarchy in layout.all() {
        let controllers = hierarchy.controllers.join(",");
        let line = groups.lines().find(|line| {
            let listed: BTreeSet<&str> = line.split(':').nth(1).unwrap_or_default().split(',').collect();
            listed == controllers.split(',').collect()
        });
        let path = line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or_default();
        assert!(path.contains(&wanted), "{controllers:?}: {path:?} in {groups}");
    }
    // Seen from inside nothing lies above.
    for line in host.says(id, "cat /proc/self/cgroup").lines().filter(|line| layout_has(&layout, line)) {
        assert!(!line.contains("/.."), "{line}");
    }
    drop(input);
    assert_eq!(host.exit(exec), 0);
}

/// Whether a line of /proc/PID/cgroup is about a hierarchy that Berth uses.
fn layout_has(layout: &runtime::cgroup::Layout, line: &str) -> bool {
    let listed = line.split(':').nth(1).unwrap_or_default();
    layout.all().any(|hierarchy| hierarchy.controllers.join(",") == listed)
}

/// The host's number of a process of the container by its program.
fn pid_of(host: &Host, id: ContainerId, name: &str) -> u32 {
    let init = host.runtime.observe_one(id).pid.expect("it runs");
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/pid")).unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let is_it = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|other| other == namespace)
            && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(name.as_bytes()))
    };
    pids.find(is_it).expect("the process")
}

#[test]
fn no_descriptor_of_the_host_goes_inside() {
    let secret = std::fs::File::open("/etc/hostname").unwrap();
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let (host, id) = started("descriptors");
    let init = host.runtime.observe_one(id).pid.expect("it runs");
    let of = |pid: u32| -> Vec<(String, String)> {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let with_target = |entry: std::fs::DirEntry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), target.display().to_string())
        };
        let mut all: Vec<(String, String)> = entries.map(with_target).collect();
        all.sort();
        all
    };
    let numbers: Vec<String> = of(init).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{:?}", of(init));
    // The fourth is the folder that is read.
    assert_eq!(host.says(id, "ls /proc/self/fd"), "0\n1\n2\n3");
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    assert!(of(shim).iter().all(|(_, target)| target != "/etc/hostname"), "{:?}", of(shim));
    drop(secret);
}

#[test]
fn a_guest_that_watches_never_sees_a_program_of_the_host() {
    let (host, id) = started("watcher");
    let watch = "while [ ! -e /run/enough ]; do for p in /proc/[0-9]*; do readlink $p/exe; readlink $p/cwd; readlink $p/root; cat $p/exe 2>/dev/null | head -c 4 > /dev/null; done; done >> /run/seen 2>/dev/null";
    let watcher = exec_id();
    let streams = host.runtime.exec(id, watcher, &shell(watch)).expect("it starts");
    for _ in 0..200 {
        assert_eq!(host.sh(id, "true").0, 0);
    }
    host.says(id, "touch /run/enough");
    assert_eq!(host.exit(watcher), 0);
    drop(streams);
    let seen = host.says(id, "sort -u /run/seen");
    let seen: BTreeSet<&str> = seen.lines().collect();
    assert!(seen.contains("/bin/busybox"), "{seen:?}");
    let allowed = ["/", "/bin/busybox", "/root", "/srv"];
    assert!(seen.iter().all(|path| allowed.contains(path)), "{seen:?}");
}
