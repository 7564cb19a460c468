//! The command line: `berth serve` is the console itself, everything else is a client of its local socket
//! (interface.md, "Command line").

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use model::task::Task;

use crate::config::{DEFAULT_RUN_DIR, ServeArgs, ServeConfig};
use crate::failure::Failure;

mod audit;
mod check;
mod client;
mod console;
mod create;
mod doctor;
mod exec;
mod exit;
mod lifecycle;
mod list;
mod logs;
mod network;
mod news;
mod output;
mod rescue;
mod setup_link;
mod source;
mod stats;
mod task;
mod template;
mod terminal;
mod token;
mod trash;
mod usage;
mod user;
mod version;

use client::Client;
use output::{Format, Output};

/// Linux containers on one host.
#[derive(Debug, Parser)]
#[command(name = "berth", version, subcommand_required = true, max_term_width = 100)]
struct Cli {
    /// Where the console's socket is [default: /run/berth]
    #[arg(long, global = true, env = "BERTH_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// Prints only what was asked for
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the console
    Serve(Box<ServeArgs>),
    /// Says what this host supports, with the fix for what is missing
    Check(check::Args),
    /// Makes a new one-time link for the first account
    SetupLink,
    /// Places that offer templates
    #[command(subcommand)]
    Source(source::Command),
    /// Managed bridges that containers join
    #[command(subcommand)]
    Network(network::Command),
    /// What containers are made from
    #[command(subcommand)]
    Template(template::Command),
    /// Makes a container
    Create(Box<create::Args>),
    /// Starts containers
    Start(lifecycle::Names),
    /// Asks containers to power off, and waits
    Stop(lifecycle::StopArgs),
    /// Kills everything in containers
    Kill(lifecycle::Names),
    /// Stops and starts containers
    Restart(lifecycle::StopArgs),
    /// Freezes every process of containers
    Freeze(lifecycle::Names),
    /// Lets frozen containers go on
    Unfreeze(lifecycle::Names),
    /// Moves containers to the trash
    Delete(lifecycle::DeleteArgs),
    /// Lists containers
    List(list::Args),
    /// Shows one container
    Show(list::ShowArgs),
    /// Changes settings of a container
    Set(list::SetArgs),
    /// Gives a stopped container another name
    Rename(list::RenameArgs),
    /// Runs a command in a container
    Exec(exec::Args),
    /// Opens the console of a container; ctrl-] leaves it
    Console(console::Args),
    /// Prints what a container's console showed
    Logs(logs::Args),
    /// Prints counters of running containers
    Stats(stats::Args),
    /// Deleted containers, which wait 7 days
    #[command(subcommand)]
    Trash(trash::Command),
    /// Long operations
    #[command(subcommand)]
    Task(task::Command),
    /// Accounts
    #[command(subcommand)]
    User(user::Command),
    /// API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Prints who did what
    Audit(audit::Args),
    /// Finds what is left that no container has and what is damaged, and repairs what can be
    ///
    /// All of the store is read, and the program that holds containers is compared with its checksum; every layer must be
    /// there. Files inside layers are not read: the checksum of their archive was verified before it was unpacked, and the
    /// archive is not kept.
    Doctor(doctor::Args),
    /// Makes a damaged store again from the containers' manifests, while no console runs
    Rescue(rescue::Args),
    /// Prints the version
    Version,
}

/// What every command of a client works with.
#[derive(Clone, Debug)]
struct Session {
    client: Client,
    out: Output,
}

impl Session {
    /// Waits until the task is over, with a progress line, and fails as it failed.
    async fn wait(&self, task: &Task) -> Result<Task, Failure> {
        let mut line = self.out.progress();
        let ended = self.client.follow(task.id, |task| line.show(task)).await?;
        drop(line);
        exit::outcome(&ended).map(|()| ended)
    }

    /// Waits and says what was done; with `--detach` prints the task's id instead.
    async fn finish(&self, task: Task, is_detached: bool, sentence: &str) -> Result<(), Failure> {
        if is_detached {
            return self.begun(&task);
        }
        let ended = self.wait(&task).await?;
        self.out.done(&ended, sentence)
    }

