//! Which names this console answers to: a rebound name reaches nothing (trust rule D36, 421).

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use model::error::ErrorCode;

use crate::console::{Console, Peer};
use crate::routes::answer::ApiError;

/// Refuses a request whose `Host` is not ours. The local socket has no names.
pub async fn check(State(console): State<Console>, request: Request, next: Next) -> Response {
    let Some(Peer::Network { local, .. }) = request.extensions().get::<Peer>() else {
        return next.run(request).await;
    };
    let host = host_of(&request);
    let public = console.config.public_url.as_ref().map(|url| url.host.as_str());
    let is_ours = host.as_deref().is_some_and(|host| is_ours(host, *local, &console.addresses, public));
    if is_ours {
        return next.run(request).await;
    }
    ApiError::new(ErrorCode::WrongHost, "this console does not answer to that name")
        .hint("use the address it listens on, or set public-url")
        .into_response()
}

/// The host asked for: of HTTP/2 in the address, else in the header.
#[must_use]
pub fn host_of(request: &Request) -> Option<String> {
    let header = || request.headers().get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(header)
        .map(|host| host.to_ascii_lowercase())
}

fn is_ours(host: &str, local: SocketAddr, listening: &[SocketAddr], public: Option<&str>) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if public == Some(host) {
        return true;
    }
    let name = authority.host();
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        return true;
    }
    let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        return false;
    };
    let port = authority.port_u16();
    let has_port = |own: u16| port == Some(own) || (port.is_none() && matches!(own, 80 | 443));
    // A wildcard stands for every address of this host; the one that the connection came in by surely is one.
    let named = SocketAddr::new(address, local.port());
    let is_local = address == local.ip().to_canonical() && listening.iter().any(|own| own.ip().is_unspecified() && own.port() == local.port());
    has_port(local.port()) && (is_local || listening.contains(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names() {
        let listening: Vec<SocketAddr> = vec!["0.0.0.0:8420".parse().unwrap(), "192.0.2.5:443".parse().unwrap()];
        let local = "198.51.100.2:8420".parse().unwrap();
        let public = Some("berth.example.org");
        for good in ["localhost:1", "127.0.0.1", "[::1]:9", "198.51.100.2:8420", "berth.example.org"] {
            assert!(is_ours(good, local, &listening, public), "{good}");
        }
        for bad in [
            "evil.example",
            "198.51.100.2:1",
            "198.51.100.3:8420",
            "berth.example.org.evil",
            "berth.example.org:1",
            "localhost.evil",
            "",
            "a b",
        ] {
            assert!(!is_ours(bad, local, &listening, public), "{bad}");
        }
        assert!(is_ours("192.0.2.5", "192.0.2.5:443".parse().unwrap(), &listening, None));
    }
}
