//! The counters in the OpenMetrics text format, for Prometheus (OpenMetrics 1.0).

use model::metrics::{Counters, Stats};

type Get = fn(&Counters) -> Option<u64>;

/// Name, kind, unit's divisor, help, value.
const FAMILIES: &[(&str, &str, f64, &str, Get)] = &[
    ("berth_container_cpu_usage_seconds", "counter", 1e6, "CPU time used.", |c| c.cpu.usage_usec),
    (
        "berth_container_cpu_throttled_seconds",
        "counter",
        1e6,
        "Time held back by the CPU limit.",
        |c| c.cpu.throttled_usec,
    ),
    (
        "berth_container_memory_used_bytes",
        "gauge",
        1.0,
        "Memory in use without cache that can be given back.",
        |c| c.memory.used_bytes,
    ),
    ("berth_container_memory_current_bytes", "gauge", 1.0, "Memory charged by the kernel.", |c| {
        c.memory.current_bytes
    }),
    ("berth_container_memory_limit_bytes", "gauge", 1.0, "Memory limit.", |c| c.memory.limit_bytes),
    ("berth_container_memory_swap_bytes", "gauge", 1.0, "Swap in use.", |c| c.memory.swap_bytes),
    ("berth_container_oom_kills", "counter", 1.0, "Processes killed for lack of memory.", |c| {
        c.memory.oom_kills
    }),
    ("berth_container_processes", "gauge", 1.0, "Processes and threads.", |c| c.pids.current),
    ("berth_container_io_read_bytes", "counter", 1.0, "Bytes read from block devices.", |c| {
        c.io.read_bytes
    }),
    ("berth_container_io_written_bytes", "counter", 1.0, "Bytes written to block devices.", |c| {
        c.io.write_bytes
    }),
    (
        "berth_container_pressure_cpu_some_seconds",
        "counter",
        1e6,
        "Time in which some task waited for a CPU.",
        |c| c.pressure.cpu.some_usec,
    ),
    (
        "berth_container_pressure_memory_some_seconds",
        "counter",
        1e6,
        "Time in which some task waited for memory.",
        |c| c.pressure.memory.some_usec,
    ),
    (
        "berth_container_pressure_io_some_seconds",
        "counter",
        1e6,
        "Time in which some task waited for IO.",
        |c| c.pressure.io.some_usec,
    ),
];

/// All running containers as one exposition; what the host cannot count is absent.
#[must_use]
pub fn exposition(all: &[Stats]) -> String {
    let mut lines = Vec::new();
    for (name, kind, divisor, help, get) in FAMILIES {
        lines.push(format!("# TYPE {name} {kind}\n# HELP {name} {help}"));
        let suffix = if *kind == "counter" { "_total" } else { "" };
        for stats in all {
            #[expect(clippy::cast_precision_loss, reason = "the format carries floats")]
            let value = get(&stats.counters).map(|value| value as f64 / divisor);
            lines.extend(value.map(|value| format!("{name}{suffix}{{name=\"{}\"}} {value}", stats.name)));
        }
    }
    for (name, help, get) in NETWORK {
        lines.push(format!("# TYPE {name} counter\n# HELP {name} {help}"));
        for stats in all {
            let nics = stats.counters.net.iter().filter_map(|nic| Some((&nic.nic, get(nic)?)));
            lines.extend(nics.map(|(nic, value)| format!("{name}_total{{name=\"{}\",nic=\"{nic}\"}} {value}", stats.name)));
        }
    }
    lines.push("# EOF\n".into());
    lines.join("\n")
}

type GetNic = fn(&model::metrics::NicCounters) -> Option<u64>;

const NETWORK: &[(&str, &str, GetNic)] = &[
    ("berth_container_network_received_bytes", "Bytes received, as seen from inside.", |nic| {
        nic.rx_bytes
    }),
    ("berth_container_network_sent_bytes", "Bytes sent, as seen from inside.", |nic| nic.tx_bytes),
];

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn counters_end_in_total_and_absent_values_are_left_out() {
        let mut counters = Counters::default();
        counters.cpu.usage_usec = Some(1_500_000);
        let text = exposition(&[Stats {
            name: "web".into(),
            at: Timestamp::from_ms(0),
            counters,
        }]);
        assert!(text.contains("berth_container_cpu_usage_seconds_total{name=\"web\"} 1.5\n"), "{text}");
        assert!(!text.contains("berth_container_processes{"));
        assert!(text.ends_with("# EOF\n"));
    }
}
