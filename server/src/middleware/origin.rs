//! Whether a browser's request comes from our own pages (trust rule D33). A bearer token and the local socket need no
//! proof, because no browser adds them by itself; a cookie does.

use axum::extract::{Request, State};
use axum::http::header::{ORIGIN, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use model::error::ErrorCode;

use super::host::host_of;
use super::session::Credential;
use crate::config::PublicUrl;
use crate::console::{Console, Peer};
use crate::routes::answer::ApiError;

/// Refuses what another site made the browser send.
pub async fn check(State(console): State<Console>, request: Request, next: Next) -> Response {
    if matches!(request.extensions().get::<Peer>(), Some(Peer::Socket { .. })) {
        return next.run(request).await;
    }
    let credential = request.extensions().get::<Credential>().copied().unwrap_or(Credential::Nothing);
    let proof = Proof::of(request.headers(), host_of(&request).as_deref(), console.config.public_url.as_ref());
    if is_allowed(needs(&request), proof, credential) {
        return next.run(request).await;
    }
    ApiError::new(ErrorCode::NotAllowed, "the request does not come from this console's own pages")
        .hint("send the Origin header of the console, or use a token")
        .into_response()
}

/// What a request needs to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// It changes something, or opens a socket.
    OwnPage,
    /// It reads data.
    NotForeign,
    /// A page or a file: links from anywhere may lead here.
    Nothing,
}

/// What the headers say about the page that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Own,
    Foreign,
    Absent,
}

fn needs(request: &Request) -> Needs {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let path = request.uri().path();
    if !is_safe || request.headers().contains_key(UPGRADE) || path.starts_with("/ws/") {
        return Needs::OwnPage;
    }
    if path.starts_with("/api/") || path.starts_with("/fn/") || path == "/metrics" {
        Needs::NotForeign
    } else {
        Needs::Nothing
    }
}

impl Proof {
    fn of(headers: &HeaderMap, host: Option<&str>, public: Option<&PublicUrl>) -> Self {
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if let Some(origin) = headers.get(ORIGIN) {
            let same = (is_own(origin, host) || is_public(origin, public)) && !matches!(site, Some(b"cross-site" | b"same-site"));
            return if same { Self::Own } else { Self::Foreign };
        }
        match site {
            Some(b"same-origin") => Self::Own,
            // Typed into the address bar: fine for reading, proves nothing for a change.
            None | Some(b"none") => Self::Absent,
            Some(_) => Self::Foreign,
        }
    }
}

fn is_allowed(needs: Needs, proof: Proof, credential: Credential) -> bool {
    match (needs, credential) {
        (Needs::Nothing, _) | (_, Credential::Bearer) => true,
        (Needs::NotForeign, _) => proof != Proof::Foreign,
        (Needs::OwnPage, Credential::Cookie) => proof == Proof::Own,
        // Neither cookie nor token: a script that signs in. A browser always says where a change comes from.
        (Needs::OwnPage, Credential::Nothing) => proof != Proof::Foreign,
    }
}

/// Host and port of the origin are those that were asked for, and `Host` has been judged already. The scheme is left to
/// the cookie: `__Host-` never travels in the clear.
fn is_own(origin: &HeaderValue, host: Option<&str>) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| {
        let uri: Uri = origin.parse().ok()?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        is_web
            .then(|| uri.authority().map(|authority| authority.as_str().to_ascii_lowercase()))
            .flatten()
    });
    authority.is_some() && authority.as_deref() == host
}

/// The origin is the address that people use: behind a proxy that rewrites `Host` it is the only one a browser can name.
fn is_public(origin: &HeaderValue, public: Option<&PublicUrl>) -> bool {
    public.is_some_and(|url| origin.as_bytes().eq_ignore_ascii_case(url.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(origin: Option<&str>, site: Option<&str>) -> Proof {
        let pairs = [("origin", origin), ("sec-fetch-site", site)];
        let headers = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.parse().unwrap(), value?.parse().unwrap())));
        Proof::of(&headers.collect(), Some("127.0.0.1:8420"), None)
    }

    #[test]
    fn only_the_exact_origin_is_our_own() {
        assert_eq!(proof(Some("http://127.0.0.1:8420"), None), Proof::Own);
        assert_eq!(proof(None, Some("same-origin")), Proof::Own);
        for evil in [
            "null",
            "http://evil",
            "http://127.0.0.1:8420.evil",
            "http://x127.0.0.1:8420",
            "http://127.0.0.1",
            "file://127.0.0.1:8420",
            "",
        ] {
            assert_eq!(proof(Some(evil), None), Proof::Foreign, "{evil}");
        }
        assert_eq!(proof(Some("http://127.0.0.1:8420"), Some("cross-site")), Proof::Foreign);
        assert_eq!(proof(None, Some("same-site")), Proof::Foreign);
    }

    #[test]
    fn the_public_address_is_our_own_whatever_host_a_proxy_asks_for() {
        let public: PublicUrl = "https://berth.example.org:443".parse().unwrap();
        let of = |origin: &str| {
            let headers = HeaderMap::from_iter([(ORIGIN, origin.parse().unwrap())]);
            Proof::of(&headers, Some("127.0.0.1:8420"), Some(&public))
        };
        assert_eq!(of("https://berth.example.org"), Proof::Own);
        assert_eq!(of("http://127.0.0.1:8420"), Proof::Own);
        for evil in [
            "http://berth.example.org",
            "https://berth.example.org.evil",
            "https://berth.example.org:8443",
            "https://xberth.example.org",
            "null",
        ] {
            assert_eq!(of(evil), Proof::Foreign, "{evil}");
        }
    }

    #[test]
    fn a_cookie_needs_proof_and_a_token_does_not() {
        assert!(!is_allowed(Needs::OwnPage, Proof::Absent, Credential::Cookie));
        assert!(is_allowed(Needs::OwnPage, Proof::Own, Credential::Cookie));
        assert!(is_allowed(Needs::OwnPage, Proof::Foreign, Credential::Bearer));
        assert!(is_allowed(Needs::OwnPage, Proof::Absent, Credential::Nothing));
        assert!(!is_allowed(Needs::OwnPage, Proof::Foreign, Credential::Nothing));
        assert!(!is_allowed(Needs::NotForeign, Proof::Foreign, Credential::Cookie));
        assert!(is_allowed(Needs::NotForeign, Proof::Absent, Credential::Cookie));
    }
}
