//! What the text of a kernel file means. Pure: no file is opened here, and what is absent or unreadable is `None`, never 0.

use model::metrics::{CpuCounters, IoCounters, Pressure};

/// A file that holds one number; `max` and `-1` stand for "unlimited" and are `None`.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of one key of a flat keyed file (`key value` per line).
#[must_use]
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' ')))
        .and_then(number)
}

/// A limit in bytes. Version 1 writes "unlimited" as the largest multiple of the page size, which no machine has.
#[must_use]
pub fn bytes_limit(text: &str) -> Option<u64> {
    number(text).filter(|&bytes| bytes < 1 << 62)
}

/// `cpu.stat` of the unified hierarchy: time in every mode, throttling only where the cpu controller is in it.
#[must_use]
pub fn cpu_stat(text: &str) -> CpuCounters {
    let mut cpu = CpuCounters::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let slot = match key {
            "usage_usec" => &mut cpu.usage_usec,
            "user_usec" => &mut cpu.user_usec,
            "system_usec" => &mut cpu.system_usec,
            "nr_periods" => &mut cpu.nr_periods,
            "nr_throttled" => &mut cpu.nr_throttled,
            "throttled_usec" => &mut cpu.throttled_usec,
            _ => continue,
        };
        *slot = number(value);
    }
    cpu
}

/// `cpu.stat` of version 1: only throttling, its time in nanoseconds.
pub fn cpu_stat_v1(text: &str, cpu: &mut CpuCounters) {
    cpu.nr_periods = keyed(text, "nr_periods");
    cpu.nr_throttled = keyed(text, "nr_throttled");
    cpu.throttled_usec = keyed(text, "throttled_time").map(|ns| ns / 1000);
}

/// CPU time on a host without a unified hierarchy: `cpuacct.usage` counts nanoseconds, `cpuacct.stat` ticks of 1/100 s.
pub fn cpuacct(usage: &str, stat: &str, cpu: &mut CpuCounters) {
    const USEC_PER_TICK: u64 = 10_000;
    cpu.usage_usec = number(usage).map(|ns| ns / 1000);
    cpu.user_usec = keyed(stat, "user").map(|ticks| ticks * USEC_PER_TICK);
    cpu.system_usec = keyed(stat, "system").map(|ticks| ticks * USEC_PER_TICK);
}

/// What `memory.stat` tells of both versions, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Program memory.
    pub anon: Option<u64>,
    /// Page cache, shared memory included.
    pub file: Option<u64>,
    /// tmpfs and shared memory.
    pub shmem: Option<u64>,
    /// All kernel memory; version 1 has it in a file of its own.
    pub kernel: Option<u64>,
    /// Slab that the kernel gives back under pressure; version 1 does not count it.
    pub slab_reclaimable: Option<u64>,
}

/// `memory.stat` of version 2.
#[must_use]
pub fn memory_stat(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let slot = match key {
            "anon" => &mut stat.anon,
            "file" => &mut stat.file,
            "shmem" => &mut stat.shmem,
            "kernel" => &mut stat.kernel,
            "slab_reclaimable" => &mut stat.slab_reclaimable,
            _ => continue,
        };
        *slot = number(value);
    }
    stat
}

/// `memory.stat` of version 1; the `total_` lines cover what lies below the group too.
#[must_use]
pub fn memory_stat_v1(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let slot = match key {
            "total_rss" => &mut stat.anon,
            "total_cache" => &mut stat.file,
            "total_shmem" => &mut stat.shmem,
            _ => continue,
        };
        *slot = number(value);
    }
    stat
}

/// `io.stat`: one line per device, `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...`. With a device only its line counts: the
/// kernel charges a stacked device (LVM, dm-crypt) and the disk below it alike, so a sum would count twice.
#[must_use]
pub fn io_stat(text: &str, device: Option<&str>) -> IoCounters {
    let mut io = IoCounters {
        read_bytes: Some(0),
        write_bytes: Some(0),
        read_ops: Some(0),
        write_ops: Some(0),
    };
    let counted = |line: &&str| device.is_none_or(|device| line.split(' ').next() == Some(device));
    for (key, value) in text
        .lines()
        .filter(counted)
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.split_once('='))
    {
        let slot = match key {
            "rbytes" => &mut io.read_bytes,
            "wbytes" => &mut io.write_bytes,
            "rios" => &mut io.read_ops,
            "wios" => &mut io.write_ops,
            _ => continue,
        };
        *slot = slot.zip(number(value)).map(|(sum, more)| sum + more);
    }
    io
}

/// A `blkio.throttle.*_recursive` file: (read, write) summed over devices. `None` while no throttle rule exists, because
/// the kernel then counts nothing and writes only `Total 0`.
#[must_use]
pub fn blkio(text: &str) -> (Option<u64>, Option<u64>) {
    let sum = |operation: &str| {
        let values: Vec<u64> = text.lines().filter_map(|line| blkio_line(line, operation)).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    };
    (sum("Read"), sum("Write"))
}

fn blkio_line(line: &str, operation: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let _device = words.next()?;
    (words.next()? == operation).then(|| words.next().and_then(number)).flatten()
}

