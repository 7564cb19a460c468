//! `berth logs`: what a container's console showed.

use futures::TryStreamExt as _;
use model::id::ContainerName;

use super::client::segment;
use super::output::print_bytes;
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: ContainerName,
    /// Goes on with what is printed from now on
    #[arg(long)]
    follow: bool,
}

/// Prints the log as it is stored.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let follow = if args.follow { "?follow=true" } else { "" };
    let path = format!("/api/v1/containers/{}/logs{follow}", segment(args.name.as_str()));
    let mut pieces = std::pin::pin!(session.client.stream(&path).await?);
    while let Some(piece) = pieces.try_next().await.map_err(|error| exit::lost(&error))? {
        print_bytes(&piece)?;
    }
    Ok(())
}
