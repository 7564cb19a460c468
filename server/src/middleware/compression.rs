//! Which answers are compressed as they are made: pages and JSON. Streams never are, because a compressor would hold
//! events back, and files of the build bring their own variants.

use axum::http::Response;
use axum::http::header::CONTENT_TYPE;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

/// Smaller answers gain nothing: they fit one packet.
const LEAST: u64 = 1024;

/// The layer for every answer.
#[must_use]
pub fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST).and(PagesAndJson))
}

/// Answers that are whole when they are sent.
#[derive(Clone, Copy, Debug)]
struct PagesAndJson;

impl Predicate for PagesAndJson {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &Response<B>) -> bool {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        matches!(kind.split(';').next().map(str::trim), Some("text/html" | "application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_and_json_are_compressed() {
        let would = |kind: &'static str| {
            let mut response = Response::new(axum::body::Body::from("x"));
            response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static(kind));
            PagesAndJson.should_compress(&response)
        };
        assert!(would("text/html; charset=utf-8") && would("application/json"));
        for kind in [
            "text/event-stream",
            "text/plain; charset=utf-8",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "application/wasm",
            "",
        ] {
            assert!(!would(kind), "{kind}");
        }
    }
}
