//! Links, bridges, filters, names and addresses of containers.

#[cfg(feature = "engine")]
pub mod bridge;
pub mod link;
pub mod veth;
