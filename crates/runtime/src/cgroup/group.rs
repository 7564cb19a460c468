//! One container's groups in every hierarchy: made before anything enters, removed after everything has left.
//!
//! Invariant: the container owns an inner directory only (version 2: `payload/`; beside version 1: the unified one), never
//! limit files and never a version 1 controller (trust rule D15).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Gid, Mode as Permissions, Uid, chownat, mkdirat, unlinkat};
use rustix::io::Errno;

use super::layout::{Hierarchy, Layout, Mode, instance_directory};
use super::{devices, file, freezer};
use crate::error::{At, Error, Result};

/// Controllers that containers use on version 2.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];
/// Groups that a guest may make below its own.
const MAX_DESCENDANTS: &str = "10000";
const MAX_DEPTH: &str = "32";
/// rmdir may answer EBUSY for some 100 ms after the last process died.
const REMOVAL: Duration = Duration::from_secs(5);

/// Open directories of one container's groups.
#[derive(Debug)]
pub struct Group {
    pub mode: Mode,
    /// The outer directory of the unified hierarchy: limits (version 2), freeze, kill, pressure.
    pub unified: Option<OwnedFd>,
    /// Version 2: the delegated leaf in which the container lives.
    pub payload: Option<OwnedFd>,
    /// Version 1 by its controllers, joined with commas.
    pub v1: Vec<(String, OwnedFd)>,
    paths: Vec<PathBuf>,
}

fn directory(hierarchy: &Hierarchy, instance: Option<&str>, id: &str) -> PathBuf {
    hierarchy.root.join(instance_directory(instance)).join(id)
}

impl Group {
    /// Makes the groups. An empty left-over is removed and made again.
    ///
    /// # Errors
    /// A left-over still holds processes, or the kernel refuses.
    pub fn create(layout: &Layout, instance: Option<&str>, id: &str, base_id: u32) -> Result<Self> {
        if let Some(old) = Self::look(layout, instance, id)? {
            old.refuse_populated()?;
            old.remove()?;
        }
        Self::make(layout, instance, id, base_id).map_err(|mut error| {
            for hierarchy in layout.all() {
                if let Err(left) = remove_tree(&directory(hierarchy, instance, id)) {
                    error.message = format!("{} (and then: rmdir = {left})", error.message);
                }
            }
            error
        })
    }

    fn make(layout: &Layout, instance: Option<&str>, id: &str, base_id: u32) -> Result<Self> {
        for hierarchy in layout.all() {
            make(hierarchy, instance, id, layout.mode)?;
        }
        let group = Self::look(layout, instance, id)?.ok_or_else(|| Error::failed("make the cgroups", "a group vanished while it was made"))?;
        group.fill_cpuset(layout, instance)?;
        devices::confine(&group)?;
        group.delegate(base_id)?;
        Ok(group)
    }

    /// Opens the groups of a container; `None` when there are none, or they cannot be opened.
    #[must_use]
    pub fn open(layout: &Layout, instance: Option<&str>, id: &str) -> Option<Self> {
        Self::look(layout, instance, id).ok().flatten()
    }

