//! Builds the one binary: the browser half, its styles and the shim first, then `berth`, which carries them all.

use std::path::{Path, PathBuf};

use crate::shell::{announce, cargo, root, run};
use crate::site::site;

/// Speed of the build or of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    pub fn from_release(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    pub fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds everything and gives the binary's path.
///
/// # Errors
/// Names the command or file that failed.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    announce("build the shim (static, carried inside berth)");
    let shim = shim()?;
    announce("build the browser half");
    let site = site(profile)?;
    announce("build berth");
    binary(profile, &site, &shim)
}

/// Builds `berth` around a site and a shim and gives its path.
///
/// # Errors
/// The build failed.
pub fn binary(profile: Profile, site: &Path, shim: &Path) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["build", "--package", "server", "--bin", "berth"])
        .env("BERTH_SITE_DIR", site)
        .env("BERTH_SHIM_PATH", shim);
    if profile == Profile::Release {
        command.arg("--release");
    }
    run(&mut command)?;
    Ok(target().join(profile.folder()).join("berth"))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the shim and gives its path.
///
/// # Errors
/// Names the command that failed.
pub fn shim() -> anyhow::Result<PathBuf> {
    let folder = target().join("shim");
    // An explicit --target keeps the flag away from build scripts and needs no further target.
    let flags = "-C target-feature=+crt-static -C relocation-model=static";
    run(cargo()
        .args(["build", "--package", "berth-shim", "--profile", "shim", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", flags))?;
    Ok(folder.join(TARGET).join("shim/berth-shim"))
}
