//! Addresses as pure functions: a free /22 for the bridge, a random ULA, the next free address, the address that SLAAC
//! makes of a MAC, and MACs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::ContainerId;
use model::network::Cidr;

/// IPv4 networks that this host has a route to, from the text of /proc/net/route (the default route is not one).
#[must_use]
pub fn routed(route_table: &str) -> Vec<Cidr> {
    route_table.lines().skip(1).filter_map(route).collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`, addresses as hexadecimal in the byte order of the host.
fn route(line: &str) -> Option<Cidr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let destination = u32::from_str_radix(fields.next()?, 16).ok()?;
    let mask = u32::from_str_radix(fields.nth(5)?, 16).ok()?;
    let prefix = u8::try_from(mask.count_ones()).ok()?;
    (prefix > 0).then(|| Cidr {
        addr: IpAddr::V4(Ipv4Addr::from(destination.to_ne_bytes())),
        prefix,
    })
}

/// The bridge's own address in the first /22 of 10.213.0.0/16 that overlaps nothing.
#[must_use]
pub fn free_subnet(taken: &[Cidr]) -> Option<Cidr> {
    let candidates = (0..64_u8).map(|n| Cidr {
        addr: IpAddr::V4(Ipv4Addr::new(10, 213, n * 4, 1)),
        prefix: 22,
    });
    candidates.into_iter().find(|candidate| !taken.iter().any(|other| candidate.overlaps(other)))
}

/// The bridge's own address in a unique local /64 (RFC 4193: `fd`, 40 random bits, subnet 0).
#[must_use]
pub fn unique_local(random: [u8; 5]) -> Cidr {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..6].copy_from_slice(&random);
    bytes[15] = 1;
    Cidr {
        addr: IpAddr::V6(Ipv6Addr::from(bytes)),
        prefix: 64,
    }
}

/// Addresses of the network that a container may have: neither the network's own, nor the broadcast, nor the bridge's.
pub fn assignable(network: Cidr) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = bounds(network).unwrap_or((1, 0));
    (first..=last).map(Ipv4Addr::from).filter(move |address| IpAddr::V4(*address) != network.addr)
}

/// Whether a container may have this address on this network.
#[must_use]
pub fn is_assignable(network: Cidr, address: IpAddr) -> bool {
    let usable = match address {
        IpAddr::V4(v4) => bounds(network).is_some_and(|(first, last)| (first..=last).contains(&u32::from(v4))),
        IpAddr::V6(_) => network.contains(address) && network.network().addr != address,
    };
    usable && address != network.addr
}

fn bounds(network: Cidr) -> Option<(u32, u32)> {
    let IpAddr::V4(start) = network.network().addr else { return None };
    let size = 1_u64.checked_shl(u32::from(32_u8.checked_sub(network.prefix)?))?;
    let last = u64::from(u32::from(start)) + size.checked_sub(2).filter(|last| *last > 0)?;
    Some((u32::from(start) + 1, u32::try_from(last).ok()?))
}

/// The first free address, lowest first.
#[must_use]
pub fn next_free(network: Cidr, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    assignable(network).find(|address| !taken.contains(address))
}

/// What a guest makes of the announced prefix and its MAC (RFC 4291, appendix A: modified EUI-64).
#[must_use]
pub fn slaac(network: Cidr, mac: &str) -> Option<Ipv6Addr> {
    let IpAddr::V6(prefix) = network.network().addr else { return None };
    let bytes: Vec<u8> = mac.split(':').map(|part| u8::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, e, f] = *bytes.as_slice() else { return None };
    let mut address = prefix.octets();
    address[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Some(Ipv6Addr::from(address))
}

/// A locally administered unicast MAC.
#[must_use]
pub fn mac([a, b, c, d, e]: [u8; 5]) -> String {
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// The name of a NIC's host end: unique by the container's id, at most 15 bytes, the same for life.
#[must_use]
pub fn host_name(id: ContainerId, index: usize) -> String {
    format!("bt{}{index}", &id.short()[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    #[test]
    fn route_table_is_read_in_the_host_s_byte_order() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     berth0\t0000D50A\t00000000\t0001\t0\t0\t0\t00FCFFFF\t0\t0\t0\n";
        assert_eq!(routed(table), [cidr("10.213.0.0/22")]);
        assert_eq!(free_subnet(&routed(table)), Some(cidr("10.213.4.1/22")));
    }

    #[test]
    fn a_wide_route_leaves_no_subnet() {
        assert_eq!(free_subnet(&[cidr("10.0.0.0/8")]), None);
        assert_eq!(free_subnet(&[]), Some(cidr("10.213.0.1/22")));
    }

    #[test]
    fn addresses_come_in_order_and_never_the_bridge_s_own() {
        let network = cidr("10.213.0.1/22");
        let mut taken = BTreeSet::new();
        assert_eq!(next_free(network, &taken), Some(Ipv4Addr::new(10, 213, 0, 2)));
        taken.extend(assignable(network));
        assert_eq!(taken.len(), 1021);
        assert_eq!(next_free(network, &taken), None);
        assert!(!is_assignable(network, "10.213.3.255".parse().expect("an address")));
        assert!(!is_assignable(network, "10.213.0.1".parse().expect("an address")));
        assert!(!is_assignable(network, "10.213.4.2".parse().expect("an address")));
        assert_eq!(next_free(cidr("10.0.0.1/32"), &BTreeSet::new()), None);
        assert_eq!(next_free(cidr("10.0.0.1/30"), &BTreeSet::new()), Some(Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn slaac_flips_the_local_bit() {
        let network = unique_local([1, 2, 3, 4, 5]);
        assert_eq!(network.to_string(), "fd01:203:405::1/64");
        assert_eq!(
            slaac(network, "02:00:5e:10:00:01"),
            Some("fd01:203:405:0:0:5eff:fe10:1".parse().expect("an address"))
        );
        assert_eq!(slaac(network, "nonsense"), None);
    }

    #[test]
    fn names_of_host_ends_fit_the_kernel() {
        let id: ContainerId = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a UUID");
        assert_eq!(host_name(id, 0), "bt6ba7b8109d0");
        assert!(host_name(id, 99).len() <= 15);
        assert!(model::network::check_mac(&mac([255; 5])).is_ok());
    }
}
