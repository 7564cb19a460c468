//! What a container may use, and how people write it: sizes, rates, CPU lists.

use serde::{Deserialize, Serialize};

/// Processes allowed in a container unless something else was asked for.
pub const DEFAULT_PIDS: u64 = 8192;
/// CPU weight unless something else was asked for (cgroup v2 scale, 1 to 10000).
pub const DEFAULT_CPU_WEIGHT: u32 = 100;

/// Limits of one container; `None` = unlimited (`cpuset`: not asked for; `cpu_weight`: 100).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Limits {
    /// CPU quota in cores; fractions too.
    pub cpus: Option<f64>,
    /// Share under contention, 1 to 10000.
    pub cpu_weight: Option<u32>,
    /// CPUs by number as a list such as `0,2-3`.
    pub cpuset: Option<String>,
    pub memory_bytes: Option<u64>,
    pub memory_high_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub pids: Option<u64>,
    pub io_read_bps: Option<u64>,
    pub io_write_bps: Option<u64>,
    pub disk_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpus: None,
            cpu_weight: Some(DEFAULT_CPU_WEIGHT),
            cpuset: None,
            memory_bytes: None,
            memory_high_bytes: None,
            swap_bytes: None,
            pids: Some(DEFAULT_PIDS),
            io_read_bps: None,
            io_write_bps: None,
            disk_bytes: None,
        }
    }
}

/// Why a limit is refused: which one, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct LimitError {
    /// The flag without its dashes, for example `memory`.
    pub field: &'static str,
    pub message: String,
}

impl LimitError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// The smallest memory limit that an init survives.
pub const MIN_MEMORY_BYTES: u64 = 16 << 20;

impl Limits {
    /// Changes one limit by the name of its `create` flag; `none` means unlimited (of the weight: 100 again).
    ///
    /// # Errors
    /// The key is not a limit, or the value does not parse or lies outside its range.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), LimitError> {
        let none = value == "none";
        let size = |field: &'static str| -> Result<Option<u64>, LimitError> {
            if none {
                Ok(None)
            } else {
                parse_size(value).map(Some).map_err(|message| LimitError::new(field, message))
            }
        };
        match key {
            "cpus" => self.cpus = if none { None } else { Some(parse_cpus(value)?) },
            "cpu-weight" => self.cpu_weight = Some(if none { DEFAULT_CPU_WEIGHT } else { parse_weight(value)? }),
            "cpuset" => self.cpuset = if none { None } else { Some(normal_cpu_list(value)?) },
            "memory" => self.memory_bytes = size("memory")?,
            "memory-high" => self.memory_high_bytes = size("memory-high")?,
            "swap" => self.swap_bytes = size("swap")?,
            "pids" => self.pids = if none { None } else { Some(parse_pids(value)?) },
            "io-read" => self.io_read_bps = size("io-read")?,
            "io-write" => self.io_write_bps = size("io-write")?,
            "disk" => self.disk_bytes = size("disk")?,
            _ => return Err(LimitError::new("key", format!("`{key}` is not a limit"))),
        }
        self.check()
    }

    /// Judges the limits as a whole, whichever way they came in.
    ///
    /// # Errors
    /// Names the first limit that is out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        if let Some(cpus) = self.cpus
            && !(cpus.is_finite() && (0.01..=8192.0).contains(&cpus))
        {
            return Err(LimitError::new("cpus", "a CPU limit lies between 0.01 and 8192 cores"));
        }
        if let Some(weight) = self.cpu_weight
            && !(1..=10_000).contains(&weight)
        {
            return Err(LimitError::new("cpu-weight", "a CPU weight lies between 1 and 10000; 100 is normal"));
        }
        if let Some(list) = &self.cpuset {
            parse_cpu_list(list)?;
        }
        for (field, bytes) in [("memory", self.memory_bytes), ("memory-high", self.memory_high_bytes)] {
            if bytes.is_some_and(|bytes| bytes < MIN_MEMORY_BYTES) {
                return Err(LimitError::new(field, "a container needs at least 16M of memory"));
            }
        }
        if self.pids == Some(0) {
            return Err(LimitError::new("pids", "a container needs at least 1 process"));
        }
        for (field, bps) in [("io-read", self.io_read_bps), ("io-write", self.io_write_bps)] {
            if bps == Some(0) {
                return Err(LimitError::new(field, "a rate of 0 would stop all IO; use `none` for no limit"));
            }
        }
        Ok(())
    }
}

