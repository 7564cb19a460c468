//! What `control` asks of the engine and what it hears back: serialisable, because the engine becomes a root process of
//! its own (architecture.md, invariant 4). Descriptors travel beside these values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, ContainerState, ExitRecord, RestartPolicy};
use crate::error::ErrorCode;
use crate::firewall::Rule;
use crate::id::{ContainerId, ContainerName, Digest, ExecId};
use crate::limits::Limits;
use crate::network::{Cidr, Protocol, Publish};
use crate::storage::Mount;
use crate::time::Timestamp;

/// Why the engine could not do what was asked: the step, the cause, the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {message}")]
pub struct EngineError {
    pub code: ErrorCode,
    /// The step that failed, in words (`mount the overlay`, `join the cgroups` ...).
    pub step: String,
    /// The call as strace would print it, and why it failed.
    pub message: String,
    pub hint: Option<String>,
}

/// One finding of `berth check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostCheck {
    /// `kernel`, `cgroup`, `idmapped mounts`, `lxcfs`, `nft`, `dnsmasq` ...
    pub name: String,
    pub level: CheckLevel,
    /// What was found.
    pub found: String,
    /// What to do when it is not good.
    pub fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    Good,
    /// Works, with something missing.
    Limited,
    /// Containers cannot run here (exit 6).
    Missing,
}

/// What this host is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostReport {
    pub hostname: String,
    pub kernel: String,
    /// `v2`, `hybrid` or `v1`.
    pub cgroup: String,
    pub arch: String,
    pub cpus: u32,
    /// CPU numbers that are online.
    pub cpu_list: String,
    pub memory_bytes: u64,
    pub checks: Vec<HostCheck>,
    /// Whether `disk_bytes` can be enforced under the state directory.
    pub disk_limits: bool,
}

/// What stands in `containers/<id>/manifest.json`: enough to rebuild the store row (trust rule D24).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format; a newer one is refused untouched.
    pub version: u32,
    pub id: ContainerId,
    pub spec: ContainerSpec,
    pub digest: Digest,
    /// Template layers, lowest first.
    pub layers: Vec<Digest>,
    /// First host id of the container's 65,536.
    pub base_id: u32,
    pub nics: Vec<NicPlan>,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// The current version of [`Manifest`].
pub const MANIFEST_VERSION: u32 = 1;
/// How many ids each container has.
pub const ID_COUNT: u32 = 65_536;

/// A NIC with everything decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicPlan {
    /// Inside: `eth0`, `eth1` ...
    pub name: String,
    /// Host end, unique on the host and kept for life (at most 15 bytes).
    pub host_name: String,
    pub bridge: String,
    pub mac: String,
    /// Assigned by Berth for `dhcp`, or static; with the prefix length of the network.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// True = the shim sets the addresses before init runs; false = the guest asks by DHCP or SLAAC.
    pub fixed_ipv4: bool,
    pub fixed_ipv6: bool,
    pub gateway4: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
    pub mtu: Option<u32>,
    pub vlan: Option<u16>,
    pub rate_in: Option<u64>,
    pub rate_out: Option<u64>,
    /// The host end stays down: inside there is no carrier.
    #[serde(default)]
    pub link_down: bool,
}

/// First contents of a new container's own layer, applied by the confined child, never by path on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstBoot {
    /// A crypt(3) hash for root in /etc/shadow; never the password.
    pub root_password_hash: Option<String>,
    pub ssh_keys: Vec<String>,
}

/// Everything a start needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRequest {
    pub id: ContainerId,
    pub name: ContainerName,
    pub hostname: String,
    pub layers: Vec<Digest>,
    pub base_id: u32,
    pub limits: Limits,
    pub nics: Vec<NicPlan>,
    pub env: Vec<(String, String)>,
    pub restart: RestartPolicy,
    pub nesting: bool,
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// A start that succeeded: init has been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub pid: u32,
    pub at: Timestamp,
    /// Engine's request to init's execve.
    pub took_us: u64,
    /// Ends of earlier runs that the engine had on record when this one began: what comes after them is this run's,
    /// whatever the clock says.
    #[serde(default)]
    pub exits_before: usize,
}

/// What to do to a running container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Ask init to power off, in the way this init understands. Returns at once.
    PowerOff,
    /// Kill every process; returns when the container is empty.
    Kill,
    /// Returns when the kernel says frozen.
    Freeze,
    Unfreeze,
}

/// Where a container's folder goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// `containers/<id>` -> `trash/<id>`
    ToTrash,
    /// `trash/<id>` -> `containers/<id>`
    Restore,
    /// Removed for good, from wherever it is.
    Purge,
}

