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

use crate::record::now_ms;

/// Scrollback that an attach replays.
const RING_BYTES: usize = 64 << 10;
/// The log is begun anew at this size; one older file stays.
const LOG_BYTES: u64 = 1 << 20;
/// A line of `console.times` at most this often.
const TIMES_MS: i64 = 1000;
/// Typed ahead at most this much.
const PENDING_BYTES: usize = 16 << 10;

/// Scrollback, log and viewers; lives through reboots.
#[derive(Debug, Default)]
pub struct Console {
    ring: VecDeque<u8>,
    log: Option<Log>,
    viewers: Vec<Viewer>,
    /// Typed and not yet taken by the terminal.
    pending: VecDeque<u8>,
}

/// `console.log`, and `console.times` which says when what was printed: a line `<milliseconds> <offset>` for each second
/// in which something was.
#[derive(Debug)]
struct Log {
    file: File,
    size: u64,
    times: File,
    times_size: u64,
    timed_ms: i64,
}

impl Log {
    fn open(folder: &OwnedFd) -> Option<Self> {
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |name: &str| {
            let file = File::from(openat(folder, name, flags, Mode::from_raw_mode(0o600)).ok()?);
            let size = file.metadata().ok()?.len();
            Some((file, size))
        };
        let ((file, size), (times, times_size)) = (open("console.log")?, open("console.times")?);
        Some(Self {
            file,
            size,
            times,
            times_size,
            timed_ms: i64::MIN,
        })
    }

    fn is_full(&self) -> bool {
        self.size.max(self.times_size) >= LOG_BYTES
    }

    /// A full disk must not stop the container; the ring has the newest lines.
    fn write(&mut self, bytes: &[u8], now_ms: i64) {
        // A clock that was set back begins a new line too.
        if now_ms.saturating_sub(self.timed_ms) >= TIMES_MS || now_ms < self.timed_ms {
            let line = format!("{now_ms} {}\n", self.size);
            if self.times.write_all(line.as_bytes()).is_ok() {
                self.times_size += line.len() as u64;
                self.timed_ms = now_ms;
            }
        }
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
    }
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
        self.write_log(folder, bytes, now_ms());
        self.viewers.retain(
            |viewer| match rustix::net::send(&viewer.socket, bytes, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL) {
                // Full: this viewer loses these bytes.
                Ok(_) | Err(Errno::AGAIN) => true,
                Err(_) => false,
            },
        );
    }

    fn write_log(&mut self, folder: &OwnedFd, bytes: &[u8], now_ms: i64) {
        if self.log.as_ref().is_some_and(Log::is_full) {
            for name in ["console.log", "console.times"] {
                renameat(folder, name, folder, format!("{name}.1")).ok();
            }
            self.log = None;
        }
        if self.log.is_none() {
            self.log = Log::open(folder);
        }
        if let Some(log) = &mut self.log {
            log.write(bytes, now_ms);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_when_and_both_files_are_begun_anew_together() {
        let at = std::env::temp_dir().join(format!("berth-shim-console-{}", std::process::id()));
        std::fs::create_dir_all(&at).expect("a folder");
        let folder = OwnedFd::from(File::open(&at).expect("the folder opens"));
        let read = |name: &str| std::fs::read_to_string(at.join(name)).expect("it is there");
        let mut console = Console::default();
        for (ms, text) in [(5_000, "a"), (5_999, "bc"), (6_000, "d"), (4_000, "e")] {
            console.write_log(&folder, text.as_bytes(), ms);
        }
        assert_eq!(
            (read("console.log").as_str(), read("console.times").as_str()),
            ("abcde", "5000 0\n6000 3\n4000 4\n")
        );
        let large = "x".repeat(usize::try_from(LOG_BYTES).expect("it is small"));
        console.write_log(&folder, large.as_bytes(), 9_000);
        console.write_log(&folder, b"new", 9_001);
        assert_eq!((read("console.log").as_str(), read("console.times").as_str()), ("new", "9001 0\n"));
        assert!(read("console.log.1").starts_with("abcdexxx") && read("console.times.1").ends_with("9000 5\n"));
        std::fs::remove_dir_all(&at).expect("the folder goes");
    }
}
