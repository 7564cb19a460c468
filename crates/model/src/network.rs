//! Networks, NICs and published ports, and how people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::firewall::port_range;
use crate::limits::parse_bits;

/// Where the bridge's own servers listen (DNS, DHCP, DHCPv6). Containers reach these of the host, and no published port
/// takes them at the bridge's addresses.
pub const BRIDGE_PORTS: [u16; 3] = [53, 67, 547];

/// An address with its prefix length, such as `10.213.0.1/22` (the host bits are kept).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    pub addr: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    /// Whether the address lies in this network.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => mask(u32::from(net).into(), 32, self.prefix) == mask(u32::from(addr).into(), 32, self.prefix),
            (IpAddr::V6(net), IpAddr::V6(addr)) => mask(net.into(), 128, self.prefix) == mask(addr.into(), 128, self.prefix),
            _ => false,
        }
    }

    /// The network's first address with the prefix.
    #[must_use]
    pub fn network(&self) -> Self {
        let addr = match self.addr {
            IpAddr::V4(addr) => {
                let bits = mask(u32::from(addr).into(), 32, self.prefix);
                IpAddr::V4(Ipv4Addr::from(u32::try_from(bits).unwrap_or(0)))
            }
            IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from(mask(addr.into(), 128, self.prefix))),
        };
        Self { addr, prefix: self.prefix }
    }

    /// Whether two networks share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.addr) || other.contains(self.addr) || self.network().addr == other.network().addr
    }
}

fn mask(bits: u128, width: u32, prefix: u8) -> u128 {
    let host = width - u32::from(prefix).min(width);
    if host >= 128 { 0 } else { bits >> host << host }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not an address with a prefix length such as 10.213.0.5/22");
        let (addr, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let addr: IpAddr = addr.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        if prefix > if addr.is_ipv4() { 32 } else { 128 } {
            return Err(refuse());
        }
        Ok(Self { addr, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(value: Cidr) -> String {
        value.to_string()
    }
}

/// How a NIC gets an address of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Addressing {
    /// `dhcp` (IPv4) or `auto` (IPv6): Berth assigns one and announces it.
    #[default]
    Automatic,
    /// A fixed address.
    Static(Cidr),
    /// No address of this family.
    None,
}

impl FromStr for Addressing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dhcp" | "auto" => Ok(Self::Automatic),
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::Static),
        }
    }
}

impl TryFrom<String> for Addressing {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Addressing> for String {
    fn from(value: Addressing) -> String {
        match value {
            Addressing::Automatic => "auto".to_owned(),
            Addressing::Static(cidr) => cidr.to_string(),
            Addressing::None => "none".to_owned(),
        }
    }
}

/// One NIC as asked for: `bridge=B,ip=dhcp|CIDR,gw=IP,ip6=auto|CIDR|none,vlan=N,mtu=N,rate-in=BITS,rate-out=BITS,mac=M,link=up|down`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct NicSpec {
    /// Absent = the default bridge.
    pub bridge: Option<String>,
    pub ip: Addressing,
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub gw: Option<IpAddr>,
    pub ip6: Addressing,
    pub vlan: Option<u16>,
    pub mtu: Option<u32>,
    /// Bits per second into the container.
    pub rate_in: Option<u64>,
    /// Bits per second out of the container.
    pub rate_out: Option<u64>,
    /// Absent = made once and kept for life.
    pub mac: Option<String>,
    /// As if the cable were not plugged in.
    pub link_down: bool,
}

impl NicSpec {
    /// What a container gets when nothing is said: one NIC on the default bridge.
    #[must_use]
    pub fn default_list() -> Vec<Self> {
        vec![Self::default()]
    }
}

impl FromStr for NicSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut nic = Self::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
            nic.set(key, value)?;
        }
        Ok(nic)
    }
}

