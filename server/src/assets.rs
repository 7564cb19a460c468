//! What the binary carries: the browser half, static files and the shim, with the rule by which files are served
//! (hashed names, immutable caching, pre-compressed variants by negotiation).

use std::sync::Arc;

use app::page_context::Assets;
use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Response};

/// One embedded file with its compressed variants.
#[derive(Debug)]
pub struct File {
    path: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    zstd: Option<&'static [u8]>,
}

mod embedded {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// Changes with every build of the pages.
#[must_use]
pub fn build() -> &'static str {
    embedded::BUILD
}

/// The static executable that becomes the parent of each container; empty in a build without it.
#[must_use]
pub fn shim() -> &'static [u8] {
    embedded::SHIM
}

/// Addresses of scripts and styles for the pages.
#[must_use]
pub fn addresses() -> Arc<Assets> {
    let manifest = serde_json::from_str(embedded::MANIFEST).unwrap_or_default();
    Arc::new(Assets::from_manifest(&manifest))
}

/// The file at this address without its leading slash.
#[must_use]
pub fn find(path: &str) -> Option<&'static File> {
    let index = embedded::FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    embedded::FILES.get(index)
}

impl File {
    /// An answer with the smallest variant that the browser takes.
    #[must_use]
    pub fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let (bytes, encoding) = self.variant(headers);
        let mut response = Response::new(Body::from(Bytes::from_static(bytes)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }

    fn variant(&self, headers: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(bytes) = self.brotli.filter(|_| accepts(accepted, "br")) {
            return (bytes, Some("br"));
        }
        if let Some(bytes) = self.zstd.filter(|_| accepts(accepted, "zstd")) {
            return (bytes, Some("zstd"));
        }
        (self.plain, None)
    }
}

/// Whether an `Accept-Encoding` names the encoding with a quality above 0 (RFC 9110 section 12.5.3).
fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|part| {
        let (name, quality) = part.split_once(';').unwrap_or((part, ""));
        let refused = quality.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn an_encoding_is_used_only_when_it_is_named_and_not_refused() {
        assert!(accepts("gzip, deflate, br, zstd", "br"));
        assert!(accepts("br;q=0.5", "br"));
        assert!(!accepts("br;q=0, zstd", "br"));
        assert!(!accepts("gzip", "br"));
        assert!(!accepts("", "zstd"));
    }
}
