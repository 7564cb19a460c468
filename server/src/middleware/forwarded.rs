//! Where a request really comes from: the peer of the connection, or what a trusted proxy says (trust rule D36).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use model::network::Cidr;

use crate::console::{Console, Peer};

/// The client, as far as it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `None` at the local socket.
    pub address: Option<IpAddr>,
    /// Whether the browser speaks TLS, to us or to the trusted proxy.
    pub is_secure: bool,
}

impl Client {
    /// For logs, sessions and task rows.
    #[must_use]
    pub fn from(&self) -> String {
        self.address.map_or_else(|| "local socket".to_owned(), |address| address.to_string())
    }
}

/// Puts the [`Client`] beside the request.
pub async fn read(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let client = match request.extensions().get::<Peer>() {
        Some(Peer::Network { address, is_tls, .. }) => client(address.ip().to_canonical(), *is_tls, request.headers(), &console.config.trusted_proxies),
        _ => Client {
            address: None,
            is_secure: false,
        },
    };
    request.extensions_mut().insert(client);
    next.run(request).await
}

fn client(peer: IpAddr, is_tls: bool, headers: &HeaderMap, trusted: &[Cidr]) -> Client {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return Client {
            address: Some(peer),
            is_secure: is_tls,
        };
    }
    // From the right: what our own proxies appended, up to the first address that is none of them.
    let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let chain: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    for hop in chain.iter().rev().map_while(|hop| hop.parse::<IpAddr>().ok()) {
        address = hop.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    let scheme = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    Client {
        address: Some(address),
        is_secure: scheme.map_or(is_tls, |scheme| scheme.eq_ignore_ascii_case("https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(forwarded_for: &str) -> HeaderMap {
        HeaderMap::from_iter([
            ("x-forwarded-for".parse().unwrap(), forwarded_for.parse().unwrap()),
            ("x-forwarded-proto".parse().unwrap(), "https".parse().unwrap()),
        ])
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        let peer = "192.0.2.9".parse().unwrap();
        let seen = client(peer, false, &headers("10.0.0.1"), &["10.9.0.0/16".parse().unwrap()]);
        assert_eq!((seen.address, seen.is_secure), (Some(peer), false));
    }

    #[test]
    fn behind_a_trusted_proxy_the_last_foreign_hop_counts() {
        let trusted = ["10.9.0.0/16".parse().unwrap()];
        let seen = client("10.9.0.1".parse().unwrap(), false, &headers("1.2.3.4, 198.51.100.7, 10.9.3.3"), &trusted);
        assert_eq!((seen.address, seen.is_secure), (Some("198.51.100.7".parse().unwrap()), true));
    }
}
