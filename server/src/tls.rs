//! Certificates: files of the administrator's, or one of our own, kept in `<state-dir>/tls` and made anew before it ends
//! or when it stands for other names than are needed now. Both are looked at again every hour: whoever renews the files
//! needs no restart.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::config::{ServeConfig, Tls};
use crate::failure::Failure;

/// What the listeners need.
#[derive(Clone, Debug)]
pub struct Identity {
    pub server: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl Identity {
    /// What a person compares when the browser warns.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.current.key().end_entity_cert().map(fingerprint).unwrap_or_default()
    }

    /// Takes the certificate anew, for connections from now on; whether it is another one.
    ///
    /// # Errors
    /// As [`open`]; the one before stays.
    pub fn renew(&self, config: &ServeConfig) -> Result<bool, Failure> {
        let fresh = certificate(config)?;
        let is_other = fresh.cert != self.current.key().cert;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(is_other)
    }
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

/// The identity for the encrypted listeners; `None` when there are none.
///
/// # Errors
/// Names the file that cannot be read, parsed or written.
pub fn open(config: &ServeConfig) -> Result<Option<Identity>, Failure> {
    if !config.listen.iter().any(|address| config.tls.covers(*address)) {
        return Ok(None);
    }
    let current = Arc::new(Current(RwLock::new(Arc::new(certificate(config)?))));
    let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS cannot be set up ({error})")))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Identity {
        server: Arc::new(server),
        current,
    }))
}

