//! The limits of a container as text fields, and back as the changes that were typed. The rules are those of
//! `model::limits`, so browser, server and command line cannot differ.

use model::Limits;
use model::limits::{DEFAULT_CPU_WEIGHT, DEFAULT_PIDS};

/// The keys in the order of the form: the long flags of `berth create`.
pub const KEYS: [&str; 10] = [
    "cpus",
    "cpu-weight",
    "cpuset",
    "memory",
    "memory-high",
    "swap",
    "pids",
    "io-read",
    "io-write",
    "disk",
];

/// What a field shows for a limit; empty = unlimited.
#[must_use]
pub fn text_of(limits: &Limits, key: &str) -> String {
    match key {
        "cpus" => limits.cpus.map(model::number::plain),
        "cpu-weight" => limits.cpu_weight.map(|weight| weight.to_string()),
        "cpuset" => limits.cpuset.clone(),
        "memory" => limits.memory_bytes.map(size),
        "memory-high" => limits.memory_high_bytes.map(size),
        "swap" => limits.swap_bytes.map(size),
        "pids" => limits.pids.map(|pids| pids.to_string()),
        "io-read" => limits.io_read_bps.map(size),
        "io-write" => limits.io_write_bps.map(size),
        "disk" => limits.disk_bytes.map(size),
        _ => None,
    }
    .unwrap_or_default()
}

/// A size as a person would type it: in the largest unit that leaves no fraction.
fn size(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = units.into_iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// What a field means to the server: an empty one takes the limit away.
#[must_use]
pub fn value_of(typed: &str) -> String {
    let typed = typed.trim();
    if typed.is_empty() { "none".to_owned() } else { typed.to_owned() }
}

/// What is wrong with a typed value, by the shared rules.
#[must_use]
pub fn error_of(key: &str, typed: &str) -> Option<String> {
    Limits::default().set(key, &value_of(typed)).err().map(|error| error.message)
}

/// The changes that were typed, as KEY=VALUE pairs of an update.
#[must_use]
pub fn changes(limits: &Limits, typed: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let changed = KEYS.into_iter().filter(|key| typed(key).trim() != text_of(limits, key));
    changed.map(|key| (key.to_owned(), value_of(&typed(key)))).collect()
}

/// The value that a field falls back to when it is emptied, for its placeholder.
#[must_use]
pub fn placeholder(key: &str) -> Option<String> {
    match key {
        "cpu-weight" => Some(DEFAULT_CPU_WEIGHT.to_string()),
        "pids" => Some(DEFAULT_PIDS.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_typed_is_changed() {
        let limits = Limits {
            memory_bytes: Some(512 << 20),
            ..Limits::default()
        };
        let same = changes(&limits, |key| text_of(&limits, key));
        assert!(same.is_empty(), "{same:?}");
        let typed = |key: &str| if key == "memory" { "1G".to_owned() } else { text_of(&limits, key) };
        assert_eq!(changes(&limits, typed), [("memory".to_owned(), "1G".to_owned())]);
        let emptied = |key: &str| if key == "memory" { " ".to_owned() } else { text_of(&limits, key) };
        assert_eq!(changes(&limits, emptied), [("memory".to_owned(), "none".to_owned())]);
    }

    #[test]
    fn sizes_read_back_as_they_were() {
        for bytes in [0, 1, 1536, 512 << 20, 3 << 29, 2 << 30] {
            assert_eq!(model::limits::parse_size(&size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn a_wrong_value_is_told_beside_its_field() {
        assert!(error_of("memory", "12 bananas").is_some());
        assert!(error_of("memory", "").is_none());
        assert!(error_of("cpus", "0.5").is_none());
    }
}
