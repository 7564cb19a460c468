//! Whether a mirror's Release file is signed by its distribution: `gpgv` says so, without any privilege, and gives back
//! only what the signature covers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use model::error::ErrorCode;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::web::upstream;
use crate::error::{Error, Result};

const GPGV: &str = "/usr/bin/gpgv";
const LONGEST: Duration = Duration::from_secs(30);
/// The user `nobody`: what reads a stranger's bytes has no rights.
const NOBODY: u32 = 65_534;

/// Where the public keys of a distribution are, and the package that brings them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyring<'a> {
    pub(super) path: &'a Path,
    pub(super) package: &'a str,
}

impl Keyring<'static> {
    /// The keys of `debian` or `ubuntu`.
    pub(super) fn of(distribution: &str) -> Option<Self> {
        let (path, package) = match distribution {
            "debian" => ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
            "ubuntu" => ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring"),
            _ => return None,
        };
        Some(Self {
            path: Path::new(path),
            package,
        })
    }
}

/// The text that a good signature covers.
///
/// # Errors
/// There is no signature or a bad one; the keys or gpgv are not installed.
pub(super) async fn signed_text(release: &[u8], keyring: Keyring<'_>) -> Result<String> {
    for (path, package) in [(Path::new(GPGV), "gpgv"), (keyring.path, keyring.package)] {
        if !path.exists() {
            let text = format!("the mirror's signature cannot be checked: {} is not there", path.display());
            return Err(Error::new(ErrorCode::Unsupported, text).hint(format!("apt-get install {package}")));
        }
    }
    let checked = tokio::time::timeout(LONGEST, run(release, keyring.path)).await;
    let output = checked
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| Error::failed(format!("gpgv cannot be run ({error})")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let has = |word: &str| {
        said.lines()
            .any(|line| line.strip_prefix("[GNUPG:] ").is_some_and(|status| status.starts_with(word)))
    };
    // Several keys sign; one that is known is enough, and one that is wrong is too many.
    if has("GOODSIG ") && !has("BADSIG ") {
        return String::from_utf8(output.stdout).map_err(|_| upstream("the mirror's Release file is not text"));
    }
    let why = said.lines().rfind(|line| !line.starts_with("[GNUPG:]")).unwrap_or("it is not signed");
    Err(upstream(format!("the mirror's Release file has no good signature of its distribution ({why})"))
        .hint(format!("use a mirror of the distribution itself, or bring {} up to date", keyring.package)))
}

async fn run(release: &[u8], keyring: &Path) -> std::io::Result<std::process::Output> {
    let mut command = Command::new(GPGV);
    command.args(["--status-fd", "2", "--output", "-", "--keyring"]).arg(keyring).arg("-");
    command.env_clear().env("LANG", "C.UTF-8").current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn()?;
    let input = child.stdin.take();
    let feed = async {
        if let Some(mut input) = input {
            // It may stop reading at the first fault; what it says counts.
            drop(input.write_all(release).await);
        }
    };
    tokio::join!(feed, child.wait_with_output()).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = include_str!("signature/test-InRelease");
    const KEYS: &[u8] = include_bytes!("signature/test-keyring.gpg");

    async fn check(text: &str) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        // The checker is nobody: it must be able to come here.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("keys.gpg");
        std::fs::write(&path, KEYS).unwrap();
        let keyring = Keyring {
            path: &path,
            package: "test-keyring",
        };
        signed_text(text.as_bytes(), keyring).await
    }

    #[tokio::test]
    async fn only_what_is_signed_is_read() {
        let text = check(SIGNED).await.unwrap();
        assert!(text.starts_with("Origin: Debian") && text.contains("Codename: trixie"), "{text}");
        let around = format!("Codename: evil\n{SIGNED}\nSuite: evil\n");
        assert!(!check(&around).await.unwrap().contains("evil"));
    }

    #[tokio::test]
    async fn what_is_not_signed_or_changed_is_refused() {
        let plain: String = SIGNED
            .lines()
            .filter(|line| line.contains(": ") && !line.starts_with("Hash"))
            .map(|line| format!("{line}\n"))
            .collect();
        for bad in [SIGNED.replace("trixie", "sid"), plain, String::new()] {
            let error = check(&bad).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Upstream, "{error}");
            assert!(error.to_string().contains("no good signature"), "{error}");
        }
    }

    #[tokio::test]
    async fn another_distributions_key_is_no_good_and_a_missing_keyring_names_its_package() {
        if let Some(debian) = Keyring::of("debian").filter(|keyring| keyring.path.exists()) {
            assert_eq!(signed_text(SIGNED.as_bytes(), debian).await.unwrap_err().code(), ErrorCode::Upstream);
        }
        let absent = Keyring {
            path: Path::new("/nonexistent/keys.gpg"),
            package: "some-keyring",
        };
        let error = signed_text(SIGNED.as_bytes(), absent).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert!(error.body.hint.unwrap().contains("some-keyring"));
    }
}
