//! Unpacking an archive into a layer: a confined child writes below a staging folder that is its whole world; the layer
//! appears under its digest only when it is complete and durable.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use model::engine::{UnpackRequest, Unpacked};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat_with};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::{At, Error, Result};
use crate::init::host_folder;
use crate::rootfs::{Folders, remove_tree};
use crate::shim::protocol::{self, Fields};

mod archive;
pub mod child;
mod confine;
mod entry;
mod format;
mod plausible;
mod sparse;
mod squashfs;
mod tree;

/// Ids that a template may use: all that a container has.
const IDENTITY: &str = "0 0 65536";

/// Unpacks `input` into `layers/<digest>/`. Progress lines go to `progress`; closing its other end cancels.
///
/// # Errors
/// The archive is refused (the message names the entry), a cap is reached, or the disk fails; nothing is left then.
pub fn unpack(folders: &Folders, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Result<Unpacked> {
    let step = "make the staging folder";
    let staging = host_folder(&folders.state.join("staging"))?;
    let name = staging_name(request)?;
    mkdirat(&staging, name.as_str(), Mode::from_raw_mode(0o755)).at(step, &format!("mkdirat({name:?})"))?;
    let outcome = fill(folders, request, &name, input, progress);
    let outcome = outcome.and_then(|unpacked| keep(folders, &staging, &name, request, unpacked.wrapper.as_deref()).map(|()| unpacked));
    if outcome.is_err()
        && let Err(error) = remove_tree(staging.as_fd(), &name)
    {
        tracing::warn!(%error, "a staging folder stays until the next start");
    }
    outcome
}

/// Removes what crashes left in the staging folder.
pub fn sweep(folders: &Folders) {
    let Ok(staging) = host_folder(&folders.state.join("staging")) else { return };
    let Ok(entries) = rustix::fs::Dir::read_from(&staging) else { return };
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "."
            && name != ".."
            && let Err(error) = remove_tree(staging.as_fd(), &name)
        {
            tracing::warn!(%error, "what an earlier run left in the staging folder stays");
        }
    }
}

fn staging_name(request: &UnpackRequest) -> Result<String> {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").at("make the staging folder", "read(\"/proc/sys/kernel/random/uuid\")")?;
    Ok(format!("{}.{}", request.digest.as_str(), random.trim()))
}

fn fill(folders: &Folders, request: &UnpackRequest, name: &str, input: OwnedFd, progress: OwnedFd) -> Result<Unpacked> {
    let step = "start the unpacker";
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
    let path = folders.state.join("staging").join(name);
    let work = child::Work {
        root: path.display().to_string(),
        origin: request.origin.clone(),
        caps: request.caps,
    };
    let work = serde_json::to_string(&work).map_err(|error| Error::failed(step, error.to_string()))?;
    let mut child = crate::respawn::spawn("unpack", &work, vec![theirs, input, progress])?;
    let outcome = talk(&child, &ours, request);
    // Over in any case: an answer was given, or none will come.
    child.kill().ok();
    child.wait().at(step, "waitpid()")?;
    outcome
}

/// Maps the child's ids once it has its namespace, and waits for its word.
fn talk(child: &Child, socket: &OwnedFd, request: &UnpackRequest) -> Result<Unpacked> {
    let step = "unpack the archive";
    let deadline = Instant::now() + Duration::from_secs(request.caps.seconds);
    loop {
        let left = i64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX);
        if !protocol::is_readable(socket, left).at(step, "poll()")? {
            return Err(Error::failed(
                step,
                format!("{} was not unpacked within {} s", request.origin, request.caps.seconds),
            ));
        }
        let (message, _) = protocol::receive(socket)
            .at(step, "recvmsg()")?
            .ok_or_else(|| Error::failed(step, "the unpacker died"))?;
        match message.get("command") {
            Some("map") => {
                for file in ["gid_map", "uid_map"] {
                    let path = format!("/proc/{}/{file}", child.id());
                    std::fs::write(&path, IDENTITY).at("map the unpacker's ids", &format!("write({path:?}, {IDENTITY:?})"))?;
                }
                protocol::send(socket, &Fields::command("go"), &[]).at(step, "sendmsg()")?;
            }
            Some("done") => {
                let unpacked = message.get("unpacked").unwrap_or_default();
                return serde_json::from_str(unpacked).map_err(|error| Error::failed(step, format!("the unpacker's answer is damaged ({error})")));
            }
            _ => return Err(refusal(&message)),
        }
    }
}

fn refusal(message: &Fields) -> Error {
    let error = Error::failed(
        message.get("step").unwrap_or("unpack the archive"),
        message.get("message").unwrap_or("the unpacker failed"),
    );
    match message.get("code") {
        Some("Invalid") => Error {
            code: model::ErrorCode::Invalid,
            ..error
        },
        Some("NoSpace") => Error {
            code: model::ErrorCode::NoSpace,
            ..error
        },
        Some("Unsupported") => Error {
            code: model::ErrorCode::Unsupported,
            ..error
        },
        _ => error,
    }
}

/// Makes the staging folder durable and gives it its name.
fn keep(folders: &Folders, staging: &OwnedFd, name: &str, request: &UnpackRequest, wrapper: Option<&str>) -> Result<()> {
    let step = "keep the layer";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(staging, name, flags, Mode::empty()).at(step, "openat()")?;
    if let Some(wrapper) = wrapper {
        // The child's word, and it read a foreign archive: one name of a folder that is there, or nothing.
        if wrapper.contains('/') || matches!(wrapper, "" | "." | "..") {
            return Err(Error::failed(step, "the unpacker named a folder that cannot be"));
        }
        openat(&folder, wrapper, flags, Mode::empty()).at(step, "openat(wrapper)")?;
    }
    rustix::fs::syncfs(&folder).at(step, "syncfs()")?;
    let layers = openat(
        CWD,
        folders.state.join("layers"),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(step, "openat(\"layers\")")?;
    let (from, root) = wrapper.map_or((staging, name), |wrapper| (&folder, wrapper));
    match renameat_with(from, root, &layers, request.digest.as_str(), RenameFlags::NOREPLACE) {
        Ok(()) if wrapper.is_none() => {}
        // Somebody else unpacked the same digest meanwhile: theirs is as good. Of a wrapped root the wrapping is left.
        Ok(()) | Err(Errno::EXIST) => remove_tree(staging.as_fd(), name)?,
        Err(errno) => return Err(Error::io(step, "renameat2()", errno)),
    }
    rustix::fs::fsync(&layers).at(step, "fsync(layers)")
}
