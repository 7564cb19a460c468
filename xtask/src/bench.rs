//! Measures Berth beside runc, LXC and Incus, interleaved in one run on this machine, and writes docs/benchmarks.md.

use std::time::{Duration, Instant};

use crate::build::{self, Profile};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command, read};
use crate::{images, static_server};

mod berth;
mod peers;

/// One thing that is measured, in milliseconds, oldest first.
#[derive(Debug)]
pub struct Measure {
    pub what: &'static str,
    pub who: &'static str,
    pub ms: Vec<f64>,
}

/// One thing that is measured; takes the round's number.
pub type Verb = Box<dyn FnMut(u32) -> anyhow::Result<()>>;

/// A program under test with its verbs; each takes the round's number and returns after the work is done.
pub struct Subject {
    pub who: &'static str,
    pub verbs: Vec<(&'static str, Verb)>,
    /// Ends the subject and removes what it made.
    pub end: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

/// Runs all measures and writes the document.
///
/// # Errors
/// Berth itself fails; a peer that is not there is named in the document instead.
pub fn bench(rounds: u32) -> anyhow::Result<()> {
    set_up(Scope::Tests)?;
    peers::install();
    let tree = images::tree()?;
    let address = static_server::start(tree.clone())?;
    let binary = build::build(Profile::Release)?;
    let folder = std::env::temp_dir().join(format!("berth-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let quiet = read(&mut command("cat", ["/proc/loadavg"]))?;

    let console = berth::Console::start(&binary, &folder, &format!("http://{address}"))?;
    let mut notes = Vec::new();
    let mut subjects = vec![console.subject()];
    for peer in [peers::incus(&tree, &folder), peers::lxc(&tree, &folder), peers::runc(&folder)] {
        match peer {
            Ok(subject) => subjects.push(subject),
            Err(error) => notes.push(format!("Not measured: {error:#}.")),
        }
    }
    let measures = interleave(&mut subjects, rounds)?;
    announce("measure the console with 100 containers");
    let scale = console.scale(100)?;
    for subject in subjects {
        if let Err(error) = (subject.end)() {
            notes.push(format!("{} left something behind: {error:#}.", subject.who));
        }
    }
    console.end()?;
    std::fs::remove_dir_all(&folder)?;
    let text = document(&measures, &scale, &notes, &quiet, rounds);
    std::fs::write("docs/benchmarks.md", &text)?;
    println!("{text}");
    Ok(())
}

/// Round by round, subject by subject, so that a noisy moment hits all alike; a pause before each verb, because a cold
/// start is what a person's single click gets.
fn interleave(subjects: &mut [Subject], rounds: u32) -> anyhow::Result<Vec<Measure>> {
    let mut measures: Vec<Measure> = Vec::new();
    for round in 0..rounds {
        announce(&format!("round {} of {rounds}", round + 1));
        for subject in subjects.iter_mut() {
            for (what, verb) in &mut subject.verbs {
                std::thread::sleep(Duration::from_millis(300));
                let begun = Instant::now();
                verb(round).map_err(|error| error.context(format!("{} {what}", subject.who)))?;
                let ms = begun.elapsed().as_secs_f64() * 1000.0;
                match measures.iter_mut().find(|measure| measure.what == *what && measure.who == subject.who) {
                    Some(measure) => measure.ms.push(ms),
                    None => measures.push(Measure {
                        what,
                        who: subject.who,
                        ms: vec![ms],
                    }),
                }
            }
        }
    }
    Ok(measures)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a few hundred values"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn document(measures: &[Measure], scale: &[(String, String)], notes: &[String], load: &str, rounds: u32) -> String {
    let kernel = read(&mut command("uname", ["-r"])).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let favor = read(&mut command("cat", ["/proc/mounts"])).is_ok_and(|mounts| mounts.contains("favordynmods"));
    let first = load.split_whitespace().next().unwrap_or("?");
    let mut lines = vec![
        "# Benchmarks\n".to_owned(),
        "Made by `cargo xtask bench`: all programs in one run on one machine, interleaved round by round, each through its own".to_owned(),
        "command line, 300 ms of quiet before each call. Milliseconds; the peers are the versions of Debian's packages, newer ones".to_owned(),
        "are faster.\n".to_owned(),
        format!(
            "Linux {}, {cpus} CPUs, load at the start {first}, favordynmods {}, {rounds} rounds.\n",
            kernel.trim(),
            if favor { "on" } else { "off" }
        ),
        "| measure | program | min | p50 | p95 | Berth's p50 is |\n|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(measures.iter().map(|measure| row(measure, measures)));
    lines.push("\n| with 100 running containers | |\n|---|---|".to_owned());
    lines.extend(scale.iter().map(|(what, value)| format!("| {what} | {value} |")));
    lines.extend(notes.iter().map(|note| format!("\n{note}")));
    lines.join("\n") + "\n"
}

fn row(measure: &Measure, all: &[Measure]) -> String {
    let own = all
        .iter()
        .find(|other| other.what == measure.what && other.who == "berth")
        .map(|own| quantile(&own.ms, 0.5));
    let (min, p50, p95) = (quantile(&measure.ms, 0.0), quantile(&measure.ms, 0.5), quantile(&measure.ms, 0.95));
    let ratio = match own {
        Some(own) if measure.who != "berth" => format!("{:.2} of it", own / p50),
        _ => String::new(),
    };
    format!("| {} | {} | {min:.1} | {p50:.1} | {p95:.1} | {ratio} |", measure.what, measure.who)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_of_a_known_row() {
        let row: Vec<f64> = (1..=101).map(f64::from).rev().collect();
        assert!((quantile(&row, 0.5) - 51.0).abs() < f64::EPSILON);
        assert!((quantile(&row, 0.95) - 96.0).abs() < f64::EPSILON);
        assert!((quantile(&row, 0.0) - 1.0).abs() < f64::EPSILON);
    }
}
