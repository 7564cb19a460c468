//! Making one run of the container: clone, id maps, mounts, links, and the wait for init's exec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Uid;
use rustix::thread::{capabilities, set_capabilities, set_thread_res_uid};

use model::storage::Mount;
use runtime::error::{At, Error, Result};
use runtime::init::{self, identity};
use runtime::mount;
use runtime::net::veth::{self, Nic};
use runtime::shim::protocol::{self, Fields};
use runtime::sys::{self, Cloned};

use crate::{child, delegated, given};

/// What every run of the container needs, kept for the shim's life.
#[derive(Debug)]
pub struct Start {
    pub fields: Fields,
    /// `containers/<id>`.
    pub folder: OwnedFd,
    /// `<run-dir>/shims`.
    pub shims: OwnedFd,
    layers: Vec<OwnedFd>,
    /// Folders of the host, each with the mount that it is for.
    pub sources: Vec<(Mount, OwnedFd)>,
    /// Where init is born.
    pub unified: Option<OwnedFd>,
    /// Version 1 groups by controller.
    pub v1: Vec<(String, OwnedFd)>,
}

/// A running init.
#[derive(Debug)]
pub struct Init {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub master: OwnedFd,
    /// Kept open, so that the console does not hang up between two gettys.
    pub _slave: OwnedFd,
}

/// Waits for a child that has ended or must.
pub fn reap(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).ok();
    }
}

const NAMESPACES: i32 = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
/// Nodes of /dev; the kernel refuses mknod in a user namespace, so the host's are bound.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Files of /proc that show the container's own limits.
const PROC_FILES: [&str; 7] = ["cpuinfo", "meminfo", "stat", "uptime", "loadavg", "swaps", "diskstats"];
/// A start that takes longer hangs.
const PATIENCE_MS: i64 = 30_000;

impl Start {
    /// Takes the engine's message apart: folder, shims, layers, unified group, version 1 groups, folders of the host.
    pub fn new(fields: Fields, descriptors: Vec<OwnedFd>) -> Result<Self> {
        let missing = || Error::failed("read the start message", "a descriptor is missing");
        let mut rest = descriptors.into_iter();
        let mut next = || rest.next().ok_or_else(missing);
        let (folder, shims) = (next()?, next()?);
        let layers = (0..fields.number("layers").unwrap_or(0)).map(|_: usize| next()).collect::<Result<_>>()?;
        let unified = (fields.get("unified") == Some("yes")).then(&mut next).transpose()?;
        let v1 = fields.all("v1").map(|name| Ok((name.to_owned(), next()?))).collect::<Result<_>>()?;
        let folders = fields.all("mount").filter_map(mount::decode).filter(|mount| !mount.is_tmpfs());
        let sources = folders.map(|mount| Ok((mount, next()?))).collect::<Result<_>>()?;
        Ok(Self {
            fields,
            folder,
            shims,
            layers,
            sources,
            unified,
            v1,
        })
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        self.fields.get("id").unwrap_or_default()
    }

    /// An empty folder of the host, mounted on in mount namespaces of children alone.
    pub fn stage(&self) -> &Path {
        Path::new(self.fields.get("stage").unwrap_or_default())
    }

    /// The first id of the container's range.
    fn base(&self) -> Result<u32> {
        let base = self.fields.number("base");
        base.ok_or_else(|| Error::failed("map the ids", "the start message has no id range"))
    }

