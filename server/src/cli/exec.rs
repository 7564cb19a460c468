//! `berth exec`: a command in a container. 125 is Berth's own failure (cli.rs sees to that), every other code the command's.

use model::engine::ExecRequest;
use model::id::{ContainerName, ExecId};
use serde::Deserialize;

use super::client::segment;
use super::create::pair;
use super::terminal::{self, Ending, Manner};
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: ContainerName,
    /// With a terminal
    #[arg(long)]
    tty: bool,
    /// As this user: root, 1000, user:group
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// In this folder
    #[arg(long, value_name = "D")]
    cwd: Option<String>,
    /// May be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    env: Vec<(String, String)>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Opened {
    session: ExecId,
}

/// Runs the command. An end with a code comes back as a failure without a line.
pub async fn run(session: &Session, args: Args) -> Result<(), Failure> {
    let name = segment(args.name.as_str());
    let is_tty = args.tty;
    let opened: Opened = session.client.post(&format!("/api/v1/containers/{name}/exec"), &request(args)).await?;
    let socket = session.client.socket(&format!("/ws/containers/{name}/exec/{}", opened.session)).await?;
    let manner = Manner { is_tty, can_detach: false };
    result(terminal::carry(socket, manner, None).await?)
}

fn request(args: Args) -> ExecRequest {
    let window = terminal::window().filter(|_| args.tty);
    let mut env = args.env;
    // Programs draw for the terminal that is really there.
    if let Ok(term) = std::env::var("TERM")
        && args.tty
        && env.iter().all(|(key, _)| key != "TERM")
    {
        env.push(("TERM".to_owned(), term));
    }
    ExecRequest {
        command: args.command,
        tty: args.tty,
        user: args.user,
        cwd: args.cwd,
        env,
        cols: window.map(|(cols, _)| cols),
        rows: window.map(|(_, rows)| rows),
    }
}

fn result(ending: Ending) -> Result<(), Failure> {
    match ending {
        Ending::Exit { code: 0, .. } | Ending::Detached => Ok(()),
        Ending::Exit { code, reason } => {
            // Only a command that never ran has a reason that it could not print itself.
            if matches!(code, 125..=127) && !reason.is_empty() {
                let _: std::process::ExitCode = Failure::failed(reason).report();
            }
            Err(Failure::new(exit::of_command(code), ""))
        }
        Ending::Left { code } => Err(Failure::new(code, "")),
        Ending::Refused(failure) => Err(failure),
        Ending::Closed => Err(exit::lost(&"the connection was closed before the command ended")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn everything_behind_the_dashes_is_the_command() {
        let line = Line::try_parse_from(["exec", "web", "--user", "ada", "--env", "A=1", "--", "ls", "--tty", "-l"]).expect("good flags");
        let request = request(line.args);
        assert_eq!(request.command, ["ls", "--tty", "-l"]);
        assert_eq!((request.tty, request.user.as_deref(), request.cols), (false, Some("ada"), None));
        assert!(Line::try_parse_from(["exec", "web"]).is_err());
    }

    #[test]
    fn the_command_decides_the_code() {
        let exit = |code| result(Ending::Exit { code, reason: String::new() });
        assert_eq!(exit(0), Ok(()));
        for code in [1, 3, 5, 6, 126, 127, 137] {
            assert_eq!(
                exit(code).map_err(|failure| (i32::from(failure.code), failure.what)),
                Err((code, String::new()))
            );
        }
        assert!(!result(Ending::Closed).expect_err("no end").what.is_empty());
    }
}
