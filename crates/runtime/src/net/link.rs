//! Routing netlink (rtnetlink(7)), synchronous: one request, one answer. Messages are built here because the shim must stay
//! small; every field is an integer or a name that was checked.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with};

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
pub const NEWLINK: u16 = 16;
pub const DELLINK: u16 = 17;
pub const GETLINK: u16 = 18;
pub const NEWADDR: u16 = 20;
pub const NEWROUTE: u16 = 24;
pub const CREATE: u16 = 0x400;
pub const EXCLUSIVE: u16 = 0x200;
pub const REPLACE: u16 = 0x100;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
pub const NESTED: u16 = 0x8000;
pub const IFLA_ADDRESS: u16 = 1;
pub const IFLA_IFNAME: u16 = 3;
pub const IFLA_MTU: u16 = 4;
pub const IFLA_MASTER: u16 = 10;
pub const IFLA_LINKINFO: u16 = 18;
pub const IFLA_STATS64: u16 = 23;
pub const IFLA_AF_SPEC: u16 = 26;
pub const IFLA_NET_NS_FD: u16 = 28;
pub const IFLA_INFO_KIND: u16 = 1;
pub const IFLA_INFO_DATA: u16 = 2;
pub const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;

/// A request in the making.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of a kind, with flags beside REQUEST and ACK.
    #[must_use]
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST | ACKNOWLEDGE).to_ne_bytes());
        Self { bytes }
    }

    /// An ifinfomsg; index 0 = none yet.
    #[must_use]
    pub fn link(mut self, index: u32, up: Option<bool>) -> Self {
        self.bytes.extend(link_header(index, up));
        self
    }

    /// Raw bytes of another fixed header.
    #[must_use]
    pub fn header(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// An attribute.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(attribute(kind, value));
        self
    }

    /// A name as the kernel wants it.
    #[must_use]
    pub fn name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &[name.as_bytes(), b"\0"].concat())
    }
}

/// `struct ifinfomsg`.
#[must_use]
pub fn link_header(index: u32, up: Option<bool>) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(up) = up {
        bytes[8..12].copy_from_slice(&u32::from(up).to_ne_bytes());
        bytes[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    bytes
}

/// An attribute, padded to four bytes.
#[must_use]
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes of a message's rest.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & 0x3FFF, value))
    })
}

/// A netlink socket in the network namespace that this thread is in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd })
    }

    /// One to the packet filters, whose modules the kernel loads when they are asked.
    #[cfg(feature = "engine")]
    fn open_netfilter() -> io::Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(rustix::net::netlink::NETFILTER),
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd })
    }

    fn send(&self, mut message: Message) -> io::Result<()> {
        let length = u32::try_from(message.bytes.len()).map_err(io::Error::other)?;
        message.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        sendto(&self.fd, &message.bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    /// Sends a request and waits for the kernel's answer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask(&self, message: Message) -> io::Result<()> {
        self.send(message)?;
        self.hear(|_, _| {})
    }

    /// Sends a dump request and hands each answer to `each`: kind and body.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dump(&self, kind: u16, header: &[u8], each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.send(Message::new(kind, DUMP).header(header))?;
        self.hear(each)
    }

    fn hear(&self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (got, _) = recv(&self.fd, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut rest = &buffer[..got];
            while let Some((kind, body, after)) = next(rest) {
                rest = after;
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let number = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                        return if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-number)) };
                    }
                    kind => each(kind, body),
                }
            }
        }
    }

    /// The index of a link by its name.
    ///
    /// # Errors
    /// ENODEV when there is none.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        let mut index = 0;
        self.send(Message::new(GETLINK, 0).link(0, None).name(IFLA_IFNAME, name))?;
        self.hear_one(|body| {
            index = body
                .get(4..8)
                .and_then(|bytes| bytes.first_chunk())
                .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
        })?;
        if index == 0 {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        } else {
            Ok(index)
        }
    }

    /// Deletes a link; one that is not there is gone already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        match self.ask(Message::new(DELLINK, 0).link(0, None).name(IFLA_IFNAME, name)) {
            Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(error),
            _ => Ok(()),
        }
    }

    /// A GET of one object answers with it and then acknowledges.
    fn hear_one(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.hear(|_, body| each(body))
    }

    /// Adds an address.
    ///
    /// # Errors
    /// The kernel's; one that is there already is fine.
    pub fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let (family, bytes) = family_and_bytes(address);
        // IFA_F_NODAD: nobody else can have it, Berth gives them out.
        let flags = if address.is_ipv6() { 2 } else { 0 };
        let mut header = vec![family, prefix, flags, 0];
        header.extend(index.to_ne_bytes());
        let mut message = Message::new(NEWADDR, CREATE | REPLACE).header(&header).with(1, &bytes).with(2, &bytes);
        if address.is_ipv4() {
            message = message.with(4, &broadcast(&bytes, prefix));
        }
        self.ask(message)
    }

    /// Adds a default route.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add_default_route(&self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let (family, bytes) = family_and_bytes(gateway);
        // Table main, protocol boot, scope universe, type unicast.
        let header = [family, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        self.ask(
            Message::new(NEWROUTE, CREATE | REPLACE)
                .header(&header)
                .with(5, &bytes)
                .with(4, &index.to_ne_bytes()),
        )
    }
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    }
}

