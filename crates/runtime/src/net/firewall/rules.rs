//! What a container may send and be sent by the rules of its own, judged at its port of the bridge whatever way a packet
//! takes: from a neighbour, from the host, or through it.
//!
//! Not every kernel tracks connections on a bridge, so the port decides without: of TCP the first segment, of ICMP the echo
//! request, of UDP the first datagram, after which a set lets both sides speak. What goes through the host and begins in the
//! middle of a connection is dropped there, where connections are tracked.
//!
//! Invariant: addresses and names of the bridge's own servers can be asked for whatever the rules say.

use model::engine::{NetworkNic, NetworkPlan};
use model::firewall::{Direction, Rule, Transport, Verdict};

use super::super::subnet;
use crate::error::Result;

/// Ends an IPv4 or IPv6 exchange that the container or its peer began.
const UDP_SECONDS: u32 = 180;
/// Exchanges that are remembered per container and family.
const UDP_MOST: u32 = 16_384;

/// Dropped in the host's forwarding, to and from containers with rules.
pub(super) const STRAY: &str = "\tchain stray {
		ct state invalid drop
		ct state new tcp flags & (fin | syn | rst | ack) != syn drop
		ct state new icmp type != echo-request drop
		ct state new icmpv6 type != echo-request drop
	}
";

/// Sets and chains of every container that has rules; nothing where none has.
pub(super) fn text(plan: &NetworkPlan) -> Result<String> {
    let judged: Vec<&NetworkNic> = plan.nics.iter().filter(|nic| !nic.firewall.is_empty()).collect();
    if judged.is_empty() {
        return Ok(String::new());
    }
    let (mut text, mut received, mut sent) = (String::new(), Vec::new(), Vec::new());
    for nic in judged {
        let port = super::quoted(&nic.host_name)?;
        text += &sets(nic);
        text += &chain(nic, Direction::In, "");
        text += &chain(nic, Direction::Out, &served(plan, &nic.host_name));
        received.push(format!("{port} : goto in_{}", nic.host_name));
        sent.push(format!("{port} : goto out_{}", nic.host_name));
    }
    let (received, sent) = (received.join(", "), sent.join(", "));
    // After the spoof filter: what is forged is not worth a verdict.
    Ok(text
        + &format!(
            "\tchain received {{
		type filter hook postrouting priority 1; policy accept;
		oifname vmap {{ {received} }}
	}}
	chain sent {{
		type filter hook prerouting priority -290; policy accept;
		iifname vmap {{ {sent} }}
	}}
"
        ))
}

fn sets(nic: &NetworkNic) -> String {
    let set = |family: u8| {
        format!(
            "\tset udp{family}_{} {{
		type ipv{family}_addr . inet_service . ipv{family}_addr . inet_service
		flags dynamic,timeout
		timeout {UDP_SECONDS}s
		size {UDP_MOST}
	}}
",
            nic.host_name
        )
    };
    set(4) + &set(6)
}

/// The container's side first, whichever way the datagram goes.
fn exchange(direction: Direction, family: &str) -> String {
    match direction {
        Direction::In => format!("{family} daddr . udp dport . {family} saddr . udp sport"),
        Direction::Out => format!("{family} saddr . udp sport . {family} daddr . udp dport"),
    }
}

fn chain(nic: &NetworkNic, direction: Direction, served: &str) -> String {
    let name = &nic.host_name;
    let (four, six) = (exchange(direction, "ip"), exchange(direction, "ip6"));
    let side = match direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    let rules: String = nic
        .firewall
        .iter()
        .filter(|rule| rule.direction == direction)
        .map(|rule| line(rule, &format!("goto keep_{side}_{name}")))
        .collect();
    // A fragment too short for the flags would pass for no first segment, and TCP needs no fragments.
    format!(
        "\tchain keep_{side}_{name} {{
		update @udp4_{name} {{ {four} }}
		update @udp6_{name} {{ {six} }}
	}}
	chain {side}_{name} {{
		ether type != {{ ip, ip6 }} return
		meta l4proto 6 ip frag-off & 0x3fff != 0 drop
		meta l4proto 6 ether type ip6 exthdr frag exists drop
		tcp flags & (syn | ack) != syn return
		icmp type != echo-request return
		icmpv6 type != echo-request return
		udp sport . udp dport {{ 67 . 68, 547 . 546 }} return
{served}		{four} @udp4_{name} update @udp4_{name} {{ {four} }} return
		{six} @udp6_{name} update @udp6_{name} {{ {six} }} return
{rules}		goto keep_{side}_{name}
	}}
"
    )
}

fn line(rule: &Rule, allow: &str) -> String {
    let side = match rule.direction {
        Direction::In => "saddr",
        Direction::Out => "daddr",
    };
    let peer = rule.peer.map_or_else(String::new, |peer| {
        let family = if peer.addr.is_ipv4() { "ip" } else { "ip6" };
        match peer.prefix {
            0 => format!("ether type {family} "),
            _ => format!("{family} {side} {} ", peer.network()),
        }
    });
    let what = match (rule.transport, rule.ports) {
        (None, _) => String::new(),
        (Some(Transport::Icmp), _) => "meta l4proto { 1, 58 } ".to_owned(),
        (Some(Transport::Tcp), None) => "meta l4proto 6 ".to_owned(),
        (Some(Transport::Udp), None) => "meta l4proto 17 ".to_owned(),
        (Some(Transport::Tcp), Some((first, last))) => format!("tcp dport {first}-{last} "),
        (Some(Transport::Udp), Some((first, last))) => format!("udp dport {first}-{last} "),
    };
    let verdict = match rule.verdict {
        Verdict::Allow => allow,
        Verdict::Deny => "drop",
    };
    format!("\t\t{peer}{what}{verdict}\n")
}

/// The bridge's own servers: nothing else is reached by these lines. What asks for a name is remembered for the answer.
fn served(plan: &NetworkPlan, name: &str) -> String {
    let link_local = subnet::link_local(subnet::router_mac(&plan.bridge, &plan.ipv6));
    let (four, six) = (plan.ipv4.addr, plan.ipv6.addr);
    format!(
        "\t\tip daddr {{ {four}, 255.255.255.255 }} udp dport 67 return
		ip6 daddr {{ ff02::1:2, {six}, {link_local} }} udp dport 547 return
		ip daddr {four} meta l4proto {{ 6, 17 }} th dport 53 goto keep_out_{name}
		ip6 daddr {{ {six}, {link_local} }} meta l4proto {{ 6, 17 }} th dport 53 goto keep_out_{name}
"
    )
}
