//! Counters to rates: what happened between two looks at the kernel's counters, divided by the time that really passed.
//! Pure. A counter that went backwards is a gap, never a negative or giant rate.

use model::metrics::{Counters, HostCounters, Pressure, SERIES};

/// The values of one subject at one moment: [`SERIES`] in order, and series per NIC and per mount by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    pub fixed: [Option<f64>; SERIES.len()],
    pub extra: Vec<(String, Option<f64>)>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            fixed: [None; SERIES.len()],
            extra: Vec::new(),
        }
    }
}

impl Values {
    fn set(&mut self, series: &str, value: Option<f64>) {
        if let Some(index) = SERIES.iter().position(|name| *name == series) {
            self.fixed[index] = value;
        }
    }
}

/// A counter's growth per second; `None` before the second look, after a reset, and where nothing is counted.
fn per_second(before: Option<u64>, after: Option<u64>, elapsed_s: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "2^52 bytes a second are beyond any device")]
    after?.checked_sub(before?).filter(|_| elapsed_s > 0.0).map(|grown| grown as f64 / elapsed_s)
}

fn gauge(value: Option<u64>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a graph shows no more than 52 bits")]
    value.map(|value| value as f64)
}

/// Values of a container between two looks `elapsed_s` apart; without an earlier look only the gauges are known.
#[must_use]
pub fn of_container(before: Option<&Counters>, after: &Counters, elapsed_s: f64) -> Values {
    let absent = Counters::default();
    let before = before.unwrap_or(&absent);
    let mut values = Values::default();
    processor(&mut values, before, after, elapsed_s);
    memory(&mut values, after);
    pressure(
        &mut values,
        &[&before.pressure.cpu, &before.pressure.memory, &before.pressure.io],
        &[&after.pressure.cpu, &after.pressure.memory, &after.pressure.io],
        elapsed_s,
    );
    for (series, get) in IO {
        values.set(series, per_second(get(before), get(after), elapsed_s));
    }
    values.set("pids.current", gauge(after.pids.current));
    network(&mut values, before, after, elapsed_s);
    for disk in &after.disk {
        values.extra.push((format!("disk.{}.used", disk.mount), gauge(disk.used_bytes)));
        values.extra.push((format!("disk.{}.inodes", disk.mount), gauge(disk.used_inodes)));
    }
    values
}

type Count = fn(&Counters) -> Option<u64>;

const IO: [(&str, Count); 4] = [
    ("io.read", |counters| counters.io.read_bytes),
    ("io.write", |counters| counters.io.write_bytes),
    ("io.read_ops", |counters| counters.io.read_ops),
    ("io.write_ops", |counters| counters.io.write_ops),
];

fn processor(values: &mut Values, before: &Counters, after: &Counters, elapsed_s: f64) {
    let cores = |before: Option<u64>, after: Option<u64>| per_second(before, after, elapsed_s).map(|usec| usec / 1e6);
    values.set("cpu.usage", cores(before.cpu.usage_usec, after.cpu.usage_usec));
    values.set("cpu.user", cores(before.cpu.user_usec, after.cpu.user_usec));
    values.set("cpu.system", cores(before.cpu.system_usec, after.cpu.system_usec));
    values.set(
        "cpu.throttled_ms",
        per_second(before.cpu.throttled_usec, after.cpu.throttled_usec, elapsed_s).map(|usec| usec / 1e3),
    );
    let throttled = per_second(before.cpu.nr_throttled, after.cpu.nr_throttled, elapsed_s);
    let share = match per_second(before.cpu.nr_periods, after.cpu.nr_periods, elapsed_s) {
        // No period passed: nothing ran, so nothing was held back.
        Some(0.0) => throttled.map(|_| 0.0),
        Some(periods) => throttled.map(|throttled| (throttled / periods).min(1.0)),
        None => None,
    };
    values.set("cpu.throttled", share);
}

fn memory(values: &mut Values, after: &Counters) {
    let memory = &after.memory;
    for (series, value) in [
        ("memory.used", memory.used_bytes),
        ("memory.current", memory.current_bytes),
        ("memory.anon", memory.anon_bytes),
        ("memory.file", memory.file_bytes),
        ("memory.shmem", memory.shmem_bytes),
        ("memory.kernel", memory.kernel_bytes),
        ("memory.swap", memory.swap_bytes),
        ("memory.oom_kills", memory.oom_kills),
    ] {
        values.set(series, gauge(value));
    }
}

fn pressure(values: &mut Values, before: &[&Pressure; 3], after: &[&Pressure; 3], elapsed_s: f64) {
    let share = |before: Option<u64>, after: Option<u64>| per_second(before, after, elapsed_s).map(|usec| (usec / 1e6).min(1.0));
    for (index, resource) in ["cpu", "memory", "io"].into_iter().enumerate() {
        values.set(&format!("pressure.{resource}.some"), share(before[index].some_usec, after[index].some_usec));
        values.set(&format!("pressure.{resource}.full"), share(before[index].full_usec, after[index].full_usec));
    }
}

