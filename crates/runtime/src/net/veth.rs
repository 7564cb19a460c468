//! A container's link: a veth pair whose inner end is born in the container's network namespace under its own name.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::link::{self, Message, Socket, attribute, attributes, link_header};
use super::rate;
use crate::error::{At, Error, Result};

/// One NIC with everything decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Inside.
    pub name: String,
    /// The host end, kept for life.
    pub host_name: String,
    pub bridge: String,
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
    /// Fixed addresses, set before init runs; without one the guest asks.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    pub ipv6: Option<(Ipv6Addr, u8)>,
    pub gateway4: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
    /// Bits per second into the container and out of it.
    pub rate_in: Option<u64>,
    pub rate_out: Option<u64>,
    /// No IPv6 at all on this link, not even an announced address.
    pub without_ipv6: bool,
    /// The host end stays down, as if the cable were not plugged in.
    pub link_down: bool,
}

impl Nic {
    /// As one field of the start message.
    #[must_use]
    pub fn encode(&self) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_default();
        let mac: Vec<String> = self.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        [
            self.name.clone(),
            self.host_name.clone(),
            self.bridge.clone(),
            mac.join(":"),
            or_none(self.mtu.map(|mtu| mtu.to_string())),
            or_none(self.ipv4.map(|(address, prefix)| format!("{address}/{prefix}"))),
            or_none(self.ipv6.map(|(address, prefix)| format!("{address}/{prefix}"))),
            or_none(self.gateway4.map(|gateway| gateway.to_string())),
            or_none(self.gateway6.map(|gateway| gateway.to_string())),
            or_none(self.rate_in.map(|bits| bits.to_string())),
            or_none(self.rate_out.map(|bits| bits.to_string())),
            or_none(self.without_ipv6.then(|| "no-ipv6".to_owned())),
            or_none(self.link_down.then(|| "down".to_owned())),
        ]
        .join(",")
    }

    /// The inverse; `None` when a part is missing.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let mut next = || parts.next();
        let (name, host_name, bridge) = (next()?.to_owned(), next()?.to_owned(), next()?.to_owned());
        let mac: Vec<u8> = next()?.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let mtu = next()?.parse().ok();
        let (ipv4, ipv6) = (with_prefix(next()?), with_prefix(next()?));
        let (gateway4, gateway6) = (next()?.parse().ok(), next()?.parse().ok());
        // An older engine says nothing of these.
        let mut later = || next().unwrap_or_default();
        let (rate_in, rate_out) = (later().parse().ok(), later().parse().ok());
        let without_ipv6 = later() == "no-ipv6";
        let link_down = later() == "down";
        Some(Self {
            name,
            host_name,
            bridge,
            mac: mac.try_into().ok()?,
            mtu,
            ipv4,
            ipv6,
            gateway4,
            gateway6,
            rate_in,
            rate_out,
            without_ipv6,
            link_down,
        })
    }
}

