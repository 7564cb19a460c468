//! Measures Berth beside runc, LXC and Incus, interleaved in one run on this machine, and writes docs/benchmarks.md.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::{self, Profile};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command, read};
use crate::{images, static_server};
use document::Findings;
use stopwatch::{Stopwatch, Trace};

mod berth;
mod document;
mod peers;
mod socket;
mod stopwatch;
mod usage;

const DOCUMENT: &str = "docs/benchmarks.md";
/// Running containers in the part that looks at what many of them cost.
const MANY: u32 = 100;
/// Before each step, because a cold start is what a person's single click gets.
const QUIET: Duration = Duration::from_millis(300);

/// One thing that is measured, in milliseconds, oldest first.
#[derive(Debug)]
pub struct Measure {
    pub what: &'static str,
    pub who: &'static str,
    pub ms: Vec<f64>,
}

/// One step of a round; it marks on the stopwatch what counts.
pub type Verb = Box<dyn FnMut(&mut Stopwatch<'_>) -> anyhow::Result<()>>;
/// Makes so many running containers, looks at what they cost, and removes them.
pub type Many = Box<dyn FnMut(u32) -> anyhow::Result<Vec<Cost>>>;

/// What many containers cost one program.
#[derive(Debug)]
pub struct Cost {
    pub what: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

/// A program under test.
pub struct Subject {
    pub who: &'static str,
    /// Steps with a Debian guest, which take seconds, and with a busybox guest, which do not.
    pub debian: Vec<Verb>,
    pub busybox: Vec<Verb>,
    pub many: Option<Many>,
    /// Ends the subject and removes what it made.
    pub end: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

/// Runs all measures and writes the document.
///
/// # Errors
/// Berth itself fails; a peer that is not there is named in the document instead.
pub fn bench(rounds: u32, built: Option<PathBuf>) -> anyhow::Result<()> {
    set_up(Scope::Tests)?;
    peers::install();
    let tree = images::tree()?;
    let binary = built.map_or_else(|| build::build(Profile::Release), Ok)?;
    let folder = std::env::temp_dir().join(format!("berth-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(rounds, &tree, &binary, &folder);
    std::fs::remove_dir_all(&folder)?;
    let findings = outcome?;
    let before = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    let text = document::write(&findings, &before);
    std::fs::write(DOCUMENT, &text)?;
    println!("{text}");
    Ok(())
}

/// Everything that was begun is ended, however it goes.
fn measure(rounds: u32, tree: &Path, binary: &Path, folder: &Path) -> anyhow::Result<Findings> {
    let mut findings = Findings {
        rounds,
        load: read(&mut command("cat", ["/proc/loadavg"]))?,
        ..Findings::default()
    };
    let trace = match Trace::start(folder) {
        Ok(trace) => Some(trace),
        Err(error) => {
            findings
                .notes
                .push(format!("Init's exec is not seen here ({error:#}); the return of the command stands for it."));
            None
        }
    };
    let address = static_server::start(tree.to_owned())?;
    let console = berth::Console::start(binary, folder, &format!("http://{address}"))?;
    let mut subjects = vec![console.subject()];
    for (who, peer) in [
        ("incus", peers::incus::subject(tree, folder)),
        ("lxc", peers::lxc::subject(tree, folder)),
        ("runc", peers::runc::subject(folder)),
    ] {
        match peer {
            Ok(subject) => subjects.push(subject),
            Err(error) => findings.notes.push(format!("{who} was not measured: {error:#}.")),
        }
    }
    let done = all(&console, &mut subjects, rounds, trace.as_ref(), &mut findings);
    for subject in subjects {
        if let Err(error) = (subject.end)() {
            announce(&format!("{} left something behind: {error:#}", subject.who));
        }
    }
    let ended = console.end();
    if let Some(trace) = trace {
        trace.end()?;
    }
    done.and(ended).map(|()| findings)
}

fn all(console: &berth::Console, subjects: &mut [Subject], rounds: u32, trace: Option<&Trace>, findings: &mut Findings) -> anyhow::Result<()> {
    many(console, subjects, findings)?;
    let mut measures = Vec::new();
    for round in 0..rounds {
        announce(&format!("round {} of {rounds}", round + 1));
        for subject in subjects.iter_mut() {
            take(&mut subject.busybox, subject.who, trace, &mut measures)?;
        }
        if round % 2 == 0 {
            for subject in subjects.iter_mut() {
                take(&mut subject.debian, subject.who, trace, &mut measures)?;
            }
        }
    }
    findings.measures = measures;
    Ok(())
}

/// Comes first: the console's history reaches the disk every five minutes, and such a moment must be among those that are
/// watched. The peers have their turn meanwhile.
fn many(console: &berth::Console, subjects: &mut [Subject], findings: &mut Findings) -> anyhow::Result<()> {
    announce(&format!("{MANY} containers of berth"));
    let watch = console.begin_many(MANY)?;
    let mut of_peers = Vec::new();
    for subject in subjects {
        let Some(many) = &mut subject.many else { continue };
        announce(&format!("{MANY} containers of {}", subject.who));
        match many(MANY) {
            Ok(costs) => of_peers.extend(costs.into_iter().map(|cost| (subject.who, cost))),
            Err(error) => findings
                .notes
                .push(format!("{} with {MANY} containers was not measured: {error:#}.", subject.who)),
        }
    }
    findings.costs.extend(console.end_many(watch)?.into_iter().map(|cost| ("berth", cost)));
    findings.costs.extend(of_peers);
    Ok(())
}

fn take(steps: &mut [Verb], who: &'static str, trace: Option<&Trace>, measures: &mut Vec<Measure>) -> anyhow::Result<()> {
    for verb in steps {
        std::thread::sleep(QUIET);
        let mut stopwatch = Stopwatch::start(trace)?;
        verb(&mut stopwatch).map_err(|error| error.context(who))?;
        for (what, ms) in stopwatch.marks {
            match measures.iter_mut().find(|measure| measure.what == what && measure.who == who) {
                Some(measure) => measure.ms.push(ms),
                None => measures.push(Measure { what, who, ms: vec![ms] }),
            }
        }
    }
    Ok(())
}

/// The value below which this share of the others lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
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
