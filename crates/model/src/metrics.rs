//! Counters as the kernel counts them, series as graphs show them, and the names of both.

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;
use crate::time::Timestamp;

/// Raw counters of one container at one moment; `None` = this host cannot count it. Never 0 or -1 instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Counters {
    pub cpu: CpuCounters,
    pub memory: MemoryCounters,
    pub pids: PidsCounters,
    pub io: IoCounters,
    pub net: Vec<NicCounters>,
    pub pressure: PressureCounters,
    pub disk: Vec<DiskCounters>,
}

/// Counters with their owner and time: a row of `berth stats`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stats {
    pub name: String,
    pub at: Timestamp,
    #[serde(flatten)]
    pub counters: Counters,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct CpuCounters {
    pub usage_usec: Option<u64>,
    pub user_usec: Option<u64>,
    pub system_usec: Option<u64>,
    pub throttled_usec: Option<u64>,
    pub nr_throttled: Option<u64>,
    /// Enforcement periods that have passed.
    pub nr_periods: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MemoryCounters {
    /// The kernel's own figure, page cache included.
    pub current_bytes: Option<u64>,
    /// What pages draw: current - (file - shmem) - reclaimable slab (ui.md section 4).
    pub used_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub anon_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub shmem_bytes: Option<u64>,
    pub kernel_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PidsCounters {
    pub current: Option<u64>,
    pub limit: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct IoCounters {
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
    pub read_ops: Option<u64>,
    pub write_ops: Option<u64>,
}

/// One NIC as seen from inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct NicCounters {
    pub nic: String,
    pub rx_bytes: Option<u64>,
    pub tx_bytes: Option<u64>,
    pub rx_packets: Option<u64>,
    pub tx_packets: Option<u64>,
    pub rx_dropped: Option<u64>,
    pub tx_dropped: Option<u64>,
}

/// Total stall times in microseconds (kernel doc: accounting/psi).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PressureCounters {
    pub cpu: Pressure,
    pub memory: Pressure,
    pub io: Pressure,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Pressure {
    pub some_usec: Option<u64>,
    pub full_usec: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct DiskCounters {
    pub mount: String,
    pub used_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    #[serde(default)]
    pub used_inodes: Option<u64>,
    pub measured_at: Option<Timestamp>,
}

/// One pass of the sampler over the host and all running containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` in nanoseconds when the pass began.
    pub monotonic_ns: u64,
    pub host: HostCounters,
    pub containers: Vec<(ContainerId, Counters)>,
}

/// Counters of the host itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostCounters {
    pub cpus: u32,
    /// Busy CPU time of all cores, microseconds.
    pub cpu_usage_usec: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    pub swap_used_bytes: Option<u64>,
    pub net_rx_bytes: Option<u64>,
    pub net_tx_bytes: Option<u64>,
    pub io_read_bytes: Option<u64>,
    pub io_write_bytes: Option<u64>,
    pub pressure: PressureCounters,
    /// The file system of the state directory: what is used, and that with what containers may still use.
    pub disk_total_bytes: Option<u64>,
    pub disk_used_bytes: Option<u64>,
    pub processes: Option<u64>,
}

/// The series that every container has, in the order of the stream's columns; `net.*` and `io.*` here are sums.
/// Series per NIC (`net.<nic>.rx` ...) and per mount (`disk.<mount>.used` ...) come beside them.
pub const SERIES: [&str; 26] = [
    "cpu.usage",
    "memory.used",
    "net.rx",
    "net.tx",
    "io.read",
    "io.write",
    "pids.current",
    "cpu.user",
    "cpu.system",
    "cpu.throttled",
    "cpu.throttled_ms",
    "memory.current",
    "memory.anon",
    "memory.file",
    "memory.shmem",
    "memory.kernel",
    "memory.swap",
    "memory.oom_kills",
    "pressure.cpu.some",
    "pressure.cpu.full",
    "pressure.memory.some",
    "pressure.memory.full",
    "pressure.io.some",
    "pressure.io.full",
    "io.read_ops",
    "io.write_ops",
];

/// How many of [`SERIES`], from the front, the topic `all` carries: what the list shows.
pub const LIST_COLUMNS: usize = 7;

/// The name that stands for the host where a container's name is expected.
pub const HOST: &str = "@host";

/// A stretch of history: `GET .../metrics?from&to&step`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct History {
    pub step_ms: u64,
    pub from: Timestamp,
    pub series: std::collections::BTreeMap<String, SeriesHistory>,
}

/// Points of one series, oldest first; `None` is a gap (`p95`: also fewer than 20 samples).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SeriesHistory {
    pub avg: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
    pub p95: Vec<Option<f64>>,
}

/// Memory in use by the formula of ui.md section 4: `current - (file - shmem) - reclaimable slab`.
#[must_use]
pub fn memory_used(current: u64, file: u64, shmem: u64, slab_reclaimable: u64) -> u64 {
    current.saturating_sub(file.saturating_sub(shmem)).saturating_sub(slab_reclaimable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_counts_as_used_and_cache_does_not() {
        assert_eq!(memory_used(1000, 600, 200, 50), 550);
        assert_eq!(memory_used(100, 600, 0, 0), 0);
    }

    #[test]
    fn absent_counters_are_null_in_json() {
        let stats = Stats {
            name: "a".into(),
            at: Timestamp::from_ms(0),
            counters: Counters::default(),
        };
        let json = serde_json::to_value(stats).unwrap();
        assert!(json["memory"]["current_bytes"].is_null());
        assert!(json["cpu"].as_object().unwrap().contains_key("nr_throttled"));
    }
}
