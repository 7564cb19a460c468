//! Beside Docker: its forward policy is to drop, and no table of ours can undo another's drop. In the chain that Docker
//! leaves to its neighbours, DOCKER-USER, each bridge has one marked pair of rules.

use std::process::{Command, Output, Stdio};

use super::link;
use crate::error::{At, Error, Result};

const CHAIN: &str = "DOCKER-USER";
const FAMILIES: [Family; 2] = [
    Family {
        program: "iptables",
        hooks: 2,
        legacy: "/proc/thread-self/net/ip_tables_names",
    },
    Family {
        program: "ip6tables",
        hooks: 10,
        legacy: "/proc/thread-self/net/ip6_tables_names",
    },
];

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug)]
struct Family {
    program: &'static str,
    hooks: u8,
    /// Where the kernel names the tables of the iptables before nf_tables.
    legacy: &'static str,
}

/// Adds what is missing, in both families, where Docker has its chain. Cheap to repeat: Docker may have been restarted.
///
/// # Errors
/// iptables refuses.
pub fn apply(bridge: &str) -> Result<()> {
    let mut first = Ok(());
    for family in FAMILIES {
        let Some(rules) = chain(family)? else { continue };
        for direction in ["-i", "-o"].iter().filter(|direction| !has(&rules, bridge, direction)) {
            first = first.and(change(family.program, "-I", bridge, direction));
        }
    }
    first
}

/// Removes the bridge's rules; those that are not there are removed already.
///
/// # Errors
/// iptables refuses.
pub fn remove(bridge: &str) -> Result<()> {
    let mut first = Ok(());
    for family in FAMILIES {
        let Some(rules) = chain(family)? else { continue };
        for direction in ["-i", "-o"] {
            let count = rules.lines().filter(|line| is_ours(line, bridge, direction)).count();
            for _ in 0..count {
                first = first.and(change(family.program, "-D", bridge, direction));
            }
        }
    }
    first
}

/// Whether Docker has its chain here: it needs forwarding too.
#[must_use]
pub fn is_here() -> bool {
    FAMILIES.into_iter().any(|family| chain(family).is_ok_and(|rules| rules.is_some()))
}

/// The rules of Docker's chain; `None` without iptables or without the chain.
fn chain(family: Family) -> Result<Option<String>> {
    if !may_be_there(family) {
        return Ok(None);
    }
    let program = family.program;
    match run(program, &["-S", CHAIN]) {
        Ok(output) if output.status.success() => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read Docker's chain", &format!("{program} -w -S {CHAIN}")),
    }
}

/// Asked of the kernel, which takes a hundredth of what iptables takes. Where it does not say, iptables shall.
fn may_be_there(family: Family) -> bool {
    let is_in_nf_tables = link::has_chain(family.hooks, "filter", CHAIN).unwrap_or(true);
    is_in_nf_tables
        || match std::fs::read_to_string(family.legacy) {
            Ok(tables) => tables.lines().any(|table| table == "filter"),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
}

fn run(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    // -w: wait for others that change rules at this moment.
    Command::new(program).arg("-w").args(arguments).stdin(Stdio::null()).output()
}

fn mark(bridge: &str) -> String {
    format!("berth:{bridge}")
}

fn has(rules: &str, bridge: &str, direction: &str) -> bool {
    rules.lines().any(|line| is_ours(line, bridge, direction))
}

/// `-A DOCKER-USER -i berth0 -m comment --comment "berth:berth0" -j ACCEPT`: iptables quotes only where it must.
fn is_ours(line: &str, bridge: &str, direction: &str) -> bool {
    let words: Vec<&str> = line.split(' ').map(|word| word.trim_matches('"')).collect();
    let follows = |option: &str, value: &str| words.windows(2).any(|pair| pair == [option, value]);
    follows(direction, bridge) && follows("--comment", &mark(bridge)) && follows("-j", "ACCEPT")
}

fn change(program: &str, verb: &str, bridge: &str, direction: &str) -> Result<()> {
    let step = "let the containers' traffic pass Docker";
    let mark = mark(bridge);
    let arguments = [verb, CHAIN, direction, bridge, "-m", "comment", "--comment", &mark, "-j", "ACCEPT"];
    let call = format!("{program} -w {}", arguments.join(" "));
    let output = run(program, &arguments).at(step, &call)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::failed(step, format!("{call}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_rules_of_this_bridge_are_ours() {
        let rules = "-N DOCKER-USER\n\
                     -A DOCKER-USER -o berth0 -m comment --comment \"berth:berth0\" -j ACCEPT\n\
                     -A DOCKER-USER -i berth1 -m comment --comment berth:berth1 -j ACCEPT\n\
                     -A DOCKER-USER -i berth0 -j ACCEPT\n\
                     -A DOCKER-USER -j RETURN\n";
        assert!(has(rules, "berth0", "-o"));
        assert!(!has(rules, "berth0", "-i"));
        assert!(has(rules, "berth1", "-i"));
        assert!(!has(rules, "berth", "-o"));
    }
}
