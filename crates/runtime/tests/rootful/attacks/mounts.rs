//! R6, R7, R8: mounts, roots, namespaces, control groups and calls that would be the host's, as root of the container and of
//! a user namespace below it.

use libc::{EACCES, EBADF, EBUSY, EINVAL, ENODEV, ENOENT, ENOSYS, ENOTBLK, EOPNOTSUPP, EPERM, EROFS, ESRCH};

use super::siege::{Attack, Siege, attack};
use crate::host::in_own_network;

const MOUNTS: &[Attack] = &[
    attack(
        "sysfs made writable",
        "flagged('/sys', 0x20) && put('/sys/kernel/uevent_helper', '')",
        &[EPERM, EROFS, EBUSY],
    ),
    attack(
        "a mount of sysfs made writable",
        "flagged('/sys', 0x1020) && put('/sys/kernel/profiling', '0')",
        &[EPERM, EROFS, ENOENT],
    ),
    attack("another sysfs", "unmask(); made('sysfs', '/tmp')", &[EPERM]),
    attack(
        "another sysfs of another network",
        "unmask(); call(272, 0x40000000); made('sysfs', '/tmp')",
        &[EPERM],
    ),
    attack(
        "another proc is the container's",
        "unmask(); made('proc', '/tmp') && put('/tmp/sys/kernel/core_pattern', '|/x')",
        &[EACCES],
    ),
    attack("debugfs", "made('debugfs', '/tmp')", &[EPERM, ENODEV]),
    attack("tracefs", "made('tracefs', '/tmp')", &[EPERM, ENODEV]),
    attack("securityfs", "made('securityfs', '/tmp')", &[EPERM, ENODEV]),
    attack("configfs", "made('configfs', '/tmp')", &[EPERM, ENODEV]),
    attack("efivarfs", "made('efivarfs', '/tmp')", &[EPERM, ENODEV]),
    attack("pstore", "made('pstore', '/tmp')", &[EPERM, ENODEV]),
    attack("hugetlbfs", "made('hugetlbfs', '/tmp')", &[EPERM, ENODEV]),
    attack(
        "a file system of a disk",
        "call(165, \"/root/attacker.pl\\0\", \"/tmp\\0\", \"ext4\\0\", 0, \"\\0\")",
        &[EPERM, ENOTBLK],
    ),
    attack(
        "a file system of a disk, new calls",
        "my $kind = \"ext4\\0\"; my $context = syscall(430, $kind, 0); call(431, $context, 6, 0, 0, 0)",
        &[EPERM],
    ),
    attack("double chroot", "mkdir '/tmp/jail'; chroot '/tmp/jail'; outside()", &[ENOENT]),
    attack(
        "chroot under an open folder",
        "opendir(my $d, '/'); mkdir '/tmp/jail'; chroot '/tmp/jail'; chdir $d; outside()",
        &[ENOENT],
    ),
    attack(
        "pivot_root",
        "made('tmpfs', '/tmp'); mkdir '/tmp/old'; call(155, \"/tmp\\0\", \"/tmp/old\\0\") or return 0; $! = 0; outside() || -e \"/old$ENV{CANARY}\"",
        &[ENOENT],
    ),
    attack("the root unmounted", "unmade('/'); $! = 0; outside()", &[ENOENT, 1]),
    attack(
        "the first namespace of mounts",
        "call(308, descriptor('/proc/1/ns/mnt'), 0x20000); $! = 0; outside()",
        &[ENOENT],
    ),
    attack("namespaces of the host by number", "descriptor(\"/proc/$ENV{VICTIM}/ns/mnt\") >= 0", &[ENOENT]),
    attack("the parent of the user namespace", "call(16, descriptor('/proc/1/ns/user'), 0xb702)", &[EPERM]),
    attack("the parent of the pid namespace", "call(16, descriptor('/proc/1/ns/pid'), 0xb702)", &[EPERM]),
    attack("a descriptor of the host's process", "call(434, $ENV{VICTIM} + 0, 0)", &[ESRCH]),
    attack(
        "memory of the host's process",
        "my $own = 'x' x 8; call(310, $ENV{VICTIM} + 0, pack('P8 Q', $own, 8), 1, pack('QQ', 4096, 8), 1, 0)",
        &[ESRCH],
    ),
    attack("its own file system", "made('tmpfs', '/tmp')", &[0]),
];

