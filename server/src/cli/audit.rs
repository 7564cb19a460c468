//! `berth audit`: who did what. Also the times and spans that people write.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Timestamp;
use model::access::AuditEntry;
use model::time::parse_span_ms;

use super::Session;
use super::client::query;
use super::output::moment;
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A time, or a span before now such as 24h
    #[arg(long, value_name = "T", value_parser = time)]
    since: Option<Time>,
}

/// An RFC 3339 time, or a span that counts from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    At(Timestamp),
    Span { ms: i64 },
}

/// Parses either.
///
/// # Errors
/// The text is neither.
pub fn time(text: &str) -> Result<Time, String> {
    match (parse_span_ms(text), text.parse()) {
        (Some(ms), _) => Ok(Time::Span { ms }),
        (None, Ok(at)) => Ok(Time::At(at)),
        (None, Err(_)) => Err(format!(
            "`{text}` is neither a time such as 2026-11-24T08:00:00Z nor a span such as 15m, 24h or 30d"
        )),
    }
}

impl Time {
    /// A span counts backwards.
    #[must_use]
    pub fn ago(self) -> Timestamp {
        self.from(now(), -1)
    }

    /// A span counts forwards.
    #[must_use]
    pub fn ahead(self) -> Timestamp {
        self.from(now(), 1)
    }

    fn from(self, now: Timestamp, direction: i64) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Span { ms } => now.plus_ms(ms.saturating_mul(direction)),
        }
    }
}

fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// Prints the log.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let since = args.since.map(|since| since.ago().to_string());
    let entries: Vec<AuditEntry> = session.client.get(&format!("/api/v1/audit{}", query(&[("since", since)]))).await?;
    session
        .out
        .list(&entries, &["TIME", "USER", "FROM", "ACTION", "TARGET", "DONE", "DETAIL"], cells)
}

fn cells(entry: &AuditEntry) -> Vec<String> {
    vec![
        moment(Some(entry.at)),
        entry.user.clone(),
        entry.from.clone(),
        entry.action.clone(),
        entry.target.clone(),
        if entry.ok { "yes" } else { "refused" }.to_owned(),
        entry.detail.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_from_now_and_times_do_not() {
        let now = Timestamp::from_ms(10_000_000);
        let span = time("15m").expect("a span");
        assert_eq!((span.from(now, -1).ms, span.from(now, 1).ms), (9_100_000, 10_900_000));
        let at = time("1970-01-01T00:00:01Z").expect("a time");
        assert_eq!((at.from(now, -1).ms, at.from(now, 1).ms), (1000, 1000));
        assert!(time("soon").is_err());
    }
}