fn network(values: &mut Values, before: &Counters, after: &Counters, elapsed_s: f64) {
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for nic in &after.net {
        let earlier = before.net.iter().find(|earlier| earlier.nic == nic.nic);
        let rate = |get: fn(&model::metrics::NicCounters) -> Option<u64>| per_second(earlier.and_then(get), get(nic), elapsed_s);
        let (rx, tx) = (rate(|nic| nic.rx_bytes), rate(|nic| nic.tx_bytes));
        received.push(rx);
        sent.push(tx);
        for (what, value) in [
            ("rx", rx),
            ("tx", tx),
            ("rx_packets", rate(|nic| nic.rx_packets)),
            ("tx_packets", rate(|nic| nic.tx_packets)),
            ("rx_dropped", rate(|nic| nic.rx_dropped)),
            ("tx_dropped", rate(|nic| nic.tx_dropped)),
        ] {
            values.extra.push((format!("net.{}.{what}", nic.nic), value));
        }
    }
    values.set("net.rx", received.into_iter().flatten().reduce(|a, b| a + b));
    values.set("net.tx", sent.into_iter().flatten().reduce(|a, b| a + b));
}

/// Values of the host, under the same names where they mean the same.
#[must_use]
pub fn of_host(before: Option<&HostCounters>, after: &HostCounters, elapsed_s: f64) -> Values {
    let absent = HostCounters::default();
    let before = before.unwrap_or(&absent);
    let mut values = Values::default();
    values.set(
        "cpu.usage",
        per_second(before.cpu_usage_usec, after.cpu_usage_usec, elapsed_s).map(|usec| usec / 1e6),
    );
    values.set("memory.used", gauge(after.memory_used_bytes));
    values.set("memory.swap", gauge(after.swap_used_bytes));
    values.set("net.rx", per_second(before.net_rx_bytes, after.net_rx_bytes, elapsed_s));
    values.set("net.tx", per_second(before.net_tx_bytes, after.net_tx_bytes, elapsed_s));
    values.set("io.read", per_second(before.io_read_bytes, after.io_read_bytes, elapsed_s));
    values.set("io.write", per_second(before.io_write_bytes, after.io_write_bytes, elapsed_s));
    values.set("pids.current", gauge(after.processes));
    pressure(
        &mut values,
        &[&before.pressure.cpu, &before.pressure.memory, &before.pressure.io],
        &[&after.pressure.cpu, &after.pressure.memory, &after.pressure.io],
        elapsed_s,
    );
    values.extra.push(("memory.total".into(), gauge(after.memory_total_bytes)));
    values.extra.push(("cpu.cores".into(), Some(f64::from(after.cpus))));
    values.extra.push(("disk./.used".into(), gauge(after.disk_used_bytes)));
    values.extra.push(("disk./.total".into(), gauge(after.disk_total_bytes)));
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::metrics::{CpuCounters, NicCounters};

    fn series(values: &Values, name: &str) -> Option<f64> {
        values.fixed[SERIES.iter().position(|series| *series == name).unwrap()]
    }

    fn with_cpu(usage_usec: u64) -> Counters {
        Counters {
            cpu: CpuCounters {
                usage_usec: Some(usage_usec),
                ..CpuCounters::default()
            },
            ..Counters::default()
        }
    }

    #[test]
    fn a_late_tick_divides_by_the_time_that_passed() {
        let values = of_container(Some(&with_cpu(1_000_000)), &with_cpu(4_000_000), 2.0);
        assert_eq!(series(&values, "cpu.usage"), Some(1.5));
    }

    #[test]
    fn a_counter_that_went_backwards_is_a_gap() {
        let values = of_container(Some(&with_cpu(5)), &with_cpu(4), 1.0);
        assert_eq!(series(&values, "cpu.usage"), None);
    }

    #[test]
    fn before_the_second_look_there_is_no_rate() {
        assert_eq!(series(&of_container(None, &with_cpu(5), 1.0), "cpu.usage"), None);
    }

    #[test]
    fn throttling_is_a_share_of_periods() {
        let at = |throttled, periods| Counters {
            cpu: CpuCounters {
                nr_throttled: Some(throttled),
                nr_periods: Some(periods),
                ..CpuCounters::default()
            },
            ..Counters::default()
        };
        assert_eq!(series(&of_container(Some(&at(0, 0)), &at(5, 10), 1.0), "cpu.throttled"), Some(0.5));
        assert_eq!(series(&of_container(Some(&at(5, 10)), &at(5, 10), 1.0), "cpu.throttled"), Some(0.0));
    }

    #[test]
    fn nics_are_told_apart_and_summed() {
        let at = |first, second| Counters {
            net: vec![
                NicCounters {
                    nic: "eth0".into(),
                    rx_bytes: Some(first),
                    ..NicCounters::default()
                },
                NicCounters {
                    nic: "eth1".into(),
                    rx_bytes: Some(second),
                    ..NicCounters::default()
                },
            ],
            ..Counters::default()
        };
        let values = of_container(Some(&at(0, 0)), &at(100, 50), 1.0);
        assert_eq!(series(&values, "net.rx"), Some(150.0));
        assert!(values.extra.contains(&("net.eth1.rx".into(), Some(50.0))));
    }
}
