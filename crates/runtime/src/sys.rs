//! The one door to raw system calls: what neither rustix nor nix offers. Everything else in this crate is safe code.

#![expect(unsafe_code, reason = "the one place for it; each block says why it is sound")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// Turns -1 into the error of the call.
fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// In which process [`clone3`] returned.
#[derive(Debug)]
pub enum Cloned {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// clone3(2) as fork: the child continues on a copy of the stack. With `cgroup` the child is born in that group.
///
/// The child of a threaded process may make system calls only: it could find locks held for ever.
///
/// # Errors
/// As clone3(2).
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is a valid clone_args: every field is an integer.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | libc::CLONE_PIDFD as u64;
    arguments.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    arguments.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live across the call and their size is given; no stack and no CLONE_VM is passed, so the
    // child has its own copy of all memory; what the child of a threaded caller may not do is documented.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut arguments), size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent {
        pid: i32::try_from(pid).unwrap_or(0),
        pidfd,
    })
}

/// Not in libc for all targets: linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Changes attributes of a detached mount and all below it (mount_setattr(2)); with `userns` its ids are mapped.
///
/// # Errors
/// As mount_setattr(2): EINVAL where the file system has no idmapped mounts.
pub fn mount_setattr(mount: BorrowedFd<'_>, set: u64, clear: u64, userns: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set | if userns.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: clear,
        propagation: 0,
        userns_fd: userns.map_or(0, |userns| userns.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a constant C string and the attributes live across the call with their size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// As close_range(2).
pub fn cloexec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes integers only; marking descriptors invalidates no memory and no Rust object.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Sends any signal by number through a pidfd: real-time signals have no name in the crates.
///
/// # Errors
/// As pidfd_send_signal(2): ESRCH when the process is gone.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: takes integers and a null pointer, which means default signal information.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0) })?;
    Ok(())
}

/// Opens the other end of a pseudo-terminal without a path.
///
/// # Errors
/// As ioctl_tty(2) TIOCGPTPEER.
pub fn pty_peer(master: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: TIOCGPTPEER takes flags as an integer and returns a new descriptor.
    let fd = check(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)
    }))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Unlocks the other end of a pseudo-terminal.
///
/// # Errors
/// As ioctl_tty(2) TIOCSPTLCK.
pub fn pty_unlock(master: BorrowedFd<'_>) -> io::Result<()> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which lives across the call.
    check(i64::from(unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, std::ptr::from_ref(&unlocked))
    }))?;
    Ok(())
}

/// Makes a terminal the controlling one of this session.
///
/// # Errors
/// As ioctl_tty(2) TIOCSCTTY.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(i64::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }))?;
    Ok(())
}

/// Sets the size of a terminal.
///
/// # Errors
/// As ioctl_tty(2) TIOCSWINSZ.
pub fn set_terminal_size(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize, which lives across the call.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(&size))
    }))?;
    Ok(())
}

/// prctl(2) with integers.
///
/// # Errors
/// As prctl(2).
pub fn prctl(option: i32, argument: u64) -> io::Result<i64> {
    // SAFETY: only options that take integers are passed (PDEATHSIG, DUMPABLE, CAPBSET_DROP, CAP_AMBIENT), by this crate.
    check(i64::from(unsafe { libc::prctl(option, argument, 0_u64, 0_u64, 0_u64) }))
}

/// Sets the user as whom this thread opens files; setfsuid(2) tells nothing of a refusal.
pub fn set_file_user(user: rustix::process::Uid) {
    // SAFETY: the call takes an integer and touches no memory.
    unsafe { libc::setfsuid(user.as_raw()) };
}

/// Sets the three capability sets of this thread (capset(2), version 3).
///
/// # Errors
/// As capset(2).
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let half = |set: u64, high: bool| u32::try_from(if high { set >> 32 } else { set & 0xFFFF_FFFF }).unwrap_or(0);
    let header = Header { version: 0x2008_0522, pid: 0 };
    let data = [false, true].map(|high| Data {
        effective: half(effective, high),
        permitted: half(permitted, high),
        inheritable: half(inheritable, high),
    });
    // SAFETY: version 3 takes one header and two data structures of this layout (linux/capability.h).
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) })?;
    Ok(())
}

/// Gives this process a session keyring of its own (keyctl(2) KEYCTL_JOIN_SESSION_KEYRING).
///
/// # Errors
/// As keyctl(2): EDQUOT when the user has too many keys.
pub fn join_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name makes an anonymous keyring; nothing else is read.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) })?;
    Ok(())
}

/// Installs a seccomp filter on this thread (seccomp(2)); needs CAP_SYS_ADMIN in its user namespace.
///
/// # Errors
/// As seccomp(2).
pub fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice, which lives across the call, and does not write to it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program)) })?;
    Ok(())
}

