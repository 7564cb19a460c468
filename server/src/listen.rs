//! Connections: own accept loops, because `axum::serve` installs no timer and so bounds neither a slow head nor a silent
//! connection (trust.md section 4). Every wait for a peer has an end, and the number of connections has a cap.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::network::Cidr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::console::Peer;
use crate::middleware::rate_limit::network;

mod activity;
mod local;

pub use local::bind as bind_socket;

/// Connections at one time, over all listeners.
const CONNECTIONS: usize = 8192;
/// Connections at one time from one network that is not loopback.
const PER_NETWORK: usize = 1024;
/// Connections at one time from loopback, as long as no trusted proxy comes from there: whoever is on this host must not
/// take all of them.
const OF_LOOPBACK: usize = CONNECTIONS / 2;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head has to arrive within this time; an idle connection is closed after it.
const HEAD: Duration = Duration::from_secs(20);
/// An HTTP/2 connection without a request is closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// Requests under way get this long when the console ends.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until the console ends.
#[derive(Clone, Debug)]
pub struct Acceptor {
    router: Router,
    shutdown: CancellationToken,
    connections: TaskTracker,
    free: Arc<Semaphore>,
    per_network: Arc<Mutex<HashMap<IpAddr, usize>>>,
    trusted_proxies: Arc<[Cidr]>,
}

impl Acceptor {
    /// Serves this router until the token is cancelled.
    #[must_use]
    pub fn new(router: Router, shutdown: CancellationToken, trusted_proxies: &[Cidr]) -> Self {
        Self {
            router,
            shutdown,
            connections: TaskTracker::new(),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            per_network: Arc::default(),
            trusted_proxies: trusted_proxies.into(),
        }
    }

    /// Accepts on a TCP listener, encrypted where an acceptor is given.
    pub fn listen(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let this = self.clone();
        self.connections.spawn(async move {
            while let Some(permit) = this.permit().await {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = this.shutdown.cancelled() => return,
                };
                match accepted {
                    Ok((stream, address)) => this.take(stream, address, tls.clone(), permit),
                    // Out of descriptors, or a peer that left: neither is a reason to end, and a short pause keeps the loop calm.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }

    /// Accepts on the local socket: root and group `berth` only.
    pub fn listen_locally(&self, listener: UnixListener) {
        let this = self.clone();
        self.connections.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = this.shutdown.cancelled() => return,
                };
                match accepted {
                    Ok((stream, _)) => this.take_local(stream),
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the local socket could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }

    /// Waits until every connection has ended; what is still open after the grace time is dropped.
    pub async fn drain(&self) {
        self.connections.close();
        if tokio::time::timeout(GRACE + Duration::from_secs(1), self.connections.wait()).await.is_err() {
            tracing::info!(connections = self.connections.len(), "connections that did not end in time are dropped");
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.free).acquire_owned() => permit.ok(),
            () = self.shutdown.cancelled() => None,
        }
    }

    fn take(&self, stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, permit: OwnedSemaphorePermit) {
        let from = address.ip().to_canonical();
        let Some(slot) = Slot::take(&self.per_network, from, most(from, &self.trusted_proxies)) else {
            return;
        };
        let this = self.clone();
        self.connections.spawn(async move {
            let held = Held(Arc::new((permit, slot)));
            if let Err(error) = this.serve_network(stream, address, tls, held).await {
                tracing::debug!(%error, peer = %address, "a connection ended early");
            }
        });
    }

    async fn serve_network(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        held: Held,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Small frames of terminals and events must not wait for each other.
        stream.set_nodelay(true)?;
        let peer = Peer::Network {
            address,
            local: stream.local_addr()?,
            is_tls: tls.is_some(),
        };
        let Some(tls) = tls else {
            return self.serve_http1(stream, peer, Some(held)).await;
        };
        let stream = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await??;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            // No WebSocket of ours comes over HTTP/2.
            let _held = held;
            self.serve_http2(stream, peer).await
        } else {
            self.serve_http1(stream, peer, Some(held)).await
        }
    }

    fn take_local(&self, stream: UnixStream) {
        let this = self.clone();
        self.connections.spawn(async move {
            let Some(peer) = local::judge(&stream) else {
                return local::refuse(stream).await;
            };
            if let Err(error) = this.serve_http1(stream, peer, None).await {
                tracing::debug!(%error, "a connection to the local socket ended early");
            }
        });
    }

    async fn serve_http1<S>(&self, stream: S, peer: Peer, held: Option<Held>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            // For whoever upgrades the connection: hyper gives it away then, and its place is still taken.
            if let Some(held) = held.clone() {
                request.extensions_mut().insert(held);
            }
            answer(router.clone(), peer.clone(), request)
        });
        let connection = http1_builder().serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = self.shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        Ok(tokio::time::timeout(GRACE, connection).await??)
    }

