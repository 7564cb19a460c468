//! Certificates: files of the administrator's, or one of our own that is made once and kept in `<state-dir>/tls`.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::config::{ServeConfig, Tls};
use crate::failure::Failure;

/// What a listener needs, and the fingerprint that a person compares when the browser warns.
#[derive(Clone, Debug)]
pub struct Identity {
    pub server: Arc<ServerConfig>,
    pub fingerprint: String,
}

/// The identity for the encrypted listeners; `None` when there are none.
///
/// # Errors
/// Names the file that cannot be read, parsed or written.
pub fn open(config: &ServeConfig) -> Result<Option<Identity>, Failure> {
    if !config.listen.iter().any(|address| config.tls.covers(*address)) {
        return Ok(None);
    }
    match &config.tls {
        Tls::Files { cert, key } => identity(cert, key).map(Some),
        _ => {
            let folder = config.state_dir.join("tls");
            let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
            if !cert.exists() || !key.exists() {
                make(&folder, &cert, &key, config)
                    .map_err(|error| Failure::failed(format!("no certificate could be made in {} ({error})", folder.display())))?;
            }
            identity(&cert, &key).map(Some)
        }
    }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, Failure> {
    let refuse = |name: &str, path: &Path, why: String| Failure::usage(format!("{name} is wrong ({}: {why}; give a PEM file)", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| refuse("tls-cert", cert, error.to_string()))?;
    let first = chain.first().ok_or_else(|| refuse("tls-cert", cert, "it holds no certificate".into()))?;
    let fingerprint = fingerprint(first);
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse("tls-key", key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("tls", cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| refuse("tls-key", key, error.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Identity {
        server: Arc::new(server),
        fingerprint,
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hex: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    hex.join(":")
}

fn make(folder: &Path, cert: &Path, key: &Path, config: &ServeConfig) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let pair = rcgen::KeyPair::generate()?;
    let mut params = rcgen::CertificateParams::new(names(config))?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "Berth console");
    // Browsers refuse certificates of servers that are valid for longer than 825 days even where a person trusts them.
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(86_400)).into();
    params.not_after = (now + std::time::Duration::from_secs(800 * 86_400)).into();
    let certificate = params.self_signed(&pair)?;
    write(key, &pair.serialize_pem())?;
    write(cert, &certificate.pem())?;
    Ok(())
}

/// The certificate last, so that a crash between the two files leaves none that lacks its key.
fn write(path: &Path, content: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let fresh = path.with_extension("new");
    if let Err(error) = std::fs::remove_file(&fresh)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Names and addresses that the certificate stands for.
fn names(config: &ServeConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = rustix::system::uname().nodename().to_str().ok().filter(|host| !host.is_empty()) {
        names.push(host.to_owned());
    }
    let addresses = config.listen.iter().map(|address| address.ip()).filter(|ip: &IpAddr| !ip.is_unspecified());
    names.extend(addresses.map(|ip| ip.to_string()));
    names.extend(
        config
            .public_url
            .as_ref()
            .map(|url| url.host.rsplit_once(':').map_or(url.host.as_str(), |(host, _)| host).to_owned()),
    );
    names.sort();
    names.dedup();
    names
}
