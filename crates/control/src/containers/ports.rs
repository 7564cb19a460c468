//! Whether a published port would take over a service of the host: packets to it lead into the container before a socket
//! of the host sees them, whoever listens there.

use std::net::IpAddr;

use model::ContainerId;
use model::engine::Listener;
use model::network::{BRIDGE_PORTS, Protocol, Publish};

use super::{Containers, changed_meanwhile, is_live};
use crate::engine;
use crate::error::{Error, Result};
use crate::networks::plan::{Bridges, NetRow};

impl Containers {
    /// Sockets of the host on the ports of this list that the container has not published so far.
    pub(super) async fn listeners(&self, id: ContainerId, publish: &[Publish]) -> Result<Vec<Listener>> {
        let held = self.board.get(id).map(|live| live.row.spec.publish.clone()).unwrap_or_default();
        let added: Vec<Publish> = publish.iter().filter(|port| !held.contains(port)).cloned().collect();
        let mut listeners = self.listeners_on(added).await?;
        listeners.retain(|listener| !held.iter().any(|port| port.has(listener.port, listener.protocol)));
        Ok(listeners)
    }

    async fn listeners_on(&self, ports: Vec<Publish>) -> Result<Vec<Listener>> {
        if ports.is_empty() {
            return Ok(Vec::new());
        }
        engine::call(&self.parts.engine, move |engine| engine.listeners(&ports)).await
    }

    /// Before a start: a service may have begun to use a published port meanwhile.
    pub(super) async fn check_ports(&self, id: ContainerId) -> Result<()> {
        let live = self.board.get(id).ok_or_else(changed_meanwhile)?;
        if is_live(&live) {
            return Ok(());
        }
        let publish = live.row.spec.publish.clone();
        let listeners = self.listeners_on(publish.clone()).await?;
        if listeners.is_empty() {
            return Ok(());
        }
        let bridges = self.parts.networks.bridges().await?;
        publish.iter().try_for_each(|port| judge(port, &listeners, &bridges)).map_err(|mut error| {
            error.body.message = format!("publish the ports: {}", error.body.message);
            error
        })
    }
}

/// Refuses a port on which a socket of the host waits.
///
/// # Errors
/// `Conflict`, naming the port and, where it is known, the program.
pub(super) fn judge(port: &Publish, listeners: &[Listener], bridges: &Bridges) -> Result<()> {
    let takes = |listener: &&Listener| port.has(listener.port, listener.protocol) && !bridges.iter().any(|network| is_out_of_reach(listener, network));
    let Some(listener) = listeners.iter().find(takes) else { return Ok(()) };
    let program = listener
        .program
        .as_ref()
        .map_or_else(|| "a program".to_owned(), |program| format!("`{program}`"));
    let on = if listener.address.is_unspecified() {
        String::new()
    } else {
        format!(" on {}", listener.address)
    };
    Err(Error::conflict(format!(
        "port {} of the host is in use: {program} listens{on}",
        word(listener.port, port.protocol)
    ))
    .hint("publish another port of the host, or stop the service"))
}

/// What a published port leaves alone: the bridge's own servers, and IPv6's loopback.
fn is_out_of_reach(listener: &Listener, network: &NetRow) -> bool {
    let is_own = match listener.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => true,
        address => address == network.ipv4.addr || address == network.ipv6.addr,
    };
    listener.address == IpAddr::V6(std::net::Ipv6Addr::LOCALHOST) || is_own && BRIDGE_PORTS.contains(&listener.port)
}

/// A port as people read it: `53/udp`.
pub(super) fn word(port: u16, protocol: Protocol) -> String {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{port}/{protocol}")
}
