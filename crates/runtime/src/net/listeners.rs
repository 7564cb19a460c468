//! Which sockets of this host wait on a port: what a published port would take away from its service, because packets are
//! translated before a socket sees them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::engine::Listener;
use model::network::{Protocol, Publish};

use crate::error::{At, Result};

/// The tables of the calling thread's network namespace (proc_net(5)): the first is there on every kernel.
const TABLES: [(&str, Protocol); 4] = [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];
/// TCP_LISTEN; and TCP_CLOSE, which is what a bound UDP socket without a peer shows.
const LISTENS: u8 = 0x0A;
const UNCONNECTED: u8 = 0x07;

/// Sockets that wait on the host's side of these ports, with the programs that hold them as far as they can be seen.
///
/// # Errors
/// The kernel's table cannot be read.
pub fn on(ports: &[Publish]) -> Result<Vec<Listener>> {
    let mut found = Vec::new();
    for (table, protocol) in TABLES {
        let path = format!("/proc/thread-self/net/{table}");
        let text = match std::fs::read_to_string(&path) {
            // A kernel without IPv6 has two of them.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && table != "tcp" => continue,
            read => read.at("read the host's sockets", &format!("read({path})"))?,
        };
        let wanted = |port: u16| ports.iter().any(|publish| publish.has(port, protocol));
        for socket in waiting(&text, protocol).filter(|socket| wanted(socket.port)) {
            found.push(Listener {
                protocol,
                address: socket.address,
                port: socket.port,
                program: program(socket.inode),
            });
        }
    }
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// Sockets of a table that take what comes from anybody.
fn waiting(text: &str, protocol: Protocol) -> impl Iterator<Item = Socket> {
    let state = match protocol {
        Protocol::Tcp => LISTENS,
        Protocol::Udp => UNCONNECTED,
    };
    text.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let is_waiting = u8::from_str_radix(words.nth(1)?, 16).ok()? == state;
        let socket = Socket {
            address: address_of(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            inode: words.nth(5)?.parse().ok()?,
        };
        is_waiting.then_some(socket)
    })
}

/// Groups of eight digits: each is 32 bits of the address as this processor reads them.
fn address_of(text: &str) -> Option<IpAddr> {
    let group = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => group(0).map(|bytes| Ipv4Addr::from(bytes).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&group(index * 8)?);
            }
            Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// The name of a program that holds the socket. Whoever writes a name may write anything: only what can be printed is told.
fn program(inode: u64) -> Option<String> {
    let link = format!("socket:[{inode}]");
    let holds = |process: &std::path::Path| {
        let mut files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link.as_str()))
    };
    let mut processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let process = processes.find(|process| holds(process))?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(name.trim().chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   112        0 21001 1 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21002 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1538 0100007F:9C40 01 00000000:00000000 02:000A8E34 00000000   112        0 21003 2 0000000000000000 20 4 30 10 -1
   3: broken
";
    const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  12: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 31001 2 0000000000000000 0
  13: 0000000000000000FFFF00000100007F:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 31002 2 0000000000000000 0
  14: 000080FE00000000FF005450BBCA10FE:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 31003 2 0000000000000000 0
  15: 00000000000000000000000001000000:9000 00000000000000000000000001000000:0035 01 00000000:00000000 00:00000000 00000000   101        0 31004 2 0000000000000000 0
";

    fn seen(text: &str, protocol: Protocol) -> Vec<(String, u16, u64)> {
        waiting(text, protocol)
            .map(|socket| (socket.address.to_string(), socket.port, socket.inode))
            .collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_sockets_that_wait_are_read() {
        assert_eq!(seen(TCP, Protocol::Tcp), [("127.0.0.1".into(), 5432, 21001), ("0.0.0.0".into(), 22, 21002)]);
        assert_eq!(
            seen(UDP6, Protocol::Udp),
            [
                ("::".into(), 53, 31001),
                ("127.0.0.1".into(), 53, 31002),
                ("fe80::5054:ff:fe10:cabb".into(), 546, 31003),
            ]
        );
    }

    #[test]
    fn a_socket_of_this_program_is_found_with_its_name() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        for (port, protocol) in [
            (tcp.local_addr().unwrap().port(), Protocol::Tcp),
            (udp.local_addr().unwrap().port(), Protocol::Udp),
        ] {
            let publish = Publish {
                host: port,
                container: 80,
                protocol,
                count: 1,
            };
            let found = on(std::slice::from_ref(&publish)).unwrap();
            let wanted = Listener {
                protocol,
                address: Ipv4Addr::LOCALHOST.into(),
                port,
                program: Some(name.trim().to_owned()),
            };
            assert!(found.contains(&wanted), "{found:?}");
        }
        assert_eq!(on(&[]).unwrap(), []);
    }
}
