//! Sizes that fit most containers, so that nobody has to invent numbers.

use model::Limits;
use model::engine::HostReport;
use model::limits::parse_size;

use super::limits::{KEYS, text_of};

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    pub key: &'static str,
    pub cpus: u32,
    pub memory: &'static str,
    pub disk: &'static str,
}

/// From small to large.
pub const PRESETS: [Preset; 3] = [
    Preset {
        key: "small",
        cpus: 1,
        memory: "512M",
        disk: "4G",
    },
    Preset {
        key: "medium",
        cpus: 2,
        memory: "2G",
        disk: "16G",
    },
    Preset {
        key: "large",
        cpus: 4,
        memory: "8G",
        disk: "32G",
    },
];
/// No limit but the defaults: an explicit choice.
pub const UNLIMITED: &str = "unlimited";
/// Something typed by hand.
pub const CUSTOM: &str = "custom";

impl Preset {
    /// What it writes into a field of the limits; `None` = it leaves the default.
    #[must_use]
    pub fn value(&self, key: &str, has_disk_limits: bool) -> Option<String> {
        match key {
            "cpus" => Some(self.cpus.to_string()),
            "memory" => Some(self.memory.to_owned()),
            "disk" if has_disk_limits => Some(self.disk.to_owned()),
            _ => None,
        }
    }

    /// Whether the host has that much; an unknown host has.
    #[must_use]
    pub fn fits(&self, host: Option<&HostReport>) -> bool {
        host.is_none_or(|host| self.cpus <= host.cpus && parse_size(self.memory).is_ok_and(|memory| memory <= host.memory_bytes))
    }
}

/// The texts that a choice puts into the fields of the limits.
#[must_use]
pub fn values(choice: &str, has_disk_limits: bool) -> Vec<(&'static str, String)> {
    let preset = PRESETS.iter().find(|preset| preset.key == choice);
    let text = |key: &'static str| {
        preset
            .and_then(|preset| preset.value(key, has_disk_limits))
            .unwrap_or_else(|| text_of(&Limits::default(), key))
    };
    KEYS.into_iter().map(|key| (key, text(key))).collect()
}

/// Which choice the fields stand for now.
#[must_use]
pub fn choice_of(typed: impl Fn(&str) -> String, has_disk_limits: bool) -> &'static str {
    let is = |choice: &str| values(choice, has_disk_limits).into_iter().all(|(key, text)| typed(key).trim() == text);
    let named = PRESETS.iter().map(|preset| preset.key).chain([UNLIMITED]);
    named.into_iter().find(|choice| is(choice)).unwrap_or(CUSTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_recognised_by_what_it_writes() {
        for choice in ["small", "medium", "large", UNLIMITED] {
            for has_disk_limits in [true, false] {
                let written = values(choice, has_disk_limits);
                let typed = |key: &str| {
                    written
                        .iter()
                        .find(|(field, _)| *field == key)
                        .map(|(_, text)| text.clone())
                        .unwrap_or_default()
                };
                assert_eq!(choice_of(typed, has_disk_limits), choice);
            }
        }
        assert_eq!(choice_of(|key| if key == "cpus" { "3".to_owned() } else { String::new() }, true), CUSTOM);
    }

    #[test]
    fn every_preset_passes_the_rules() {
        for preset in PRESETS {
            let mut limits = Limits::default();
            for (key, text) in values(preset.key, true) {
                limits.set(key, &crate::forms::limits::value_of(&text)).unwrap();
            }
        }
    }
}