fn parse_cpus(text: &str) -> Result<f64, LimitError> {
    let parsed = crate::number::decimal(text).filter(|cpus| *cpus > 0.0);
    parsed.ok_or_else(|| LimitError::new("cpus", format!("`{text}` is not a number of cores such as 2 or 0.5")))
}

fn parse_weight(text: &str) -> Result<u32, LimitError> {
    text.parse()
        .map_err(|_| LimitError::new("cpu-weight", format!("`{text}` is not a weight from 1 to 10000")))
}

fn parse_pids(text: &str) -> Result<u64, LimitError> {
    text.parse()
        .map_err(|_| LimitError::new("pids", format!("`{text}` is not a number of processes")))
}

/// Parses a CPU list (`0,2-3`) into ascending CPU numbers without repeats.
///
/// # Errors
/// The text is empty, not a list, or names a CPU above 8191.
pub fn parse_cpu_list(text: &str) -> Result<Vec<u32>, LimitError> {
    let refuse = || LimitError::new("cpuset", format!("`{text}` is not a list of CPUs such as 0,2-3"));
    let mut cpus = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| -> Result<u32, LimitError> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten().filter(|&cpu| cpu < 8192).ok_or_else(refuse)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refuse());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus.into_iter().collect())
}

/// Writes ascending CPU numbers as the kernel does (`0,2-3`).
#[must_use]
pub fn format_cpu_list(cpus: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < cpus.len() {
        let mut end = at;
        while end + 1 < cpus.len() && cpus[end + 1] == cpus[end] + 1 {
            end += 1;
        }
        parts.push(if end == at {
            cpus[at].to_string()
        } else {
            format!("{}-{}", cpus[at], cpus[end])
        });
        at = end + 1;
    }
    parts.join(",")
}

fn normal_cpu_list(text: &str) -> Result<String, LimitError> {
    Ok(format_cpu_list(&parse_cpu_list(text)?))
}

/// Parses a SIZE in bytes: plain bytes, `512M`, `2GiB` (powers of 1024), `10MB` (powers of 1000); fractions too (`1.5G`).
///
/// # Errors
/// Says what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a size such as 512M, 2GiB or 1000000");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        "T" | "t" | "TiB" => 1 << 40,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(refuse()),
    };
    let Some((whole, fraction)) = number.split_once('.') else {
        return number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refuse);
    };
    if factor == 1 || fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse());
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| refuse())?);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| refuse())? };
    let fraction: u128 = fraction.parse().map_err(|_| refuse())?;
    let bytes = (whole * scale + fraction).checked_mul(u128::from(factor)).ok_or_else(refuse)? / scale;
    u64::try_from(bytes).map_err(|_| refuse())
}

/// Parses BITS per second in powers of 1000: `50M` is 50 Mbit/s.
///
/// # Errors
/// Says what a rate looks like.
pub fn parse_bits(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a rate in bits per second such as 50M");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "K" | "k" => 1000,
        "M" | "m" => 1_000_000,
        "G" | "g" => 1_000_000_000,
        _ => return Err(refuse()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512M", 512 << 20),
            ("2GiB", 2 << 30),
            ("10MB", 10_000_000),
            ("4096", 4096),
            ("1.5G", 3 << 29),
            ("0", 0),
            ("1K", 1024),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "-1", "1X", "1.5", "1.M", "99999999999T", "1e9", "0x10"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bits_are_powers_of_thousand() {
        assert_eq!(parse_bits("50M"), Ok(50_000_000));
        assert!(parse_bits("50MB").is_err());
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0,2-3,2").unwrap(), [0, 2, 3]);
        assert_eq!(format_cpu_list(&[0, 2, 3, 4, 7]), "0,2-4,7");
        for bad in ["", ",", "3-1", "a", "0-", "9999", "+1"] {
            assert!(parse_cpu_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn none_means_unlimited_and_the_weight_is_100_again() {
        let mut limits = Limits {
            memory_bytes: Some(1 << 30),
            cpu_weight: Some(7),
            ..Limits::default()
        };
        limits.set("memory", "none").unwrap();
        limits.set("cpu-weight", "none").unwrap();
        assert_eq!((limits.memory_bytes, limits.cpu_weight), (None, Some(100)));
    }

    #[test]
    fn limits_out_of_range_name_their_flag() {
        for (key, value) in [
            ("cpus", "0"),
            ("cpus", "NaN"),
            ("memory", "1M"),
            ("pids", "0"),
            ("cpu-weight", "10001"),
            ("io-read", "0"),
            ("nope", "1"),
        ] {
            let error = Limits::default().set(key, value).unwrap_err();
            assert!(error.field == key || error.field == "key", "{error}");
        }
    }
}