fn broadcast(address: &[u8], prefix: u8) -> [u8; 4] {
    let bits = address.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    (bits | host).to_be_bytes()
}

fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    Some((kind, bytes.get(16..length)?, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Asks nf_tables for the generation of its rules, which changes nothing.
///
/// # Errors
/// The kernel has none.
#[cfg(feature = "engine")]
pub fn try_nf_tables() -> crate::error::Result<()> {
    use crate::error::At as _;
    // linux/netfilter/nfnetlink.h, nf_tables.h: subsystem 10, NFT_MSG_GETGEN; struct nfgenmsg.
    let request = Message::new(10 << 8 | 16, 0).header(&[0, 0, 0, 0]);
    let asked = Socket::open_netfilter().and_then(|socket| socket.ask(request));
    asked.at("check the host", "NFT_MSG_GETGEN")
}

/// Whether nf_tables has a chain; the family is that of the netfilter hooks (2 and 10 are IPv4 and IPv6).
///
/// # Errors
/// The kernel's.
#[cfg(feature = "engine")]
pub fn has_chain(family: u8, table: &str, chain: &str) -> io::Result<bool> {
    // NFT_MSG_GETCHAIN; struct nfgenmsg; NFTA_CHAIN_TABLE and NFTA_CHAIN_NAME.
    let request = Message::new(10 << 8 | 4, 0).header(&[family, 0, 0, 0]).name(1, table).name(3, chain);
    match Socket::open_netfilter()?.ask(request) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        answer => answer.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let bytes = [attribute(3, b"eth0\0"), attribute(4, &1500_u32.to_ne_bytes())].concat();
        assert_eq!(bytes.len() % 4, 0);
        let back: Vec<(u16, &[u8])> = attributes(&bytes).collect();
        assert_eq!(back, [(3, b"eth0\0".as_slice()), (4, 1500_u32.to_ne_bytes().as_slice())]);
        assert_eq!(attributes(&[9, 0, 1]).count(), 0);
    }

    #[test]
    fn broadcast_of_a_network() {
        assert_eq!(broadcast(&[10, 213, 0, 5], 22), [10, 213, 3, 255]);
        assert_eq!(broadcast(&[10, 0, 0, 1], 32), [10, 0, 0, 1]);
    }

    #[test]
    fn loopback_has_an_index() {
        assert_eq!(Socket::open().unwrap().index("lo").unwrap(), 1);
        assert_eq!(Socket::open().unwrap().index("berth-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
