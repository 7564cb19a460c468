//! `berth`: the console, its command line and the helpers, in one program.
#![recursion_limit = "256"]

use std::process::ExitCode;

mod assets;
mod cli;
mod config;
mod console;
mod failure;
mod lifecycle;
mod listen;
mod middleware;
mod routes;
mod serve;
mod telemetry;
mod tls;

fn main() -> ExitCode {
    // Before any thread exists: the helpers fork, unshare and pivot in this very process.
    runtime::run_helper_if_asked();
    cli::run()
}
