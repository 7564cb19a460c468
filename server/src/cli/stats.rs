//! `berth stats`: counters as the kernel counts them.

use std::time::Duration;

use model::id::ContainerName;
use model::metrics::{NicCounters, Stats};

use super::Session;
use super::client::segment;
use super::output::{Format, maybe_size};
use crate::failure::Failure;

/// How often `--follow` looks.
const PERIOD: Duration = Duration::from_secs(1);
const HEAD: [&str; 9] = ["NAME", "CPU TIME", "MEMORY", "LIMIT", "PIDS", "READ", "WRITTEN", "RECEIVED", "SENT"];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "NAME")]
    names: Vec<ContainerName>,
    /// Every second again; with --output json one document a line
    #[arg(long)]
    follow: bool,
}

/// Prints the counters of these containers, or of all that run.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let rows = read(session, &args.names).await?;
        match session.out.format {
            Format::Json => session.out.document(&rows)?,
            Format::Table => session.out.list(&rows, &HEAD, cells)?,
        }
        if !args.follow {
            return Ok(());
        }
    }
}

async fn read(session: &Session, names: &[ContainerName]) -> Result<Vec<Stats>, Failure> {
    if names.is_empty() {
        return session.client.get("/api/v1/stats").await;
    }
    let mut rows = Vec::new();
    for name in names {
        let mut one: Vec<Stats> = session.client.get(&format!("/api/v1/containers/{}/stats", segment(name.as_str()))).await?;
        rows.append(&mut one);
    }
    Ok(rows)
}

fn cells(row: &Stats) -> Vec<String> {
    let c = &row.counters;
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    vec![
        row.name.clone(),
        c.cpu
            .usage_usec
            .map_or_else(|| "-".to_owned(), |usec| format!("{}.{:03} s", usec / 1_000_000, usec / 1000 % 1000)),
        maybe_size(c.memory.used_bytes),
        maybe_size(c.memory.limit_bytes),
        number(c.pids.current),
        maybe_size(c.io.read_bytes),
        maybe_size(c.io.write_bytes),
        maybe_size(sum(&c.net, |nic| nic.rx_bytes)),
        maybe_size(sum(&c.net, |nic| nic.tx_bytes)),
    ]
}

/// Over all NICs; unknown where one of them cannot be counted.
fn sum(nics: &[NicCounters], count: impl Fn(&NicCounters) -> Option<u64>) -> Option<u64> {
    nics.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_a_dash() {
        let nic = |rx_bytes| NicCounters {
            rx_bytes,
            ..NicCounters::default()
        };
        assert_eq!(sum(&[nic(Some(1)), nic(Some(2))], |nic| nic.rx_bytes), Some(3));
        assert_eq!(sum(&[nic(Some(1)), nic(None)], |nic| nic.rx_bytes), None);
        let row = Stats {
            name: "web".into(),
            at: model::Timestamp::default(),
            counters: model::metrics::Counters::default(),
        };
        assert_eq!(cells(&row)[1..5], ["-", "-", "-", "-"]);
    }
}