fn certificate(config: &ServeConfig) -> Result<CertifiedKey, Failure> {
    match &config.tls {
        Tls::Files { cert, key } => read(cert, key),
        _ => {
            let own = Own::at(&config.state_dir.join("tls"));
            let names = names(config);
            if own.is_due(&names, SystemTime::now()) {
                own.make(&names, SystemTime::now())
                    .map_err(|error| Failure::failed(format!("no certificate could be made in {} ({error})", own.folder.display())))?;
            }
            read(&own.cert, &own.key)
        }
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, Failure> {
    let refuse = |name: &str, path: &Path, why: String| Failure::usage(format!("{name} is wrong ({}: {why}; give a PEM file)", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| refuse("tls-cert", cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(refuse("tls-cert", cert, "it holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse("tls-key", key, error.to_string()))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).map_err(|error| refuse("tls-key", key, error.to_string()))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hex: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    hex.join(":")
}

/// Browsers refuse certificates of servers that are valid for longer than 825 days even where a person trusts them.
const LIFE: Duration = Duration::from_secs(800 * 86_400);
/// Made anew this long before the end: a console is started more often.
const MARGIN: Duration = Duration::from_secs(60 * 86_400);
const COMMON_NAME: &str = "Berth console";

/// The certificate of our own.
struct Own {
    folder: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// What we made: the fingerprint, the end in seconds since the epoch, and the names, a line each. A certificate that
    /// is not the one noted here is somebody else's and stays.
    note: PathBuf,
}

impl Own {
    fn at(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        Self {
            cert: file("cert.pem"),
            key: file("key.pem"),
            note: file("made"),
            folder: folder.to_owned(),
        }
    }

    /// Whether it has to be made: it is not there, or it is ours and ends soon or has other names.
    fn is_due(&self, names: &[String], now: SystemTime) -> bool {
        if !self.cert.exists() || !self.key.exists() {
            return true;
        }
        let Some(certificate) = CertificateDer::pem_file_iter(&self.cert).ok().and_then(|mut chain| chain.next()?.ok()) else {
            // What cannot be read is told when it is opened.
            return false;
        };
        let Ok(note) = std::fs::read_to_string(&self.note) else {
            // Ours have said so in their name from the first.
            return certificate.windows(COMMON_NAME.len()).any(|part| part == COMMON_NAME.as_bytes());
        };
        let mut lines = note.lines();
        if lines.next() != Some(fingerprint(&certificate).as_str()) {
            return false;
        }
        let end = lines
            .next()
            .and_then(|end| end.parse().ok())
            .map_or(UNIX_EPOCH, |end| UNIX_EPOCH + Duration::from_secs(end));
        now + MARGIN >= end || !lines.eq(names.iter().map(String::as_str))
    }

    fn make(&self, names: &[String], now: SystemTime) -> Result<(), Box<dyn std::error::Error>> {
        std::fs::create_dir_all(&self.folder)?;
        let pair = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(names)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, COMMON_NAME);
        let end = now + LIFE;
        params.not_before = (now - Duration::from_secs(86_400)).into();
        params.not_after = end.into();
        let certificate = params.self_signed(&pair)?;
        let end = end.duration_since(UNIX_EPOCH)?.as_secs();
        let note = format!("{}\n{end}\n{}\n", fingerprint(certificate.der()), names.join("\n"));
        let files = [(&self.note, note), (&self.key, pair.serialize_pem()), (&self.cert, certificate.pem())];
        for (path, content) in &files {
            stage(path, content)?;
        }
        // The note first: a crash after it leaves a certificate that is not the noted one and so would stay for ever;
        // without the old one there is none, which is made. The certificate last, so that none ever lacks its key.
        for old in [&self.cert, &self.key] {
            if old.exists() {
                std::fs::remove_file(old)?;
            }
        }
        for (path, _) in &files {
            std::fs::rename(staged(path), path)?;
            std::fs::File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn staged(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Writes a file beside its place: where there is no room, the one before stays.
fn stage(path: &Path, content: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let fresh = staged(path);
    if let Err(error) = std::fs::remove_file(&fresh)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Names and addresses that the certificate stands for.
fn names(config: &ServeConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = rustix::system::uname().nodename().to_str().ok().filter(|host| !host.is_empty()) {
        names.push(host.to_owned());
    }
    let addresses = config.listen.iter().map(|address| address.ip()).filter(|ip: &IpAddr| !ip.is_unspecified());
    names.extend(addresses.map(|ip| ip.to_string()));
    names.extend(config.public_url.as_ref().map(|url| url.name().to_owned()));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn ours_is_made_anew_when_it_ends_or_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let (own, now) = (Own::at(&folder.path().join("tls")), SystemTime::now());
        let names = words(&["2001:db8::1", "localhost"]);
        assert!(own.is_due(&names, now), "there is none");
        own.make(&names, now).unwrap();
        let first = read(&own.cert, &own.key).unwrap().cert;
        assert!(!own.is_due(&names, now));
        assert!(!own.is_due(&names, now + LIFE - MARGIN - Duration::from_secs(60)));
        assert!(own.is_due(&names, now + LIFE - MARGIN));
        let other = words(&["berth.example.org", "localhost"]);
        assert!(own.is_due(&other, now));
        own.make(&other, now).unwrap();
        assert!(!own.is_due(&other, now));
        assert_ne!(read(&own.cert, &own.key).unwrap().cert, first);
        std::fs::remove_file(&own.note).unwrap();
        assert!(own.is_due(&other, now), "one of ours from before there were notes");
    }

    #[test]
    fn one_that_cannot_be_written_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let (own, now, names) = (Own::at(folder.path()), SystemTime::now(), words(&["localhost"]));
        own.make(&names, now).unwrap();
        let first = read(&own.cert, &own.key).unwrap().cert;
        std::fs::create_dir(staged(&own.cert)).unwrap();
        assert!(own.make(&names, now).is_err());
        assert_eq!(read(&own.cert, &own.key).unwrap().cert, first);
    }

    #[test]
    fn files_that_were_renewed_are_shown_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let own = Own::at(folder.path());
        own.make(&words(&["localhost"]), SystemTime::now()).unwrap();
        let file = |path: &Path| Some(path.to_string_lossy().into_owned());
        let args = crate::config::ServeArgs {
            listen: vec!["192.0.2.1:8420".to_owned()],
            tls_cert: file(&own.cert),
            tls_key: file(&own.key),
            ..Default::default()
        };
        let config = ServeConfig::read(&args, None).unwrap();
        let identity = open(&config).unwrap().expect("it is encrypted");
        let first = identity.fingerprint();
        assert!(!identity.renew(&config).unwrap());
        own.make(&words(&["localhost"]), SystemTime::now()).unwrap();
        assert!(identity.renew(&config).unwrap());
        let second = identity.fingerprint();
        assert_ne!(second, first);
        std::fs::write(&own.cert, "half a file").unwrap();
        assert!(identity.renew(&config).is_err());
        assert_eq!(identity.fingerprint(), second, "the one before stays");
    }

    #[test]
    fn somebody_elses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (own, now) = (Own::at(folder.path()), SystemTime::now());
        own.make(&words(&["localhost"]), now).unwrap();
        let pair = rcgen::KeyPair::generate().unwrap();
        let theirs = rcgen::CertificateParams::new(words(&["theirs.example"])).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&own.cert, theirs.pem()).unwrap();
        std::fs::write(&own.key, pair.serialize_pem()).unwrap();
        assert!(!own.is_due(&words(&["localhost"]), now + LIFE));
        std::fs::remove_file(&own.note).unwrap();
        assert!(!own.is_due(&words(&["localhost"]), now + LIFE));
    }
}
