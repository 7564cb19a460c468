//! What the child does between clone and the execution of the container's init: the steps in their order, each with its
//! reason. The parent (the shim) has written the id maps and prepared mounts and links; see `shim/start.rs`.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, openat};
use rustix::mount::MountPropagationFlags;

use crate::error::{At, Error, Result};
use crate::mount::{self, Given};
use crate::shim::protocol::{self, Fields};
use crate::sys;
use mounts::{Bound, Root, Views};

pub mod console;
pub mod first_boot;
pub mod identity;
pub mod mounts;
pub mod seccomp;

/// Programs that an image may have as its init, in this order.
pub const INITS: [&str; 7] = [
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/etc/init",
    "/bin/init",
    "/sbin/openrc-init",
    SHELL,
];
/// The last resort, which talks on the console itself.
const SHELL: &str = "/bin/sh";

/// Descriptors of the start message, by what they are for.
#[derive(Debug)]
struct Parts {
    tasks: Vec<OwnedFd>,
    root: Root,
    devices: Vec<Bound>,
    proc_files: Vec<Bound>,
    mounts: Vec<Given>,
}

/// Becomes the container's init. Never returns: on failure the parent is told step, call and reason, and this process ends.
pub fn run(socket: OwnedFd) -> ! {
    if let Err(error) = become_init(&socket) {
        // The parent that does not hear it sees the socket close without an exec.
        drop(protocol::send(&socket, &protocol::failure(&error), &[]));
    }
    sys::exit_now(1)
}

fn become_init(socket: &OwnedFd) -> Result<()> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).at("watch the parent", "prctl(PR_SET_PDEATHSIG)")?;
    let step = "wait for the parent";
    let (fields, descriptors) = protocol::receive(socket)
        .at(step, "recvmsg()")?
        .ok_or_else(|| Error::failed(step, "the parent is gone"))?;
    let parts = Parts::sort(&fields, descriptors)?;
    // By itself: it belongs to another user than the shim, which could not without CAP_SYS_RESOURCE.
    identity::ordinary_limits();
    join_groups(&parts.tasks)?;
    drop(parts.tasks);
    // In this mount namespace, and while this process still opens files as the host's root: the folder is root's alone.
    let stage = host_folder(std::path::Path::new(fields.get("stage").unwrap_or_default()))?;
    identity::become_root()?;
    // Cleared by the change of ids.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64).at("watch the parent", "prctl(PR_SET_PDEATHSIG)")?;
    sys::unshare(libc::CLONE_NEWCGROUP).at("make a cgroup namespace", "unshare(CLONE_NEWCGROUP)")?;
    // Slave, not private: unmounts of the host still arrive, so that nothing of the host is pinned.
    rustix::mount::mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .at("part from the host's mounts", "mount(\"/\", MS_REC|MS_SLAVE)")?;
    let views = Views::make(fields.get("cgroup-view") == Some("yes"))?;
    parts.root.enter(&stage)?;
    let pts = mounts::furnish(&views, &parts.devices, &parts.proc_files, fields.get("nesting") == Some("yes"))?;
    let terminal = console::make(pts.as_fd())?;
    protocol::send(socket, &Fields::command("console"), &[terminal.master.as_fd(), terminal.slave.as_fd()]).at("hand over the console", "sendmsg()")?;
    drop(terminal.master);
    if let Some(name) = fields.get("hostname") {
        rustix::system::sethostname(name.as_bytes()).at("set the host name", "sethostname()")?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for kept in first_boot::apply(&fields)? {
        console::say(terminal.slave.as_fd(), &kept);
    }
    // What the first boot writes is the container's own, never a folder of the host.
    mount::attach_all(&parts.mounts)?;
    // A clone of a shared mount of the host is its peer: what the guest mounts on it would appear on the host.
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at("part from the host's mounts", "mount(\"/\", MS_REC|MS_PRIVATE)")?;
    let program = find_init()?;
    identity::own_keyring()?;
    if program.as_bytes() == SHELL.as_bytes() {
        console::take(terminal.slave.as_fd())?;
    } else {
        console::share(terminal.slave.as_fd())?;
    }
    identity::confine()?;
    execute(&program, &fields)
}

