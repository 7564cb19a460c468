//! The past of the graphs; what happens now comes by the event stream (`live`).

use leptos::prelude::*;
use model::Timestamp;
use model::metrics::History;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;

/// History of a container, or of the host (`@host`).
///
/// # Errors
/// Not allowed, or no such container.
#[server(name = HistoryFn, prefix = "/fn", endpoint = "events/history")]
pub async fn history(name: String, span_ms: i64, step_ms: Option<u64>) -> ApiResult<History> {
    let (control, caller) = request::request()?;
    let now = control.clock.now();
    Ok(control.metrics.history(&caller, &name, now.plus_ms(-span_ms.max(0)), now, step_ms).await?)
}

/// History between two moments, to close a gap of the stream.
///
/// # Errors
/// As [`history`].
#[server(name = HistoryBetweenFn, prefix = "/fn", endpoint = "events/history_between")]
pub async fn history_between(name: String, from: Timestamp, to: Timestamp, step_ms: Option<u64>) -> ApiResult<History> {
    let (control, caller) = request::request()?;
    Ok(control.metrics.history(&caller, &name, from, to, step_ms).await?)
}
