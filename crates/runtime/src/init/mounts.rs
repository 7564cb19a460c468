//! The file systems that a container sees: its root from idmapped layers, then /proc, /sys, the cgroup view, /dev and /run.
//!
//! Invariant: no path of the image is resolved while the host's tree is reachable (trust rule D5): views are made detached
//! before the pivot, and attached after it to targets that are no symbolic links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, move_mount, open_tree,
};

use crate::error::{At, Error, Result};
use crate::room;

/// What must be made while the host's own /proc and /sys are in sight: afterwards the kernel refuses ("mount too
/// revealing").
#[derive(Debug)]
pub struct Views {
    proc: OwnedFd,
    sys: OwnedFd,
    cgroup: Option<OwnedFd>,
}

const NO_PROGRAMS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl Views {
    /// Makes /proc, a read-only /sys, and the cgroup view of this namespace, detached.
    ///
    /// # Errors
    /// The kernel refuses one of them.
    pub fn make(with_cgroup: bool) -> Result<Self> {
        let proc = file_system("make /proc", "proc", &[], NO_PROGRAMS)?;
        // Born read-only it cannot be made writable by the guest.
        let sys = file_system("make /sys", "sysfs", &[("ro", None)], NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        let cgroup = with_cgroup
            .then(|| file_system("make the cgroup view", "cgroup2", &[], NO_PROGRAMS))
            .transpose()?;
        Ok(Self { proc, sys, cgroup })
    }
}

/// Makes a file system that is mounted nowhere yet.
///
/// # Errors
/// With the kernel's own words where it left any.
pub fn file_system(step: &str, kind: &str, options: &[(&str, Option<&str>)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(step, &format!("fsopen({kind:?})"))?;
    for (key, value) in options {
        let set = match value {
            Some(value) => fsconfig_set_string(&context, *key, *value),
            None => fsconfig_set_flag(&context, *key),
        };
        set.map_err(|errno| with_kernel_log(&context, step, &format!("fsconfig({kind:?}, {key:?}, {value:?})"), errno))?;
    }
    fsconfig_create(&context).map_err(|errno| with_kernel_log(&context, step, &format!("fsconfig({kind:?}, CREATE)"), errno))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(step, &format!("fsmount({kind:?})"))
}

/// A failed fsconfig leaves its reason in the descriptor.
fn with_kernel_log(context: &OwnedFd, step: &str, call: &str, errno: Errno) -> Error {
    let mut log = String::new();
    let mut bytes = [0; 1024];
    while let Ok(got @ 1..) = rustix::io::read(context, &mut bytes) {
        log.push_str(&String::from_utf8_lossy(&bytes[..got]));
    }
    let mut error = Error::io(step, call, errno);
    if !log.trim().is_empty() {
        error.message = format!("{} ({})", error.message, log.trim().replace('\n', "; "));
    }
    error
}

/// What the root file system is made of; all mounts are detached and idmapped to this user namespace.
#[derive(Debug)]
pub struct Root {
    /// Template layers, lowest first.
    pub layers: Vec<OwnedFd>,
    /// The container's own folder with `layers/<n>` and `work`.
    pub own: OwnedFd,
    /// Number of the writable layer; those below it are sealed.
    pub top: u32,
}

impl Root {
    /// Mounts the overlay and makes it this process's root; the host's tree is gone afterwards. `place` is an empty
    /// directory of the host, the only one that is mounted on, in this mount namespace alone.
    ///
    /// # Errors
    /// Names the mount that failed.
    pub fn enter(self, place: &OwnedFd) -> Result<()> {
        let step = "prepare the stage";
        let stage = file_system(
            step,
            "tmpfs",
            &[("size", Some("64k")), ("mode", Some("700"))],
            MountAttrFlags::MOUNT_ATTR_NOSUID,
        )?;
        attach(step, &stage, place.as_fd(), "stage")?;
        let place = |name: &str, mount: &OwnedFd| -> Result<()> {
            mkdirat(&stage, name, Mode::RWXU).at(step, &format!("mkdirat({name:?})"))?;
            let target = openat(&stage, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(step, &format!("openat({name:?})"))?;
            attach(step, mount, target.as_fd(), name)
        };
        // Attached in this mount namespace first: the overlay refuses layers that are mounted nowhere.
        for (index, layer) in self.layers.iter().enumerate() {
            place(&index.to_string(), layer)?;
        }
        place("c", &self.own)?;
        rustix::process::fchdir(&stage).at(step, "fchdir(stage)")?;
        let overlay = self.overlay()?;
        place("root", &overlay)?;
        let root = openat(&stage, "root", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\"root\")")?;
        pivot(&root)
    }

    /// Layers by short names relative to the working directory: works on every kernel from 6.1 on, and keeps ids of
    /// containers out of the guest's mountinfo.
    fn overlay(&self) -> Result<OwnedFd> {
        let step = "mount the overlay";
        let sealed = (1..self.top).rev().map(|number| format!("c/layers/{number}"));
        let lower: Vec<String> = sealed.chain((0..self.layers.len()).rev().map(|index| index.to_string())).collect();
        let (lower, upper) = (lower.join(":"), format!("c/layers/{}", self.top));
        let options = [
            ("lowerdir", Some(lower.as_str())),
            ("upperdir", Some(upper.as_str())),
            ("workdir", Some("c/work")),
            ("userxattr", None),
        ];
        let overlay = file_system(step, "overlay", &options, MountAttrFlags::empty()).map_err(|error| {
            error.hint("the state directory must lie on a file system with idmapped mounts and extended attributes, such as ext4, xfs or btrfs")
        })?;
        let flags = rustix::fs::fstatvfs(&overlay).at(step, "fstatvfs(overlay)")?.f_flag;
        if flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(self.read_only(step));
        }
        Ok(overlay)
    }

    /// Why the work directory could not be used. The kernel says nothing of it.
    fn read_only(&self, step: &str) -> Error {
        let Some(what) = room::used_up(&self.own) else {
            return Error::failed(step, "the kernel mounted it read-only: the work directory could not be used");
        };
        Error {
            code: model::ErrorCode::NoSpace,
            ..Error::failed(step, format!("the file system of the state directory has no {what} left"))
        }
    }
}

fn pivot(root: &OwnedFd) -> Result<()> {
    let step = "change to the container's root";
    rustix::process::fchdir(root).at(step, "fchdir(root)")?;
    rustix::process::pivot_root(".", ".").at(step, "pivot_root(\".\", \".\")")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at(step, "umount2(\".\", MNT_DETACH)")?;
    rustix::process::chdir("/").at(step, "chdir(\"/\")")
}

/// Attaches a detached mount to a folder or file.
///
/// # Errors
/// Names what it was to become.
pub fn attach(step: &str, mount: &OwnedFd, target: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).at(step, &format!("move_mount({name:?})"))
}

/// Opens a folder below `parent`, made if it is missing; a symbolic link anywhere on the way is refused.
///
/// # Errors
/// Names the folder.
pub fn folder(parent: BorrowedFd<'_>, path: &str, mode: u32) -> Result<OwnedFd> {
    let step = "open a folder of the image";
    let mut at = openat(parent, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\".\")")?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match mkdirat(&at, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(Error::io(step, &format!("mkdirat({path:?})"), errno)),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = openat2(
            &at,
            name,
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|errno| {
            Error::io(step, &format!("openat2({path:?}, NO_SYMLINKS)"), errno)
                .hint("the image has something else than a folder there, for example a symbolic link")
        })?;
    }
    Ok(at)
}

/// A device node or a file that is bound over one of the container's.
#[derive(Debug)]
pub struct Bound {
    pub name: String,
    pub mount: OwnedFd,
}

/// Attaches the views and makes /dev and /run. Gives the devpts folder.
///
/// # Errors
/// Names the mount that failed.
pub fn furnish(views: &Views, devices: &[Bound], proc_files: &[Bound], nesting: bool) -> Result<OwnedFd> {
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("open the root", "open(\"/\")")?;
    attach("attach /proc", &views.proc, folder(root.as_fd(), "proc", 0o555)?.as_fd(), "/proc")?;
    attach("attach /sys", &views.sys, folder(root.as_fd(), "sys", 0o555)?.as_fd(), "/sys")?;
    if let Some(cgroup) = &views.cgroup {
        attach(
            "attach the cgroup view",
            cgroup,
            folder(views.sys.as_fd(), "fs/cgroup", 0o555)?.as_fd(),
            "/sys/fs/cgroup",
        )?;
    }
    let pts = devices_folder(root.as_fd(), devices)?;
    let run = file_system(
        "make /run",
        "tmpfs",
        &[("mode", Some("755"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    attach("attach /run", &run, folder(root.as_fd(), "run", 0o755)?.as_fd(), "/run")?;
    for file in proc_files {
        let target = openat(
            &views.proc,
            file.name.as_str(),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let target = target.at("show the container's own limits", &format!("openat(\"/proc/{}\")", file.name))?;
        attach("show the container's own limits", &file.mount, target.as_fd(), &file.name)?;
    }
    if !nesting {
        mask(views)?;
        boot_id(views, &run)?;
    }
    Ok(pts)
}

/// A boot id of this start's own: journals and leases of the guest tell its boots apart by it. The file goes away at once;
/// what is bound stays.
fn boot_id(views: &Views, run: &OwnedFd) -> Result<()> {
    const NAME: &str = ".boot-id";
    let step = "give the container a boot id";
    let random = openat(&views.proc, "sys/kernel/random/uuid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\"random/uuid\")")?;
    let mut text = [0; 64];
    let length = rustix::io::read(&random, &mut text).at(step, "read(\"random/uuid\")")?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(run, NAME, flags, Mode::from_raw_mode(0o444)).at(step, "openat(O_CREAT)")?;
    rustix::io::write(&file, &text[..length]).at(step, "write()")?;
    let bound = open_tree(run, NAME, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).at(step, "open_tree()")?;
    let path = "sys/kernel/random/boot_id";
    let target = openat(&views.proc, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).at(step, "openat(\"boot_id\")")?;
    attach(step, &bound, target.as_fd(), path)?;
    rustix::fs::unlinkat(run, NAME, rustix::fs::AtFlags::empty()).at(step, "unlinkat()")
}

fn devices_folder(root: BorrowedFd<'_>, devices: &[Bound]) -> Result<OwnedFd> {
    let step = "make /dev";
    let options = [("mode", Some("755")), ("size", Some("1m")), ("nr_inodes", Some("4096"))];
    let dev = file_system(step, "tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    attach(step, &dev, folder(root, "dev", 0o755)?.as_fd(), "/dev")?;
    for device in devices {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&dev, device.name.as_str(), flags, Mode::from_raw_mode(0o666)).at(step, &format!("openat(\"/dev/{}\", O_CREAT)", device.name))?);
        let target = openat(&dev, device.name.as_str(), OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        attach(step, &device.mount, target.at(step, "openat(O_PATH)")?.as_fd(), &device.name)?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        rustix::fs::symlinkat(target, &dev, name).at(step, &format!("symlinkat({name:?})"))?;
    }
    let no_programs = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = file_system(
        "make /dev/pts",
        "devpts",
        &[
            ("newinstance", None),
            ("ptmxmode", Some("0666")),
            ("mode", Some("620")),
            ("gid", Some("5")),
            // All containers share what the kernel has of terminals (kernel.pty.max); LXC gives as many.
            ("max", Some("1024")),
        ],
        no_programs,
    )?;
    attach("make /dev/pts", &pts, folder(dev.as_fd(), "pts", 0o755)?.as_fd(), "/dev/pts")?;
    let shm = file_system(
        "make /dev/shm",
        "tmpfs",
        &[("mode", Some("1777"))],
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    attach("make /dev/shm", &shm, folder(dev.as_fd(), "shm", 0o755)?.as_fd(), "/dev/shm")?;
    // A kernel without POSIX message queues has nothing to offer here.
    if let Ok(queues) = file_system("make /dev/mqueue", "mqueue", &[], NO_PROGRAMS) {
        attach("make /dev/mqueue", &queues, folder(dev.as_fd(), "mqueue", 0o755)?.as_fd(), "/dev/mqueue")?;
    }
    Ok(pts)
}

/// What is tidier not to see. Not a boundary: the guest's root may unmount these; the boundary is the user namespace.
fn mask(views: &Views) -> Result<()> {
    let step = "hide what is the host's";
    let null = open_tree(CWD, "/dev/null", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    for name in ["kcore", "keys", "timer_list", "latency_stats", "sched_debug", "sysrq-trigger"] {
        let target = openat(&views.proc, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        if let (Ok(target), Ok(_)) = (target, &null) {
            let copy = open_tree(CWD, "/dev/null", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).at(step, "open_tree(\"/dev/null\")")?;
            attach(step, &copy, target.as_fd(), name)?;
        }
    }
    for (view, name) in [(&views.proc, "scsi"), (&views.proc, "acpi"), (&views.sys, "firmware")] {
        let target = openat(view, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        if let Ok(target) = target {
            let empty = file_system(
                step,
                "tmpfs",
                &[("size", Some("0")), ("ro", None)],
                NO_PROGRAMS | MountAttrFlags::MOUNT_ATTR_RDONLY,
            )?;
            attach(step, &empty, target.as_fd(), name)?;
        }
    }
    Ok(())
}

/// Binds a file of this mount namespace over an empty file below a folder.
///
/// # Errors
/// Names the file.
pub fn bind_over(step: &str, source: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let copy = open_tree(source, "", flags).at(step, &format!("open_tree({name:?})"))?;
    match openat(
        parent,
        name,
        OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    ) {
        Ok(made) => drop(made),
        Err(errno) => return Err(Error::io(step, &format!("openat({name:?}, O_CREAT)"), errno)),
    }
    let target = openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).at(step, &format!("openat({name:?})"))?;
    attach(step, &copy, target.as_fd(), name)
}
