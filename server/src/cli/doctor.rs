//! `berth doctor`: what is left that no container has, and what is damaged. A console that starts tidies up by itself.

use model::leftover::{Finding, FindingState};

use super::Session;
use super::output::{Format, print};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repairs what can be repaired
    #[arg(long)]
    fix: bool,
}

/// Prints one line for each finding; exit 1 when something is left or damaged.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let findings: Vec<Finding> = if args.fix {
        session.client.post("/api/v1/host/repair", &serde_json::json!({})).await?
    } else {
        session.client.get("/api/v1/host/leftovers").await?
    };
    match session.out.format {
        Format::Json => session.out.document(&findings)?,
        Format::Table if findings.is_empty() && !session.out.quiet => print("nothing is left over, and nothing is damaged\n")?,
        Format::Table => print(&findings.iter().map(line).collect::<String>())?,
    }
    verdict(&findings, args.fix)
}

/// Fails when something is left or damaged.
fn verdict(findings: &[Finding], is_fixed: bool) -> Result<(), Failure> {
    let left = findings.iter().filter(|finding| finding.state != FindingState::Repaired).count();
    if left == 0 {
        return Ok(());
    }
    let has_repairs = findings.iter().any(|finding| finding.state == FindingState::Found);
    let hint = if is_fixed || !has_repairs {
        "each line says why, or what to do"
    } else {
        "`berth doctor --fix` repairs what can be repaired"
    };
    Err(Failure::new(1, format!("{left} left over or damaged ({hint})")))
}

fn line(finding: &Finding) -> String {
    let word = match finding.state {
        FindingState::Found => "found",
        FindingState::Repaired => "repaired",
        FindingState::Failed => "failed",
        FindingState::LeftAlone => "left",
    };
    let message = finding.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
    format!("{word:10}{}: {}{message}\n", finding.leftover.kind.as_str(), finding.leftover.name)
}

#[cfg(test)]
mod tests {
    use model::leftover::{Leftover, LeftoverKind};

    use super::*;

    fn finding(state: FindingState, message: Option<&str>) -> Finding {
        Finding {
            leftover: Leftover {
                kind: LeftoverKind::RunFile,
                name: "a.lock".into(),
                container: None,
            },
            state,
            message: message.map(str::to_owned),
        }
    }

    #[test]
    fn a_line_says_what_it_is_and_why_it_stays() {
        assert_eq!(line(&finding(FindingState::Failed, Some("busy"))), "failed    run file: a.lock (busy)\n");
    }

    #[test]
    fn only_what_was_repaired_is_no_failure() {
        assert!(verdict(&[finding(FindingState::Repaired, None)], true).is_ok());
        for state in [FindingState::Found, FindingState::Failed, FindingState::LeftAlone] {
            let failure = verdict(&[finding(FindingState::Repaired, None), finding(state, None)], false).expect_err("something is left");
            assert_eq!(failure.code, 1);
            assert!(failure.what.starts_with("1 left"), "{failure:?}");
            let can_be_repaired = state == FindingState::Found;
            assert_eq!(failure.what.contains("--fix"), can_be_repaired, "{failure:?}");
        }
    }
}
