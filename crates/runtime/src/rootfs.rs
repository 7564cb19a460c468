//! A container's folder on disk: made without copying anything, moved to the trash and back, removed for good. Everything
//! below it is reached by descriptor; links are never followed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::container::ExitRecord;
use model::engine::{DiskUse, FirstBoot, Manifest, Removal};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{At, Error, Result};
use crate::init::host_folder;
use crate::shim::ends;

mod tree;

use tree::disk_use;
pub use tree::remove_tree;

/// The folders that are root's alone, below the state directory.
#[derive(Clone, Debug)]
pub struct Folders {
    pub state: PathBuf,
}

/// A container's folder, in use or in the trash, with its manifest where that can be read.
#[derive(Clone, Debug)]
pub struct Found {
    pub id: ContainerId,
    pub is_trashed: bool,
    pub manifest: Option<Manifest>,
}

/// The host name that Berth wrote into the container last.
const HOSTNAME: &str = "hostname";
const FIRST_BOOT: &str = "first-boot.json";
const MANIFEST: &str = "manifest.json";
/// Exits that are read at most; the others are counted.
const EXITS_READ: usize = 100;

impl Folders {
    /// Makes `bin layers staging trash containers` with root's rights only (setuid files of guests lie below them).
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn make(state: &Path) -> Result<Self> {
        let step = "make the state directory's folders";
        std::fs::create_dir_all(state).at(step, &format!("mkdir({})", state.display()))?;
        let top = host_folder(state)?;
        for name in ["bin", "layers", "staging", "trash", "containers"] {
            match mkdirat(&top, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io(step, &format!("mkdirat({name:?})"), errno)),
            }
        }
        Ok(Self { state: state.to_owned() })
    }

    /// `containers/<id>`.
    ///
    /// # Errors
    /// There is no such container.
    pub fn container(&self, id: ContainerId) -> Result<OwnedFd> {
        host_folder(&self.state.join("containers").join(id.to_string())).map_err(|error| Error {
            code: model::ErrorCode::NotFound,
            ..error
        })
    }

    /// `layers/<digest>`.
    ///
    /// # Errors
    /// The template is not here.
    pub fn layer(&self, digest: &model::Digest) -> Result<OwnedFd> {
        host_folder(&self.state.join("layers").join(digest.as_str())).map_err(|error| {
            Error {
                code: model::ErrorCode::NotFound,
                ..error
            }
            .hint("download the container's template again")
        })
    }

    /// Makes a container's folder; what is there already is kept.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn create(&self, manifest: &Manifest, first_boot: &FirstBoot) -> Result<()> {
        let step = "make the container's folder";
        let parent = host_folder(&self.state.join("containers"))?;
        let own = subfolder(&parent, &manifest.id.to_string(), Mode::RWXU)?;
        let layers = subfolder(&own, "layers", Mode::RWXU)?;
        // The root directory of the container itself.
        drop(subfolder(&layers, "1", Mode::from_raw_mode(0o755))?);
        drop(subfolder(&own, "work", Mode::RWXU)?);
        let mut files = Vec::new();
        if *first_boot != FirstBoot::default() {
            let text = serde_json::to_vec(first_boot).map_err(|error| Error::failed(step, error.to_string()))?;
            files.push(place_file(&own, FIRST_BOOT, &text)?);
        }
        files.push(place_file(&own, MANIFEST, &manifest_text(manifest)?)?);
        // Nobody knows the folder yet, and whoever makes it begins anew after a crash: what is in it need not be whole before
        // the end. Synced after everything is in its place, the first file's sync commits the journal of ext4 with all of it,
        // and the others, which other file systems need, find nothing left to write.
        for file in &files {
            file.sync_all().at(step, "fsync(file)")?;
        }
        for (folder, call) in [(&layers, "fsync(layers)"), (&own, "fsync(folder)"), (&parent, "fsync(containers)")] {
            rustix::fs::fsync(folder).at(step, call)?;
        }
        Ok(())
    }

    /// Replaces the manifest at once.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        write_file(&self.container(manifest.id)?, MANIFEST, &manifest_text(manifest)?)
    }

    /// Every manifest that can be read.
    #[must_use]
    pub fn manifests(&self) -> Vec<Manifest> {
        let ids = self.ids().unwrap_or_else(|error| {
            tracing::error!(%error, "the manifests of containers cannot be read");
            Vec::new()
        });
        ids.into_iter().filter_map(|id| self.manifest(id)).collect()
    }

    /// The manifest of one container, if it has a folder with one that can be read.
    #[must_use]
    pub fn manifest(&self, id: ContainerId) -> Option<Manifest> {
        serde_json::from_slice(&read_file(&self.container(id).ok()?, MANIFEST)?).ok()
    }

    /// Whether a container's folder was never made whole. A manifest that cannot be read, or is a later version's, is no
    /// reason to take anything away.
    #[must_use]
    pub fn lacks_manifest(&self, id: ContainerId) -> bool {
        let folder = self.state.join("containers").join(id.to_string());
        let absent = |path: &Path| std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        folder.is_dir() && absent(&folder.join(MANIFEST))
    }

    /// Containers that have a folder.
    ///
    /// # Errors
    /// The folder cannot be read: that is not the same as none.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let names = try_names(&self.state.join("containers"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Every container's folder, for a store that is to be rebuilt.
    ///
    /// # Errors
    /// A folder cannot be read: that is not the same as none.
    pub fn found(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for (place, is_trashed) in [("containers", false), ("trash", true)] {
            let folder = self.state.join(place);
            for id in try_names(&folder)?.iter().filter_map(|name| name.parse::<ContainerId>().ok()) {
                let own = host_folder(&folder.join(id.to_string())).ok();
                let text = own.and_then(|own| read_file(&own, MANIFEST));
                found.push(Found {
                    id,
                    is_trashed,
                    manifest: text.and_then(|text| serde_json::from_slice(&text).ok()),
                });
            }
        }
        Ok(found)
    }

    /// Layers that are complete.
    #[must_use]
    pub fn layers(&self) -> Vec<model::Digest> {
        names(&self.state.join("layers")).iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// What the first start shall apply, if it has not happened yet.
    #[must_use]
    pub fn first_boot(&self, id: ContainerId) -> Option<FirstBoot> {
        serde_json::from_slice(&read_file(&self.container(id).ok()?, FIRST_BOOT)?).ok()
    }

    /// Whether a container was never started.
    #[must_use]
    pub fn is_new(&self, id: ContainerId) -> bool {
        self.container(id)
            .is_ok_and(|own| openat(&own, "started", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).is_err())
    }

    /// The host name that the container was started with last.
    #[must_use]
    pub fn last_hostname(&self, id: ContainerId) -> Option<String> {
        String::from_utf8(read_file(&self.container(id).ok()?, HOSTNAME)?).ok()
    }

    /// Notes the host name of a start.
    ///
    /// # Errors
    /// The disk fails.
    pub fn note_hostname(&self, id: ContainerId, name: &str) -> Result<()> {
        if self.last_hostname(id).as_deref() == Some(name) {
            return Ok(());
        }
        write_file(&self.container(id)?, HOSTNAME, name.as_bytes())
    }

    /// Notes that the first start has happened: its data are gone.
    ///
    /// # Errors
    /// The disk fails.
    pub fn started(&self, id: ContainerId) -> Result<()> {
        let own = self.container(id)?;
        write_file(&own, "started", b"")?;
        match unlinkat(&own, FIRST_BOOT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("forget the first boot's data", "unlinkat()", errno)),
        }
    }

    /// Moves a container's folder, or removes it for good. What is done already is fine.
    ///
    /// # Errors
    /// The disk fails, or the folder is nowhere when it shall come back.
    pub fn remove(&self, id: ContainerId, removal: Removal) -> Result<()> {
        let (containers, trash) = (host_folder(&self.state.join("containers"))?, host_folder(&self.state.join("trash"))?);
        let name = id.to_string();
        match removal {
            Removal::ToTrash => rename(&containers, &trash, &name),
            Removal::Restore => rename(&trash, &containers, &name),
            Removal::Purge => {
                remove_tree(containers.as_fd(), &name)?;
                remove_tree(trash.as_fd(), &name)
            }
        }
    }

    /// Removes a layer. It leaves its place whole first: what is half removed must never count as complete.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove_layer(&self, digest: &model::Digest) -> Result<()> {
        let step = "remove a layer";
        let (layers, staging) = (host_folder(&self.state.join("layers"))?, host_folder(&self.state.join("staging"))?);
        let aside = format!("removed-{}", digest.as_str());
        // Of an earlier try that was interrupted.
        remove_tree(staging.as_fd(), &aside)?;
        match renameat(&layers, digest.as_str(), &staging, aside.as_str()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.at(step, &format!("renameat({:?})", digest.as_str()))?,
        }
        rustix::fs::fsync(&layers).at(step, "fsync(layers)")?;
        remove_tree(staging.as_fd(), &aside)
    }

    /// What the container's own layers take on disk.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn measure(&self, id: ContainerId) -> Result<DiskUse> {
        let own = match self.container(id) {
            Ok(own) => own,
            Err(_) => host_folder(&self.state.join("trash").join(id.to_string()))?,
        };
        let layers = openat(
            &own,
            "layers",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at("measure the container", "openat(\"layers\")")?;
        disk_use(layers.as_fd())
    }

    /// Exits that the shims of a container recorded.
    #[must_use]
    pub fn exits(&self, id: ContainerId) -> Exits {
        let newest = self.container(id).ok().and_then(|own| ends::newest(&own, EXITS_READ).ok()).unwrap_or_default();
        let all = newest.older + newest.lines.len();
        let newest: Vec<ExitRecord> = newest.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Exits {
            older: all - newest.len(),
            newest,
        }
    }
}

