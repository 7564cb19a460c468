//! Writes down what was found: the targets and whether they are met, all measures, and what many containers cost. What
//! people wrote about the numbers, from [`BY_HAND`] on, is kept.

use super::{Cost, Measure, quantile};
use crate::shell::{command, read};

pub const LIST: &str = "list, p50 of 20";
pub const SUPERVISOR: &str = "shim or monitor, PSS each";
pub const RESIDENT: &str = "console or daemon, resident";
pub const IDLE: &str = "idle console, sampling at 1 Hz";
pub const WRITTEN: &str = "console, written to the disk";

const CREATE: &str = "create from a Debian 12 template";
const START: &str = "start to init's exec, busybox";
const START_BY_REST: &str = "start by REST to init's exec, busybox";

const BY_HAND: &str = "## What the numbers mean";

/// All that a run found.
#[derive(Debug, Default)]
pub struct Findings {
    pub rounds: u32,
    pub load: String,
    pub measures: Vec<Measure>,
    pub costs: Vec<(&'static str, Cost)>,
    pub notes: Vec<String>,
}

impl Findings {
    fn p50(&self, what: &str, who: &str) -> Option<f64> {
        let measure = self.measures.iter().find(|measure| measure.what == what && measure.who == who)?;
        Some(quantile(&measure.ms, 0.5))
    }

    fn cost(&self, what: &str, who: &str) -> Option<f64> {
        let (_, cost) = self.costs.iter().find(|(other, cost)| cost.what == what && *other == who)?;
        Some(cost.value)
    }

