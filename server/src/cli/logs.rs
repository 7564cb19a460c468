//! `berth logs`: what a container's console showed.

use futures::TryStreamExt as _;
use model::id::ContainerName;

use super::audit::{Time, time};
use super::client::{query, segment};
use super::output::print_bytes;
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: ContainerName,
    /// Goes on with what is printed from now on
    #[arg(long)]
    follow: bool,
    /// Only what was printed from then on, to a second: a time, or a span before now such as 15m
    #[arg(long, value_name = "T", value_parser = time)]
    since: Option<Time>,
}

/// Prints the log as it is stored.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let pairs = [
        ("follow", args.follow.then(|| "true".to_owned())),
        ("since", args.since.map(|since| since.ago().to_string())),
    ];
    let path = format!("/api/v1/containers/{}/logs{}", segment(args.name.as_str()), query(&pairs));
    let mut pieces = std::pin::pin!(session.client.stream(&path).await?);
    while let Some(piece) = pieces.try_next().await.map_err(|error| exit::lost(&error))? {
        print_bytes(&piece)?;
    }
    Ok(())
}
