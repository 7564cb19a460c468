//! Packs what a machine needs to run Berth: the binary, the unit, the licences and the documents.

use std::path::Path;

use anyhow::Context as _;

use crate::build::{Profile, build, target};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command, run};

/// Goes beside the binary, whatever it is called in the tree.
const FILES: [&str; 6] = [
    "packaging/berth.service",
    "packaging/berth-containers.service",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Builds the release and packs it with the unit, the licences and the documents.
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
    for file in FILES {
        let name = Path::new(file).file_name().context("a file has a name")?;
        std::fs::copy(file, folder.join(name))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_packed_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        for file in FILES {
            assert!(root.join(file).is_file(), "{file}");
        }
        let unit = std::fs::read_to_string(root.join(FILES[0])).expect("the unit");
        for line in ["Type=notify", "KillMode=process", "Delegate=yes", "Restart=on-failure"] {
            assert!(unit.lines().any(|found| found == line), "{line}");
        }
        let unit = std::fs::read_to_string(root.join(FILES[1])).expect("the unit");
        // Ordered behind the console it is stopped before it, and nothing else may end it together with the console.
        for line in ["After=berth.service", "RemainAfterExit=yes"] {
            assert!(unit.lines().any(|found| found == line), "{line}");
        }
        for word in ["Requires=", "BindsTo=", "PartOf="] {
            assert!(!unit.contains(word), "{word}");
        }
    }
}
