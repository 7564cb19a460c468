//! R1, R5: switches, memory and devices of the host, tried by writing and reading them.

use libc::{EACCES, ENOENT, ENOSYS, EPERM, EROFS, ESRCH};

use super::siege::{Attack, Siege, attack, attackers_root};
use crate::host::in_own_network;

const SWITCHES: &[Attack] = &[
    attack("core_pattern", "put('/proc/sys/kernel/core_pattern', '|/bin/false')", &[EACCES]),
    attack("modprobe", "put('/proc/sys/kernel/modprobe', '/bin/false')", &[EACCES, ENOENT]),
    // What is written where the cover cannot be taken away goes into the null device (1:3).
    attack(
        "sysrq, unmasked",
        "unmask(); (stat('/proc/sysrq-trigger'))[6] != 0x103 && put('/proc/sysrq-trigger', 'h')",
        &[EACCES, ENOENT],
    ),
    attack("oom_score_adj of init", "put('/proc/1/oom_score_adj', '-1000')", &[EACCES]),
    attack("uevent_helper", "put('/sys/kernel/uevent_helper', '/bin/false')", &[EROFS, ENOENT]),
    attack("kernel memory, unmasked", "unmask(); got('/proc/kcore')", &[EPERM, EACCES, ENOENT]),
    attack("kernel's log", "unmask(); got('/proc/kmsg')", &[EPERM, EACCES]),
    attack("timers, unmasked", "unmask(); got('/proc/timer_list')", &[EPERM, EACCES]),
    attack("allocations", "got('/proc/slabinfo')", &[EACCES, ENOENT]),
    attack("page counts", "got('/proc/kpagecount')", &[EACCES, EPERM, ENOENT]),
    attack(
        "firmware, unmasked",
        "unmask(); put('/sys/firmware/acpi/interrupts/sci', '0')",
        &[EROFS, ENOENT],
    ),
    attack(
        "debugfs",
        "got('/sys/kernel/debug/sleep_time') || got('/sys/kernel/debug/sched/features')",
        &[EACCES, ENOENT],
    ),
    // What is the container's own goes through: the tries reach the kernel.
    attack("its own host name", "call(170, \"mine\\0\", 4)", &[0]),
    attack("its own shared memory", "put('/proc/sys/kernel/shmmni', '4095')", &[0]),
];

const DEVICES: &[Attack] = &[
    attack("make a disk", "call(133, \"/root/disk\\0\", 0060600, 0x0800)", &[EPERM]),
    attack("make kmsg", "call(133, \"/dev/kmsg\\0\", 0020600, 0x010b)", &[EPERM]),
    attack("make mem", "call(133, \"/dev/shm/mem\\0\", 0020600, 0x0101)", &[EPERM]),
    attack("mem", "got('/dev/mem')", &[ENOENT]),
    attack("kmsg", "got('/dev/kmsg')", &[ENOENT]),
    attack("a loop device", "descriptor('/dev/loop-control') >= 0", &[ENOENT]),
    attack("kvm", "descriptor('/dev/kvm') >= 0", &[ENOENT]),
    attack("fuse", "descriptor('/dev/fuse') >= 0", &[ENOENT]),
    attack("tun", "descriptor('/dev/net/tun') >= 0", &[ENOENT]),
    attack("the image's disk", "got('/root/disk-of-the-image')", &[EACCES]),
    attack("the image's null", "got('/root/zero-of-the-image')", &[EACCES]),
    attack("devtmpfs", "made('devtmpfs', '/tmp')", &[EPERM]),
    attack("a port of the machine", "call(173, 0x70, 2, 1)", &[EPERM, ENOSYS]),
    attack("all ports", "call(172, 3)", &[EPERM, ENOSYS]),
    attack("a signal to the host", "kill(9, $ENV{VICTIM}) > 0", &[ESRCH]),
    attack("a trace of the host", "call(101, 16, $ENV{VICTIM} + 0, 0, 0)", &[ESRCH]),
];

/// What opens for writing below /proc and /sys: what every namespace has for itself, and files that answer with an error.
const OWN: [&str; 18] = [
    "/proc/pressure/",
    "/proc/sys/fs/mqueue/",
    "/proc/sys/kernel/auto_msgmni",
    "/proc/sys/kernel/msg",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/sem",
    "/proc/sys/kernel/shm",
    "/proc/sys/net/",
    "/proc/sys/user/",
    // Berth's own file over the host's, which a nested namespace cannot take away.
    "/proc/sys/kernel/random/boot_id",
    // Of lxcfs, which takes no writes.
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

#[test]
fn the_hosts_switches_memory_and_devices_cannot_be_reached() {
    in_own_network(|| {
        let siege = Siege::lay_on("switches", |root| {
            attackers_root(root);
            for (name, numbers) in [("disk-of-the-image", (8, 0)), ("zero-of-the-image", (1, 5))] {
                let device = rustix::fs::makedev(numbers.0, numbers.1);
                let kind = rustix::fs::FileType::CharacterDevice;
                rustix::fs::mknodat(rustix::fs::CWD, root.join("root").join(name), kind, 0o666.into(), device).unwrap();
            }
        });
        siege.withstands(SWITCHES);
        siege.withstands(DEVICES);
    });
}

#[test]
fn nothing_of_the_host_opens_for_writing_below_proc_and_sys() {
    in_own_network(|| {
        let siege = Siege::lay("writable");
        for is_nested in [false, true] {
            let walk = "unmask(); print \"$_\\n\" for writable('/proc', qr{^/proc/[0-9]}), writable('/sys', qr{^/sys/fs/cgroup})";
            let opened = siege.prints(walk, is_nested);
            let opened: Vec<&str> = opened.lines().filter(|line| line.starts_with('/')).collect();
            assert!(opened.contains(&"/proc/sys/kernel/shmmni"), "the walk finds nothing: {opened:?}");
            let foreign: Vec<&&str> = opened.iter().filter(|path| OWN.iter().all(|own| !path.starts_with(own))).collect();
            assert_eq!(foreign, Vec::<&&str>::new(), "nested: {is_nested}");
        }
        assert_eq!(siege.changes(), Vec::<String>::new());
    });
}