/// A command to run inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ExecRequest {
    /// argv; empty = the user's login shell.
    pub command: Vec<String>,
    pub tty: bool,
    /// `root`, `1000`, `user:group`; absent = root.
    pub user: Option<String>,
    /// Absent = the user's home.
    pub cwd: Option<String>,
    pub env: Vec<(String, String)>,
    pub cols: Option<u16>,
    pub rows: Option<u16>,
}

/// How a command inside ended, with the code of `berth exec` (128 + N by signal N, 126, 127).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecExit {
    pub exec: ExecId,
    pub code: i32,
    /// Why it never ran, when the code is 125, 126 or 127.
    pub message: Option<String>,
}

/// What the engine sees of one container, whoever started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub id: ContainerId,
    pub state: ContainerState,
    /// The container lives but its shim is gone.
    pub degraded: bool,
    pub pid: Option<u32>,
    pub started_at: Option<Timestamp>,
    /// The newest exits that the shim recorded, oldest first.
    pub exits: Vec<ExitRecord>,
    /// How many were recorded before these.
    #[serde(default)]
    pub older_exits: usize,
    /// How often its policy has started it again since its start was asked for; absent when no shim can tell.
    #[serde(default)]
    pub restarts: Option<u32>,
    /// When it is started again, while its policy lets it wait.
    #[serde(default)]
    pub next_start_at: Option<Timestamp>,
}

/// Something that happened by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineEvent {
    /// State, pid or exit of a container changed: look again.
    Changed(Observed),
    /// The kernel killed a process inside for lack of memory (init lives on).
    OomKill {
        id: ContainerId,
        total: u64,
    },
    ExecExited(ExecExit),
}

/// The whole network of one bridge, computed by `control`, applied by the engine as one atomic change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    pub bridge: String,
    pub ipv4: Cidr,
    pub ipv6: Cidr,
    /// TCP ports of the console on this host that containers must not reach.
    pub closed_ports: Vec<u16>,
    /// Bridges that this one forwards nothing to, but what asks for a published port.
    #[serde(default)]
    pub apart: Vec<String>,
    /// Every NIC of every container that exists, running or not.
    pub nics: Vec<NetworkNic>,
    /// Domain for names: `berth`.
    pub domain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkNic {
    pub container: ContainerName,
    pub host_name: String,
    pub mac: String,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub publish: Vec<Publish>,
    #[serde(default)]
    pub firewall: Vec<Rule>,
}

/// A socket of the host that waits for packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub protocol: Protocol,
    /// Unspecified = every address of the host.
    pub address: IpAddr,
    pub port: u16,
    /// Whose it is, where that can be seen.
    pub program: Option<String>,
}

/// An archive to unpack into `layers/<digest>/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackRequest {
    /// Name of the layer folder.
    pub digest: Digest,
    /// For the error message: which file it was.
    pub origin: String,
    pub caps: UnpackCaps,
}

/// Bounds that a hostile archive runs into (formats.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackCaps {
    pub entries: u64,
    pub bytes: u64,
    /// Unpacked over compressed above the first 64 MiB.
    pub ratio: u64,
    pub seconds: u64,
    /// Fewer entries are no root file system, nor is one without init and shell; 0 = whatever it is.
    #[serde(default)]
    pub least_entries: u64,
}

impl Default for UnpackCaps {
    fn default() -> Self {
        Self {
            entries: 500_000,
            bytes: 64 << 30,
            ratio: 200,
            seconds: 3600,
            least_entries: 10,
        }
    }
}

/// What files take on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    pub bytes: u64,
    pub inodes: u64,
}

/// A layer that is complete and durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    pub bytes: u64,
    pub entries: u64,
    /// What was not created, by kind (`device nodes: 14`).
    pub left_out: Vec<String>,
    /// `ID` and `VERSION_ID` of os-release, the architecture of `/bin/sh`, when found.
    pub os: Option<String>,
    pub release: Option<String>,
    /// Small files asked for by the pipeline (`metadata.yaml` of a unified image).
    pub metadata: Option<String>,
    /// The folder at the archive's top that was the root; the layer has what was in it.
    #[serde(default)]
    pub wrapper: Option<String>,
}

/// A line of progress that the confined child writes as JSON to the progress descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackProgress {
    /// Compressed bytes taken.
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub entries: u64,
}

/// A root file system to build with mmdebstrap in the confined helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    pub suite: String,
    pub arch: String,
    /// Mirror URL, also written into the image's package sources.
    pub mirror: String,
    /// Addresses of the mirror: the only ones that the helper may talk to.
    pub allow: Vec<(IpAddr, u16)>,
    pub include: Vec<String>,
    /// `debian` or `ubuntu`.
    pub distribution: String,
}
