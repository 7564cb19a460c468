//! `berth rescue`: makes a damaged store again from the manifests beside the containers. Needs that no console runs.

use std::path::PathBuf;

use control::clock::Clock;
use control::containers::rescue::{Finding, LOST, Rescue};
use control::store::lock_state_dir;
use model::engine::EngineError;
use runtime::rootfs::Folders;
use serde::Serialize;

use super::output::{Format, Output, print};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Replaces the store; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Where state lives
    #[arg(long, env = "BERTH_STATE_DIR", value_name = "DIR", default_value = "/var/lib/berth")]
    state_dir: PathBuf,
}

/// What was found, and what became of it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    containers: &'a [Finding],
    lost: &'a str,
    /// Under which name the old store is kept; absent when nothing was changed.
    kept: Option<PathBuf>,
}

/// Says what can be taken into a new store and what is lost; with `--apply` makes it.
pub async fn run(out: &Output, args: &Args) -> Result<(), Failure> {
    let _lock = lock_state_dir(&args.state_dir)?;
    let folders = Folders { state: args.state_dir.clone() };
    let found = folders.found().map_err(|error| Failure::from(control::Error::from(EngineError::from(error))))?;
    let rescue = Rescue::plan(found);
    let kept = if args.apply {
        Some(rescue.apply(&args.state_dir, &Clock::System).await?)
    } else {
        None
    };
    let report = Report {
        containers: &rescue.findings,
        lost: LOST,
        kept,
    };
    match out.format {
        Format::Json => out.document(&report),
        Format::Table => tell(out, &report),
    }
}

fn tell(out: &Output, report: &Report<'_>) -> Result<(), Failure> {
    out.list(report.containers, &["NAME", "ID", "WHERE", "ADDRESSES", "PROBLEM"], cells)?;
    if out.quiet {
        return Ok(());
    }
    let end = match &report.kept {
        Some(kept) => format!(
            "the old store is kept as {}\nstart `berth serve`: it prints a link for the first account\n",
            kept.display()
        ),
        None => "nothing was changed; `berth rescue --apply` does it\n".to_owned(),
    };
    print(&format!("lost: {}\n{end}", report.lost))
}

fn cells(finding: &Finding) -> Vec<String> {
    let addresses: Vec<String> = finding.addresses.iter().map(ToString::to_string).collect();
    vec![
        finding.name.clone().unwrap_or_default(),
        finding.id.to_string(),
        if finding.trashed { "trash" } else { "containers" }.to_owned(),
        addresses.join(" "),
        finding.problem.clone().unwrap_or_default(),
    ]
}
