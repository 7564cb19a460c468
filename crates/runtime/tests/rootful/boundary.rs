//! What a guest's root is refused by the kernel, tried from inside a real guest with plain system calls.

use model::Limits;

use crate::command;
use crate::host::{Host, as_root, busybox_root};

/// Calls by number on amd64, each with the answer that it must give: 0 = it succeeds.
const CALLS: &[(&str, &str, i32)] = &[
    ("kexec_load", "246, 0, 0, 0, 0", libc::EPERM),
    ("kexec_file_load", "320, -1, -1, 0, 0, 0", libc::EPERM),
    ("init_module", "175, 0, 0, 0", libc::EPERM),
    ("finit_module", "313, 0, 0, 0", libc::EPERM),
    ("delete_module", "176, 0, 0", libc::EPERM),
    ("open_by_handle_at", "304, -1, 0, 0", libc::EPERM),
    ("umount2 by force", "166, $proc, 1", libc::EPERM),
    ("AF_VSOCK", "41, 40, 1, 0", libc::EAFNOSUPPORT),
    ("AF_ALG", "41, 38, 5, 0", libc::EAFNOSUPPORT),
    ("NETLINK_AUDIT", "41, 16, 3, 9", libc::EAFNOSUPPORT),
    ("syslog (dmesg)", "103, 3, $buffer, 64", libc::EPERM),
    ("mknod of a disk", "133, $disk, 0060600, 0x0800", libc::EPERM),
    ("mknod of null", "133, $disk, 0020600, 0x0103", libc::EPERM),
    ("settimeofday", "164, $buffer, 0", libc::EPERM),
    // What guests' own containers and services need.
    ("NETLINK_ROUTE", "41, 16, 3, 0", 0),
    ("unshare(NEWUSER)", "272, 0x10000000", 0),
    ("unshare(NEWNS)", "272, 0x20000", 0),
    ("mknod of a whiteout", "133, $whiteout, 0020600, 0", 0),
    ("mknod of a fifo", "133, $fifo, 0010600, 0", 0),
];

fn perl(lines: &str) -> model::engine::ExecRequest {
    let begin = "$| = 1; my ($proc, $disk, $whiteout, $fifo) = (\"/proc\\0\", \"/root/disk\\0\", \"/dev/shm/whiteout\\0\", \"/root/fifo\\0\"); my $buffer = \"\\0\" x 64;\n";
    command(&["perl", "-e", &format!("{begin}{lines}")])
}

#[test]
fn each_refused_call_answers_its_errno_and_the_needed_ones_work() {
    let host = Host::new(as_root(), "calls");
    let id = host.container("calls", |root| crate::guests::unpack("bookworm", root));
    host.start(id, Limits::default()).expect("it starts");
    for (name, arguments, errno) in CALLS {
        let script = format!("$! = 0; my $r = syscall({arguments}); print(($r == -1 ? $!+0 : 0), \"\\n\");");
        let (code, said) = host.run(id, &perl(&script));
        assert_eq!((code, said.trim()), (0, errno.to_string().as_str()), "{name}");
    }
    // A keyring of its own for init and for every command: never the one of this process.
    let ring = "print syscall(250, 0, -3, 0), \"\\n\";";
    let own = host.run(id, &perl(ring)).1;
    assert!(own.trim().parse::<i64>().is_ok_and(|serial| serial > 0), "{own}");
    let keys = host.run(id, &command(&["sh", "-c", "cat /proc/keys 2>/dev/null | wc -l"])).1;
    assert_eq!(keys.trim(), "0", "the host's keys are hidden");
}

#[test]
fn the_hosts_devices_and_switches_are_out_of_reach() {
    let host = Host::new(as_root(), "devices");
    let id = host.container("devices", busybox_root);
    host.start(id, Limits::default()).expect("it starts");
    let nodes = host.says(id, "ls /dev | sort | tr '\\n' ' '");
    let allowed = [
        "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ];
    for node in nodes.split_whitespace() {
        assert!(allowed.contains(&node), "/dev/{node} in {nodes}");
    }
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for switch in [
        "kernel/core_pattern",
        "kernel/modprobe",
        "vm/drop_caches",
        "kernel/sysrq",
        "fs/binfmt_misc/register",
        "kernel/hotplug",
    ] {
        let (code, _) = host.sh(id, &format!("echo '|/bin/false' > /proc/sys/{switch}"));
        assert_ne!(code, 0, "{switch}");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    for refused in [
        "dmesg",
        "mknod /root/null c 1 3",
        "mknod /root/sda b 8 0",
        "echo b > /proc/sysrq-trigger && [ \"$(stat -c %t:%T /proc/sysrq-trigger)\" != 1:3 ]",
        "mount -o remount,rw /sys && touch /sys/kernel/x",
        "mount -t sysfs -o rw sysfs /tmp && echo 1 > /tmp/kernel/uevent_seqnum",
        "mount -t ext4 /dev/vda /tmp",
        "cat /dev/mem",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "hwclock -w",
        "date -s 2001-01-01; [ \"$(date +%Y)\" = 2001 ]",
        "echo -1000 > /proc/1/oom_score_adj",
        "swapoff -a && swapon /root/none",
        "chown 65536 /root",
    ] {
        assert_ne!(host.sh(id, refused).0, 0, "{refused}");
    }
    host.says(id, "chown 65535 /root && chown 0 /root");
    // The guest's own switches are its own.
    host.says(id, "echo 1 > /proc/sys/net/ipv4/ip_forward");
    for file in ["cgroup.freeze", "cgroup.kill", "cgroup.max.descendants"] {
        let (code, _) = host.sh(id, &format!("[ ! -e /sys/fs/cgroup/{file} ] || echo 1 > /sys/fs/cgroup/{file}"));
        let exists = host.sh(id, &format!("[ -e /sys/fs/cgroup/{file} ]")).0 == 0;
        assert!(!exists || code != 0, "{file} is the host's");
    }
}
