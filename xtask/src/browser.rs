//! The journeys in a real browser against a real console with real containers.

use crate::build::{self, Profile, build};
use crate::images;
use crate::shell::{command, run};
use crate::site::site;

/// Builds the release and runs the browser tests against it; pictures stay in end2end/artefacts. A thousand containers
/// are the fake engine's, which only development builds have.
///
/// # Errors
/// The build or a journey failed.
pub fn journey(arguments: &[String]) -> anyhow::Result<()> {
    let images = images::tree()?;
    let binary = build(Profile::Release)?;
    let dev = build::binary(Profile::Dev, &site(Profile::Release)?, &build::shim()?)?;
    run(command("node", ["node_modules/typescript/bin/tsc", "--project", "."]).current_dir("end2end"))?;
    let playwright = ["node_modules/@playwright/test/cli.js", "test"];
    run(command("node", playwright)
        .args(arguments)
        .current_dir("end2end")
        .env("BERTH_BINARY", std::fs::canonicalize(binary)?)
        .env("BERTH_DEV_BINARY", std::fs::canonicalize(dev)?)
        .env("BERTH_TEST_IMAGES", images))
}