    /// One shim per container: a kernel lock, which dies with its holder.
    pub fn lock(&self) -> Result<OwnedFd> {
        let step = "lock the container";
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.shims, format!("{}.lock", self.id()), flags, Mode::from_raw_mode(0o600)).at(step, "openat(lock)")?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::conflict(step, "another shim holds it: the container runs already"))?;
        Ok(file)
    }

    /// The version 1 group of a controller.
    pub fn group(&self, controller: &str) -> Option<BorrowedFd<'_>> {
        self.v1
            .iter()
            .find(|(name, _)| name.split(',').any(|part| part == controller))
            .map(|(_, group)| group.as_fd())
    }

    /// Makes one run; on failure nothing of it is left.
    pub fn launch(&self, is_first: bool) -> Result<Init> {
        if !is_first && let Some(unified) = &self.unified {
            delegated::clear(unified)?;
        }
        let step = "make the container's process";
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
        let (pid, pidfd) = match self.clone_init()? {
            Cloned::Child => {
                drop(ours);
                init::run(theirs)
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(theirs);
        match self.prepare(pid, &ours, is_first) {
            Ok((master, slave)) => Ok(Init {
                pid,
                pidfd,
                master,
                _slave: slave,
            }),
            Err(error) => {
                // Gone already when it told us why.
                drop(sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL));
                reap(pid);
                self.remove_links();
                Err(error)
            }
        }
    }

    /// Clones as the first user of the container's range. The kernel charges whoever makes a user namespace for what is used
    /// in it (inotify instances, message queues, pending signals, locked memory, namespaces): were that root, one greedy
    /// guest would leave nothing for the other containers and for the host's own services. Files are opened as root all the
    /// same, also by the child, until it changes its ids.
    fn clone_init(&self) -> Result<Cloned> {
        let step = "make the container's process";
        let root = Uid::ROOT;
        let held = capabilities(None).at(step, "capget()")?;
        set_thread_res_uid(root, Uid::from_raw(self.base()?), root).at(step, "setresuid(0, base, 0)")?;
        sys::set_file_user(root);
        // Cleared by the change of ids; hosts that let nobody else make user namespaces ask for CAP_SYS_ADMIN.
        set_capabilities(None, held).at(step, "capset()")?;
        let cloned = sys::clone3(NAMESPACES as u64, self.unified.as_ref().map(AsFd::as_fd));
        if !matches!(cloned, Ok(Cloned::Child)) {
            set_thread_res_uid(root, root, root).at(step, "setresuid(0, 0, 0)")?;
            // A change of ids may set it.
            sys::prctl(libc::PR_SET_DUMPABLE, 0).at(step, "prctl(PR_SET_DUMPABLE, 0)")?;
        }
        cloned.map_err(|error| self.clone_error(error))
    }

    fn clone_error(&self, error: std::io::Error) -> Error {
        let error = Error::io(
            "make the container's process",
            "clone3(NEWUSER|NEWPID|NEWNS|NEWUTS|NEWIPC|NEWNET|INTO_CGROUP)",
            error,
        );
        if error.message.contains("os error 28") {
            error.hint("raise user.max_user_namespaces and user.max_net_namespaces")
        } else {
            error
        }
    }

    /// Ends a run that has begun and cannot go on.
    pub fn abandon(&self, init: &Init) {
        // Gone already, perhaps.
        drop(sys::pidfd_signal(init.pidfd.as_fd(), libc::SIGKILL));
        reap(init.pid);
        self.remove_links();
    }

    /// Takes the host ends of the links away.
    pub fn remove_links(&self) {
        for nic in self.nics() {
            // The kernel removes it with the namespace, a little later; a name that lingers would be in the way of a restart.
            drop(veth::remove(&nic.host_name));
        }
    }

    fn nics(&self) -> Vec<Nic> {
        self.fields.all("nic").filter_map(Nic::decode).collect()
    }

    fn prepare(&self, pid: i32, socket: &OwnedFd, is_first: bool) -> Result<(OwnedFd, OwnedFd)> {
        self.map_ids(pid)?;
        // From inside it would fail: after the change of ids the files of /proc are the host root's.
        identity::ordinary_oom_score(rustix::process::Pid::from_raw(pid));
        let tasks: Vec<OwnedFd> = self
            .v1
            .iter()
            .map(|(name, group)| {
                openat(group, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at("join the cgroups", &format!("openat({name:?}, \"tasks\")"))
            })
            .collect::<Result<_>>()?;
        let namespace = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at("open the container's namespaces", &format!("open({path:?})"))
        };
        let (users, network) = (namespace("user")?, namespace("net")?);
        self.connect(&network)?;
        let own = idmapped(&self.folder, users.as_fd(), libc::MOUNT_ATTR_NODEV)?;
        let layers: Vec<OwnedFd> = self
            .layers
            .iter()
            .map(|layer| idmapped(layer, users.as_fd(), libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_RDONLY))
            .collect::<Result<_>>()?;
        let mounts = given::trees(&self.sources, self.stage(), users.as_fd())?;
        let (devices, device_names) = devices()?;
        let (files, file_names) = self.proc_files();
        let mut message = Fields::command("go")
            .with("tasks", tasks.len())
            .with("layers", layers.len())
            .with("top", self.fields.get("top").unwrap_or("1"));
        message = device_names.iter().fold(message, |message, name| message.with("device", name));
        message = file_names.iter().fold(message, |message, name| message.with("proc-file", name));
        let wanted = |key: &str| {
            matches!(key, "hostname" | "uuid" | "env" | "nesting" | "cgroup-view" | "stage" | "resolver" | "mount")
                || is_first && (key.starts_with("first-") || key == "last-hostname")
        };
        message.0.extend(self.fields.0.iter().filter(|(key, _)| wanted(key)).cloned());
        let all: Vec<BorrowedFd<'_>> = tasks
            .iter()
            .chain([&own])
            .chain(&layers)
            .chain(&devices)
            .chain(&files)
            .chain(&mounts)
            .map(AsFd::as_fd)
            .collect();
        protocol::send(socket, &message, &all).at("release the container's process", "sendmsg()")?;
        follow(socket)
    }

    fn map_ids(&self, pid: i32) -> Result<()> {
        let base = self.base()?;
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{pid}/{file}");
            let opened = openat(CWD, path.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at("map the ids", &format!("open({path:?})"))?;
            rustix::io::write(&opened, format!("0 {base} 65536\n").as_bytes()).at("map the ids", &format!("write({path:?}, \"0 {base} 65536\")"))?;
        }
        Ok(())
    }

    /// Links to the bridges, and what belongs into the new network namespace: done by a child that joins it.
    fn connect(&self, network: &OwnedFd) -> Result<()> {
        let nics = self.nics();
        for nic in &nics {
            veth::connect(nic, network.as_fd())?;
        }
        let base = self.base()?;
        child::ask("set up the network", 0, None, || inside(network, &nics, base).map(|()| Vec::new())).map(drop)
    }

    fn proc_files(&self) -> (Vec<OwnedFd>, Vec<String>) {
        let Some(lxcfs) = self.fields.get("lxcfs") else {
            return (Vec::new(), Vec::new());
        };
        let clone = |name: &&str| {
            let path = Path::new(lxcfs).join("proc").join(name);
            let tree = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).ok()?;
            Some((tree, (*name).to_owned()))
        };
        PROC_FILES.iter().filter_map(clone).unzip()
    }
}

