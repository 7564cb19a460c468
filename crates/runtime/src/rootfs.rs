//! A container's folder on disk: made without copying anything, moved to the trash and back, removed for good. Everything
//! below it is reached by descriptor; links are never followed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ContainerId;
use model::engine::{FirstBoot, Manifest, Removal};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::{At, Error, Result};
use crate::init::host_folder;

/// The folders that are root's alone, below the state directory.
#[derive(Clone, Debug)]
pub struct Folders {
    pub state: PathBuf,
}

const FIRST_BOOT: &str = "first-boot.json";
const MANIFEST: &str = "manifest.json";

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
        if *first_boot != FirstBoot::default() {
            let text = serde_json::to_vec(first_boot).map_err(|error| Error::failed(step, error.to_string()))?;
            write_file(&own, FIRST_BOOT, &text)?;
        }
        self.write_manifest(manifest)?;
        rustix::fs::fsync(&parent).at(step, "fsync(containers)")
    }

    /// Replaces the manifest at once.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_vec_pretty(manifest).map_err(|error| Error::failed("write the manifest", error.to_string()))?;
        write_file(&self.container(manifest.id)?, MANIFEST, &text)
    }

    /// Every manifest that can be read.
    #[must_use]
    pub fn manifests(&self) -> Vec<Manifest> {
        self.ids()
            .into_iter()
            .filter_map(|id| serde_json::from_slice(&read_file(&self.container(id).ok()?, MANIFEST)?).ok())
            .collect()
    }

    /// Containers that have a folder.
    #[must_use]
    pub fn ids(&self) -> Vec<ContainerId> {
        names(&self.state.join("containers")).iter().filter_map(|name| name.parse().ok()).collect()
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

    /// Removes a layer.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove_layer(&self, digest: &model::Digest) -> Result<()> {
        remove_tree(host_folder(&self.state.join("layers"))?.as_fd(), digest.as_str())
    }

    /// Bytes that the container's own layers take on disk.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn measure(&self, id: ContainerId) -> Result<u64> {
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
        used_bytes(layers.as_fd())
    }

    /// Exits that the shims of a container recorded, oldest first.
    #[must_use]
    pub fn exits(&self, id: ContainerId) -> Vec<model::container::ExitRecord> {
        let Some(bytes) = self.container(id).ok().and_then(|own| read_file(&own, "events")) else {
            return Vec::new();
        };
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(folder) = host_folder(folder) else { return Vec::new() };
    let Ok(entries) = Dir::read_from(&folder) else { return Vec::new() };
    entries
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
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

/// The one durable write: temporary file beside, fsync, rename, fsync of the folder (trust rule D8).
fn write_file(folder: &OwnedFd, name: &str, text: &[u8]) -> Result<()> {
    let step = "write a file of the container's folder";
    let fresh = format!(".{name}.new");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, fresh.as_str(), flags, Mode::from_raw_mode(0o600)).at(step, &format!("openat({fresh:?})"))?);
    file.write_all(text).at(step, &format!("write({fresh:?})"))?;
    file.sync_all().at(step, &format!("fsync({fresh:?})"))?;
    renameat(folder, fresh.as_str(), folder, name).at(step, &format!("renameat({name:?})"))?;
    rustix::fs::fsync(folder).at(step, "fsync(folder)")
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

/// Removes a tree below a folder, never leaving it.
///
/// # Errors
/// The disk fails.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &str) -> Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| Error::invalid("remove a folder", "its name holds a NUL"))?;
    remove_below(parent, &name)
}

/// Names below come from guests: any bytes.
fn remove_below(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<()> {
    let step = "remove a folder";
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(Error::io(step, &format!("unlinkat({name:?})"), errno)),
    }
    let folder = openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step, &format!("openat({name:?})"))?;
    for entry in Dir::read_from(&folder).at(step, "getdents()")? {
        let entry = entry.at(step, "getdents()")?;
        let child = entry.file_name();
        if child == c"." || child == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            remove_below(folder.as_fd(), child)?;
        } else {
            unlinkat(&folder, child, AtFlags::empty()).at(step, &format!("unlinkat({child:?})"))?;
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR).at(step, &format!("unlinkat({name:?}, AT_REMOVEDIR)"))
}

/// Bytes on disk of everything below, links not followed, hard links counted as often as they stand.
fn used_bytes(folder: BorrowedFd<'_>) -> Result<u64> {
    let step = "measure the container";
    let mut total = 0;
    for entry in Dir::read_from(folder).at(step, "getdents()")? {
        let entry = entry.at(step, "getdents()")?;
        if entry.file_name() == c"." || entry.file_name() == c".." {
            continue;
        }
        let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).at(step, "fstatat()")?;
        total += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let below = openat(
                folder,
                entry.file_name(),
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .at(step, "openat()")?;
            total += used_bytes(below.as_fd())?;
        }
    }
    Ok(total)
}
