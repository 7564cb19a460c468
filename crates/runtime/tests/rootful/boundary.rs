//! What a guest's root is refused by the kernel, tried from inside a real guest with plain system calls.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use model::Limits;
use rustix::mount::{MountPropagationFlags, mount_change};

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

/// One system call of a 32-bit program: its number on i386, its first three arguments and the errno that it must give.
struct Call32 {
    name: &'static str,
    number: u32,
    arguments: [u32; 3],
    errno: i32,
    /// The kernel by itself answers something else: then the errno can only be the filter's.
    is_filters_own: bool,
}

const fn call32(name: &'static str, number: u32, arguments: [u32; 3], errno: i32, is_filters_own: bool) -> Call32 {
    Call32 {
        name,
        number,
        arguments,
        errno,
        is_filters_own,
    }
}

const GETPID_32: u32 = 20;
const CALLS_32: &[Call32] = &[
    call32("kexec_load", 283, [0; 3], libc::EPERM, false),
    call32("init_module", 128, [0; 3], libc::EPERM, false),
    call32("finit_module", 350, [u32::MAX, 0, 0], libc::EPERM, false),
    call32("delete_module", 129, [0; 3], libc::EPERM, false),
    call32("open_by_handle_at", 342, [u32::MAX, 0, 0], libc::EPERM, false),
    call32("umount2", 52, [0, 1, 0], libc::EPERM, true),
    call32("socket", 359, [40, 1, 0], libc::EAFNOSUPPORT, false),
    call32("socket", 359, [38, 5, 0], libc::EAFNOSUPPORT, false),
    call32("socket", 359, [16, 3, 9], libc::EAFNOSUPPORT, true),
    call32("socketcall", 102, [0; 3], libc::ENOSYS, true),
];

/// A static 64-bit program that makes one call by `int 0x80`, which is the kernel's 32-bit entry with i386 numbers, and
/// exits with the low byte of the negated result: an errno, or the complement of what a call that succeeds returns.
fn write_call32(path: &Path, number: u32, [first, second, third]: [u32; 3]) {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut code = Vec::new();
    // mov eax, ebx, ecx, edx; int 0x80; neg eax; mov edi, eax; mov eax, 60 (exit); syscall
    for (register, value) in [(0xB8, number), (0xBB, first), (0xB9, second), (0xBA, third)] {
        code.push(register);
        code.extend(value.to_le_bytes());
    }
    code.extend(*b"\xCD\x80\xF7\xD8\x89\xC7\xB8\x3C\0\0\0\x0F\x05");
    let mut program = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3E\0\x01\0\0\0".to_vec();
    // elf(5): entry, program headers, sections; flags, then sizes and numbers of headers.
    program.extend([BASE + HEADERS, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    program.extend([0, 0, 64, 56, 1, 0, 0, 0_u16].iter().flat_map(|word| word.to_le_bytes()));
    // One segment, readable and executable: the whole file.
    program.extend([1, 5_u32].iter().flat_map(|word| word.to_le_bytes()));
    let size = HEADERS + code.len() as u64;
    program.extend([0, BASE, BASE, size, size, 4096].iter().flat_map(|word| word.to_le_bytes()));
    program.extend(code);
    std::fs::write(path, program).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn calls_of_32_bit_programs_are_refused_alike() {
    let outside = tempfile::tempdir().unwrap();
    let program = |name: &str| outside.path().join(name);
    write_call32(&program("getpid"), GETPID_32, [0; 3]);
    if Command::new(program("getpid")).status().unwrap().signal() == Some(libc::SIGSEGV) {
        eprintln!("not shown: this kernel has no 32-bit system calls (CONFIG_IA32_EMULATION, or ia32_emulation=0)");
        return;
    }
    let names: BTreeSet<&str> = CALLS_32.iter().map(|call| call.name).collect();
    // The one call of the list that i386 does not have.
    let refused: BTreeSet<&str> = runtime::init::seccomp::refused().filter(|name| *name != "kexec_file_load").collect();
    assert_eq!(names, refused);
    let host = Host::new(as_root(), "calls32");
    let id = host.container("calls32", |root| {
        busybox_root(root);
        write_call32(&root.join("root/getpid"), GETPID_32, [0; 3]);
        for (index, call) in CALLS_32.iter().enumerate() {
            write_call32(&root.join(format!("root/call-{index}")), call.number, call.arguments);
        }
    });
    host.start(id, Limits::default()).expect("it starts");
    for (index, call) in CALLS_32.iter().enumerate() {
        let (code, _) = host.run(id, &command(&[&format!("/root/call-{index}")]));
        assert_eq!(code, call.errno, "{} {:?}", call.name, call.arguments);
        if call.is_filters_own {
            write_call32(&program("call"), call.number, call.arguments);
            let answer = Command::new(program("call")).status().unwrap().code();
            assert!(answer.is_some_and(|answer| answer != call.errno), "{} outside: {answer:?}", call.name);
        }
    }
    let (code, pid) = host.sh(id, "echo $$; exec /root/getpid");
    let pid: i32 = pid.trim().parse().unwrap();
    assert_eq!(code, (-pid).rem_euclid(256), "getpid of {pid}");
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

/// Runs a test where every mount is shared, as systemd leaves them: in a copy of the host's mount namespace.
fn where_mounts_are_shared(test: impl FnOnce() + Send) {
    let made = move || {
        runtime::sys::unshare(libc::CLONE_NEWNS).expect("a mount namespace");
        mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC).expect("shared");
        test();
    };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(made).join()) {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn what_the_guest_mounts_on_a_device_does_not_appear_on_the_host() {
    where_mounts_are_shared(|| {
        let host = Host::new(as_root(), "spread");
        let id = host.busybox("spread");
        host.start(id, Limits::default()).expect("it starts");
        host.says(id, "echo guests > /root/file && mount -o bind /root/file /dev/zero");
        let hosts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let covered = hosts.lines().find(|line| line.contains(" /dev/zero "));
        assert_eq!(covered, None);
        let pid = host.runtime.observe_one(id).pid.unwrap();
        let guests = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let peers: Vec<&str> = guests.lines().filter(|line| line.contains(" shared:") || line.contains(" master:")).collect();
        assert_eq!(peers, Vec::<&str>::new());
    });
}
