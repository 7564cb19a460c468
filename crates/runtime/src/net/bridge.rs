//! A managed bridge with its addresses.

use std::net::IpAddr;

use super::link::{self, Message, Socket, attribute};
use crate::error::{At, Result};

/// Makes the bridge if it is not there, gives it its addresses, and brings it up.
///
/// # Errors
/// The kernel refuses.
pub fn ensure(name: &str, addresses: &[(IpAddr, u8)]) -> Result<()> {
    let step = "make the bridge";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    if socket.index(name).is_err() {
        let info = attribute(link::IFLA_INFO_KIND, b"bridge");
        let made = Message::new(link::NEWLINK, link::CREATE | link::EXCLUSIVE)
            .link(0, None)
            .name(link::IFLA_IFNAME, name)
            .with(link::IFLA_LINKINFO | link::NESTED, &info);
        socket.ask(made).at(step, &format!("RTM_NEWLINK(bridge {name})"))?;
    }
    let index = socket.index(name).at(step, &format!("find {name}"))?;
    for (address, prefix) in addresses {
        socket
            .add_address(index, *address, *prefix)
            .at(step, &format!("RTM_NEWADDR({address}/{prefix})"))?;
    }
    socket
        .ask(Message::new(link::NEWLINK, 0).link(index, Some(true)))
        .at(step, &format!("RTM_NEWLINK({name} up)"))
}

/// Removes the bridge; one that is not there is removed already.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> Result<()> {
    let step = "remove the bridge";
    let socket = Socket::open().at(step, "socket(AF_NETLINK)")?;
    socket.delete(name).at(step, &format!("RTM_DELLINK({name})"))
}

/// Whether a link of this name exists.
#[must_use]
pub fn exists(name: &str) -> bool {
    Socket::open().is_ok_and(|socket| socket.index(name).is_ok())
}
