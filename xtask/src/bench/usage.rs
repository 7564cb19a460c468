//! What processes use, from /proc.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::shell::{command, read};

/// User and system time of a process, threads that have ended included, in seconds. The kernel scales it to what the
/// scheduler counted, so that it is right to a tick of 10 ms over any time.
pub fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u32>().ok()).context("proc_pid_stat(5)");
    Ok(f64::from(field(11)? + field(12)?) / 100.0)
}

/// What the threads of a process have computed, by name, in seconds.
pub fn threads_s(pid: u32) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = entry?.path();
        // One that ends just now is no longer there.
        let (Ok(name), Ok(stat)) = (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("schedstat"))) else {
            continue;
        };
        let ns: f64 = stat.split_whitespace().next().and_then(|text| text.parse().ok()).context("schedstat")?;
        *threads.entry(name.trim().to_owned()).or_insert(0.0) += ns / 1e9;
    }
    Ok(threads)
}

/// Bytes that a process caused to be written to a disk (proc_pid_io(5)), in whole pages.
pub fn written_bytes(pid: u32) -> anyhow::Result<f64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).context("proc_pid_io(5)")?;
    Ok(line.trim().parse()?)
}

/// Resident memory of a process in MB.
pub fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    megabytes(&std::fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:").context("proc_pid_status(5)")
}

/// How many processes have this in their command lines and begin with this name, and their proportional memory in MB.
pub fn pss_mb(in_command_line: &str, name: &str) -> anyhow::Result<(u32, f64)> {
    let (mut count, mut sum) = (0, 0.0);
    for pid in read(&mut command("pgrep", ["--full", "--", in_command_line]))?
        .lines()
        .filter_map(|line| line.parse::<u32>().ok())
    {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        if let (true, Some(pss)) = (comm.starts_with(name), megabytes(&rollup, "Pss:")) {
            count += 1;
            sum += pss;
        }
    }
    Ok((count, sum))
}

fn megabytes(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::megabytes;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(megabytes("VmPeak:\t  100 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2.097_152));
        assert_eq!(megabytes("VmPeak:\t  100 kB\n", "VmRSS:"), None);
    }
}
