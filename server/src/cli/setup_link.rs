//! `berth setup-link`: a new one-time link for the first account.

use serde::{Deserialize, Serialize};

use super::Session;
use super::output::{Format, print};
use crate::failure::Failure;

#[derive(Debug, Deserialize, Serialize)]
struct SetupLink {
    url: String,
}

/// Prints the link; exit 4 once an account exists.
pub async fn run(session: &Session) -> Result<(), Failure> {
    let link: SetupLink = session.client.post("/api/v1/setup/link", &serde_json::json!({})).await?;
    match session.out.format {
        Format::Json => session.out.document(&link),
        Format::Table => print(&format!("{}\n", link.url)),
    }
}
