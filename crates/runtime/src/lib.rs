//! The host: namespaces, cgroups, id maps, mounts, network, seccomp, exec and counters. Synchronous; knows no policy.
//!
//! Without the default feature `engine` only what the shim needs is here.

#[cfg(feature = "engine")]
pub mod build;
#[cfg(feature = "engine")]
pub mod cgroup;
#[cfg(feature = "engine")]
pub mod companion;
#[cfg(feature = "engine")]
mod console_log;
#[cfg(feature = "engine")]
pub mod container;
pub mod error;
pub mod exec;
#[cfg(feature = "engine")]
pub mod host;
pub mod init;
#[cfg(feature = "engine")]
pub mod lxcfs;
pub mod mount;
pub mod net;
#[cfg(feature = "engine")]
pub mod respawn;
pub mod room;
#[cfg(feature = "engine")]
pub mod rootfs;
pub mod shim;
#[cfg(feature = "engine")]
mod stop;
pub mod sys;
#[cfg(feature = "engine")]
pub mod unpack;
#[cfg(feature = "engine")]
mod watch;

#[cfg(feature = "engine")]
pub use container::{Config, Runtime};
#[cfg(feature = "engine")]
pub use respawn::run_helper_if_asked;
#[cfg(feature = "engine")]
pub use shim::engine::ShimSource;
