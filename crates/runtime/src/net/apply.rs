//! The network of one bridge as a whole: made so that it can be repeated at any time, removed so that one failure does not
//! keep the rest.

use std::net::IpAddr;
use std::path::Path;

use model::engine::NetworkPlan;
use model::network::check_interface;

use super::link::{self, Message, Socket};
use super::{bridge, dhcp, docker, firewall, forwarding, subnet};
use crate::cgroup::Layout;
use crate::error::{At, Error, Result};

const STEP: &str = "make the network";

/// Makes the host look as the plan says: filter before link, link before servers. `before` is what the last call left of the
/// filter.
///
/// # Errors
/// The first step that fails, by its name; what was made before stays, and the next call goes on from there.
pub fn apply(run_dir: &Path, instance: Option<&str>, layout: &Layout, plan: &NetworkPlan, before: &mut Option<firewall::Tables>) -> Result<()> {
    check_interface(&plan.bridge).map_err(|message| Error::invalid(STEP, message))?;
    firewall::apply(plan, before)?;
    make_bridge(plan)?;
    forwarding::apply(run_dir, &plan.bridge)?;
    docker::apply(&plan.bridge)?;
    dhcp::apply(run_dir, instance, layout, plan)
}

/// Removes everything that [`apply`] made; what is not there is removed already.
///
/// # Errors
/// All failures together; everything else has been removed.
pub fn remove(run_dir: &Path, instance: Option<&str>, layout: &Layout, bridge: &str) -> Result<()> {
    check_interface(bridge).map_err(|message| Error::invalid("remove the network", message))?;
    let removals = [
        dhcp::remove(run_dir, instance, layout, bridge),
        docker::remove(bridge),
        bridge::remove(bridge),
        firewall::remove(bridge),
        // Others' tables are left by now: networks of other instances and Docker go on forwarding.
        forwarding::remove(run_dir, bridge, docker::is_here() || firewall::tables().is_ok_and(|tables| !tables.is_empty())),
    ];
    let failures: Vec<Error> = removals.into_iter().filter_map(Result::err).collect();
    let [first, rest @ ..] = failures.as_slice() else { return Ok(()) };
    let mut all = first.clone();
    for error in rest {
        all.message += &format!("; {error}");
        all.hint = all.hint.or_else(|| error.hint.clone());
    }
    Err(all)
}

/// The bridge with its own MAC and addresses. Its MAC is set before it is up, so that its link-local address follows from it.
fn make_bridge(plan: &NetworkPlan) -> Result<()> {
    let mac = subnet::router_mac(&plan.bridge, &plan.ipv6);
    let mut addresses = vec![(plan.ipv4.addr, plan.ipv4.prefix)];
    if has_ipv6(plan) {
        addresses.push((plan.ipv6.addr, plan.ipv6.prefix));
    }
    if !bridge::exists(&plan.bridge) {
        new_bridge(&plan.bridge, mac)?;
        if has_ipv6(plan) {
            allow_ipv6(&plan.bridge)?;
        }
    }
    bridge::ensure(&plan.bridge, &addresses)
}

fn new_bridge(name: &str, mac: [u8; 6]) -> Result<()> {
    let socket = Socket::open().at(STEP, "socket(AF_NETLINK)")?;
    let info = link::attribute(link::IFLA_INFO_KIND, b"bridge");
    let message = Message::new(link::NEWLINK, link::CREATE | link::EXCLUSIVE)
        .link(0, None)
        .name(link::IFLA_IFNAME, name);
    let message = message.with(link::IFLA_ADDRESS, &mac).with(link::IFLA_LINKINFO | link::NESTED, &info);
    socket.ask(message).at(STEP, &format!("RTM_NEWLINK(bridge {name})"))
}

/// A kernel without IPv6 gets a network without it.
fn has_ipv6(plan: &NetworkPlan) -> bool {
    matches!(plan.ipv6.addr, IpAddr::V6(_)) && Path::new("/proc/sys/net/ipv6").exists()
}

/// Hosts that switch IPv6 off for links by default have it on our bridge nevertheless.
fn allow_ipv6(bridge: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6");
    match std::fs::read_to_string(&path) {
        Ok(value) if value.trim() == "1" => std::fs::write(&path, "0").at(STEP, &format!("write(\"{path}\", \"0\")")),
        _ => Ok(()),
    }
}
