//! One log line per request that is worth one, with an id that joins what was logged meanwhile. Never a body, a query
//! or a header: they may carry secrets.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::console::Peer;

/// Logs failures always, changes as information, reads for debugging only.
pub async fn write(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = match request.extensions().get::<Peer>() {
        Some(Peer::Network { address, .. }) => address.ip().to_string(),
        Some(Peer::Socket { user }) => format!("local socket, {user}"),
        None => String::new(),
    };
    let id = uuid::Uuid::new_v4().simple().to_string();
    let span = tracing::info_span!("request", id = &id[..12]);
    let start = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let (status, duration_ms) = (response.status(), u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    // Debug formatting escapes control characters: a path cannot forge a line.
    if status.is_server_error() {
        tracing::warn!(%method, ?path, status = status.as_u16(), duration_ms, %peer, "request failed");
    } else if !method.is_safe() {
        tracing::info!(%method, ?path, status = status.as_u16(), duration_ms, %peer, "request");
    } else {
        tracing::debug!(%method, ?path, status = status.as_u16(), duration_ms, %peer, "request");
    }
    response
}
