//! `berth version`.

use serde::Serialize;

use super::output::{Format, Output, print};
use crate::failure::Failure;

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

/// Prints the version of this program, not of a running console.
pub fn run(out: &Output) -> Result<(), Failure> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
    };
    match out.format {
        Format::Json => out.document(&version),
        Format::Table if out.quiet => print(&format!("{}\n", version.version)),
        Format::Table => print(&format!("berth {}\n", version.version)),
    }
}
