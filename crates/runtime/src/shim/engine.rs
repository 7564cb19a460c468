//! The engine's end of a shim: starting one, asking one, finding those of an earlier console.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, socketpair};
use sha2::{Digest, Sha256};

use super::protocol::{self, Fields};
use crate::companion::Birthplace;
use crate::error::{At, Error, Result};
use crate::sys;

/// Where the shim's program comes from.
#[derive(Clone, Debug)]
pub enum ShimSource {
    /// Carried inside this program.
    Bytes(&'static [u8]),
    /// Built beside it, for tests.
    Path(PathBuf),
}

/// A start or an answer that takes longer hangs.
const PATIENCE_MS: i64 = 40_000;
/// What a shim answers without any work takes no longer than this; one that does hangs, and nobody may hang with it.
const SHORT_PATIENCE_MS: i64 = 2000;

/// Writes the shim once to `<state-dir>/bin/berth-shim-<sha256>`, and again when what stands there is something else; an
/// older one stays while a shim runs from it.
///
/// # Errors
/// This program carries no shim, or the disk fails.
pub fn install(source: &ShimSource, state: &Path) -> Result<PathBuf> {
    let step = "install the shim";
    let bytes = match source {
        ShimSource::Path(path) => std::fs::read(path).at(step, &format!("read({})", path.display()))?,
        ShimSource::Bytes([]) => return Err(Error::unsupported(step, "this build carries no shim").hint("build with `cargo xtask build`")),
        ShimSource::Bytes(bytes) => bytes.to_vec(),
    };
    let path = state.join("bin").join(name_of(&bytes));
    if std::fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(path);
    }
    let fresh = path.with_extension("new");
    // Left over from a crash while it was written.
    drop(std::fs::remove_file(&fresh));
    std::fs::write(&fresh, &bytes).at(step, &format!("write({})", fresh.display()))?;
    std::fs::set_permissions(&fresh, std::os::unix::fs::PermissionsExt::from_mode(0o500)).at(step, "chmod(0500)")?;
    std::fs::File::open(&fresh).and_then(|file| file.sync_all()).at(step, "fsync()")?;
    std::fs::rename(&fresh, &path).at(step, "rename()")?;
    Ok(path)
}

/// Whether a shim's program is what its name says.
#[must_use]
pub fn is_whole(program: &Path) -> bool {
    std::fs::read(program).is_ok_and(|bytes| program.file_name().is_some_and(|name| *name == *name_of(&bytes)))
}

fn name_of(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("berth-shim-{hash}")
}