/// Keeps this thread, and whatever it starts, from abstract sockets of processes outside (landlock(7),
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET); needs CAP_SYS_ADMIN in its user namespace. Nothing else is restricted: mounts
/// stay allowed. False where the kernel cannot: before 6.12, or without Landlock.
///
/// # Errors
/// As landlock_create_ruleset(2) and landlock_restrict_self(2).
pub fn scope_abstract_sockets() -> io::Result<bool> {
    const VERSION_FLAG: u32 = 1;
    const FIRST_VERSION_WITH_SCOPES: i64 = 6;
    const ABSTRACT_UNIX_SOCKET: u64 = 1;
    // SAFETY: without a ruleset only the version is answered.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, VERSION_FLAG) };
    if version < FIRST_VERSION_WITH_SCOPES {
        return Ok(false);
    }
    // struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped.
    let ruleset: [u64; 3] = [0, 0, ABSTRACT_UNIX_SOCKET];
    // SAFETY: the kernel copies as many bytes as the array has, which lives across the call.
    let made = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ruleset.as_ptr(), size_of_val(&ruleset), 0_u32) })?;
    let number = RawFd::try_from(made).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let ruleset = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: the descriptor lives across the call; no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
    Ok(true)
}

/// Leaves or enters namespaces by a pidfd (setns(2)), all at once.
///
/// # Errors
/// As setns(2).
pub fn join_namespaces(pidfd: BorrowedFd<'_>, kinds: i32) -> io::Result<()> {
    // SAFETY: takes integers; the caller is single-threaded, which setns needs for user and mount namespaces.
    check(i64::from(unsafe { libc::setns(pidfd.as_raw_fd(), kinds) }))?;
    Ok(())
}

/// Gives this process namespaces of its own (unshare(2)).
///
/// # Errors
/// As unshare(2).
pub fn unshare(kinds: i32) -> io::Result<()> {
    // SAFETY: takes an integer; no kind passed here unshares memory or descriptors.
    check(i64::from(unsafe { libc::unshare(kinds) }))?;
    Ok(())
}

/// Becomes another program; returns only on failure.
pub fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> { list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect() };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and all strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once, without running destructors that belong to the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Puts a descriptor at a number that is known to be one of standard input, output and error.
///
/// # Errors
/// As dup2(2).
pub fn duplicate_onto(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: takes integers; numbers 0 to 2 are not owned by any Rust object of this crate.
    check(i64::from(unsafe { libc::dup2(fd.as_raw_fd(), number) }))?;
    Ok(())
}