/// A pressure file: `some avg10=0.00 ... total=123` and `full ...`; `total` in microseconds is what is charted.
#[must_use]
pub fn pressure(text: &str) -> Pressure {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.starts_with(kind))?;
        line.rsplit_once("total=").and_then(|(_, total)| number(total))
    };
    Pressure {
        some_usec: total("some"),
        full_usec: total("full"),
    }
}

/// `cgroup.events`: whether processes live in the group or below.
#[must_use]
pub fn is_populated(events: &str) -> Option<bool> {
    keyed(events, "populated").map(|value| value == 1)
}

/// `cgroup.events`: whether every process has stopped. `cgroup.freeze` says only what was wished.
#[must_use]
pub fn is_frozen(events: &str) -> Option<bool> {
    keyed(events, "frozen").map(|value| value == 1)
}

/// Process numbers of a `cgroup.procs` or `tasks` file.
pub fn pids(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.lines().filter_map(|line| line.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "6.18-hybrid";
    const V2: &str = "6.1-v2";

    fn fixture(host: &str, file: &str) -> String {
        let path = format!("{}/tests/fixtures/{host}/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn unlimited_is_none_and_never_a_number() {
        for text in ["max\n", "-1\n", "", "9223372036854771712\n"] {
            assert_eq!(bytes_limit(text), None, "{text:?}");
        }
        assert_eq!(bytes_limit("67108864\n"), Some(64 << 20));
    }

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom 1\noom_kill 2\noom_group_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom"), Some(1));
        assert_eq!(keyed(text, "om"), None);
    }

    #[test]
    fn cpu_stat_of_the_hybrid_host_has_no_throttling_until_v1_adds_it() {
        let mut cpu = cpu_stat(&fixture(HYBRID, "unified.cpu.stat"));
        assert_eq!(
            (cpu.usage_usec, cpu.user_usec, cpu.system_usec),
            (Some(1_500_123), Some(900_100), Some(600_023))
        );
        assert_eq!(cpu.nr_throttled, None);
        cpu_stat_v1(&fixture(HYBRID, "cpu.cpu.stat"), &mut cpu);
        assert_eq!((cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec), (Some(120), Some(30), Some(2_500_000)));
    }

    #[test]
    fn cpu_stat_of_v2_has_everything() {
        let cpu = cpu_stat(&fixture(V2, "cpu.stat"));
        assert_eq!(
            (cpu.usage_usec, cpu.nr_periods, cpu.throttled_usec),
            (Some(88_214_302), Some(812), Some(1_204_551))
        );
    }

    #[test]
    fn cpuacct_ticks_are_a_hundredth_of_a_second() {
        let mut cpu = CpuCounters::default();
        cpuacct("2500000000\n", "user 150\nsystem 100\n", &mut cpu);
        assert_eq!(
            (cpu.usage_usec, cpu.user_usec, cpu.system_usec),
            (Some(2_500_000), Some(1_500_000), Some(1_000_000))
        );
    }

    #[test]
    fn memory_of_both_versions() {
        let v1 = memory_stat_v1(&fixture(HYBRID, "memory.memory.stat"));
        assert_eq!((v1.anon, v1.file, v1.shmem), (Some(21_004_288), Some(54_525_952), Some(4_194_304)));
        assert_eq!(v1.slab_reclaimable, None);
        let v2 = memory_stat(&fixture(V2, "memory.stat"));
        assert_eq!(
            (v2.anon, v2.file, v2.kernel, v2.slab_reclaimable),
            (Some(31_457_280), Some(73_400_320), Some(9_437_184), Some(5_242_880))
        );
    }

    #[test]
    fn io_is_summed_or_of_one_device() {
        let io = io_stat(&fixture(V2, "io.stat"), None);
        assert_eq!(
            (io.read_bytes, io.write_bytes, io.read_ops, io.write_ops),
            (Some(5_100), Some(8_192), Some(4), Some(2))
        );
        assert_eq!(io_stat(&fixture(V2, "io.stat"), Some("254:16")).read_bytes, Some(1004));
        assert_eq!(io_stat("", Some("254:16")).read_bytes, Some(0));
    }

    #[test]
    fn blkio_without_a_rule_counts_nothing() {
        assert_eq!(blkio("Total 0\n"), (None, None));
        assert_eq!(blkio(&fixture(HYBRID, "blkio.io_service_bytes_recursive")), (Some(1_048_576), Some(4_096)));
    }

    #[test]
    fn pressure_totals() {
        let full = pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=42\n");
        assert_eq!((full.some_usec, full.full_usec), (Some(4711), Some(42)));
        // The root's cpu.pressure has no `full` line before Linux 5.13.
        assert_eq!(pressure("some avg10=0.00 total=1\n").full_usec, None);
        assert_eq!(pressure(""), Pressure::default());
    }

    #[test]
    fn events_and_pids() {
        assert_eq!(
            (is_populated("populated 1\nfrozen 0\n"), is_frozen("populated 1\nfrozen 0\n")),
            (Some(true), Some(false))
        );
        assert_eq!(is_frozen("populated 0\n"), None);
        assert_eq!(pids("1\n22\n\n").collect::<Vec<_>>(), [1, 22]);
    }
}
