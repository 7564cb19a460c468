//! What every handler may use: the console itself, its configuration, the open streams and the end of it all.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use app::page_context::Assets;
use axum::body::Bytes;
use axum::extract::FromRef;
use control::Control;
use leptos::config::LeptosOptions;
use tokio_util::sync::CancellationToken;

use crate::config::ServeConfig;
use crate::middleware::rate_limit::RateLimit;
use crate::routes::events::Streams;

/// Shared by all connections.
#[derive(Debug)]
pub struct Shared {
    pub control: Arc<Control>,
    pub config: ServeConfig,
    /// Addresses that are listened on, with the ports that the kernel chose.
    pub addresses: Vec<SocketAddr>,
    pub assets: Arc<Assets>,
    pub build: Arc<str>,
    pub streams: Streams,
    pub limits: RateLimit,
    /// Cancelled when the console ends: streams and terminals close.
    pub shutdown: CancellationToken,
    /// The OpenAPI document, once all routes are known.
    pub openapi: OnceLock<Bytes>,
    /// Minutes east of UTC where this host stands.
    pub zone_minutes: i32,
}

/// The router's state.
#[derive(Clone, Debug)]
pub struct Console(pub Arc<Shared>);

impl Deref for Console {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl FromRef<Console> for LeptosOptions {
    fn from_ref(_: &Console) -> Self {
        // Only the name matters to the renderer: files are served by `assets`, addresses come from the manifest.
        Self::builder().output_name("berth").build()
    }
}

impl Shared {
    /// How links that Berth prints begin.
    #[must_use]
    pub fn base_url(&self) -> String {
        if let Some(url) = &self.config.public_url {
            return url.to_string();
        }
        self.addresses
            .first()
            .map_or_else(String::new, |address| url_of(*address, self.config.tls.covers(*address)))
    }
}

/// The address of a listener as a link; a wildcard is shown as the loopback address, where it answers too.
#[must_use]
pub fn url_of(address: SocketAddr, is_tls: bool) -> String {
    let shown = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    };
    format!("{}://{shown}", if is_tls { "https" } else { "http" })
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Over TCP.
    Network { address: SocketAddr, local: SocketAddr, is_tls: bool },
    /// Over the local socket, already judged by its credentials: the name for logs.
    Socket { user: String },
}
