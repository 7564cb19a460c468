//! Links, bridges, filters, names and addresses of containers.

#[cfg(feature = "engine")]
pub mod apply;
#[cfg(feature = "engine")]
pub mod bridge;
#[cfg(feature = "engine")]
pub mod dhcp;
#[cfg(feature = "engine")]
pub mod docker;
#[cfg(feature = "engine")]
pub mod firewall;
#[cfg(feature = "engine")]
pub mod forwarding;
pub mod link;
#[cfg(feature = "engine")]
pub mod listeners;
pub mod rate;
#[cfg(feature = "engine")]
pub mod subnet;
pub mod veth;