    /// Opens the groups of a container; `None` only when there are none.
    ///
    /// # Errors
    /// They cannot be opened: nothing is known about the container then.
    pub fn look(layout: &Layout, instance: Option<&str>, id: &str) -> Result<Option<Self>> {
        let step = "find the container's cgroups";
        let absent = |error: std::io::Error, what: &str| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(Error::io(step, &format!("open({what})"), error)),
        };
        let open = |hierarchy: &Hierarchy| {
            let path = directory(hierarchy, instance, id);
            file::open_directory(&path)
                .map(Some)
                .or_else(|error| absent(error, &path.display().to_string()))
        };
        let unified = layout.unified.as_ref().map(open).transpose()?.flatten();
        let payload = match &unified {
            Some(outer) if layout.mode == Mode::V2 => file::open_below(outer.as_fd(), "payload").map(Some).or_else(|error| absent(error, "payload"))?,
            _ => None,
        };
        let mut v1 = Vec::new();
        for hierarchy in &layout.v1 {
            v1.extend(open(hierarchy)?.map(|group| (hierarchy.controllers.join(","), group)));
        }
        let paths = layout.all().map(|hierarchy| directory(hierarchy, instance, id)).collect();
        Ok((unified.is_some() || !v1.is_empty()).then_some(Self {
            mode: layout.mode,
            unified,
            payload,
            v1,
            paths,
        }))
    }

    fn refuse_populated(&self) -> Result<()> {
        if self.is_populated() == Some(false) {
            return Ok(());
        }
        let error = Error::conflict("make the cgroups", "a group of this container still holds processes");
        Err(error.hint("kill the container first: something of its last run is alive"))
    }

    /// The file that wakes poll(2) when the last process has left; version 1 has none.
    #[must_use]
    pub fn events(&self) -> Option<io::Result<std::fs::File>> {
        self.unified.as_ref().map(|unified| file::open(unified.as_fd(), "cgroup.events"))
    }

    /// The version 1 directory of a controller.
    #[must_use]
    pub fn v1(&self, controller: &str) -> Option<BorrowedFd<'_>> {
        self.v1
            .iter()
            .find(|(names, _)| names.split(',').any(|name| name == controller))
            .map(|(_, group)| group.as_fd())
    }

    /// Where limits are written: on version 2 the outer directory and `payload/`, where lxcfs looks for them.
    pub fn limited(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let outer = if self.mode == Mode::V2 { self.unified.as_ref() } else { None };
        outer.into_iter().chain(self.payload.as_ref()).map(AsFd::as_fd)
    }

    /// Where init is born.
    #[must_use]
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.payload.as_ref().or(self.unified.as_ref()).map(AsFd::as_fd)
    }

    /// New directories have no CPUs and no memory nodes, and nothing can enter before they have.
    fn fill_cpuset(&self, layout: &Layout, instance: Option<&str>) -> Result<()> {
        let (Some(group), Some(hierarchy)) = (self.v1("cpuset"), layout.v1("cpuset")) else {
            return Ok(());
        };
        let step = "give the container CPUs";
        let top = file::open_directory(&hierarchy.root).at(step, "open(cpuset)")?;
        let between = file::open_directory(&hierarchy.root.join(instance_directory(instance))).at(step, "open(cpuset)")?;
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let value = file::read(top.as_fd(), name).at(step, &format!("read({name:?})"))?;
            for directory in [between.as_fd(), group] {
                if file::read(directory, name).unwrap_or_default().trim().is_empty() {
                    file::write(directory, name, value.trim()).at(step, &format!("write({name:?}, {:?})", value.trim()))?;
                }
            }
        }
        Ok(())
    }

    /// Gives the container's root the directory it may divide further, and bounds how far.
    fn delegate(&self, base_id: u32) -> Result<()> {
        let step = "delegate the cgroup";
        if let Some(unified) = &self.unified {
            // Kernels without a bound here have none to set.
            drop(file::write(unified.as_fd(), "cgroup.max.descendants", MAX_DESCENDANTS));
            drop(file::write(unified.as_fd(), "cgroup.max.depth", MAX_DEPTH));
        }
        let owner = (Some(Uid::from_raw(base_id)), Some(Gid::from_raw(base_id)));
        let own = self.birthplace().into_iter().chain(self.v1("name=systemd"));
        for directory in own {
            chownat(directory, "", owner.0, owner.1, AtFlags::EMPTY_PATH).at(step, "fchownat(\"\")")?;
            for name in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
                match chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(Error::io(step, &format!("fchownat({name:?})"), errno)),
                }
            }
        }
        Ok(())
    }

    /// Stops every process; returns when the kernel says so.
    ///
    /// # Errors
    /// A process did not stop in time; then all go on.
    pub fn freeze(&self) -> Result<()> {
        let step = "freeze the container";
        match (&self.unified, self.v1("freezer")) {
            (Some(unified), _) => freezer::freeze(unified.as_fd()).at(step, "write(\"cgroup.freeze\", \"1\")"),
            (None, Some(group)) => freezer::freeze_v1(group).at(step, "write(\"freezer.state\", \"FROZEN\")"),
            (None, None) => Err(Error::unsupported(step, "this host has no freezer")),
        }
    }

    /// Lets every process go on.
    ///
    /// # Errors
    /// The group is gone.
    pub fn thaw(&self) -> Result<()> {
        let step = "unfreeze the container";
        match (&self.unified, self.v1("freezer")) {
            (Some(unified), _) => freezer::thaw(unified.as_fd()).at(step, "write(\"cgroup.freeze\", \"0\")"),
            (None, Some(group)) => freezer::thaw_v1(group).at(step, "write(\"freezer.state\", \"THAWED\")"),
            (None, None) => Ok(()),
        }
    }

    /// Kills every process, frozen ones too; returns when none is left.
    ///
    /// # Errors
    /// A process is stuck in the kernel.
    pub fn kill(&self) -> Result<()> {
        let step = "kill the container";
        match (&self.unified, self.v1("freezer")) {
            (Some(unified), _) => freezer::kill(unified.as_fd()).at(step, "write(\"cgroup.kill\", \"1\")"),
            (None, Some(group)) => freezer::kill_v1(group).at(step, "freeze, kill, thaw"),
            (None, None) => Err(Error::unsupported(step, "this host has neither cgroup.kill nor a freezer")),
        }
    }

    /// Whether processes live in it; `None` when that cannot be told. One that was removed since it was opened is empty.
    #[must_use]
    pub fn is_populated(&self) -> Option<bool> {
        let populated = match &self.unified {
            Some(unified) => freezer::is_populated(unified.as_fd()),
            // Every hierarchy of version 1 has all of the container's processes.
            None => {
                let any = || self.v1.first().map(|(_, group)| group.as_fd());
                freezer::is_populated_v1(self.v1("freezer").or_else(any)?)
            }
        };
        match populated {
            Err(error) if freezer::is_gone(&error) => Some(false),
            other => other.ok(),
        }
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        match &self.unified {
            Some(unified) => freezer::is_frozen(unified.as_fd()).unwrap_or(false),
            None => self
                .v1("freezer")
                .and_then(|group| file::read(group, "freezer.state").ok())
                .is_some_and(|state| state.trim() == "FROZEN"),
        }
    }

    /// Removes the groups and what a guest made below them; goes on after a failure.
    ///
    /// # Errors
    /// All directories that could not be removed, in one message.
    pub fn remove(self) -> Result<()> {
        let step = "remove the cgroups";
        let paths = self.paths.clone();
        drop(self);
        let failed: Vec<String> = paths
            .iter()
            .filter_map(|path| remove_tree(path).err().map(|error| format!("rmdir({}) = {error}", path.display())))
            .collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Error::failed(step, failed.join("; ")))
        }
    }
}