fn with_prefix<T: std::str::FromStr>(text: &str) -> Option<(T, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

#[cfg(feature = "engine")]
impl From<&model::engine::NicPlan> for Nic {
    fn from(plan: &model::engine::NicPlan) -> Self {
        let mac: Vec<u8> = plan.mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        Self {
            name: plan.name.clone(),
            host_name: plan.host_name.clone(),
            bridge: plan.bridge.clone(),
            mac: mac.try_into().unwrap_or_default(),
            mtu: plan.mtu,
            ipv4: plan.ipv4.filter(|_| plan.fixed_ipv4),
            ipv6: plan.ipv6.filter(|_| plan.fixed_ipv6),
            gateway4: plan.gateway4.filter(|_| plan.fixed_ipv4),
            gateway6: plan.gateway6.filter(|_| plan.fixed_ipv6),
            rate_in: plan.rate_in,
            rate_out: plan.rate_out,
            without_ipv6: plan.ipv6.is_none(),
            link_down: plan.link_down,
        }
    }
}

/// Makes the pair, the inner end directly in the namespace, and joins the host end to its bridge.
///
/// # Errors
/// The bridge is not there, or the kernel refuses.
pub fn connect(nic: &Nic, namespace: BorrowedFd<'_>) -> Result<()> {
    let step = "connect the container to its network";
    remove(&nic.host_name)?;
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    let bridge = socket
        .index(&nic.bridge)
        .map_err(|error| Error::io(step, &format!("find the bridge {}", nic.bridge), error).hint("`berth check` says whether the network can be made here"))?;
    let mut peer = link_header(0, None);
    peer.extend(attribute(link::IFLA_IFNAME, &[nic.name.as_bytes(), b"\0"].concat()));
    peer.extend(attribute(link::IFLA_ADDRESS, &nic.mac));
    peer.extend(attribute(link::IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes()));
    peer.extend(nic.mtu.map(|mtu| attribute(link::IFLA_MTU, &mtu.to_ne_bytes())).unwrap_or_default());
    let data = attribute(link::VETH_INFO_PEER | link::NESTED, &peer);
    let info = [attribute(link::IFLA_INFO_KIND, b"veth"), attribute(link::IFLA_INFO_DATA | link::NESTED, &data)].concat();
    let mut message = Message::new(link::NEWLINK, link::CREATE | link::EXCLUSIVE)
        .link(0, None)
        .name(link::IFLA_IFNAME, &nic.host_name);
    message = nic.mtu.iter().fold(message, |message, mtu| message.with(link::IFLA_MTU, &mtu.to_ne_bytes()));
    let made = socket.ask(message.with(link::IFLA_LINKINFO | link::NESTED, &info));
    made.at(step, &format!("RTM_NEWLINK(veth {} to {})", nic.host_name, nic.name))?;
    let host = socket.index(&nic.host_name).at(step, &format!("find {}", nic.host_name))?;
    // The host end speaks for nobody: no link-local address of its own.
    let quiet = attribute(10 | link::NESTED, &attribute(8, &[1]));
    socket
        .ask(Message::new(link::NEWLINK, 0).link(host, None).with(link::IFLA_AF_SPEC | link::NESTED, &quiet))
        .ok();
    rate::limit(&socket, nic, host)?;
    let joined = socket.ask(
        Message::new(link::NEWLINK, 0)
            .link(host, Some(!nic.link_down))
            .with(link::IFLA_MASTER, &bridge.to_ne_bytes()),
    );
    joined.map_err(|error| Error::io(step, &format!("RTM_NEWLINK({} into {})", nic.host_name, nic.bridge), error).hint("a bridge takes 1,023 ports"))
}

/// Makes a pair with both ends here, to see whether the kernel can.
///
/// # Errors
/// It cannot.
#[cfg(feature = "engine")]
pub fn try_pair(name: &str) -> Result<()> {
    let step = "make a link";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    let info = attribute(link::IFLA_INFO_KIND, b"veth");
    let message = Message::new(link::NEWLINK, link::CREATE | link::EXCLUSIVE)
        .link(0, None)
        .name(link::IFLA_IFNAME, name);
    let made = socket.ask(message.with(link::IFLA_LINKINFO | link::NESTED, &info));
    made.at(step, &format!("RTM_NEWLINK(veth {name})"))?;
    socket.delete(name).at(step, &format!("RTM_DELLINK({name})"))
}

/// In the container's namespace: fixed addresses and routes, and the link up.
///
/// # Errors
/// The kernel refuses an address.
pub fn configure_inside(nic: &Nic) -> Result<()> {
    let step = "set the container's addresses";
    let switch = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", nic.name);
    // A kernel without IPv6 has none to switch off.
    if nic.without_ipv6 && std::path::Path::new(&switch).exists() {
        std::fs::write(&switch, "1").at(step, &format!("write({switch:?}, \"1\")"))?;
    }
    if nic.ipv4.is_none() && nic.ipv6.is_none() {
        return Ok(());
    }
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    let index = socket.index(&nic.name).at(step, &format!("find {}", nic.name))?;
    socket
        .ask(Message::new(link::NEWLINK, 0).link(index, Some(true)))
        .at(step, &format!("RTM_NEWLINK({} up)", nic.name))?;
    let fixed = nic
        .ipv4
        .map(|(address, prefix)| (IpAddr::V4(address), prefix))
        .into_iter()
        .chain(nic.ipv6.map(|(address, prefix)| (IpAddr::V6(address), prefix)));
    for (address, prefix) in fixed {
        socket
            .add_address(index, address, prefix)
            .at(step, &format!("RTM_NEWADDR({address}/{prefix})"))?;
    }
    for gateway in nic.gateway4.map(IpAddr::V4).into_iter().chain(nic.gateway6.map(IpAddr::V6)) {
        socket
            .add_default_route(index, gateway)
            .at(step, &format!("RTM_NEWROUTE(default by {gateway})"))?;
    }
    Ok(())
}

/// Loopback up, in the namespace that this process is in.
///
/// # Errors
/// The kernel refuses.
pub fn loopback_up() -> Result<()> {
    let step = "set up the network inside";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    socket.ask(Message::new(link::NEWLINK, 0).link(1, Some(true))).at(step, "RTM_NEWLINK(lo up)")
}

/// Removes a host end and what limits it; one that is not there is removed already.
///
/// # Errors
/// The kernel refuses.
pub fn remove(host_name: &str) -> Result<()> {
    let removals = [host_name, &rate::intermediate(host_name)].map(remove_link);
    removals.into_iter().collect()
}

/// Removes one link; one that is not there is removed already.
///
/// # Errors
/// The kernel refuses.
pub fn remove_link(name: &str) -> Result<()> {
    let step = "remove a link";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    socket.delete(name).at(step, &format!("RTM_DELLINK({name})"))
}

/// Counters of a host end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    rx_packets: u64,
    tx_packets: u64,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_dropped: u64,
    tx_dropped: u64,
}