/// Writing "0" moves only the caller and takes no global lock; the files' opener had the right to.
fn join_groups(tasks: &[OwnedFd]) -> Result<()> {
    for file in tasks {
        rustix::io::write(file, b"0").at("join the cgroups", "write(\"tasks\", \"0\")")?;
    }
    Ok(())
}

fn find_init() -> Result<CString> {
    let is_program = |path: &&&str| rustix::fs::accessat(CWD, **path, Access::EXEC_OK, AtFlags::empty()).is_ok();
    let path = INITS.iter().find(is_program).ok_or_else(|| {
        let error = Error::invalid("find the container's init", format!("the image has none of {}", INITS.join(", ")));
        error.hint("use a template of a whole system; application images need an init of their own")
    })?;
    CString::new(*path).map_err(|_| Error::failed("find the container's init", "its path holds a NUL"))
}

fn execute(program: &CString, fields: &Fields) -> Result<()> {
    let step = "execute init";
    let mut environment = vec![
        "container=berth".to_owned(),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        "TERM=xterm-256color".into(),
    ];
    environment.extend(fields.get("uuid").map(|uuid| format!("container_uuid={uuid}")));
    environment.extend(fields.all("env").map(str::to_owned));
    let environment: Vec<CString> = environment.into_iter().filter_map(|pair| CString::new(pair).ok()).collect();
    // The container outlives its shim.
    sys::prctl(libc::PR_SET_PDEATHSIG, 0).at(step, "prctl(PR_SET_PDEATHSIG, 0)")?;
    sys::cloexec_from(3).at(step, "close_range(3, ~0, CLOEXEC)")?;
    let here = rustix::process::getcwd(Vec::new()).at(step, "getcwd()")?;
    if here.to_bytes() != b"/" {
        return Err(Error::failed(
            step,
            format!("the working directory {here:?} is not inside the container (CVE-2024-21626)"),
        ));
    }
    sys::reset_signals();
    let failed = sys::execve(program, std::slice::from_ref(program), &environment);
    Err(Error::io(step, &format!("execve({program:?})"), failed).hint("the program must fit this machine's architecture, and its loader must be in the image"))
}

impl Parts {
    fn sort(fields: &Fields, descriptors: Vec<OwnedFd>) -> Result<Self> {
        let missing = || Error::failed("read the start message", "a descriptor is missing");
        let mut rest = descriptors.into_iter();
        let count = |key: &str| fields.number::<usize>(key).unwrap_or(0);
        let mut take = |count: usize| -> Result<Vec<OwnedFd>> {
            let taken: Vec<OwnedFd> = rest.by_ref().take(count).collect();
            if taken.len() == count { Ok(taken) } else { Err(missing()) }
        };
        let tasks = take(count("tasks"))?;
        let own = take(1)?.pop().ok_or_else(missing)?;
        let layers = take(count("layers"))?;
        let top = fields.number("top").unwrap_or(1);
        let mut bound = |key: &'static str| -> Result<Vec<Bound>> {
            let names: Vec<String> = fields.all(key).map(str::to_owned).collect();
            Ok(take(names.len())?.into_iter().zip(names).map(|(mount, name)| Bound { name, mount }).collect())
        };
        let (devices, proc_files) = (bound("device")?, bound("proc-file")?);
        let mut given = |mount: model::storage::Mount| -> Result<Given> {
            let tree = if mount.is_tmpfs() { None } else { take(1)?.pop() };
            Ok(Given { mount, tree })
        };
        let mounts = fields.all("mount").filter_map(mount::decode).map(&mut given).collect::<Result<_>>()?;
        Ok(Self {
            tasks,
            root: Root { layers, own, top },
            devices,
            proc_files,
            mounts,
        })
    }
}

/// Opens a folder of the host by descriptor; a link or anything else at its end is refused.
///
/// # Errors
/// Names the path.
pub fn host_folder(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).at("open a folder of the state directory", &format!("open({})", path.display()))
}

/// All standard descriptors to /dev/null, for a process without a terminal.
///
/// # Errors
/// /dev/null cannot be opened.
pub fn silence() -> Result<()> {
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at("open /dev/null", "open(\"/dev/null\")")?;
    let null: BorrowedFd<'_> = null.as_fd();
    for number in 0..3 {
        sys::duplicate_onto(null, number).at("open /dev/null", "dup2()")?;
    }
    Ok(())
}