    /// Prints a task that nobody waits for.
    fn begun(&self, task: &Task) -> Result<(), Failure> {
        match self.out.format {
            Format::Json => self.out.document(task),
            Format::Table => output::print(&format!("{}\n", task.id)),
        }
    }
}

/// Runs the command that the process was called with.
#[must_use]
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage::refuse(&error, &words),
    };
    let is_exec = matches!(cli.command, Command::Exec(_));
    let done = match cli.command {
        Command::Serve(args) => match ServeConfig::read(&args, cli.run_dir.as_deref()) {
            Ok(config) => return crate::serve::run(config),
            Err(failure) => Err(failure),
        },
        _ => ask(cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The codes 1 to 6 of a failed `exec` would be mistaken for the command's own.
        Err(failure) if is_exec && !failure.what.is_empty() => Failure::new(exit::EXEC_FAILED, failure.what).report(),
        Err(failure) => failure.report(),
    }
}

/// Runs one command of a client.
fn ask(cli: Cli) -> Result<(), Failure> {
    let out = Output {
        format: cli.output,
        quiet: cli.quiet,
    };
    let run_dir = cli.run_dir.unwrap_or_else(|| DEFAULT_RUN_DIR.into());
    let session = Session {
        client: Client::new(&run_dir),
        out,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| exit::local("no runtime could be made", &error))?;
    let done = runtime.block_on(dispatch(&session, cli.command));
    // A thread that reads standard input may wait for ever; nothing of it is needed any more.
    runtime.shutdown_background();
    done
}

async fn dispatch(session: &Session, command: Command) -> Result<(), Failure> {
    use lifecycle::Verb;
    match command {
        // Handled before any runtime exists.
        Command::Serve(_) => Ok(()),
        Command::Check(args) => check::run(&session.out, &args),
        Command::SetupLink => setup_link::run(session).await,
        Command::Source(command) => source::run(session, command).await,
        Command::Network(command) => network::run(session, command).await,
        Command::Template(command) => template::run(session, command).await,
        Command::Create(args) => create::run(session, *args).await,
        Command::Start(names) => lifecycle::run(session, Verb::Start, &names).await,
        Command::Kill(names) => lifecycle::run(session, Verb::Kill, &names).await,
        Command::Freeze(names) => lifecycle::run(session, Verb::Freeze, &names).await,
        Command::Unfreeze(names) => lifecycle::run(session, Verb::Unfreeze, &names).await,
        Command::Stop(args) => lifecycle::run(session, args.verb(false), &args.names(session).await?).await,
        Command::Restart(args) => lifecycle::run(session, args.verb(true), &args.names(session).await?).await,
        Command::Delete(args) => lifecycle::run(session, args.verb(), &args.names).await,
        Command::List(args) => list::list(session, &args).await,
        Command::Show(args) => list::show(session, &args).await,
        Command::Set(args) => list::set(session, &args).await,
        Command::Rename(args) => list::rename(session, &args).await,
        Command::Exec(args) => exec::run(session, args).await,
        Command::Console(args) => console::run(session, &args).await,
        Command::Logs(args) => logs::run(session, &args).await,
        Command::Stats(args) => stats::run(session, &args).await,
        Command::Trash(command) => trash::run(session, command).await,
        Command::Task(command) => task::run(session, command).await,
        Command::User(command) => user::run(session, command).await,
        Command::Token(command) => token::run(session, command).await,
        Command::Audit(args) => audit::run(session, &args).await,
        Command::Doctor(args) => doctor::run(session, &args).await,
        Command::Rescue(args) => rescue::run(&session.out, &args).await,
        Command::Version => version::run(&session.out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_behind_the_command() {
        for line in ["berth --output json --quiet --run-dir /x list", "berth list --run-dir /x --quiet --output json"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert_eq!(
                (cli.output, cli.quiet, cli.run_dir.as_deref()),
                (Format::Json, true, Some(std::path::Path::new("/x")))
            );
        }
    }

    #[test]
    fn what_is_not_there_is_no_command() {
        for line in [
            "berth snapshot list web",
            "berth doctor web",
            "berth start",
            "berth stop",
            "berth stop web --all",
            "berth stop web --timeout soon",
            "berth user add ada --role viewer",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