impl NicSpec {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "bridge" => self.bridge = Some(check_interface(value)?),
            "ip" => self.ip = value.parse()?,
            "gw" => self.gw = Some(value.parse().map_err(|_| format!("`{value}` is not an address"))?),
            "ip6" => self.ip6 = value.parse()?,
            "vlan" => self.vlan = Some(number(value, 1, 4094)?),
            "mtu" => self.mtu = Some(number(value, 576, 65_535)?),
            "rate-in" => self.rate_in = Some(parse_bits(value)?),
            "rate-out" => self.rate_out = Some(parse_bits(value)?),
            "mac" => self.mac = Some(check_mac(value)?),
            "link" => {
                self.link_down = match value {
                    "up" => false,
                    "down" => true,
                    _ => return Err(format!("`link={value}` is neither up nor down")),
                }
            }
            _ => {
                return Err(format!(
                    "`{key}` is not a key of --nic; use bridge, ip, gw, ip6, vlan, mtu, rate-in, rate-out, mac or link"
                ));
            }
        }
        Ok(())
    }
}

pub(crate) fn number<T: FromStr + PartialOrd + std::fmt::Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let parsed = text.parse().ok().filter(|value| *value >= least && *value <= most);
    parsed.ok_or_else(|| format!("`{text}` is not a number from {least} to {most}"))
}

/// A name that the kernel accepts for a link: 1 to 15 of letters, digits, `-`, `_`, `.`; not `.` or `..`.
///
/// # Errors
/// Says what is wrong.
pub fn check_interface(name: &str) -> Result<String, String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if name.is_empty() || name.len() > 15 || !plain || name.starts_with(['-', '.']) {
        return Err(format!("`{name}` is not a name for an interface (1 to 15 letters, digits, - or _)"));
    }
    Ok(name.to_owned())
}

/// A unicast MAC address, lower-case with colons.
///
/// # Errors
/// Says what is wrong.
pub fn check_mac(text: &str) -> Result<String, String> {
    let bytes: Vec<u8> = text
        .split(':')
        .filter(|part| part.len() == 2)
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    if bytes.len() != 6 || text.len() != 17 {
        return Err(format!("`{text}` is not a MAC address such as 02:00:5e:10:00:01"));
    }
    if bytes[0] & 1 == 1 || bytes == [0; 6] {
        return Err(format!("`{text}` is a group or null address; a NIC needs one of its own"));
    }
    Ok(text.to_ascii_lowercase())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// Ports of the host that lead into the container: `HOST[-LAST]:CT[-LAST][/udp]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Publish {
    pub host: u16,
    pub container: u16,
    #[serde(default)]
    pub protocol: Protocol,
    /// How many ports, from these two upward.
    #[serde(default = "one")]
    pub count: u16,
}

fn one() -> u16 {
    1
}

impl Publish {
    /// Ports of the host.
    #[must_use]
    pub fn hosts(&self) -> std::ops::RangeInclusive<u16> {
        self.host..=self.host.saturating_add(self.count.saturating_sub(1))
    }

    /// Whether this port of the host is one of them.
    #[must_use]
    pub fn has(&self, port: u16, protocol: Protocol) -> bool {
        self.protocol == protocol && self.hosts().contains(&port)
    }

    /// The first port of the host that both are about.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Option<u16> {
        let first = self.host.max(other.host);
        (self.has(first, self.protocol) && other.has(first, self.protocol)).then_some(first)
    }

    /// Each port of the host with the container's.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> {
        let container = self.container;
        self.hosts().zip(container..=u16::MAX)
    }

    /// Whether all of them are ports.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = |first: u16| first > 0 && first.checked_add(self.count.saturating_sub(1)).is_some();
        self.count > 0 && fits(self.host) && fits(self.container)
    }
}

impl std::fmt::Display for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suffix = if self.protocol == Protocol::Udp { "/udp" } else { "" };
        let Self { host, container, count, .. } = self;
        if *count == 1 {
            return write!(f, "{host}:{container}{suffix}");
        }
        let more = count.saturating_sub(1);
        write!(f, "{host}-{}:{container}-{}{suffix}", host.saturating_add(more), container.saturating_add(more))
    }
}

impl FromStr for Publish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(format!("`{other}` is neither tcp nor udp")),
        };
        let (host, container) = ports
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is not HOST:CT such as 8080:80 or 8000-8010:9000-9010"))?;
        let ((host, host_last), (container, container_last)) = (port_range(host)?, port_range(container)?);
        if host_last - host != container_last - container {
            return Err(format!(
                "`{text}` leads from {} to {} ports; both ranges must be of one length",
                host_last - host + 1,
                container_last - container + 1
            ));
        }
        Ok(Self {
            host,
            container,
            protocol,
            count: (host_last - host).saturating_add(1),
        })
    }
}

