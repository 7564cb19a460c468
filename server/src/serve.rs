//! `berth serve`: composes engine, store, control, router and listeners, says when it is ready, and ends in order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use control::clock::Clock;
use control::engine::Engine;
use control::engine::linux::Linux;
use control::store::{Store, lock_state_dir, sqlite::Sqlite};
use control::{Caller, Control};
use model::engine::EngineError;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{EngineKind, ServeConfig};
use crate::console::{Console, Shared, url_of};
use crate::failure::Failure;
use crate::listen::{Acceptor, bind_socket};
use crate::middleware::rate_limit::RateLimit;
use crate::routes::events::Streams;
use crate::tls::{self, Identity};
use crate::{assets, lifecycle, routes, telemetry};

/// Serves until a signal ends it.
#[must_use]
pub fn run(config: ServeConfig) -> ExitCode {
    telemetry::begin(config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("the threads could not be started ({error})")).report(),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn serve(config: ServeConfig) -> Result<(), Failure> {
    std::fs::create_dir_all(&config.state_dir)
        .map_err(|error| Failure::failed(format!("the state directory {} cannot be made ({error})", config.state_dir.display())))?;
    // First of all: what the engine sweeps away may be another console's work in progress.
    let _lock = lock_state_dir(&config.state_dir)?;
    let engine = open_engine(&config)?;
    make_private(&config.run_dir)?;
    let clock = Clock::System;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&config.state_dir, clock.clone())?);
    let identity = tls::open(&config)?;
    let (listeners, addresses) = bind(&config).await?;
    let socket = bind_socket(&config.run_dir.join("berth.sock"))
        .map_err(|error| Failure::failed(format!("{}/berth.sock cannot be made ({error})", config.run_dir.display())))?;
    let control = Control::open(control_config(&config, &addresses), engine, store, clock).await?;
    let shutdown = CancellationToken::new();
    lifecycle::end_on_signals(shutdown.clone())?;
    let console = Console(Arc::new(Shared {
        control: Arc::clone(&control),
        addresses: addresses.clone(),
        assets: assets::addresses(),
        build: assets::build().into(),
        streams: Streams::default(),
        limits: RateLimit::default(),
        shutdown: shutdown.clone(),
        openapi: OnceLock::new(),
        zone_minutes: zone_minutes(),
        config,
    }));
    let acceptor = Acceptor::new(routes::router(&console), shutdown.clone(), &console.config.trusted_proxies);
    acceptor.listen_locally(socket);
    for (listener, address) in listeners.into_iter().zip(&addresses) {
        let encrypted = identity.as_ref().filter(|_| console.config.tls.covers(*address));
        acceptor.listen(listener, encrypted.map(|identity| TlsAcceptor::from(Arc::clone(&identity.server))));
    }
    announce(&console, identity.as_ref().map(Identity::fingerprint)).await?;
    if let Some(identity) = identity {
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(keep_fresh(identity, console.clone())));
    }
    shutdown.cancelled().await;
    acceptor.drain().await;
    control.shut_down().await;
    Ok(())
}

fn open_engine(config: &ServeConfig) -> Result<Arc<dyn Engine>, Failure> {
    if config.engine == EngineKind::Fake {
        return Ok(Arc::new(control::engine::fake::Fake::new()));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(6, "containers need root (the console is not run as root; use sudo)"));
    }
    let runtime = runtime::Config {
        state_dir: config.state_dir.clone(),
        run_dir: config.run_dir.clone(),
        instance: config.instance.clone(),
        shim: runtime::ShimSource::Bytes(assets::shim()),
        mount_roots: config.mount_roots.clone(),
    };
    let engine = Linux::open(runtime).map_err(|error: EngineError| Failure::from(control::Error::from(error)))?;
    Ok(Arc::new(engine))
}

/// The run directory: others may pass through to the socket, whose own rights decide, but list nothing.
fn make_private(folder: &std::path::Path) -> Result<(), Failure> {
    let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o711)));
    made.map_err(|error| Failure::failed(format!("the run directory {} cannot be used ({error})", folder.display())))
}

async fn bind(config: &ServeConfig) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), Failure> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for address in &config.listen {
        let refuse = |error: std::io::Error| Failure::failed(format!("nothing can listen on {address} ({error}; choose another address with --listen)"));
        let listener = TcpListener::bind(address).await.map_err(refuse)?;
        addresses.push(listener.local_addr().map_err(refuse)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

fn control_config(config: &ServeConfig, addresses: &[SocketAddr]) -> control::Config {
    control::Config {
        state_dir: config.state_dir.clone(),
        run_dir: config.run_dir.clone(),
        instance: config.instance.clone(),
        bridge: config.bridge.clone(),
        subnet: config.subnet,
        id_pool: config.id_pool,
        mount_roots: config.mount_roots.clone(),
        closed_ports: addresses.iter().map(SocketAddr::port).collect(),
        public_url: config.public_url.as_ref().map(ToString::to_string),
        reads_sources: config.engine == EngineKind::Linux,
    }
}

/// Looks for a newer certificate every hour.
async fn keep_fresh(identity: Identity, console: Console) {
    loop {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let renewed = tokio::task::block_in_place(|| identity.renew(&console.config));
        match renewed {
            Ok(true) => tracing::info!(fingerprint = identity.fingerprint(), "the certificate was renewed"),
            Ok(false) => {}
            Err(failure) => tracing::warn!(%failure, "the certificate could not be read again; the one before stays in use"),
        }
    }
}

/// Says on standard output where the console listens, and how the first account is made.
async fn announce(console: &Console, fingerprint: Option<String>) -> Result<(), Failure> {
    // Made before readiness is told: whoever waits for that finds the token's file.
    let token = if console.control.access.needs_setup().await? {
        Some(console.control.access.setup_token(&Caller::berth()).await?)
    } else {
        None
    };
    for address in &console.addresses {
        say(&format!("berth: listening on {}", url_of(*address, console.config.tls.covers(*address))));
    }
    if let Some(fingerprint) = fingerprint {
        say(&format!("berth: the certificate's SHA-256 fingerprint is {fingerprint}"));
    }
    if let Some(token) = token {
        say(&format!("berth: set up the first account at {}/setup#{token}", console.base_url()));
    }
    lifecycle::notify("READY=1");
    Ok(())
}

/// A line on standard output. Whoever started the console may have closed it meanwhile; that ends nothing.
fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Minutes east of UTC where this host stands, as `date` says it: the standard library knows no time zones.
fn zone_minutes() -> i32 {
    let output = std::process::Command::new("/usr/bin/date").arg("+%z").output().ok();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    minutes_of(&text).unwrap_or(0)
}

/// `+0530` as minutes.
fn minutes_of(text: &str) -> Option<i32> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let total = hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?;
    match sign {
        "+" => Some(total),
        "-" => Some(-total),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::minutes_of;

    #[test]
    fn zones_are_minutes_east() {
        assert_eq!(minutes_of("+0530"), Some(330));
        assert_eq!(minutes_of("-0800"), Some(-480));
        assert_eq!(minutes_of(""), None);
    }
}
