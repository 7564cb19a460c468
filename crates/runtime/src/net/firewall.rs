//! The packet filter of one bridge: two nft tables of our own, replaced as a whole in one transaction. The bridge table
//! keeps every container to its own MAC and addresses and to the rules it was given; the inet table translates, publishes and
//! guards the host.
//!
//! Frames between two containers traverse the inet hooks too where `bridge-nf-call-iptables` is 1, with the bridge as both
//! interfaces: every rule here means the same with and without it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};

use model::engine::{NetworkNic, NetworkPlan};
use model::network::{BRIDGE_PORTS, Protocol, check_interface};

use super::subnet;
use crate::error::{At, Error, Result};

mod rules;

/// What every table of ours begins with.
pub const TABLE_PREFIX: &str = "berth_";

/// Makes the host's filter look as the plan says. `before` is what the last call set: where containers have only come, their
/// elements are added to the sets. That takes a quarter of the time, because nft waits, after a transaction that removes
/// anything, until no processor uses it any more.
///
/// # Errors
/// A name or address of the plan is none, or nft refuses; it names the line.
pub fn apply(plan: &NetworkPlan, before: &mut Option<Tables>) -> Result<()> {
    let tables = Tables::of(plan)?;
    let additions = before.take().and_then(|before| tables.added_to(&before));
    // Refused where somebody has flushed our tables meanwhile.
    let are_added = additions.is_some_and(|additions| nft("add to the firewall", &additions).is_ok());
    if !are_added {
        nft("set the firewall", &tables.ruleset())?;
    }
    *before = Some(tables);
    Ok(())
}

/// Removes the bridge's tables; those that are not there are removed already.
///
/// # Errors
/// nft refuses.
pub fn remove(bridge: &str) -> Result<()> {
    let table = table(bridge)?;
    // Adding first makes the deletion of a table that is not there succeed.
    nft(
        "remove the firewall",
        &["bridge", "inet"]
            .map(|family| format!("table {family} {table}\ndelete table {family} {table}\n"))
            .concat(),
    )
}

/// Names of all tables of ours in this network namespace, whichever instance made them.
///
/// # Errors
/// nft cannot be run.
pub fn tables() -> Result<Vec<String>> {
    let call = "nft list tables inet";
    let output = Command::new("nft")
        .args(["list", "tables", "inet"])
        .stdin(Stdio::null())
        .output()
        .at("read the firewall", call)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .filter(|name| name.starts_with(TABLE_PREFIX))
        .map(str::to_owned)
        .collect())
}

/// The name of a bridge's tables.
///
/// # Errors
/// The bridge's name is none.
pub fn table(bridge: &str) -> Result<String> {
    let name = check_interface(bridge).map_err(|message| Error::invalid("name the firewall", message))?;
    Ok(format!("{TABLE_PREFIX}{name}"))
}

fn nft(step: &str, text: &str) -> Result<()> {
    let call = "nft -f -";
    let missing = "install nftables (apt-get install nftables)";
    let spawned = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| Error::io(step, call, error).hint(missing))?;
    // Dropped at the end of the statement: nft sees the end of its input.
    let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
    let output = child.wait_with_output().at(step, call)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(Error::failed(step, format!("{call}: {}", message.trim())));
    }
    written.at(step, call)
}

/// Both tables of one bridge: the spoof filter first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    name: String,
    tables: [Table; 2],
}

/// Sets, which follow the containers, and rules, which do not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    family: &'static str,
    sets: Vec<Set>,
    rules: String,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    kind: &'static str,
    name: &'static str,
    types: &'static str,
    elements: BTreeSet<String>,
}

impl Tables {
    /// What the plan means.
    ///
    /// # Errors
    /// A name or address of the plan is none: nothing of it reaches nft.
    pub fn of(plan: &NetworkPlan) -> Result<Self> {
        Ok(Self {
            name: table(&plan.bridge)?,
            tables: [guard(plan)?, host(plan)?],
        })
    }

    /// The whole transaction as nft reads it.
    #[must_use]
    pub fn ruleset(&self) -> String {
        let name = &self.name;
        let text = |table: &Table| {
            let (family, sets) = (table.family, table.sets.iter().map(Set::declaration).collect::<String>());
            format!(
                "table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n{sets}{}}}\n",
                table.rules
            )
        };
        self.tables.iter().map(text).collect()
    }

