//! What developers and users do with this repository: set up, build, run, test, measure, check and package it.
//! `cargo xtask run` and `cargo xtask test` are the two commands of the README; both set up whatever is missing.

mod bench;
mod browser;
mod build;
mod dev;
mod images;
mod package;
mod run;
mod setup;
mod shell;
mod shrink;
mod site;
mod static_server;
mod test;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and tests Berth")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what is missing on this machine, each with its reason.
    Setup {
        /// Also what only the tests need.
        #[arg(long)]
        tests: bool,
    },
    /// Build the one binary.
    Build {
        /// Optimised, to target/release/berth.
        #[arg(long)]
        release: bool,
    },
    /// Set up, build and start the console; what follows `--` goes to `berth serve`.
    Run {
        #[arg(long)]
        release: bool,
        #[arg(last = true)]
        serve: Vec<String>,
    },
    /// Run the console and rebuild it on every change.
    Dev {
        #[arg(last = true)]
        serve: Vec<String>,
    },
    /// Set up and pass every test.
    Test(test::Options),
    /// The rules of ARCHITECTURE.md and CONTRIBUTING.md that no compiler checks.
    Tidy,
    /// Measure Berth beside runc, lxc and incus in one run.
    Bench {
        /// Rounds per measure.
        #[arg(long, default_value_t = 16)]
        rounds: u32,
        /// This release build instead of a new one.
        #[arg(long)]
        binary: Option<std::path::PathBuf>,
    },
    /// Make the simplestreams tree that the browser tests serve, and say where it is.
    Images,
    /// A tarball with the binary, the unit and the licences, in target/package.
    Package,
}

fn main() -> std::process::ExitCode {
    match carry_out(Arguments::parse().verb) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn carry_out(verb: Verb) -> anyhow::Result<()> {
    std::env::set_current_dir(shell::root())?;
    match verb {
        Verb::Setup { tests } => setup::set_up(if tests { setup::Scope::Tests } else { setup::Scope::Run }),
        Verb::Build { release } => {
            setup::set_up(setup::Scope::Build)?;
            build::build(build::Profile::from_release(release)).map(|binary| println!("berth stands at {}", binary.display()))
        }
        Verb::Run { release, serve } => run::run(build::Profile::from_release(release), &serve),
        Verb::Dev { serve } => dev::dev(&serve),
        Verb::Test(options) => test::test(&options),
        Verb::Tidy => tidy::tidy(),
        Verb::Bench { rounds, binary } => bench::bench(rounds, binary),
        Verb::Images => images::tree().map(|tree| println!("{}", tree.display())),
        Verb::Package => package::package(),
    }
}