/// The instance's directory and the container's below it, with controllers passed down on version 2.
fn make(hierarchy: &Hierarchy, instance: Option<&str>, id: &str, mode: Mode) -> Result<()> {
    let step = "make the cgroups";
    let is_v2 = mode == Mode::V2 && hierarchy.controllers.is_empty();
    let root = file::open_directory(&hierarchy.root).at(step, &format!("open({})", hierarchy.root.display()))?;
    let below = |parent: &OwnedFd, name: &str, exclusive: bool| -> Result<OwnedFd> {
        match mkdirat(parent, name, Permissions::from_raw_mode(0o755)) {
            Err(Errno::EXIST) if !exclusive => {}
            other => other.at(step, &format!("mkdirat({}, {name:?})", hierarchy.root.display()))?,
        }
        file::open_below(parent.as_fd(), name).at(step, &format!("openat({name:?})"))
    };
    if is_v2 {
        pass_down(&root);
    }
    let top = below(&root, &instance_directory(instance), false)?;
    if is_v2 {
        pass_down(&top);
    }
    let own = below(&top, id, true)?;
    if is_v2 {
        pass_down(&own);
        drop(below(&own, "payload", true)?);
    }
    Ok(())
}

/// One by one: a controller that this kernel lacks must not keep the others away.
fn pass_down(directory: &OwnedFd) {
    for controller in CONTROLLERS {
        // What is missing shows when a limit of it is asked for.
        drop(file::write(directory.as_fd(), "cgroup.subtree_control", &format!("+{controller}")));
    }
}

fn remove_tree(path: &std::path::Path) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let deadline = Instant::now() + REMOVAL;
    let parent = match file::open_directory(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    remove_below(parent.as_fd(), name, deadline)
}

fn remove_below(parent: BorrowedFd<'_>, name: &str, deadline: Instant) -> io::Result<()> {
    let directory = match file::open_below(parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for child in file::children(directory.as_fd())? {
        remove_below(directory.as_fd(), &child, deadline)?;
    }
    drop(directory);
    loop {
        match unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Err(errno) => return Err(errno.into()),
        }
    }
}