/// In the network namespace: loopback, fixed addresses, and unprivileged ping, whose default range lets nobody.
fn inside(network: &OwnedFd, nics: &[Nic], base: u32) -> Result<()> {
    let step = "set up the network inside";
    sys::join_namespaces(network.as_fd(), libc::CLONE_NEWNET).at(step, "setns(net)")?;
    veth::loopback_up()?;
    for nic in nics {
        veth::configure_inside(nic)?;
    }
    let last = base.saturating_add(65_535);
    // A kernel without it has no unprivileged ping to allow.
    drop(std::fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{base} {last}")));
    Ok(())
}

fn idmapped(folder: &OwnedFd, users: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
    let way_out = "put the state directory on a file system with idmapped mounts, such as ext4, xfs or btrfs";
    given::idmapped("a layer", folder, users, attributes, way_out)
}

fn devices() -> Result<(Vec<OwnedFd>, Vec<&'static str>)> {
    let step = "bind device nodes";
    let bind = |name: &&'static str| -> Result<(OwnedFd, &'static str)> {
        let path = format!("/dev/{name}");
        let tree =
            open_tree(CWD, path.as_str(), OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).at(step, &format!("open_tree({path:?})"))?;
        sys::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, 0, None).at(step, &format!("mount_setattr({path:?})"))?;
        Ok((tree, name))
    };
    let bound: Vec<(OwnedFd, &'static str)> = DEVICES.iter().map(bind).collect::<Result<_>>()?;
    Ok(bound.into_iter().unzip())
}

/// Hears from the child until it has become init (the socket closes) or says why not.
fn follow(socket: &OwnedFd) -> Result<(OwnedFd, OwnedFd)> {
    let step = "wait for init";
    let mut console = None;
    loop {
        if !protocol::is_readable(socket, PATIENCE_MS).at(step, "poll()")? {
            return Err(Error::failed(step, "it was not executed within 30 s"));
        }
        match protocol::receive(socket).at(step, "recvmsg()")? {
            None => return console.ok_or_else(|| Error::failed(step, "the container's process died before it became init; the kernel's log may say why")),
            Some((message, descriptors)) if message.get("command") == Some("console") => {
                let mut ends = descriptors.into_iter();
                console = ends.next().zip(ends.next());
            }
            Some((message, _)) => return Err(protocol::told(&message)),
        }
    }
}