/// The exits of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exits {
    /// How many were recorded before the newest.
    pub older: usize,
    /// The oldest of them first.
    pub newest: Vec<ExitRecord>,
}

impl Exits {
    /// How many were ever recorded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.older + self.newest.len()
    }
}

fn names(folder: &Path) -> Vec<String> {
    try_names(folder).unwrap_or_default()
}

fn try_names(folder: &Path) -> Result<Vec<String>> {
    let step = "list a folder of the state directory";
    let mut names = Vec::new();
    for entry in Dir::read_from(&host_folder(folder)?).at(step, "getdents()")? {
        let name = entry.at(step, "getdents()")?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

fn subfolder(parent: &OwnedFd, name: &str, mode: Mode) -> Result<OwnedFd> {
    let step = "make the container's folder";
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::io(step, &format!("mkdirat({name:?})"), errno)),
    }
    openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step, &format!("openat({name:?})"))
}

fn manifest_text(manifest: &Manifest) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(manifest).map_err(|error| Error::failed("write the manifest", error.to_string()))
}

const WRITE: &str = "write a file of the container's folder";

/// The one durable write: temporary file beside, fsync, rename, fsync of the folder (trust rule D8).
fn write_file(folder: &OwnedFd, name: &str, text: &[u8]) -> Result<()> {
    write_beside(folder, name, text)?.sync_all().at(WRITE, &format!("fsync({name:?})"))?;
    move_in(folder, name)?;
    rustix::fs::fsync(folder).at(WRITE, "fsync(folder)")
}