/// A managed bridge to make beside the default one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewNetwork {
    pub bridge: String,
    /// The bridge's own address with its prefix length; absent = the first free /22 of 10.213.0.0/16.
    #[serde(default)]
    pub subnet: Option<Cidr>,
}

/// A managed bridge as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetworkInfo {
    pub bridge: String,
    pub ipv4: Cidr,
    pub ipv6: Cidr,
    /// Whether the bridge exists now.
    pub up: bool,
    pub leases: Vec<Lease>,
}

/// An address that a container has on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lease {
    pub container: String,
    pub mac: String,
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub ipv4: Option<Ipv4Addr>,
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub ipv6: Option<Ipv6Addr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nic_text() {
        let nic: NicSpec = "bridge=berth0,ip=10.213.0.5/22,gw=10.213.0.1,ip6=none,rate-in=50M,mac=02:00:5e:10:00:01"
            .parse()
            .unwrap();
        assert_eq!(nic.rate_in, Some(50_000_000));
        assert_eq!(nic.ip6, Addressing::None);
        assert!(!nic.link_down && "link=down".parse::<NicSpec>().unwrap().link_down);
        for bad in [
            "ip=",
            "ip=10.0.0.1",
            "vlan=0",
            "vlan=4095",
            "mac=ff:ff:ff:ff:ff:ff",
            "bridge=../x",
            "x=1",
            "ip",
            "link=off",
        ] {
            assert!(bad.parse::<NicSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn publish_text() {
        assert_eq!(
            "8080:80".parse(),
            Ok(Publish {
                host: 8080,
                container: 80,
                protocol: Protocol::Tcp,
                count: 1
            })
        );
        assert_eq!(
            "53:53/udp".parse(),
            Ok(Publish {
                host: 53,
                container: 53,
                protocol: Protocol::Udp,
                count: 1
            })
        );
        for bad in [
            "80",
            "0:80",
            "80:65536",
            "80:80/sctp",
            "-1:80",
            "80-79:80-79",
            "80-82:80",
            "80-82:80-81",
            "80-:80-",
            "65535-65536:1-2",
        ] {
            assert!(bad.parse::<Publish>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_is_published_port_by_port() {
        let range: Publish = "8000-8002:9000-9002/udp".parse().unwrap();
        assert_eq!(range.pairs().collect::<Vec<_>>(), [(8000, 9000), (8001, 9001), (8002, 9002)]);
        assert_eq!(range.to_string(), "8000-8002:9000-9002/udp");
        assert!(range.has(8002, Protocol::Udp) && !range.has(8003, Protocol::Udp) && !range.has(8002, Protocol::Tcp));
        let shared = |other: &str| range.shared(&other.parse().unwrap());
        assert_eq!(
            [shared("8002:1/udp"), shared("7990-8001:1-12/udp"), shared("8003:1/udp"), shared("8000:1")],
            [Some(8002), Some(8000), None, None]
        );
        for text in ["8080:80", "1-65535:1-65535"] {
            let ports: Publish = text.parse().unwrap();
            assert_eq!((ports.to_string().as_str(), ports.is_sound()), (text, true));
        }
        // As only JSON can say it; rows of earlier versions say nothing of a count.
        let sound = |json: &str| serde_json::from_str::<Publish>(json).unwrap().is_sound();
        assert!(sound(r#"{"host":65535,"container":1}"#));
        assert!(!sound(r#"{"host":65535,"container":1,"count":2}"#) && !sound(r#"{"host":1,"container":1,"count":0}"#));
    }

    #[test]
    fn networks_contain_and_overlap() {
        let net: Cidr = "10.213.4.1/22".parse().unwrap();
        assert!(net.contains("10.213.7.254".parse().unwrap()));
        assert!(!net.contains("10.213.8.0".parse().unwrap()));
        assert_eq!(net.network().to_string(), "10.213.4.0/22");
        assert!(net.overlaps(&"10.0.0.0/8".parse().unwrap()));
        assert!(!net.overlaps(&"10.213.8.1/22".parse().unwrap()));
        assert!(!net.overlaps(&"fd00::1/64".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains("1.2.3.4".parse().unwrap()));
    }
}
