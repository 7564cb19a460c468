//! `berth console`: the console of a container, with what it showed before; ctrl-] leaves it.

use model::id::ContainerName;

use super::client::segment;
use super::terminal::{self, Ending, Manner};
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: ContainerName,
}

/// Attaches until somebody leaves.
pub async fn run(session: &Session, args: &Args) -> Result<(), Failure> {
    let socket = session
        .client
        .socket(&format!("/ws/containers/{}/console", segment(args.name.as_str())))
        .await?;
    let greeting = (!session.out.quiet).then(|| format!("console of {}; ctrl-] leaves it", args.name));
    match terminal::carry(
        socket,
        Manner {
            is_tty: true,
            can_detach: true,
        },
        greeting,
    )
    .await?
    {
        Ending::Detached => {
            // The container may have left the cursor in the middle of a line.
            if !session.out.quiet {
                eprintln!();
            }
            Ok(())
        }
        Ending::Exit { .. } => Ok(()),
        Ending::Left { code } => Err(Failure::new(code, "")),
        Ending::Refused(failure) => Err(failure),
        Ending::Closed => Err(exit::lost(&"the connection was closed")),
    }
}