/// The same for a folder in the making: nobody sees half of the file, but it is on the disk only when the caller has synced
/// it and the folder.
fn place_file(folder: &OwnedFd, name: &str, text: &[u8]) -> Result<File> {
    let file = write_beside(folder, name, text)?;
    move_in(folder, name)?;
    Ok(file)
}

fn fresh(name: &str) -> String {
    format!(".{name}.new")
}

fn write_beside(folder: &OwnedFd, name: &str, text: &[u8]) -> Result<File> {
    let fresh = fresh(name);
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, fresh.as_str(), flags, Mode::from_raw_mode(0o600)).at(WRITE, &format!("openat({fresh:?})"))?);
    file.write_all(text).at(WRITE, &format!("write({fresh:?})"))?;
    Ok(file)
}

fn move_in(folder: &OwnedFd, name: &str) -> Result<()> {
    renameat(folder, fresh(name).as_str(), folder, name).at(WRITE, &format!("renameat({name:?})"))
}

fn read_file(folder: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let file = openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut bytes = Vec::new();
    File::from(file).take(16 << 20).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn rename(from: &OwnedFd, to: &OwnedFd, name: &str) -> Result<()> {
    let step = "move the container's folder";
    match renameat(from, name, to, name) {
        Ok(()) => {}
        // Done by an earlier try.
        Err(Errno::NOENT) if openat(to, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).is_ok() => {}
        Err(errno) => return Err(Error::io(step, &format!("renameat({name:?})"), errno)),
    }
    rustix::fs::fsync(from).at(step, "fsync()")?;
    rustix::fs::fsync(to).at(step, "fsync()")
}
