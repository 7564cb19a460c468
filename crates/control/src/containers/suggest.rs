//! A good name for a container that nobody named: an adjective and a place of the sea.

const FIRST: [&str; 48] = [
    "able", "amber", "azure", "bold", "brave", "bright", "brisk", "broad", "calm", "civil", "clear", "coral", "crisp", "deep", "early", "easy", "fair", "fine",
    "firm", "fleet", "fresh", "gentle", "glad", "grand", "green", "happy", "keen", "kind", "late", "lively", "lucky", "merry", "mild", "neat", "noble",
    "north", "plain", "proud", "quick", "quiet", "rapid", "ready", "silver", "sound", "steady", "still", "sunny", "warm",
];

const SECOND: [&str; 48] = [
    "anchor", "basin", "bay", "beacon", "boom", "bow", "breeze", "brig", "buoy", "canal", "cape", "cargo", "channel", "cliff", "cove", "crane", "current",
    "delta", "dock", "dune", "ferry", "fjord", "gull", "harbor", "haven", "helm", "inlet", "island", "jetty", "keel", "lagoon", "lock", "mast", "mole",
    "mooring", "pier", "port", "quay", "reef", "river", "sail", "shoal", "shore", "skiff", "sound", "strait", "tide", "wharf",
];

/// A name that is free, from 8 random bytes; with a number behind it when chance finds none.
#[must_use]
pub fn name(random: [u8; 8], is_taken: impl Fn(&str) -> bool) -> String {
    let seed = u64::from_le_bytes(random);
    let pairs = FIRST.len() * SECOND.len();
    let start = usize::try_from(seed % pairs as u64).unwrap_or(0);
    let pair = |n: usize| format!("{}-{}", FIRST[n % pairs / SECOND.len()], SECOND[n % SECOND.len()]);
    // 37 is coprime to the number of pairs: every pair is tried once, and neighbours do not look alike.
    let found = (0..pairs).map(|n| pair((start + n * 37) % pairs)).find(|name| !is_taken(name));
    let numbered = || (2..u32::MAX).map(|n| format!("{}-{n}", pair(start))).find(|name| !is_taken(name));
    found.or_else(numbered).unwrap_or_else(|| pair(start))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::ContainerName;

    use super::*;

    #[test]
    fn every_pair_is_a_name_and_comes_once() {
        let mut names = BTreeSet::new();
        while names.len() < FIRST.len() * SECOND.len() {
            let next = name([7; 8], |name| names.contains(name));
            assert!(next.parse::<ContainerName>().is_ok(), "{next}");
            assert!(names.insert(next));
        }
    }

    #[test]
    fn a_full_list_gets_numbers() {
        let name = name([0; 8], |name| name.matches('-').count() == 1);
        assert!(name.ends_with("-2"), "{name}");
    }
}