    fn ratio(&self, what: &str, who: &str) -> Option<f64> {
        Some(self.p50(what, "berth")? / self.p50(what, who)?)
    }
}

/// The whole document.
pub fn write(findings: &Findings, before: &str) -> String {
    let mut lines = head(findings);
    lines.extend(targets(findings));
    lines.extend(measures(findings));
    lines.extend(costs(findings));
    lines.extend(findings.notes.iter().map(|note| format!("\n{note}")));
    lines.push(format!("\n{}", by_hand(before)));
    lines.join("\n")
}

fn by_hand(before: &str) -> String {
    let kept = before.find(BY_HAND).and_then(|start| before.get(start..));
    kept.map_or_else(|| format!("{BY_HAND}\n"), str::to_owned)
}

fn head(findings: &Findings) -> Vec<String> {
    let kernel = read(&mut command("uname", ["-r"])).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let has_fast_groups = read(&mut command("cat", ["/proc/mounts"])).is_ok_and(|mounts| mounts.contains("favordynmods"));
    vec![
        "# Benchmarks\n".to_owned(),
        "Made by `cargo xtask bench`: all programs in one run on one machine, interleaved round by round, 300 ms of quiet before".to_owned(),
        "each step. Berth is a release build; the peers are Debian's packages, and newer versions of them may be faster.\n".to_owned(),
        format!(
            "Linux {}, {cpus} CPUs, load at the start {}, favordynmods {}, {} rounds with a busybox guest, {} with Debian 12. {}.",
            kernel.trim(),
            findings.load.split_whitespace().next().unwrap_or("?"),
            if has_fast_groups { "on" } else { "off" },
            findings.rounds,
            findings.rounds.div_ceil(2),
            versions().join(", "),
        ),
    ]
}

fn versions() -> Vec<String> {
    let version = |package: &&str| {
        let version = read(&mut command("dpkg-query", ["--show", "--showformat=${Version}", package])).ok()?;
        Some(format!("{package} {version}"))
    };
    ["incus-base", "lxc", "runc"].iter().filter_map(version).collect()
}

/// A target: what it says, what was measured, the limit, the unit.
type Target = (&'static str, Option<f64>, f64, &'static str);

fn targets(findings: &Findings) -> Vec<String> {
    let rows: [Target; 8] = [
        ("create from a Debian 12 template, p50", findings.p50(CREATE, "berth"), 50.0, " ms"),
        ("create, part of `incus init`", findings.ratio(CREATE, "incus"), 1.0 / 20.0, ""),
        ("start, request to init's exec, p50", findings.p50(START_BY_REST, "berth"), 20.0, " ms"),
        (
            "start by command line to init's exec, part of `lxc-start`",
            findings.ratio(START, "lxc"),
            1.0,
            "",
        ),
        ("console with 100 containers, resident", findings.cost(RESIDENT, "berth"), 60.0, " MB"),
        ("idle console with 100 containers at 1 Hz", findings.cost(IDLE, "berth"), 1.0, " % of one core"),
        ("written to the disk with 100 containers, a minute", findings.cost(WRITTEN, "berth"), 1.0, " MB"),
        ("shim, PSS", findings.cost(SUPERVISOR, "berth"), 0.5, " MB"),
    ];
    let mut lines = vec!["\n## Targets\n\n| target | at most | measured | |\n|---|---|---|---|".to_owned()];
    lines.extend(rows.into_iter().map(|(what, measured, most, unit)| {
        let Some(measured) = measured else {
            return format!("| {what} | {most}{unit} | not measured | |");
        };
        let verdict = if measured <= most { "met" } else { "**missed**" };
        format!("| {what} | {most}{unit} | {}{unit} | {verdict} |", digits(measured))
    }));
    lines
}

fn measures(findings: &Findings) -> Vec<String> {
    let mut lines = vec!["\n## Times\n\nMilliseconds.\n\n| step | program | min | p50 | p95 | Berth takes |\n|---|---|---|---|---|---|".to_owned()];
    let mut rows: Vec<&Measure> = findings.measures.iter().collect();
    let place = |what: &str| findings.measures.iter().position(|measure| measure.what == what);
    // Stable: within a step the order of the programs stays.
    rows.sort_by_key(|measure| place(measure.what));
    lines.extend(rows.into_iter().map(|measure| {
        let [min, p50, p95] = [0.0, 0.5, 0.95].map(|share| quantile(&measure.ms, share));
        let ratio = match findings.ratio(measure.what, measure.who) {
            Some(ratio) if measure.who != "berth" => format!("{} of it", digits(ratio)),
            _ => String::new(),
        };
        format!("| {} | {} | {min:.1} | {p50:.1} | {p95:.1} | {ratio} |", measure.what, measure.who)
    }));
    lines
}

fn costs(findings: &Findings) -> Vec<String> {
    let mut lines = vec!["\n## 100 running busybox containers\n\n| | program | |\n|---|---|---|".to_owned()];
    let mut rows: Vec<&(&str, Cost)> = findings.costs.iter().collect();
    let place = |what: &str| findings.costs.iter().position(|(_, cost)| cost.what == what);
    rows.sort_by_key(|(_, cost)| place(cost.what));
    lines.extend(
        rows.into_iter()
            .map(|(who, cost)| format!("| {} | {who} | {} {} |", cost.what, digits(cost.value), cost.unit)),
    );
    lines
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(what: &'static str, who: &'static str, ms: f64) -> Measure {
        Measure { what, who, ms: vec![ms] }
    }

    #[test]
    fn a_missed_target_is_said_and_what_people_wrote_is_kept() {
        let findings = Findings {
            measures: vec![measure(CREATE, "berth", 30.0), measure(CREATE, "incus", 300.0)],
            ..Findings::default()
        };
        let text = write(&findings, "old numbers\n## What the numbers mean\n\nBecause.\n");
        assert!(text.contains("| create from a Debian 12 template, p50 | 50 ms | 30.0 ms | met |"), "{text}");
        assert!(text.contains("| create, part of `incus init` | 0.05 | 0.100 | **missed** |"), "{text}");
        assert!(text.contains("| start, request to init's exec, p50 | 20 ms | not measured | |"), "{text}");
        assert!(
            text.contains("0.100 of it") && text.ends_with("## What the numbers mean\n\nBecause.\n"),
            "{text}"
        );
        assert!(!text.contains("old numbers"));
    }
}
