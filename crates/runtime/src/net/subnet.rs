//! Which addresses are free on this host, and those that follow from others: SLAAC, link-local, the bridge's MAC.

use std::net::{Ipv4Addr, Ipv6Addr};

use model::network::Cidr;
use sha2::{Digest as _, Sha256};

use super::link::{Socket, attributes};
use crate::error::{At, Error, Result};

/// Where a /22 is looked for when nobody names one.
const BASE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 213, 0, 0), 16);
const PREFIX: u8 = 22;
// linux/rtnetlink.h, linux/if_addr.h
const GETADDR: u16 = 22;
const NEWADDR: u16 = 20;
const GETROUTE: u16 = 26;
const NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const AF_INET: u8 = 2;

/// The bridge's own address in the first free /22 of 10.213.0.0/16; `None` when all are taken.
#[must_use]
pub fn free_ipv4(taken: &[Cidr]) -> Option<Cidr> {
    let step = 1_u32 << (32 - PREFIX);
    let count = 1_u32 << (PREFIX - BASE.1);
    let first = u32::from(BASE.0);
    (0..count)
        .map(|index| Cidr {
            addr: Ipv4Addr::from(first + index * step + 1).into(),
            prefix: PREFIX,
        })
        .find(|network| !taken.iter().any(|other| other.overlaps(network)))
}

/// A random ULA /64 (RFC 4193) with the bridge's own address in it.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random_ula() -> Result<Cidr> {
    use std::io::Read as _;
    let mut random = [0_u8; 7];
    let step = "choose an IPv6 network";
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .at(step, "read(\"/dev/urandom\")")?;
    let mut octets = [0; 16];
    octets[0] = 0xFD;
    octets[1..8].copy_from_slice(&random);
    octets[15] = 1;
    Ok(Cidr {
        addr: Ipv6Addr::from(octets).into(),
        prefix: 64,
    })
}

/// IPv4 networks that this host has addresses in or routes to; the default route takes nothing.
///
/// # Errors
/// Netlink fails.
pub fn taken() -> Result<Vec<Cidr>> {
    let step = "read the host's routes";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    let mut networks = Vec::new();
    // struct ifaddrmsg is 8 bytes, struct rtmsg 12; both begin with the family, the prefix length is the second byte.
    for (ask, answer, header, attribute, call) in [
        (GETADDR, NEWADDR, 8, IFA_ADDRESS, "RTM_GETADDR"),
        (GETROUTE, NEWROUTE, 12, RTA_DST, "RTM_GETROUTE"),
    ] {
        let mut asked = vec![0; header];
        asked[0] = AF_INET;
        socket
            .dump(ask, &asked, |kind, body| {
                networks.extend(Some(body).filter(|_| kind == answer).and_then(|body| network(body, header, attribute)))
            })
            .at(step, call)?;
    }
    Ok(networks)
}

fn network(body: &[u8], header: usize, wanted: u16) -> Option<Cidr> {
    let prefix = *body.get(1)?;
    let (_, value) = attributes(body.get(header..)?).find(|(kind, _)| *kind == wanted)?;
    let octets: [u8; 4] = value.try_into().ok()?;
    // Loopback, and host routes to multicast and the like are nobody's network.
    let addr = Ipv4Addr::from(octets);
    (prefix > 0 && !addr.is_loopback()).then_some(Cidr { addr: addr.into(), prefix })
}

/// The six bytes of a MAC address.
///
/// # Errors
/// `Invalid` when it is none.
pub fn mac_bytes(text: &str) -> Result<[u8; 6]> {
    let checked = model::network::check_mac(text).map_err(|message| Error::invalid("read a MAC address", message))?;
    let bytes: Vec<u8> = checked.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().map_err(|_| Error::invalid("read a MAC address", format!("`{checked}`")))
}

/// The address that SLAAC gives to a MAC in a /64 (RFC 4291, appendix A).
#[must_use]
pub fn slaac(network: Ipv6Addr, mac: [u8; 6]) -> Ipv6Addr {
    let mut octets = network.octets();
    octets[8..].copy_from_slice(&[mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]]);
    Ipv6Addr::from(octets)
}

/// The link-local address that a MAC has by itself.
#[must_use]
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    slaac(Ipv6Addr::new(0xFE80, 0, 0, 0, 0, 0, 0, 0), mac)
}

/// The MAC of a bridge: the same for its life, so that no port that comes or goes changes it and the filter knows the
/// router's link-local address. Networks of different hosts differ by their random ULA.
#[must_use]
pub fn router_mac(bridge: &str, ipv6: &Cidr) -> [u8; 6] {
    let hash = Sha256::digest(format!("{bridge} {ipv6}"));
    [0x02, hash[0], hash[1], hash[2], hash[3], hash[4]]
}

/// As people write it.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_network_is_taken() {
        assert_eq!(free_ipv4(&[]), Some(cidr("10.213.0.1/22")));
        assert_eq!(
            free_ipv4(&[cidr("10.213.0.1/22"), cidr("10.213.6.9/32"), cidr("192.168.0.0/16")]),
            Some(cidr("10.213.8.1/22"))
        );
        assert_eq!(free_ipv4(&[cidr("10.0.0.0/8")]), None);
    }

    #[test]
    fn unique_local_networks_differ() {
        let (one, other) = (random_ula().unwrap(), random_ula().unwrap());
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("fd") && one.to_string().ends_with("::1/64"), "{one}");
    }

    #[test]
    fn addresses_follow_from_a_mac() {
        let mac = mac_bytes("02:00:5E:10:00:07").unwrap();
        assert_eq!(slaac("fd01:2:3::1".parse().unwrap(), mac).to_string(), "fd01:2:3::5eff:fe10:7");
        assert_eq!(link_local(mac).to_string(), "fe80::5eff:fe10:7");
        assert_eq!(mac_text(mac), "02:00:5e:10:00:07");
        assert!(mac_bytes("02:00:5e:10:00:07; drop").is_err());
    }

    #[test]
    fn reading_the_host_takes_no_default_route() {
        assert!(taken().unwrap().iter().all(|network| network.prefix > 0));
    }

    #[test]
    fn routes_are_read_from_their_message() {
        let body = [
            vec![AF_INET, 22, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
            super::super::link::attribute(RTA_DST, &[10, 213, 4, 0]),
        ]
        .concat();
        assert_eq!(network(&body, 12, RTA_DST), Some(cidr("10.213.4.0/22")));
    }
}
