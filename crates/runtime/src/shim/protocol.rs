//! Messages between engine, shim and init: fields of text in one SOCK_SEQPACKET packet, with descriptors beside them.
//! Unknown fields are ignored, missing ones have defaults, an unknown command is answered "unsupported": an old shim and a
//! new engine understand each other for as long as the container runs.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// The version that `hello` answers. A command's meaning never changes; a new meaning is a new command.
pub const VERSION: u32 = 1;
/// The longest packet.
pub const MAX_MESSAGE: usize = 128 << 10;
/// The most descriptors in one packet (SCM_MAX_FD is 253).
pub const MAX_DESCRIPTORS: usize = 250;

/// Keys and values; a key may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// A message that begins with a command.
    #[must_use]
    pub fn command(name: &str) -> Self {
        Self::default().with("command", name)
    }

    /// With one more field. Keys and values hold no NUL; one that does is cut there.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        let value = value.to_string();
        self.0.push((key.to_owned(), value.split('\0').next().unwrap_or_default().to_owned()));
        self
    }

    /// The first value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key as a number.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.parse().ok()
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// As bytes: `key NUL value NUL ...`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(key, value)| [key.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat())
            .collect()
    }

    /// From bytes; what is not UTF-8 or has no end is left out.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut parts = bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        let mut fields = Vec::new();
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            fields.push((key, value));
        }
        Self(fields)
    }
}

/// Sends one packet.
///
/// # Errors
/// The other end is gone or does not read.
pub fn send(socket: impl AsFd, fields: &Fields, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let bytes = fields.encode();
    rustix::net::sendmsg(socket, &[io::IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other end is gone.
///
/// # Errors
/// The socket fails.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Fields, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_MESSAGE];
    let got = loop {
        match rustix::net::recvmsg(&socket, &mut [io::IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((Fields::decode(&bytes[..got.bytes]), descriptors)))
}

/// Waits so many milliseconds for a packet, or for the end of the other side.
///
/// # Errors
/// poll(2) fails.
pub fn is_readable(socket: impl AsFd, within_ms: i64) -> io::Result<bool> {
    let timeout = rustix::event::Timespec {
        tv_sec: within_ms / 1000,
        tv_nsec: within_ms % 1000 * 1_000_000,
    };
    let mut ready = [rustix::event::PollFd::from_borrowed_fd(socket.as_fd(), rustix::event::PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut ready, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_way() {
        let fields = Fields::command("start").with("env", "A=1\n2").with("env", "B=").with("name", "web");
        let back = Fields::decode(&fields.encode());
        assert_eq!(back, fields);
        assert_eq!(back.all("env").collect::<Vec<_>>(), ["A=1\n2", "B="]);
    }

    #[test]
    fn garbage_is_no_message_and_no_panic() {
        assert_eq!(Fields::decode(b"key without end").0, []);
        assert_eq!(Fields::decode(&[0xFF, 0, 0xFE, 0]).0.len(), 1);
        assert_eq!(Fields::default().with("a", "b\0c").get("a"), Some("b"));
    }

    #[test]
    fn descriptors_travel_beside_the_text() {
        let (one, two) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&one, &Fields::command("x"), &[file.as_fd(), file.as_fd()]).unwrap();
        let (fields, descriptors) = receive(&two).unwrap().unwrap();
        assert_eq!((fields.get("command"), descriptors.len()), (Some("x"), 2));
        drop(one);
        assert!(receive(&two).unwrap().is_none());
    }
}
