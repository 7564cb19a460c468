//! From rows to plans, purely: what a container's NICs are, and what a bridge must look like.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use model::ContainerId;
use model::engine::{NetworkNic, NetworkPlan, NicPlan};
use model::network::{Addressing, NicSpec};
use serde::{Deserialize, Serialize};

use super::address;
use crate::containers::row::ContainerRow;

/// `net/<bridge>`: a managed bridge; its addresses are chosen once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRow {
    pub bridge: String,
    pub ipv4: model::network::Cidr,
    pub ipv6: model::network::Cidr,
}

/// Every managed bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridges {
    /// The one that NICs join when nothing is said.
    pub default: NetRow,
    /// By name.
    pub others: BTreeMap<String, NetRow>,
}

impl Bridges {
    /// The bridge that a NIC joins; `None` where none of ours has the name.
    #[must_use]
    pub fn of(&self, nic: &NicSpec) -> Option<&NetRow> {
        match nic.bridge.as_deref() {
            None => Some(&self.default),
            Some(name) => self.iter().find(|network| network.bridge == name),
        }
    }

    /// All of them, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &NetRow> {
        std::iter::once(&self.default).chain(self.others.values())
    }

    /// Their names as a person reads them.
    #[must_use]
    pub fn names(&self) -> String {
        self.iter().map(|network| network.bridge.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// What was chosen for a NIC because nobody asked for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub mac: String,
    /// Absent when the NIC has none or a static one.
    pub ipv4: Option<Ipv4Addr>,
}

/// Decides a NIC. Its name inside counts from `eth0`; the host end's name comes of the container's id.
#[must_use]
pub fn nic(id: ContainerId, index: usize, spec: &NicSpec, network: &NetRow, chosen: Chosen) -> NicPlan {
    let mac = spec.mac.clone().unwrap_or(chosen.mac);
    let (ipv4, fixed_ipv4) = match spec.ip {
        Addressing::Automatic => (chosen.ipv4.map(|address| (address, network.ipv4.prefix)), false),
        Addressing::Static(cidr) => (v4(cidr.addr).map(|address| (address, cidr.prefix)), true),
        Addressing::None => (None, false),
    };
    let (ipv6, fixed_ipv6) = match spec.ip6 {
        Addressing::Automatic => (address::slaac(network.ipv6, &mac).map(|address| (address, network.ipv6.prefix)), false),
        Addressing::Static(cidr) => (v6(cidr.addr).map(|address| (address, cidr.prefix)), true),
        Addressing::None => (None, false),
    };
    NicPlan {
        name: format!("eth{index}"),
        host_name: address::host_name(id, index),
        bridge: network.bridge.clone(),
        mac,
        gateway4: ipv4.and_then(|_| spec.gw.and_then(v4).or_else(|| v4(network.ipv4.addr))),
        gateway6: ipv6.and_then(|_| spec.gw.and_then(v6).or_else(|| v6(network.ipv6.addr))),
        ipv4,
        ipv6,
        fixed_ipv4,
        fixed_ipv6,
        mtu: spec.mtu,
        vlan: spec.vlan,
        rate_in: spec.rate_in,
        rate_out: spec.rate_out,
        link_down: spec.link_down,
    }
}

/// What the bridge must look like for these containers: the same rows give the same plan.
#[must_use]
pub fn network<'a>(network: &NetRow, bridges: &Bridges, rows: impl Iterator<Item = &'a ContainerRow>, closed_ports: &[u16]) -> NetworkPlan {
    let mut nics: Vec<NetworkNic> = rows.flat_map(|row| nics_on(network, row)).collect();
    let apart = bridges.iter().filter(|other| other.bridge != network.bridge);
    nics.sort_by(|one, other| one.host_name.cmp(&other.host_name));
    NetworkPlan {
        bridge: network.bridge.clone(),
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        closed_ports: closed_ports.to_vec(),
        apart: apart.map(|other| other.bridge.clone()).collect(),
        nics,
        domain: "berth".into(),
    }
}

/// Published ports lead to the container's first NIC with an IPv4 address.
fn nics_on(network: &NetRow, row: &ContainerRow) -> Vec<NetworkNic> {
    let published = row.nics.iter().position(|nic| nic.ipv4.is_some());
    let ours = row.nics.iter().enumerate().filter(|(_, nic)| nic.bridge == network.bridge);
    ours.map(|(index, nic)| NetworkNic {
        container: row.spec.name.clone(),
        host_name: nic.host_name.clone(),
        mac: nic.mac.clone(),
        ipv4: nic.ipv4.map(|(address, _)| address),
        ipv6: nic.ipv6.map(|(address, _)| address),
        publish: if published == Some(index) { row.spec.publish.clone() } else { Vec::new() },
        firewall: row.spec.firewall.clone(),
    })
    .collect()
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<std::net::Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NetRow {
        NetRow {
            bridge: "berth0".into(),
            ipv4: "10.213.0.1/22".parse().expect("a network"),
            ipv6: "fd01:203:405::1/64".parse().expect("a network"),
        }
    }

    fn plan(text: &str) -> NicPlan {
        let chosen = Chosen {
            mac: "02:00:00:00:00:07".into(),
            ipv4: Some(Ipv4Addr::new(10, 213, 0, 9)),
        };
        let id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a UUID");
        nic(id, 1, &text.parse().expect("a NIC"), &network(), chosen)
    }

    #[test]
    fn an_automatic_nic_asks_by_dhcp_and_slaac() {
        let nic = plan("");
        assert_eq!(
            (nic.name.as_str(), nic.ipv4, nic.fixed_ipv4),
            ("eth1", Some((Ipv4Addr::new(10, 213, 0, 9), 22)), false)
        );
        assert_eq!(nic.ipv6, Some(("fd01:203:405::ff:fe00:7".parse().expect("an address"), 64)));
        assert_eq!(nic.gateway4, Some(Ipv4Addr::new(10, 213, 0, 1)));
    }

    #[test]
    fn a_static_nic_is_set_by_the_shim() {
        let nic = plan("ip=10.213.1.5/22,gw=10.213.1.1,ip6=none,mac=02:00:5e:10:00:01");
        assert_eq!((nic.ipv4, nic.fixed_ipv4), (Some((Ipv4Addr::new(10, 213, 1, 5), 22)), true));
        assert_eq!((nic.gateway4, nic.ipv6, nic.gateway6), (Some(Ipv4Addr::new(10, 213, 1, 1)), None, None));
        assert_eq!(nic.mac, "02:00:5e:10:00:01");
    }
}
