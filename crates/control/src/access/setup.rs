//! The one-time token that makes the first account: 30 minutes, one use, in memory and in a file that only root reads.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::ErrorCode;
use subtle::ConstantTimeEq;

use super::secret;
use crate::clock::Clock;
use crate::error::{Error, Result};

const LIVES: Duration = Duration::from_secs(30 * 60);

#[derive(Debug)]
struct Pending {
    hash: String,
    until: Duration,
}

#[derive(Debug)]
pub(super) struct Setup {
    clock: Clock,
    file: PathBuf,
    pending: Mutex<Option<Pending>>,
}

impl Setup {
    /// The file is `<run-dir>/setup-token`.
    pub(super) fn new(clock: Clock, run_dir: &std::path::Path) -> Self {
        Self {
            clock,
            file: run_dir.join("setup-token"),
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new token; the one before is void.
    pub(super) fn issue(&self) -> Result<String> {
        let token = secret::random()?;
        self.write(&token)
            .map_err(|error| Error::failed(format!("{} cannot be written ({error})", self.file.display())))?;
        *self.pending() = Some(Pending {
            hash: secret::hash(&token),
            until: self.clock.boot() + LIVES,
        });
        Ok(token)
    }

    fn write(&self, token: &str) -> std::io::Result<()> {
        // A new file under another name first: nobody reads half a token, and no old mode or owner is inherited.
        let fresh = self.file.with_extension("new");
        if let Err(error) = std::fs::remove_file(&fresh)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{token}")?;
        std::fs::rename(&fresh, &self.file)
    }

    /// Whether it is the token of now. The comparison does the same work whatever is pending.
    pub(super) fn accepts(&self, token: &str) -> bool {
        let given = secret::hash(token);
        let pending = self.pending();
        let nobody = "0".repeat(given.len());
        let expected = pending.as_ref().map_or(nobody.as_str(), |pending| pending.hash.as_str());
        let is_equal = bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
        is_equal && pending.as_ref().is_some_and(|pending| self.clock.boot() < pending.until)
    }

    /// An account exists: no token any more.
    pub(super) fn close(&self) {
        *self.pending() = None;
        if let Err(error) = std::fs::remove_file(&self.file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.file.display(), "a used set-up token is still in its file");
        }
    }
}

/// One answer to a wrong, used or expired token, before the set-up and after it (W15).
pub(super) fn refused() -> Error {
    Error::new(ErrorCode::NotAllowed, "this set-up link is not valid (any more)").hint("run `berth setup-link` on the host for a new one, or sign in")
}
