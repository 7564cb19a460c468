//! `/metrics` for Prometheus.

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use control::Caller;
use model::access::Permission;

use super::answer::Answer;
use super::table::Table;
use crate::console::Console;

/// Adds it.
#[must_use]
pub fn add_to(table: Table) -> Table {
    table.add_plain("GET", "/metrics", Some(Permission::View), get(exposition))
}

async fn exposition(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<impl IntoResponse> {
    let text = console.control.metrics.open_metrics(&caller).await?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
