//! Starts the console as a user would.

use std::os::unix::process::CommandExt as _;

use anyhow::bail;

use crate::build::{Profile, build};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command, is_root};

/// Sets up, builds, and becomes `berth serve`.
///
/// # Errors
/// A step failed, or we are not root.
pub fn run(profile: Profile, serve: &[String]) -> anyhow::Result<()> {
    if !is_root() {
        bail!("containers need root: namespaces, cgroups and mounts are made by the console itself; run `sudo -E cargo xtask run`");
    }
    set_up(Scope::Run)?;
    let binary = build(profile)?;
    announce("start the console; the line `berth: set up the first account at ...` is the link to begin with");
    let error = command(&binary.to_string_lossy(), ["serve"]).args(serve).exec();
    bail!("{} cannot be started ({error})", binary.display());
}