impl LinkCounters {
    /// As the container counts: what the host end received, the inside sent.
    #[must_use]
    pub fn seen_from_inside(&self, nic: &str) -> model::metrics::NicCounters {
        model::metrics::NicCounters {
            nic: nic.to_owned(),
            rx_bytes: Some(self.tx_bytes),
            tx_bytes: Some(self.rx_bytes),
            rx_packets: Some(self.tx_packets),
            tx_packets: Some(self.rx_packets),
            rx_dropped: Some(self.tx_dropped),
            tx_dropped: Some(self.rx_dropped),
        }
    }
}

/// Counters of all links by name, in one dump.
///
/// # Errors
/// Netlink fails.
pub fn counters() -> io::Result<HashMap<String, LinkCounters>> {
    let mut all = HashMap::new();
    Socket::open()?.dump(link::GETLINK, &link_header(0, None), |kind, body| {
        if let (link::NEWLINK, Some(rest)) = (kind, body.get(16..)) {
            all.extend(link_counters(rest));
        }
    })?;
    Ok(all)
}

fn link_counters(rest: &[u8]) -> Option<(String, LinkCounters)> {
    let (mut name, mut counters) = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            link::IFLA_IFNAME => name = Some(String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()),
            link::IFLA_STATS64 => {
                // struct rtnl_link_stats64: packets, packets, bytes, bytes, errors, errors, dropped, dropped.
                let at = |index: usize| {
                    value
                        .get(index * 8..)
                        .and_then(|rest| rest.first_chunk())
                        .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
                };
                counters = Some(LinkCounters {
                    rx_packets: at(0),
                    tx_packets: at(1),
                    rx_bytes: at(2),
                    tx_bytes: at(3),
                    rx_dropped: at(6),
                    tx_dropped: at(7),
                });
            }
            _ => {}
        }
    }
    Some((name?, counters?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_survives_the_start_message() {
        let nic = Nic {
            name: "eth0".into(),
            host_name: "bt0123456789".into(),
            bridge: "berth0".into(),
            mac: [2, 0, 0x5e, 0x10, 0, 1],
            mtu: Some(1400),
            ipv4: Some(("10.213.0.5".parse().unwrap(), 22)),
            gateway4: Some("10.213.0.1".parse().unwrap()),
            rate_out: Some(50_000_000),
            without_ipv6: true,
            link_down: true,
            ..Nic::default()
        };
        assert_eq!(Nic::decode(&nic.encode()), Some(nic));
        assert_eq!(Nic::decode("eth0,x"), None);
        let old = Nic::decode("eth0,bt0,berth0,02:00:5e:10:00:01,,,,,").unwrap();
        assert!(old.rate_in.is_none() && !old.without_ipv6 && !old.link_down);
    }

    #[test]
    fn loopback_is_among_the_counted() {
        assert!(counters().unwrap().contains_key("lo"));
    }
}
