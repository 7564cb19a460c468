//! Packs what a machine needs to run Berth.

use crate::build::{Profile, build, target};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command, run};

/// Builds the release and packs it with the licences and the documents.
///
/// # Errors
/// A step failed.
pub fn package() -> anyhow::Result<()> {
    set_up(Scope::Build)?;
    let binary = build(Profile::Release)?;
    let name = format!("berth-{}-x86_64", env!("CARGO_PKG_VERSION"));
    let folder = target().join("package").join(&name);
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(&binary, folder.join("berth"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        std::fs::copy(file, folder.join(file))?;
    }
    let archive = folder.with_extension("tar.zst");
    run(command("tar", ["--zstd", "--create", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(target().join("package"))
        .arg(&name))?;
    announce(&format!("packed {}", archive.display()));
    Ok(())
}
