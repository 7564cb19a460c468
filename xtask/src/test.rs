//! Passes every test, in an order that fails early: style, rules, units, kernel, HTTP, virtual machine, browser.

use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::build::{self, Profile};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, cargo, is_root, run};
use crate::site::{ALL_PAGES, site};
use crate::{browser, images, tidy, vm};

#[derive(Debug, Args)]
pub struct Options {
    /// Only these stages.
    #[arg(long, value_enum)]
    only: Vec<Stage>,
    /// The whole rootful suite in the virtual machine with pure cgroup v2, instead of all stages.
    #[arg(long)]
    vm: bool,
    /// Passed to the test programs of the chosen stages (a filter, for example).
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    Format,
    Lint,
    Tidy,
    Unit,
    Rootful,
    Http,
    Vm,
    Browser,
}

const STAGES: [Stage; 8] = [
    Stage::Format,
    Stage::Tidy,
    Stage::Lint,
    Stage::Unit,
    Stage::Rootful,
    Stage::Http,
    Stage::Vm,
    Stage::Browser,
];

/// Sets up and runs the stages.
///
/// # Errors
/// The first stage that fails, by name.
pub fn test(options: &Options) -> anyhow::Result<()> {
    if !is_root() {
        bail!("the tests make real containers and need root; run `sudo -E cargo xtask test`");
    }
    set_up(Scope::Tests)?;
    if options.vm {
        return vm::whole_suite(&options.arguments);
    }
    let stages: Vec<Stage> = if options.only.is_empty() { STAGES.to_vec() } else { options.only.clone() };
    let mut times = Vec::new();
    for stage in stages {
        announce(&format!("test stage {stage:?}"));
        let begun = Instant::now();
        pass(stage, &options.arguments).map_err(|error| error.context(format!("test stage {stage:?} failed")))?;
        times.push((stage, begun.elapsed()));
    }
    for (stage, time) in times {
        println!("{stage:?}: passed in {} s", time.as_secs());
    }
    Ok(())
}

fn pass(stage: Stage, arguments: &[String]) -> anyhow::Result<()> {
    match stage {
        Stage::Format => run(cargo().args(["fmt", "--all", "--check"])),
        Stage::Lint => lint(),
        Stage::Tidy => tidy::tidy(),
        Stage::Unit => unit(arguments),
        Stage::Rootful => rootful(arguments),
        Stage::Http => http(arguments),
        Stage::Vm => vm::smoke(),
        Stage::Browser => browser::journey(arguments),
    }
}

/// Two calls: one with `ssr` and one with `hydrate`, which never meet in one build.
fn lint() -> anyhow::Result<()> {
    let host = [
        "clippy",
        "-p",
        "model",
        "-p",
        "runtime",
        "-p",
        "berth-shim",
        "-p",
        "control",
        "-p",
        "french",
        "-p",
        "server",
        "-p",
        "xtask",
        "--all-targets",
    ];
    run(cargo().args(host).args(["--", "--deny", "warnings"]))?;
    let hydrate = ["clippy", "-p", "app", "--no-default-features", "--features", ALL_PAGES, "--target-dir"];
    run(cargo().args(hydrate).arg(build::target().join("hydrate")).args(["--", "--deny", "warnings"]))
}

fn unit(arguments: &[String]) -> anyhow::Result<()> {
    run(cargo()
        .args(["test", "-p", "model", "-p", "control", "-p", "french", "-p", "berth-shim", "-p", "xtask", "--"])
        .args(["--skip", "rootful_"])
        .args(arguments))?;
    run(cargo().args(["test", "-p", "runtime", "--lib", "--"]).args(arguments))?;
    run(cargo().args(["test", "-p", "app", "--features", "ssr", "--"]).args(arguments))
}

/// Which tests make real containers, as cargo is told; those of `control` are called `rootful_...`.
pub const ROOTFUL: &[&[&str]] = &[&["-p", "runtime", "--tests"], &["-p", "control", "--test", "series"]];

fn rootful(arguments: &[String]) -> anyhow::Result<()> {
    let (shim, images) = (build::shim()?, images::tree()?);
    for tests in ROOTFUL {
        // One after the other: the tests look for leftovers of the whole host.
        run(cargo()
            .arg("test")
            .args(*tests)
            .args(["--", "--test-threads=1"])
            .args(arguments)
            .env("BERTH_SHIM_PATH", &shim)
            .env("BERTH_TEST_IMAGES", &images))?;
    }
    Ok(())
}

fn http(arguments: &[String]) -> anyhow::Result<()> {
    let (shim, site) = (build::shim()?, site(Profile::Release)?);
    run(cargo()
        .args(["test", "-p", "server", "--"])
        .args(arguments)
        .env("BERTH_SHIM_PATH", shim)
        .env("BERTH_SITE_DIR", site))
}