/// Starts a shim with a message and its descriptors, in groups of its own; returns what it answers once init has been
/// executed.
///
/// # Errors
/// The step that failed, in the shim's or the child's words.
pub fn start(program: &Path, message: &Fields, descriptors: &[BorrowedFd<'_>], groups: &Birthplace) -> Result<Fields> {
    let step = "start the shim";
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
    let text = |text: &[u8]| CString::new(text).map_err(|_| Error::invalid(step, "a NUL byte in its arguments"));
    let (path, argument) = (text(program.as_os_str().as_bytes())?, text(message.get("id").unwrap_or_default().as_bytes())?);
    let spawned = sys::spawn(&sys::Program {
        path: &path,
        argument: &argument,
        socket: theirs.as_fd(),
        cgroup: groups.unified.as_ref().map(AsFd::as_fd),
        tasks: &groups.tasks,
    });
    let pidfd = spawned.at(step, &format!("execve({})", program.display()))?;
    drop(theirs);
    // A shim that hears nothing but the end of its socket ends too.
    let answer = protocol::send(&ours, message, descriptors)
        .map_err(|error| not_sent(step, error))
        .and_then(|()| hear(&ours, step));
    drop(ours);
    reap_later(pidfd);
    answer
}

/// A shim outlives us; while we live its end must not leave a zombie.
fn reap_later(pidfd: OwnedFd) {
    let spawned = std::thread::Builder::new()
        .name("berth-reaper".into())
        .stack_size(64 << 10)
        .spawn(move || sys::reap_by(&pidfd));
    if let Err(error) = spawned {
        tracing::warn!(%error, "a shim's end will not be waited for");
    }
}

fn hear(socket: &OwnedFd, step: &str) -> Result<Fields> {
    if !protocol::is_readable(socket, PATIENCE_MS).at(step, "poll()")? {
        return Err(Error::failed(step, "no answer within 40 s"));
    }
    let (answer, _) = protocol::receive(socket)
        .at(step, "recvmsg()")?
        .ok_or_else(|| Error::failed(step, "the shim ended without a word"))?;
    if answer.get("command") == Some("failed") {
        Err(protocol::told(&answer))
    } else {
        Ok(answer)
    }
}

/// A message that cannot be sent as it is was wrong; everything else failed.
fn not_sent(step: &str, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::InvalidInput {
        return Error::invalid(step, error.to_string()).hint("leave something out, or hand it over in a file inside the container");
    }
    Error::io(step, "sendmsg()", error)
}

/// A connection to a running shim.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

impl Connection {
    /// Connects; `None` when no shim listens there, or one that does not even take connections any more.
    #[must_use]
    pub fn open(shims: &Path, id: &str) -> Option<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).ok()?;
        // Before the connect: with a full backlog it would wait for ever.
        let patience = std::time::Duration::from_millis(SHORT_PATIENCE_MS.unsigned_abs());
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(patience)).ok()?;
        // By the folder's descriptor: a socket's path has at most 107 bytes.
        let folder = crate::init::host_folder(shims).ok()?;
        let path = format!("/proc/self/fd/{}/{id}.sock", folder.as_raw_fd());
        rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str()).ok()?).ok()?;
        Some(Self { socket })
    }

    /// Asks; gives the answer and its descriptors.
    ///
    /// # Errors
    /// The shim refuses, is gone, or does not answer; `Invalid` when the request is too long or holds a NUL.
    pub fn ask(&self, request: &Fields) -> Result<(Fields, Vec<OwnedFd>)> {
        self.ask_within(request, &[], PATIENCE_MS)
    }

    /// As [`Connection::ask`], with descriptors beside the request.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn ask_with(&self, request: &Fields, descriptors: &[BorrowedFd<'_>]) -> Result<(Fields, Vec<OwnedFd>)> {
        self.ask_within(request, descriptors, PATIENCE_MS)
    }

    /// As [`Connection::ask`], of a shim that may hang: for what it answers at once.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn ask_shortly(&self, request: &Fields) -> Result<(Fields, Vec<OwnedFd>)> {
        self.ask_within(request, &[], SHORT_PATIENCE_MS)
    }

    fn ask_within(&self, request: &Fields, descriptors: &[BorrowedFd<'_>], within_ms: i64) -> Result<(Fields, Vec<OwnedFd>)> {
        let step = "ask the shim";
        protocol::send(&self.socket, request, descriptors).map_err(|error| not_sent(step, error))?;
        if !protocol::is_readable(&self.socket, within_ms).at(step, "poll()")? {
            return Err(Error::failed(step, format!("no answer within {} s", within_ms / 1000)));
        }
        let (answer, descriptors) = protocol::receive(&self.socket)
            .at(step, "recvmsg()")?
            .ok_or_else(|| Error::failed(step, "it ended"))?;
        if answer.get("command") == Some("failed") {
            Err(protocol::told(&answer))
        } else {
            Ok((answer, descriptors))
        }
    }

    /// The next event of a watching connection; `None` when the shim has ended.
    #[must_use]
    pub fn event(&self) -> Option<Fields> {
        protocol::receive(&self.socket).ok().flatten().map(|(fields, _)| fields)
    }

    /// For polling.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Ids that have a socket.
#[must_use]
pub fn listening(shims: &Path) -> Vec<model::ContainerId> {
    let Ok(entries) = std::fs::read_dir(shims) else { return Vec::new() };
    let id = |name: String| name.strip_suffix(".sock").and_then(|id| id.parse().ok());
    entries
        .filter_map(std::result::Result::ok)
        .filter_map(|entry| id(entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_what_its_name_says_is_written_anew() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("bin")).unwrap();
        let source = ShimSource::Bytes(b"a shim");
        let program = install(&source, state.path()).unwrap();
        assert!(is_whole(&program));
        let damage: [fn(&Path); 2] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| {
                std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
                std::fs::write(path, b"a shin").unwrap();
            },
        ];
        for harm in damage {
            harm(&program);
            assert!(!is_whole(&program));
            assert_eq!(install(&source, state.path()).unwrap(), program);
            assert_eq!(std::fs::read(&program).unwrap(), b"a shim");
        }
    }
}
