//! The console's terminal: drained always into a ring and a log with a limit, shown to whoever is attached; a reader that
//! does not read loses bytes and blocks nobody.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat, renameat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use runtime::error::{At, Result};

/// Scrollback that an attach replays.
const RING_BYTES: usize = 64 << 10;
/// The log is begun anew at this size; one older file stays.
const LOG_BYTES: u64 = 1 << 20;
/// Typed ahead at most this much.
const PENDING_BYTES: usize = 16 << 10;

/// Scrollback, log and viewers; lives through reboots.
#[derive(Debug, Default)]
pub struct Console {
    ring: VecDeque<u8>,
    log: Option<(File, u64)>,
    viewers: Vec<Viewer>,
    /// Typed and not yet taken by the terminal.
    pending: VecDeque<u8>,
}

#[derive(Debug)]
struct Viewer {
    socket: OwnedFd,
}

impl Console {
    /// Takes what the terminal printed.
    pub fn printed(&mut self, folder: &OwnedFd, bytes: &[u8]) {
        self.ring.extend(bytes);
        let excess = self.ring.len().saturating_sub(RING_BYTES);
        self.ring.drain(..excess);
        self.write_log(folder, bytes);
        self.viewers.retain(
            |viewer| match rustix::net::send(&viewer.socket, bytes, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL) {
                // Full: this viewer loses these bytes.
                Ok(_) | Err(Errno::AGAIN) => true,
                Err(_) => false,
            },
        );
    }

    fn write_log(&mut self, folder: &OwnedFd, bytes: &[u8]) {
        if self.log.as_ref().is_none_or(|(_, size)| *size >= LOG_BYTES) {
            self.log = self.next_log(folder);
        }
        if let Some((file, size)) = &mut self.log {
            // A full disk must not stop the container; the ring has the newest lines.
            if file.write_all(bytes).is_ok() {
                *size += bytes.len() as u64;
            }
        }
    }

    fn next_log(&self, folder: &OwnedFd) -> Option<(File, u64)> {
        if self.log.is_some() {
            renameat(folder, "console.log", folder, "console.log.1").ok();
        }
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(folder, "console.log", flags, Mode::from_raw_mode(0o600)).ok()?);
        let size = file.metadata().ok()?.len();
        Some((file, size))
    }

    /// A socket that first carries the scrollback and then the console both ways.
    pub fn attach(&mut self) -> Result<OwnedFd> {
        let step = "attach to the console";
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).at(step, "socketpair()")?;
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4 * RING_BYTES).at(step, "setsockopt(SO_SNDBUF)")?;
        let (first, second) = self.ring.as_slices();
        for part in [first, second] {
            // The buffer is larger than the ring.
            rustix::net::send(&ours, part, rustix::net::SendFlags::NOSIGNAL).at(step, "send()")?;
        }
        self.viewers.push(Viewer { socket: ours });
        Ok(theirs)
    }

    /// Sockets to poll for what viewers type; none while the terminal has not taken what was typed before.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        if self.wants_to_write() {
            Vec::new()
        } else {
            self.viewers.iter().map(|viewer| viewer.socket.as_fd()).collect()
        }
    }

    /// Whether something typed waits for the terminal.
    pub fn wants_to_write(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads what viewers typed.
    pub fn typed(&mut self) {
        let mut bytes = [0; 4096];
        let pending = &mut self.pending;
        self.viewers.retain(|viewer| {
            loop {
                if pending.len() >= PENDING_BYTES {
                    return true;
                }
                match rustix::net::recv(&viewer.socket, &mut bytes, rustix::net::RecvFlags::DONTWAIT) {
                    Ok((0, _)) => return false,
                    Ok((got, _)) => pending.extend(&bytes[..got]),
                    Err(Errno::AGAIN) => return true,
                    Err(Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
        });
    }

    /// Writes what was typed, as much as the terminal takes.
    pub fn write_to(&mut self, master: BorrowedFd<'_>) {
        while !self.pending.is_empty() {
            let (first, _) = self.pending.as_slices();
            match rustix::io::write(master, first) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}
