//! What a child does for the shim in other namespaces, which the shim itself never joins.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use runtime::error::{At, Error, Result};
use runtime::shim::protocol::{self, Fields};
use runtime::sys::{self, Cloned};

use crate::start::reap;

/// Has a child, in new namespaces of these kinds, do something; gives the descriptors that it answers with. It has ended
/// when this returns. Without a time in milliseconds it has all it wants.
///
/// # Errors
/// What the child says; that it died or took too long.
pub fn ask(step: &str, namespaces: i32, within_ms: Option<i64>, work: impl FnOnce() -> Result<Vec<OwnedFd>>) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
    match sys::clone3(namespaces as u64, None).at(step, "clone3()")? {
        Cloned::Child => {
            drop(ours);
            let told = match work() {
                Ok(found) => protocol::send(&theirs, &Fields::command("ok"), &found.iter().map(AsFd::as_fd).collect::<Vec<_>>()),
                Err(error) => protocol::send(&theirs, &protocol::failure(&error), &[]),
            };
            // Who does not hear it sees the socket close.
            drop(told);
            sys::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let told = hear(step, &ours, within_ms);
            // It may hang in a file system of the guest's; gone already, mostly.
            drop(sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL));
            reap(pid);
            told
        }
    }
}

fn hear(step: &str, socket: &OwnedFd, within_ms: Option<i64>) -> Result<Vec<OwnedFd>> {
    if let Some(within_ms) = within_ms
        && !protocol::is_readable(socket, within_ms).at(step, "poll()")?
    {
        let message = format!("it was not done within {} s", within_ms / 1000);
        return Err(Error::failed(step, message).hint("a file system inside the container may hang"));
    }
    match protocol::receive(socket).at(step, "recvmsg()")? {
        Some((message, found)) if message.get("command") == Some("ok") => Ok(found),
        Some((message, _)) => Err(protocol::told(&message)),
        None => Err(Error::failed(step, "the child that does it died")),
    }
}