/// A descriptor that becomes readable when one of the signals is pending; the signals are blocked for this thread.
///
/// # Errors
/// As signalfd(2).
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is plain memory that sigemptyset then initialises.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives on this stack and the numbers are signals.
    unsafe {
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    // SAFETY: -1 asks for a new descriptor; the set lives across the call.
    let fd = check(i64::from(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Unblocks all signals and puts their handling back to the default: what a fresh program expects.
pub fn reset_signals() {
    // SAFETY: an all-zero set is empty; setting dispositions to default runs no code. SIGKILL and SIGSTOP refuse, harmlessly.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// One ended child: its pid and raw wait status; `None` when none has ended.
///
/// # Errors
/// As waitpid(2), but no children at all is `None`.
pub fn reap() -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: the status lives across the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    match pid {
        0 => Ok(None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
        pid => Ok(Some((pid, status))),
    }
}

/// Sets the limits of another process (prlimit(2)).
///
/// # Errors
/// As prlimit(2).
pub fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limit lives across the call; no old one is asked for.
    check(i64::from(unsafe {
        libc::prlimit64(pid, resource, std::ptr::from_ref(&limit), std::ptr::null_mut())
    }))?;
    Ok(())
}

/// The descriptor with this number, which a parent passed on purpose.
///
/// # Errors
/// No such descriptor is open.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only looks the number up.
    check(i64::from(unsafe { libc::fcntl(number, libc::F_GETFD) }))?;
    // SAFETY: it is open, the parent passed it to us, and nothing else in this process takes it: callers do this once, at
    // the very start.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Starts a program with exactly these descriptors from 3 on, and nothing else inherited.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn with_descriptors(command: &mut std::process::Command, descriptors: Vec<OwnedFd>) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt as _;
    // Above every target number, so that no dup2 overwrites one that is still needed.
    let lifted: Vec<OwnedFd> = descriptors
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 100).map_err(io::Error::from))
        .collect::<io::Result<_>>()?;
    let numbers: Vec<RawFd> = lifted.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the closure runs between fork and exec and makes only system calls (dup2, close_range, setsid), which are
    // async-signal-safe; it owns its list, which was allocated before the fork.
    unsafe {
        command.pre_exec(move || {
            for (index, number) in numbers.iter().enumerate() {
                if libc::dup2(*number, 3 + i32::try_from(index).unwrap_or(0)) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            libc::setsid();
            let first = 3 + u32::try_from(numbers.len()).unwrap_or(0);
            if libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn();
    drop(lifted);
    child
}

/// A program that [`spawn`] starts.
#[derive(Debug)]
pub struct Program<'a> {
    pub path: &'a CStr,
    pub argument: &'a CStr,
    /// Becomes its descriptor 3.
    pub socket: BorrowedFd<'a>,
    /// The group of the unified hierarchy that it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The files `tasks` of the groups of version 1 that it is in when it begins.
    pub tasks: &'a [OwnedFd],
}

/// Starts a program in a session and in groups of its own, without an environment, with nothing to read or to write but
/// its socket; gives its pidfd.
///
/// # Errors
/// As clone3(2), write(2) and execve(2).
pub fn spawn(program: &Program<'_>) -> io::Result<OwnedFd> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    // Above every target number, so that no dup2 overwrites one that is still needed.
    let lift = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 100).map_err(io::Error::from);
    let (hears, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (null, socket, told_by) = (lift(null.as_fd())?, lift(program.socket)?, lift(tells.as_fd())?);
    drop(tells);
    let targets = [(&null, 0), (&null, 1), (&null, 2), (&socket, 3)].map(|(fd, number)| (fd.as_raw_fd(), number));
    let tasks: Vec<RawFd> = program.tasks.iter().map(AsRawFd::as_raw_fd).collect();
    let arguments = [program.path.as_ptr(), program.argument.as_ptr(), std::ptr::null()];
    let Cloned::Parent { pidfd, .. } = clone3(0, program.cgroup)? else {
        let failed = settle_and_execute(&tasks, &targets, &arguments);
        let errno = failed.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
        // SAFETY: the bytes live across the call; whoever does not hear them sees the pipe close.
        unsafe { libc::write(told_by.as_raw_fd(), errno.as_ptr().cast(), errno.len()) };
        exit_now(127)
    };
    drop(told_by);
    let mut errno = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&hears, &mut errno))? {
        0 => Ok(pidfd),
        _ => {
            reap_by(&pidfd);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
    }
}

/// In the child of a process with threads: system calls only, and nothing is allocated.
fn settle_and_execute(tasks: &[RawFd], targets: &[(RawFd, RawFd)], arguments: &[*const libc::c_char; 3]) -> io::Error {
    // SAFETY: all are async-signal-safe and take integers, a constant byte, and pointers to strings of the caller that live
    // in the copied memory; the arguments end with a null pointer, and so does the empty environment.
    unsafe {
        for file in tasks {
            if libc::write(*file, c"0".as_ptr().cast(), 1) != 1 {
                return io::Error::last_os_error();
            }
        }
        for (from, to) in targets {
            if libc::dup2(*from, *to) < 0 {
                return io::Error::last_os_error();
            }
        }
        libc::setsid();
        if libc::syscall(libc::SYS_close_range, 4, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
            return io::Error::last_os_error();
        }
        reset_signals();
        let environment = [std::ptr::null::<libc::c_char>()];
        libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr());
    }
    io::Error::last_os_error()
}

/// Waits for the end of a child, so that it leaves no zombie.
pub fn reap_by(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // It fails only for what is no child of ours, which leaves none.
    rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)).ok();
}

/// Starts a program in a user namespace of its own.
///
/// # Errors
/// As unshare(2) and execve(2).
pub fn in_user_namespace(command: &mut std::process::Command) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: the closure runs between fork and exec and makes one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWUSER) < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    command.spawn()
}

/// Loads an eBPF program of the device kind and attaches it to a group (bpf(2)).
///
/// # Errors
/// As bpf(2).
pub fn attach_device_program(group: BorrowedFd<'_>, program: &[u64]) -> io::Result<()> {
    const PROG_LOAD: u32 = 5;
    const PROG_ATTACH: u32 = 8;
    const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        rest: [u64; 12],
    }
    #[repr(C)]
    #[derive(Default)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
        rest: [u64; 12],
    }
    let number = |fd: RawFd| u32::try_from(fd).unwrap_or(u32::MAX);
    let load = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(0),
        insns: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the attribute is larger than what the command reads and zero beyond its fields; instructions and licence
    // live across the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, std::ptr::from_ref(&load), size_of::<Load>()) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
    let attach = Attach {
        target_fd: number(group.as_raw_fd()),
        attach_bpf_fd: number(fd.as_fd().as_raw_fd()),
        attach_type: CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: as above; both descriptors are open.
    check(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, std::ptr::from_ref(&attach), size_of::<Attach>()) })?;
    // The group keeps the program.
    drop(fd);
    Ok(())
}

/// Gives up a descriptor for good: it stays open across exec under this number.
#[must_use]
pub fn leak(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(path: &CStr) -> io::Result<OwnedFd> {
        let (ours, theirs) = rustix::pipe::pipe()?;
        let pidfd = spawn(&Program {
            path,
            argument: c"",
            socket: theirs.as_fd(),
            cgroup: None,
            tasks: &[],
        })?;
        drop((ours, theirs));
        Ok(pidfd)
    }

    #[test]
    fn a_program_is_executed_by_the_time_it_is_started_and_one_that_cannot_be_is_told() {
        reap_by(&start(c"/bin/true").unwrap());
        assert_eq!(start(c"/bin/there-is-none").unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
