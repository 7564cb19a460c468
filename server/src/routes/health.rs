//! `/healthz` and `/readyz`: whether the console lives and can answer. They say nothing else to anybody.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::table::Table;
use crate::console::Console;

/// Adds both.
#[must_use]
pub fn add_to(table: Table) -> Table {
    table
        .add_plain("GET", "/healthz", None, get(live))
        .add_plain("GET", "/readyz", None, get(ready))
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(console): State<Console>) -> (StatusCode, &'static str) {
    if !console.shutdown.is_cancelled() && console.control.access.needs_setup().await.is_ok() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