    /// A transaction that makes these of those; `None` where that takes more than elements that are added, or nothing at all:
    /// then somebody wants what may be lost set anew.
    #[must_use]
    pub fn added_to(&self, before: &Self) -> Option<String> {
        let mut text = String::new();
        for (table, old) in self.tables.iter().zip(&before.tables) {
            if self.name != before.name || table.rules != old.rules {
                return None;
            }
            for (set, old) in table.sets.iter().zip(&old.sets) {
                text += &set.added_to(old, &format!("{} {}", table.family, self.name))?;
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Set {
    fn new(kind: &'static str, name: &'static str, types: &'static str, elements: BTreeSet<String>) -> Self {
        Self { kind, name, types, elements }
    }

    /// An empty list must not be written.
    fn declaration(&self) -> String {
        let Self { kind, name, types, elements } = self;
        let listed = if elements.is_empty() {
            String::new()
        } else {
            format!("\t\telements = {{ {} }}\n", list(elements))
        };
        format!("\t{kind} {name} {{\n\t\t{types}\n{listed}\t}}\n")
    }

    fn added_to(&self, old: &Self, table: &str) -> Option<String> {
        if !old.elements.is_subset(&self.elements) {
            return None;
        }
        let new: BTreeSet<String> = self.elements.difference(&old.elements).cloned().collect();
        if new.is_empty() {
            return Some(String::new());
        }
        // Not a declaration with the new elements only: that would make a table without rules where there is none.
        Some(format!("add element {table} {} {{ {} }}\n", self.name, list(&new)))
    }
}

fn list(elements: &BTreeSet<String>) -> String {
    elements.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Per port of the bridge: its MAC, its addresses, and what it may announce.
#[derive(Default)]
struct Ports {
    names: BTreeSet<String>,
    /// Those that shall have no IPv6: a guest that asks for an address must not be told one.
    without_ipv6: BTreeSet<String>,
    macs: BTreeSet<String>,
    ipv4: BTreeSet<String>,
    ipv6: BTreeSet<String>,
    announced: BTreeSet<String>,
    /// Link-local addresses that have an owner: nobody else may use or announce them.
    owned: BTreeSet<String>,
    owned_raw: BTreeSet<String>,
}

impl Ports {
    fn add(&mut self, nic: &NetworkNic) -> Result<()> {
        let bytes = subnet::mac_bytes(&nic.mac)?;
        let (port, mac) = (quoted(&nic.host_name)?, subnet::mac_text(bytes));
        self.names.insert(port.clone());
        self.macs.insert(format!("{port} . {mac}"));
        self.ipv4.extend(nic.ipv4.map(|address| format!("{port} . {mac} . {address}")));
        if nic.ipv6.is_none() {
            self.without_ipv6.insert(port.clone());
        }
        let link_local = subnet::link_local(bytes);
        for address in nic.ipv6.into_iter().chain([link_local]) {
            self.ipv6.insert(format!("{port} . {mac} . {address}"));
            self.announced.insert(format!("{port} . {}", raw(address)));
        }
        self.own(link_local);
        Ok(())
    }

    fn own(&mut self, address: Ipv6Addr) {
        self.owned.insert(address.to_string());
        self.owned_raw.insert(raw(address));
    }
}

/// An address as raw payload: this version of nft has no name for the target of a neighbour advertisement.
fn raw(address: Ipv6Addr) -> String {
    format!("{:#034x}", u128::from(address))
}

/// The bridge table: what comes in by a container's port is its own, or is dropped.
fn guard(plan: &NetworkPlan) -> Result<Table> {
    let mut ports = Ports::default();
    ports.own(subnet::link_local(subnet::router_mac(&plan.bridge, &plan.ipv6)));
    plan.nics.iter().try_for_each(|nic| ports.add(nic))?;
    let sets = vec![
        Set::new("set", "ports", "type ifname", ports.names),
        Set::new("set", "without_ipv6", "type ifname", ports.without_ipv6),
        Set::new("set", "macs", "type ifname . ether_addr", ports.macs),
        Set::new("set", "ipv4", "type ifname . ether_addr . ipv4_addr", ports.ipv4),
        Set::new("set", "ipv6", "type ifname . ether_addr . ipv6_addr", ports.ipv6),
        Set::new("set", "announced", "typeof iifname . @th,64,128", ports.announced),
        Set::new("set", "owned", "type ipv6_addr", ports.owned),
        Set::new("set", "owned_raw", "typeof @th,64,128", ports.owned_raw),
    ];
    Ok(Table {
        family: "bridge",
        sets,
        rules: GUARD.to_owned() + &rules::text(plan)?,
    })
}

/// Anything but ARP, IPv4 and IPv6 is dropped: tagged frames would carry past the checks.
const GUARD: &str = "\tchain speaks_arp {
		arp htype 1 arp ptype ip arp operation { request, reply } iifname . arp saddr ether . arp saddr ip @ipv4 accept
		arp htype 1 arp ptype ip arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
		drop
	}
	chain speaks_ipv4 {
		udp sport 67 drop
		ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
		iifname . ether saddr . ip saddr @ipv4 accept
		drop
	}
	chain announcement {
		iifname . @th,64,128 @announced return
		@th,64,10 != 0x3fa drop
		@th,64,128 @owned_raw drop
	}
	chain speaks_ipv6 {
		iifname @without_ipv6 drop
		ip6 saddr fe80::/10 exthdr frag exists drop
		icmpv6 type { nd-router-advert, nd-redirect } drop
		udp sport 547 drop
		icmpv6 type nd-neighbor-advert jump announcement
		ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } accept
		iifname . ether saddr . ip6 saddr @ipv6 accept
		ip6 saddr fe80::/10 ip6 saddr != @owned accept
		drop
	}
	chain port {
		iifname . ether saddr != @macs drop
		ether type vmap { arp : goto speaks_arp, ip : goto speaks_ipv4, ip6 : goto speaks_ipv6 }
		drop
	}
	chain prerouting {
		type filter hook prerouting priority -300; policy accept;
		iifname @ports goto port
	}
	chain postrouting {
		type filter hook postrouting priority 0; policy accept;
		oifname @without_ipv6 ether type ip6 drop
	}
";

/// The inet table: translation, published ports, and what containers may reach of the host.
fn host(plan: &NetworkPlan) -> Result<Table> {
    let closed = plan.closed_ports.iter().map(u16::to_string).collect();
    let apart = plan.apart.iter().map(|bridge| quoted(bridge)).collect::<Result<_>>()?;
    let mut sets = vec![
        Set::new("set", "closed", "type inet_service", closed),
        Set::new("set", "apart", "type ifname", apart),
        Set::new(
            "set",
            "judged4",
            "type ipv4_addr",
            judged(plan, |nic| nic.ipv4.map(|address| address.to_string())),
        ),
        Set::new(
            "set",
            "judged6",
            "type ipv6_addr",
            judged(plan, |nic| nic.ipv6.map(|address| address.to_string())),
        ),
    ];
    sets.extend(published(plan).into_iter().map(|(name, elements)| {
        let types = if name.ends_with('4') {
            "type inet_service : ipv4_addr . inet_service"
        } else {
            "type inet_service : ipv6_addr . inet_service"
        };
        Set::new("map", name, types, elements)
    }));
    Ok(Table {
        family: "inet",
        sets,
        rules: host_rules(plan),
    })
}

/// Addresses of containers with rules of their own.
fn judged(plan: &NetworkPlan, address: impl Fn(&NetworkNic) -> Option<String>) -> BTreeSet<String> {
    plan.nics.iter().filter(|nic| !nic.firewall.is_empty()).filter_map(address).collect()
}

/// The name of a link as an element of a set.
fn quoted(name: &str) -> Result<String> {
    let name = check_interface(name).map_err(|message| Error::invalid("set the firewall", message))?;
    Ok(format!("\"{name}\""))
}

fn host_rules(plan: &NetworkPlan) -> String {
    let bridge = &plan.bridge;
    let (ipv4, ipv6) = (plan.ipv4.network(), plan.ipv6.network());
    let publish = "\t\tfib daddr type local dnat ip to tcp dport map @tcp4\n\t\tfib daddr type local dnat ip to udp dport map @udp4\n\
                   \t\tip6 daddr != ::1 fib daddr type local dnat ip6 to tcp dport map @tcp6\n\t\tip6 daddr != ::1 fib daddr type local dnat ip6 to udp dport map @udp6\n";
    let (servers, served, stray) = (servers(plan), served(), rules::STRAY);
    format!(
        "\tchain raw {{
		type filter hook prerouting priority raw; policy accept;
		iifname \"{bridge}\" ip saddr 127.0.0.0/8 drop
		iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
	}}
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
{servers}{publish}	}}
	chain output {{
		type nat hook output priority -100; policy accept;
{servers}{publish}	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {ipv4} ip daddr != {ipv4} ip daddr != 224.0.0.0/4 oifname != \"{bridge}\" masquerade
		ip6 saddr {ipv6} ip6 daddr != {ipv6} ip6 daddr != ff00::/8 oifname != \"{bridge}\" masquerade
		oifname \"{bridge}\" ct status dnat ip saddr {{ 127.0.0.0/8, {ipv4} }} masquerade
		oifname \"{bridge}\" ct status dnat ip6 saddr {ipv6} masquerade
	}}
	chain container {{
		tcp dport @closed drop
		udp dport {{ {served} }} accept
		tcp dport 53 accept
		meta l4proto {{ 1, 58 }} accept comment \"ICMP and ICMPv6 by number: not every host has a list of names\"
	}}
	chain input {{
		type filter hook input priority filter; policy accept;
		iifname \"{bridge}\" goto container
	}}
{stray}	chain forward {{
		type filter hook forward priority filter; policy accept;
		ip saddr @judged4 jump stray
		ip daddr @judged4 jump stray
		ip6 saddr @judged6 jump stray
		ip6 daddr @judged6 jump stray
		iifname \"{bridge}\" oifname @apart ct status & dnat == 0 drop
		iifname @apart oifname \"{bridge}\" ct status & dnat == 0 drop
		iifname \"{bridge}\" accept
		oifname \"{bridge}\" accept
	}}
"
    )
}