const GROUPS: &[Attack] = &[
    attack("release_agent", "put('/sys/fs/cgroup/release_agent', '/x')", &[ENOENT]),
    attack("memory.max", "put('/sys/fs/cgroup/memory.max', 'max')", &[ENOENT, EACCES]),
    attack("pids.max", "put('/sys/fs/cgroup/pids.max', 'max')", &[ENOENT, EACCES]),
    attack("cpu.max", "put('/sys/fs/cgroup/cpu.max', 'max')", &[ENOENT, EACCES]),
    attack("cgroup.freeze", "put('/sys/fs/cgroup/cgroup.freeze', '1')", &[EACCES]),
    attack("cgroup.kill", "put('/sys/fs/cgroup/cgroup.kill', '1')", &[EACCES]),
    attack("cgroup.max.depth", "put('/sys/fs/cgroup/cgroup.max.depth', 'max')", &[EACCES]),
    attack(
        "a process of the host into its group",
        "put('/sys/fs/cgroup/cgroup.procs', $ENV{VICTIM})",
        &[ESRCH],
    ),
    attack("the group above", "put('/sys/fs/cgroup/../cgroup.procs', '0')", &[ENOENT, EACCES, EROFS]),
    attack(
        "the group above, mounted",
        "made('cgroup2', '/tmp') && put('/tmp/../cgroup.procs', '0')",
        &[ENOENT, EBUSY, EPERM],
    ),
    attack(
        "v1 release_agent",
        "made('cgroup', '/tmp', 0, 'memory') && put('/tmp/release_agent', '/x')",
        &[ENOENT, EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 memory",
        "made('cgroup', '/tmp', 0, 'memory') && put('/tmp/memory.limit_in_bytes', '-1')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 pids",
        "made('cgroup', '/tmp', 0, 'pids') && put('/tmp/pids.max', 'max')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 cpu",
        "made('cgroup', '/tmp', 0, 'cpu') && put('/tmp/cpu.cfs_quota_us', '-1')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 cpuset",
        "made('cgroup', '/tmp', 0, 'cpuset') && put('/tmp/cpuset.cpus', '0')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 devices",
        "made('cgroup', '/tmp', 0, 'devices') && put('/tmp/devices.allow', 'a')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 freezer",
        "made('cgroup', '/tmp', 0, 'freezer') && put('/tmp/freezer.state', 'FROZEN')",
        &[EACCES, EPERM, EBUSY, EINVAL, ENOENT],
    ),
    attack(
        "a v1 group without limits",
        "made('cgroup', '/tmp', 0, 'pids') && mkdir('/tmp/free')",
        &[EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "v1 release_agent of the named hierarchy",
        "made('cgroup', '/tmp', 0, 'none,name=systemd') && put('/tmp/release_agent', '/x')",
        &[ENOENT, EACCES, EPERM, EBUSY, EINVAL],
    ),
    attack(
        "a new v1 hierarchy",
        "made('cgroup', '/tmp', 0, 'none,name=attack') && put('/tmp/release_agent', '/x')",
        &[EPERM, ENOENT, EBUSY, EINVAL],
    ),
];

const CALLS: &[Attack] = &[
    attack("kexec_load", "call(246, 0, 0, 0, 0)", &[EPERM]),
    attack("init_module", "call(175, 0, 0, 0)", &[EPERM]),
    attack("open_by_handle_at", "call(304, descriptor('/'), 0, 0)", &[EPERM]),
    attack("bpf", "call(321, 5, pack('x128'), 128)", &[EPERM, EINVAL, EACCES, libc::E2BIG, libc::EFAULT]),
    attack(
        "perf of the kernel",
        "call(298, pack('LLQ x112', 0, 128, 0), -1, 0, -1, 0)",
        &[EACCES, EPERM, ENOSYS, ENOENT, EOPNOTSUPP],
    ),
    attack("userfaultfd of the kernel", "call(323, 0)", &[EPERM, ENOSYS]),
    attack("io_uring on nothing", "call(426, -1, 1, 0, 0, 0)", &[EBADF, ENOSYS, EPERM]),
    attack("fanotify of everything", "call(300, 4, 0)", &[EPERM, ENOSYS]),
    attack("swapon", "call(167, \"/root/attacker.pl\\0\", 0)", &[EPERM]),
    attack("settimeofday", "call(164, pack('QQ', 1000000000, 0), 0)", &[EPERM]),
    attack("clock_settime", "call(227, 0, pack('QQ', 1000000000, 0))", &[EPERM]),
    attack("adjtimex", "call(159, pack('L x204', 0x4000))", &[EPERM]),
    attack("acct", "call(163, \"/root/attacker.pl\\0\")", &[EPERM, ENOSYS]),
    attack("quotactl", "call(179, 0x80000200, \"/dev/null\\0\", 0, 0)", &[EPERM, ENOSYS, ENOTBLK, EACCES]),
    attack("syslog", "call(103, 5, 0, 0)", &[EPERM]),
    attack("reboot of the machine", "call(169, 0xfee1dead, 672274793, 0x89abcdef, 0)", &[EINVAL]),
    attack("reboot into a kernel", "call(169, 0xfee1dead, 672274793, 0x45584543, 0)", &[EINVAL]),
    attack("a higher hard limit", "call(160, 7, pack('QQ', 1 << 40, 1 << 40))", &[EPERM]),
    attack("a real-time class", "call(144, 0, 1, pack('i', 50))", &[EPERM]),
    attack("a higher priority", "call(141, 0, 0, -20)", &[EACCES, EPERM]),
    attack("AF_VSOCK", "call(41, 40, 1, 0)", &[libc::EAFNOSUPPORT]),
    attack("AF_ALG", "call(41, 38, 5, 0)", &[libc::EAFNOSUPPORT]),
    attack("NETLINK_AUDIT", "call(41, 16, 3, 9)", &[libc::EAFNOSUPPORT]),
    attack("its own name", "call(170, \"mine\\0\", 4)", &[0]),
];

#[test]
fn no_mount_root_or_namespace_leads_to_the_host() {
    // Whoever names a file system to mount(2) has the kernel load its module, in a container as anywhere: it is there before,
    // so that whatever else a try changes is seen.
    drop(
        std::process::Command::new("modprobe")
            .args(["--all", "--quiet", "configfs", "efivarfs", "pstore"])
            .status(),
    );
    in_own_network(|| Siege::lay("mounts").withstands(MOUNTS));
}

#[test]
fn groups_and_limits_hold_against_the_containers_root() {
    in_own_network(|| {
        let siege = Siege::lay("groups");
        let limits = || {
            let (host, id) = (&siege.host, siege.id);
            let memory = host.limit(id, "memory.max", "memory", "memory.limit_in_bytes");
            (
                memory,
                host.limit(id, "pids.max", "pids", "pids.max"),
                host.limit(id, "cpu.max", "cpu", "cpu.cfs_quota_us"),
            )
        };
        let before = limits();
        assert_eq!(before.1, "100");
        siege.withstands(GROUPS);
        assert_eq!(limits(), before);
    });
}

#[test]
fn calls_that_are_the_hosts_are_refused_also_to_nested_root() {
    in_own_network(|| Siege::lay("calls").withstands(CALLS));
}

#[test]
fn a_reboot_in_a_nested_namespace_ends_nothing_else() {
    in_own_network(|| {
        let siege = Siege::lay("nested");
        let pid = siege.host.runtime.observe_one(siege.id).pid;
        // Its first process ends by it and answers nothing.
        assert_eq!(siege.prints("call(169, 0xfee1dead, 672274793, 0x01234567, 0)", true), "");
        assert_eq!(siege.host.runtime.observe_one(siege.id).pid, pid);
        assert_eq!(siege.changes(), Vec::<String>::new());
    });
}
