//! What runs of containers have left on the host that nobody uses any more, or damaged, and its removal. A start of the
//! console and the end of a container tidy up by themselves; this finds what neither had a chance to see.
//!
//! Invariant: only what bears the id of a container in a place of this instance, or the name that a manifest of it gives, is
//! looked at; and it is removed only while nothing of that container runs.

use std::collections::BTreeMap;
use std::path::Path;

use model::ContainerId;
use model::engine::Removal;
use model::leftover::{Leftover, LeftoverKind};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::mount::UnmountFlags;

use super::Runtime;
use crate::cgroup::layout::instance_directory;
use crate::error::{At, Error, Result};
use crate::net::{bridge, rate, veth};
use crate::shim::engine::{self, Connection};

/// Endings of the files that a shim keeps in the run directory.
const RUN_FILES: [&str; 4] = ["sock", "state", "state.new", "lock"];

impl Runtime {
    /// Everything that is left.
    ///
    /// # Errors
    /// The folders cannot be read: an empty list would mean that nothing is left.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let found = self.folders.found()?;
        let mut links: BTreeMap<ContainerId, Vec<String>> = BTreeMap::new();
        let mut left = Vec::new();
        for folder in found {
            if !folder.is_trashed && self.folders.lacks_manifest(folder.id) {
                let path = self.folders.state.join("containers").join(folder.id.to_string());
                left.push(leftover(LeftoverKind::Folder, path.display(), Some(folder.id)));
            }
            let nics = folder.manifest.map(|manifest| manifest.nics).unwrap_or_default();
            links.insert(folder.id, nics.into_iter().map(|nic| nic.host_name).collect());
        }
        for id in self.ids_with_groups().into_iter().chain(self.ids_with_files()) {
            links.entry(id).or_default();
        }
        for (id, links) in &links {
            left.extend(self.left_by(*id, links));
        }
        left.extend(self.mounts());
        if !engine::is_whole(&self.program) {
            left.push(leftover(LeftoverKind::Program, self.program.display(), None));
        }
        Ok(left)
    }

    /// Removes something that was found, if it is still there.
    ///
    /// # Errors
    /// Its container has been started meanwhile, or the kernel refuses.
    pub fn clear(&self, leftover: &Leftover) -> Result<()> {
        match (leftover.kind, leftover.container) {
            (LeftoverKind::Mount, _) if self.mounts().contains(leftover) => {
                rustix::mount::unmount(leftover.name.as_str(), UnmountFlags::DETACH).at("remove a mount", &format!("umount2({:?})", leftover.name))
            }
            (LeftoverKind::Program, _) => engine::install(&self.config.shim, &self.config.state_dir).map(drop),
            (LeftoverKind::Folder, Some(id)) if self.folders.lacks_manifest(id) => self.remove(id, Removal::Purge),
            (LeftoverKind::Cgroup | LeftoverKind::Link | LeftoverKind::RunFile, Some(id)) => self.clear_of(id, leftover),
            _ => Ok(()),
        }
    }

    fn clear_of(&self, id: ContainerId, leftover: &Leftover) -> Result<()> {
        let busy = self.busy(id);
        let _held = busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.is_over(id) {
            return Err(Error::conflict("remove what a container has left", "it runs again"));
        }
        match leftover.kind {
            LeftoverKind::Cgroup => {
                self.tidy(id);
                self.look(id)?.map_or(Ok(()), |group| group.remove())
            }
            LeftoverKind::Link if self.links_of(id).contains(&leftover.name) => veth::remove_link(&leftover.name),
            LeftoverKind::RunFile => {
                let path = self.shims().join(&leftover.name);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove a shim's file", &format!("unlink({})", path.display())),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Names of the links that the container's manifest gives, in use or in the trash.
    fn links_of(&self, id: ContainerId) -> Vec<String> {
        let found = self.folders.found().unwrap_or_default().into_iter().filter(|folder| folder.id == id);
        let nics = found.filter_map(|folder| folder.manifest).flat_map(|manifest| manifest.nics);
        nics.flat_map(|nic| both(&nic.host_name)).collect()
    }

    /// Whether nothing of a container is alive, its shim included.
    fn is_over(&self, id: ContainerId) -> bool {
        let is_dead = match self.look(id) {
            Ok(None) => true,
            Ok(Some(group)) => group.is_populated() == Some(false),
            Err(_) => false,
        };
        is_dead && !self.is_locked(id) && Connection::open(&self.shims(), &id.to_string()).is_none()
    }

    /// A shim holds its lock for as long as it lives, even one that hangs.
    fn is_locked(&self, id: ContainerId) -> bool {
        let path = self.shims().join(format!("{id}.lock"));
        let Ok(lock) = openat(CWD, &path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) else {
            return false;
        };
        flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
    }

    fn left_by(&self, id: ContainerId, links: &[String]) -> Vec<Leftover> {
        let busy = self.busy(id);
        // Whoever works on it tidies up.
        let Ok(_held) = busy.try_lock() else { return Vec::new() };
        if !self.is_over(id) {
            return Vec::new();
        }
        let mut left = Vec::new();
        if matches!(self.look(id), Ok(Some(_))) {
            let name = Path::new(&instance_directory(self.instance())).join(id.to_string());
            left.push(leftover(LeftoverKind::Cgroup, name.display(), Some(id)));
        }
        let files = RUN_FILES.map(|ending| format!("{id}.{ending}"));
        let files = files.into_iter().filter(|name| self.shims().join(name).symlink_metadata().is_ok());
        left.extend(files.map(|name| leftover(LeftoverKind::RunFile, name, Some(id))));
        let links = links.iter().flat_map(|link| both(link)).filter(|link| bridge::exists(link));
        left.extend(links.map(|name| leftover(LeftoverKind::Link, name, Some(id))));
        left
    }

    fn ids_with_groups(&self) -> Vec<ContainerId> {
        let folders = self.layout.all().map(|hierarchy| hierarchy.root.join(instance_directory(self.instance())));
        folders.flat_map(|folder| ids(&folder, |name| Some(name))).collect()
    }

    fn ids_with_files(&self) -> Vec<ContainerId> {
        ids(&self.shims(), |name| name.split_once('.').map(|(id, _)| id))
    }

    /// Mounts below the folder that shims build in, each in a mount namespace of its own: none is to be seen from here. Those
    /// inside of others come first.
    fn mounts(&self) -> Vec<Leftover> {
        let stage = self.config.run_dir.join("stage");
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = text.lines().filter_map(|line| line.split(' ').nth(4));
        let below = points.filter(|point| Path::new(point) != stage && Path::new(point).starts_with(&stage));
        let mut mounts: Vec<_> = below.map(|point| leftover(LeftoverKind::Mount, point, None)).collect();
        mounts.reverse();
        mounts
    }
}

fn leftover(kind: LeftoverKind, name: impl std::fmt::Display, container: Option<ContainerId>) -> Leftover {
    Leftover {
        kind,
        name: name.to_string(),
        container,
    }
}

/// A host end and the device that limits it.
fn both(host_name: &str) -> [String; 2] {
    [host_name.to_owned(), rate::intermediate(host_name)]
}

fn ids(folder: &Path, id: impl Fn(&str) -> Option<&str>) -> Vec<ContainerId> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| id(&name)?.parse().ok()).collect()
}