    async fn serve_http2<S>(&self, stream: S, peer: Peer) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, activity) = (self.router.clone(), activity::Activity::default());
        let watched = activity.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (under_way, answer) = (watched.begin(), answer(router.clone(), peer.clone(), request));
            async move { answer.await.map(|response| response.map(|body| under_way.until_the_end_of(body))) }
        });
        let connection = http2_builder().serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = self.shutdown.cancelled() => {}
            () = activity.idle_for(IDLE) => {}
        }
        connection.as_mut().graceful_shutdown();
        Ok(tokio::time::timeout(GRACE, connection).await??)
    }
}

async fn answer(router: Router, peer: Peer, request: hyper::Request<Incoming>) -> Result<axum::response::Response, std::convert::Infallible> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    router.oneshot(request).await
}

/// Timer and time-out in one place: a time-out without a timer panics at the first connection (hyper 1.12).
fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(100)
        .max_buf_size(64 << 10);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10)
        .max_pending_accept_reset_streams(20);
    builder
}

/// The place that a connection takes, as long as anybody uses it.
#[derive(Clone, Debug)]
pub struct Held(#[expect(dead_code, reason = "dropped with the connection")] Arc<(OwnedSemaphorePermit, Slot)>);

/// How many connections whoever comes from this address may have.
fn most(from: IpAddr, trusted_proxies: &[Cidr]) -> usize {
    match from.is_loopback() {
        false => PER_NETWORK,
        true if trusted_proxies.iter().any(|proxies| proxies.contains(from)) => CONNECTIONS,
        true => OF_LOOPBACK,
    }
}

/// One of the connections that a network may have.
#[derive(Debug)]
struct Slot {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    network: IpAddr,
}

impl Slot {
    fn take(counts: &Arc<Mutex<HashMap<IpAddr, usize>>>, from: IpAddr, most: usize) -> Option<Self> {
        // Loopback has millions of addresses, and all are this host.
        let network = if from.is_loopback() { Ipv4Addr::LOCALHOST.into() } else { network(from) };
        let mut held = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&network).is_some_and(|count| *count >= most) {
            return None;
        }
        *held.entry(network).or_default() += 1;
        drop(held);
        Some(Self {
            counts: Arc::clone(counts),
            network,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_have_timer_and_time_outs_together() {
        // Building panics when a time-out has no timer.
        let (io, _other) = tokio::io::duplex(64);
        let service = service_fn(|_: hyper::Request<Incoming>| async { Ok::<_, std::convert::Infallible>(hyper::Response::new(Body::empty())) });
        drop(http1_builder().serve_connection(TokioIo::new(io), service));
        drop(http2_builder());
    }

    /// Takes places from these addresses in turn until one is refused.
    fn places(addresses: &[&str], trusted_proxies: &[Cidr]) -> usize {
        let counts = Arc::default();
        let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().unwrap());
        let slots = addresses.cycle().map(|from| Slot::take(&counts, from, most(from, trusted_proxies)));
        let held: Vec<_> = slots.take_while(Option::is_some).take(CONNECTIONS).collect();
        assert_eq!(counts.lock().unwrap().values().sum::<usize>(), held.len());
        let count = held.len();
        drop(held);
        assert!(counts.lock().unwrap().is_empty(), "places come back");
        count
    }

    #[test]
    fn a_network_has_a_cap_however_many_addresses_it_uses() {
        assert_eq!(places(&["192.0.2.1"], &[]), PER_NETWORK);
        assert_eq!(places(&["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"], &[]), PER_NETWORK);
        // Each alone may have as many.
        assert_eq!(places(&["192.0.2.1", "192.0.2.2"], &[]), 2 * PER_NETWORK);
        assert_eq!(places(&["::ffff:192.0.2.1", "::ffff:192.0.2.2"], &[]), 2 * PER_NETWORK);
    }

    #[test]
    fn loopback_leaves_half_to_others_unless_it_is_the_proxy() {
        assert_eq!(places(&["127.0.0.1", "127.8.0.1", "::1"], &[]), OF_LOOPBACK);
        assert_eq!(places(&["127.0.0.1"], &["192.0.2.0/24".parse().unwrap()]), OF_LOOPBACK);
        assert_eq!(places(&["127.0.0.1"], &["127.0.0.1/32".parse().unwrap()]), CONNECTIONS);
    }
}
