//! `berth check`: what this host supports. Needs no console.

use std::path::PathBuf;

use model::engine::CheckLevel;

use super::exit;
use super::output::{Format, Output, print};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state directory to judge
    #[arg(long, env = "BERTH_STATE_DIR", value_name = "DIR", default_value = "/var/lib/berth")]
    state_dir: PathBuf,
}

/// Prints one line for each finding; exit 6 when containers cannot run here.
pub fn run(out: &Output, args: &Args) -> Result<(), Failure> {
    let report = runtime::host::report(&args.state_dir);
    match out.format {
        Format::Json => out.document(&report)?,
        Format::Table => {
            let shown = report.checks.iter().filter(|check| !out.quiet || check.level != CheckLevel::Good);
            let lines = shown.map(|check| {
                let fix = check.fix.as_ref().map(|fix| format!(" ({fix})")).unwrap_or_default();
                format!("{:8}{}: {}{fix}\n", word(check.level), check.name, check.found)
            });
            print(&lines.collect::<String>())?;
        }
    }
    let missing: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| check.level == CheckLevel::Missing)
        .map(|check| check.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        exit::CANNOT,
        format!("this host cannot carry containers (missing: {}; see the fixes above)", missing.join(", ")),
    ))
}

fn word(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Good => "good",
        CheckLevel::Limited => "limited",
        CheckLevel::Missing => "missing",
    }
}
