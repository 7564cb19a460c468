//! Runs the console and rebuilds it whenever a source file changes.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, SystemTime};

use crate::build::{Profile, build};
use crate::setup::{Scope, set_up};
use crate::shell::{announce, command};

const WATCHED: [&str; 6] = ["app", "server", "crates", "style", "public", "Cargo.lock"];

/// Builds, runs, watches, for ever.
///
/// # Errors
/// The first build failed; later ones only say so and wait for the next change.
pub fn dev(serve: &[String]) -> anyhow::Result<()> {
    set_up(Scope::Run)?;
    let mut seen = newest();
    let mut child = Some(start(&build(Profile::Dev)?, serve)?);
    loop {
        // Polling needs no further crate and costs a few milliseconds a second.
        std::thread::sleep(Duration::from_millis(500));
        let now = newest();
        if now == seen {
            continue;
        }
        seen = now;
        announce("a file changed: build again");
        match build(Profile::Dev) {
            Ok(binary) => {
                end(child.take());
                child = Some(start(&binary, serve)?);
            }
            Err(error) => println!("{error:#}"),
        }
    }
}

fn start(binary: &Path, serve: &[String]) -> anyhow::Result<Child> {
    Ok(command(&binary.to_string_lossy(), ["serve"]).args(serve).spawn()?)
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // SIGTERM, so that the console flushes; containers live on.
        if crate::shell::run(&mut command("kill", [child.id().to_string()])).is_ok() {
            drop(child.wait());
        }
    }
}

fn newest() -> Option<SystemTime> {
    WATCHED.iter().filter_map(|path| newest_below(Path::new(path))).max()
}

fn newest_below(path: &Path) -> Option<SystemTime> {
    let meta = std::fs::metadata(path).ok()?;
    if meta.is_file() {
        return meta.modified().ok();
    }
    let entries = std::fs::read_dir(path).ok()?;
    entries.filter_map(Result::ok).filter_map(|entry| newest_below(&entry.path())).max()
}
