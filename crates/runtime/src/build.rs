//! Building a root file system from a distribution's packages: mmdebstrap as root of a user namespace whose ids nobody
//! else has, because it executes the packages' own scripts. Those ids may talk to the mirror and to the name servers, and
//! to nobody else.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use model::engine::BuildRequest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat, mkdirat};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use self::ids::Ids;
use crate::error::{At, Error, Result};
use crate::init::host_folder;
use crate::rootfs::{Folders, remove_tree};
use crate::shim::protocol::{self, Fields};

mod arguments;
pub mod child;
mod ids;
mod network;

const STEP: &str = "build the root file system";
/// A mirror that answers, but never ends.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Builds; the tar goes to `output` and log lines to `log`. Closing the other end of `log` cancels.
///
/// # Errors
/// The request is no suite of a mirror, mmdebstrap is missing or fails (its last words are in the log), it takes too long
/// or is cancelled; nothing is left then.
pub fn build(folders: &Folders, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Result<()> {
    arguments::check(request)?;
    if !std::path::Path::new("/usr/bin/mmdebstrap").exists() {
        return Err(Error::unsupported(STEP, "mmdebstrap is not installed").hint("apt-get install mmdebstrap"));
    }
    let keyring = keyring(&request.distribution)?;
    let ids = Ids::claim()?;
    let staging = host_folder(&folders.state.join("staging"))?;
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").at(STEP, "read(\"/proc/sys/kernel/random/uuid\")")?;
    let name = format!("build.{}", random.trim());
    mkdirat(&staging, name.as_str(), Mode::RWXU).at(STEP, &format!("mkdirat({name:?})"))?;
    let (uid, gid) = (Uid::from_raw(ids.first()), Gid::from_raw(ids.first()));
    let outcome = chownat(&staging, name.as_str(), Some(uid), Some(gid), AtFlags::empty())
        .at(STEP, "fchownat()")
        .and_then(|()| network::Closed::for_ids(&ids, request))
        .and_then(|closed| {
            let work = child::Work {
                folder: folders.state.join("staging").join(&name).display().to_string(),
                keyring: keyring.to_owned(),
                request: request.clone(),
            };
            let built = run(&work, &ids, output, log);
            // Only now: nobody with these ids is left.
            drop(closed);
            built
        });
    let removed = remove_tree(staging.as_fd(), &name);
    outcome.and(removed)
}

/// Where the distribution's public keys are.
fn keyring(distribution: &str) -> Result<&'static str> {
    let (path, package) = match distribution {
        "debian" => ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
        "ubuntu" => ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring"),
        other => return Err(Error::invalid(STEP, format!("\"{}\" is neither debian nor ubuntu", other.escape_debug()))),
    };
    if std::path::Path::new(path).exists() {
        Ok(path)
    } else {
        Err(Error::unsupported(STEP, format!("the keys of the distribution are not there ({path})")).hint(format!("apt-get install {package}")))
    }
}

/// Removes the network rules that crashes left.
pub fn sweep() {
    network::remove(&Ids::free());
}

fn run(work: &child::Work, ids: &Ids, output: OwnedFd, log: OwnedFd) -> Result<()> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(STEP, "socketpair()")?;
    let request = serde_json::to_string(work).map_err(|error| Error::failed(STEP, error.to_string()))?;
    let watched = log.try_clone().at(STEP, "dup()")?;
    let mut child = crate::respawn::spawn("build", &request, vec![theirs, output, log])?;
    let outcome = talk(&child, &ours, ids, watched.as_fd());
    // The helper ends what it started before it ends itself; killed, it could not wait for that.
    shutdown(&ours, Shutdown::Both).at(STEP, "shutdown()")?;
    child.wait().at(STEP, "waitpid()")?;
    outcome
}

/// Maps the helper's ids once it has its namespace, and waits for its word.
fn talk(child: &Child, socket: &OwnedFd, ids: &Ids, log: BorrowedFd<'_>) -> Result<()> {
    let deadline = Instant::now() + LONGEST;
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(log, PollFlags::empty()),
        ];
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) => return Err(Error::failed(STEP, format!("it did not end within {} minutes", LONGEST.as_secs() / 60))),
            other => other.at(STEP, "poll()")?,
        };
        if ready[1].revents().contains(PollFlags::ERR) {
            return Err(Error::failed(STEP, "it was cancelled"));
        }
        let (message, _) = protocol::receive(socket)
            .at(STEP, "recvmsg()")?
            .ok_or_else(|| Error::failed(STEP, "the builder died"))?;
        match message.get("command") {
            Some("map") => map(child, socket, ids)?,
            Some("done") => return Ok(()),
            _ => {
                return Err(Error::failed(
                    message.get("step").unwrap_or(STEP),
                    message.get("message").unwrap_or("the builder failed"),
                ));
            }
        }
    }
}

fn map(child: &Child, socket: &OwnedFd, ids: &Ids) -> Result<()> {
    for file in ["gid_map", "uid_map"] {
        let path = format!("/proc/{}/{file}", child.id());
        std::fs::write(&path, ids.map()).at("map the builder's ids", &format!("write({path:?})"))?;
    }
    protocol::send(socket, &Fields::command("go"), &[]).at(STEP, "sendmsg()")
}
