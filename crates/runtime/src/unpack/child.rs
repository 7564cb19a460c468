//! The unpacker itself: user, mount, network, ipc and uts namespaces of its own, the staging folder as its root, no
//! privilege to gain, bounded memory and files. What leads out of the root has nowhere to go.

use std::fs::File;
use std::os::fd::OwnedFd;

use model::engine::{UnpackCaps, Unpacked};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use serde::{Deserialize, Serialize};

use super::{archive, confine};
use crate::error::{At, Error, Result};
use crate::shim::protocol::{self, Fields};
use crate::sys;

const SOCKET: i32 = 3;
const INPUT: i32 = 4;
const PROGRESS: i32 = 5;
/// Address space: decoders may take 256 MiB, and little more is needed.
const MEMORY_BYTES: u64 = 1 << 30;
const OPEN_FILES: u64 = 64;

/// What the child is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    /// The staging folder.
    pub root: String,
    /// Which file this is, for messages.
    pub origin: String,
    pub caps: UnpackCaps,
}

/// Runs as the helper; the exit code says whether an answer was given.
#[must_use]
pub fn run(request: &str) -> i32 {
    let Ok(socket) = sys::inherited(SOCKET) else { return 2 };
    let answer = match work(request, &socket) {
        Ok(unpacked) => Fields::command("done").with("unpacked", serde_json::to_string(&unpacked).unwrap_or_default()),
        Err(error) => Fields::command("failed")
            .with("step", &error.step)
            .with("message", &error.message)
            .with("code", format!("{:?}", error.code)),
    };
    i32::from(protocol::send(&socket, &answer, &[]).is_err())
}

fn work(request: &str, socket: &OwnedFd) -> Result<Unpacked> {
    let step = "start the unpacker";
    let work: Work = serde_json::from_str(request).map_err(|error| Error::failed(step, error.to_string()))?;
    let input = sys::inherited(INPUT).at(step, "fcntl(input)")?;
    let progress = sys::inherited(PROGRESS).at(step, "fcntl(progress)")?;
    confine(&work.root, socket)?;
    archive::unpack(File::from(input), File::from(progress), &work.origin, work.caps)
}

fn confine(root: &str, socket: &OwnedFd) -> Result<()> {
    let step = "confine the unpacker";
    let kinds = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    sys::unshare(kinds).at(step, "unshare()")?;
    protocol::send(socket, &Fields::command("map"), &[]).at(step, "sendmsg()")?;
    protocol::receive(socket)
        .at(step, "recvmsg()")?
        .ok_or_else(|| Error::failed(step, "the engine is gone"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(step, "mount(\"/\", MS_PRIVATE)")?;
    mount_bind(root, root).at(step, &format!("mount({root:?}, MS_BIND)"))?;
    // No set-user-id program or device of the archive is of use to the unpacker.
    rustix::mount::mount_remount(root, MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "").at(step, "mount(MS_REMOUNT)")?;
    rustix::process::chdir(root).at(step, &format!("chdir({root:?})"))?;
    rustix::process::pivot_root(".", ".").at(step, "pivot_root()")?;
    unmount(".", UnmountFlags::DETACH).at(step, "umount2(MNT_DETACH)")?;
    rustix::process::chdir("/").at(step, "chdir(\"/\")")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).at(step, "prctl(PR_SET_NO_NEW_PRIVS)")?;
    for (resource, most) in [
        (libc::RLIMIT_AS, MEMORY_BYTES),
        (libc::RLIMIT_NOFILE, OPEN_FILES),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NPROC, 0),
    ] {
        sys::set_limit(0, resource, most, most).at(step, "prlimit()")?;
    }
    confine::give_up()
}