/// Names and addresses are asked for at the bridge's own addresses: no published port leads those questions elsewhere.
fn servers(plan: &NetworkPlan) -> String {
    let link_local = subnet::link_local(subnet::router_mac(&plan.bridge, &plan.ipv6));
    [
        format!("ip daddr {}", plan.ipv4.addr),
        format!("ip6 daddr {{ {}, {link_local} }}", plan.ipv6.addr),
    ]
    .map(|own| format!("\t\t{own} udp dport {{ {} }} accept\n\t\t{own} tcp dport 53 accept\n", served()))
    .concat()
}

fn served() -> String {
    BRIDGE_PORTS.map(|port| port.to_string()).join(", ")
}

/// Elements of the four maps of published ports; of two containers with the same port the first has it.
fn published(plan: &NetworkPlan) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut ports: BTreeMap<(&'static str, u16), String> = BTreeMap::new();
    for nic in &plan.nics {
        for publish in &nic.publish {
            let (four, six) = match publish.protocol {
                Protocol::Tcp => ("tcp4", "tcp6"),
                Protocol::Udp => ("udp4", "udp6"),
            };
            for (host, container) in publish.pairs() {
                if let Some(address) = nic.ipv4 {
                    ports.entry((four, host)).or_insert(format!("{address} . {container}"));
                }
                if let Some(address) = nic.ipv6 {
                    ports.entry((six, host)).or_insert(format!("{address} . {container}"));
                }
            }
        }
    }
    let mut maps: BTreeMap<_, BTreeSet<String>> = ["tcp4", "tcp6", "udp4", "udp6"].map(|name| (name, BTreeSet::new())).into();
    for ((map, port), target) in ports {
        maps.entry(map).or_default().insert(format!("{port} : {target}"));
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> NetworkPlan {
        let nic = |name: &str, last: u8, publish: &[&str]| NetworkNic {
            container: name.parse().unwrap(),
            host_name: format!("bt{last}"),
            mac: format!("02:00:5e:10:00:{last:02x}"),
            ipv4: Some([10, 213, 0, last].into()),
            ipv6: Some(Ipv6Addr::new(0xFD01, 2, 3, 0, 0, 0, 0, last.into())),
            publish: publish.iter().map(|text| text.parse().unwrap()).collect(),
            firewall: Vec::new(),
        };
        NetworkPlan {
            bridge: "bt-test".into(),
            ipv4: "10.213.0.1/22".parse().unwrap(),
            ipv6: "fd01:2:3::1/64".parse().unwrap(),
            closed_ports: vec![8443, 8080],
            apart: Vec::new(),
            nics: vec![nic("web", 5, &["8088:80", "5353:53/udp"]), nic("db", 6, &["8088:5432"])],
            domain: "berth".into(),
        }
    }

    #[test]
    fn the_spoof_filter_comes_first_and_is_replaced_as_a_whole() {
        let text = Tables::of(&plan()).unwrap().ruleset();
        assert!(
            text.starts_with("table bridge berth_bt-test\ndelete table bridge berth_bt-test\ntable bridge berth_bt-test {\n"),
            "{text}"
        );
        assert!(text.contains("table inet berth_bt-test\ndelete table inet berth_bt-test\n"), "{text}");
        assert!(
            text.contains("elements = { \"bt5\" . 02:00:5e:10:00:05 . 10.213.0.5, \"bt6\" . 02:00:5e:10:00:06 . 10.213.0.6 }"),
            "{text}"
        );
        assert!(text.contains("\"bt5\" . 02:00:5e:10:00:05 . fe80::5eff:fe10:5"), "{text}");
    }

    #[test]
    fn of_two_containers_with_one_port_the_first_has_it() {
        let text = Tables::of(&plan()).unwrap().ruleset();
        assert!(text.contains("elements = { 8088 : 10.213.0.5 . 80 }"), "{text}");
        assert!(text.contains("elements = { 5353 : fd01:2:3::5 . 53 }"), "{text}");
        assert!(text.contains("elements = { 8080, 8443 }"), "{text}");
    }

    #[test]
    fn containers_that_only_came_are_added_to_the_sets() {
        let (both, mut one) = (plan(), plan());
        one.nics.pop();
        let (both, one) = (Tables::of(&both).unwrap(), Tables::of(&one).unwrap());
        let text = both.added_to(&one).unwrap();
        assert!(text.contains("add element bridge berth_bt-test ports { \"bt6\" }\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with("add element ")), "{text}");
        assert!(!text.contains("bt5"), "{text}");
    }

    #[test]
    fn what_goes_or_is_set_anew_replaces_the_tables() {
        let (both, mut one, mut moved, mut other) = (plan(), plan(), plan(), plan());
        one.nics.pop();
        moved.ipv4 = "10.213.4.1/22".parse().unwrap();
        other.bridge = "bt-other".into();
        let [both, one, moved, other] = [both, one, moved, other].map(|plan| Tables::of(&plan).unwrap());
        for (new, before) in [(&one, &both), (&moved, &both), (&other, &both), (&both, &both)] {
            assert_eq!(new.added_to(before), None);
        }
    }

    #[test]
    fn rule_text_in_names_is_refused() {
        for (bridge, host_name, mac) in [
            ("x\" drop", "bt5", "02:00:5e:10:00:05"),
            ("bt0", "b;t", "02:00:5e:10:00:05"),
            ("bt0", "bt5", "02:00:5e:10:00:05 }"),
        ] {
            let mut plan = plan();
            plan.bridge = bridge.into();
            plan.nics[0].host_name = host_name.into();
            plan.nics[0].mac = mac.into();
            assert_eq!(Tables::of(&plan).unwrap_err().code, model::ErrorCode::Invalid);
        }
    }

    #[test]
    fn nft_takes_it_with_and_without_containers() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: nft asks the kernel, which takes root");
            return;
        }
        let empty = NetworkPlan {
            nics: Vec::new(),
            closed_ports: Vec::new(),
            ..plan()
        };
        let mut with_rules = plan();
        with_rules.nics[0].firewall = [
            "allow in tcp 80-90 from 10.0.0.0/8",
            "deny in udp from fd00::/8",
            "allow out icmp to 0.0.0.0/0",
            "deny out tcp 25 to ::/0",
            "deny in",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        for plan in [plan(), empty, with_rules] {
            let mut command = Command::new("unshare");
            let mut child = command
                .args(["--net", "nft", "-c", "-f", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(Tables::of(&plan).unwrap().ruleset().as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
