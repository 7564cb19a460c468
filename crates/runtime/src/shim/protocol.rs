//! Messages between engine, shim and init: fields of text in one SOCK_SEQPACKET packet, with descriptors beside them.
//! Unknown fields are ignored, missing ones have defaults, an unknown command is answered "unsupported": an old shim and a
//! new engine understand each other for as long as the container runs.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use model::ErrorCode;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::error::Error;

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

    /// With one more field. Keys and values hold no NUL: [`send`] refuses a message with one.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.0.push((key.to_owned(), value.to_string()));
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

/// An error as a message; [`told`] makes it one again at the other end.
#[must_use]
pub fn failure(error: &Error) -> Fields {
    // What went wrong may quote the guest's own words; a message without them is better than none.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let message = Fields::command("failed")
        .with("step", clean(&error.step))
        .with("message", clean(&error.message));
    let message = message.with("code", format!("{:?}", error.code));
    error.hint.iter().fold(message, |message, hint| message.with("hint", clean(hint)))
}

/// The error of a message that [`failure`] made.
#[must_use]
pub fn told(message: &Fields) -> Error {
    let mut error = Error::failed(message.get("step").unwrap_or("ask the shim"), message.get("message").unwrap_or("unknown"));
    error.hint = message.get("hint").filter(|hint| !hint.is_empty()).map(str::to_owned);
    error.code = match message.get("code") {
        Some("Unsupported") => ErrorCode::Unsupported,
        Some("Invalid") => ErrorCode::Invalid,
        Some("NoSpace") => ErrorCode::NoSpace,
        Some("Conflict") => ErrorCode::Conflict,
        Some("NotFound") => ErrorCode::NotFound,
        _ => ErrorCode::Failed,
    };
    error
}

fn refuse(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Sends one packet.
///
/// # Errors
/// The other end is gone or does not read; `InvalidInput` when the message holds a NUL or is longer than [`MAX_MESSAGE`]:
/// a command that is cut must never run.
pub fn send(socket: impl AsFd, fields: &Fields, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    if fields.0.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
        return Err(refuse("a part of the request holds a NUL"));
    }
    let bytes = fields.encode();
    if bytes.len() > MAX_MESSAGE {
        return Err(refuse("the request is longer than 128 KiB"));
    }
    rustix::net::sendmsg(socket, &[io::IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other end is gone.
///
/// # Errors
/// The socket fails, or the packet or its descriptors did not fit and were cut.
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
    if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message was cut on its way"));
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
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn what_would_arrive_cut_is_not_sent() {
        let (one, two) = pair();
        for value in ["rm -rf /tmp/x\0y".to_owned(), "x".repeat(MAX_MESSAGE)] {
            let refused = send(&one, &Fields::command("exec").with("arg", value), &[]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        send(&one, &Fields::command("exec").with("arg", "x".repeat(MAX_MESSAGE - 64)), &[]).unwrap();
        assert!(receive(&two).unwrap().is_some());
    }

    #[test]
    fn what_arrives_cut_is_an_error() {
        let (one, two) = pair();
        rustix::net::sockopt::set_socket_send_buffer_size(&one, 4 * MAX_MESSAGE).unwrap();
        let long = vec![b'x'; MAX_MESSAGE + 1];
        rustix::net::send(&one, &long, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(receive(&two).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_error_keeps_its_code_and_hint_on_the_way() {
        let error = Error::invalid("find the user", "no user `x`").hint("name another");
        assert_eq!(told(&failure(&error)), error);
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
