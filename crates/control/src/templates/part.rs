//! A file on its way: `<key>.part` with its journal beside it, hashed as far as it is written; `<key>.file` once whole.

use std::io::Read;
use std::path::{Path, PathBuf};

use model::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use super::fetch::{Fetched, Journal, Wanted, settle};
use crate::error::{Error, Result};

pub(super) struct Part {
    paths: Paths,
    file: Option<tokio::fs::File>,
    journal: Journal,
    hashes: Hashes,
    /// The state of the combined hash before the first byte.
    before: Option<Sha256>,
    is_whole: bool,
}

#[derive(Clone, Debug)]
struct Paths {
    part: PathBuf,
    journal: PathBuf,
    whole: PathBuf,
}

#[derive(Clone)]
struct Hashes {
    own: Sha256,
    combined: Option<Sha256>,
    written: u64,
}

impl Hashes {
    fn new(combined: Option<Sha256>) -> Self {
        Self {
            own: Sha256::new(),
            combined,
            written: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.own.update(bytes);
        if let Some(combined) = &mut self.combined {
            combined.update(bytes);
        }
        self.written += bytes.len() as u64;
    }
}

impl Part {
    /// What is on disk already, hashed again from its beginning: a file is trusted for what it holds, not for its name.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) async fn open(folder: &Path, wanted: &Wanted, combined: Option<Sha256>) -> Result<Self> {
        let path = |ending: &str| folder.join(format!("{}.{ending}", wanted.key));
        let paths = Paths {
            part: path("part"),
            journal: path("json"),
            whole: path("file"),
        };
        let journal: Journal = match tokio::fs::read(&paths.journal).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Journal::default(),
        };
        let is_whole = tokio::fs::try_exists(&paths.whole).await.unwrap_or(false);
        let is_ours = is_whole || journal.url == wanted.url.as_str();
        let (existing, before) = (if is_whole { paths.whole.clone() } else { paths.part.clone() }, combined.clone());
        let hashed = if is_ours {
            tokio::task::spawn_blocking(move || hash_file(&existing, Hashes::new(before)))
                .await
                .ok()
                .flatten()
        } else {
            None
        };
        let mut part = Self {
            paths,
            file: None,
            journal,
            hashes: Hashes::new(combined.clone()),
            before: combined,
            is_whole: false,
        };
        let fits = |hashes: &Hashes| wanted.size.is_none_or(|size| hashes.written <= size) && hashes.written <= wanted.cap;
        match hashed.filter(fits) {
            Some(hashes) if is_whole && is_expected(wanted, &hashes)? => (part.hashes, part.is_whole) = (hashes, true),
            Some(hashes) if !is_whole => part.hashes = hashes,
            _ => part.restart().await?,
        }
        Ok(part)
    }

    pub(super) fn written(&self) -> u64 {
        self.hashes.written
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn hasher(&self) -> Sha256 {
        self.hashes.own.clone()
    }

    /// Forgets everything that is here.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.file = None;
        self.is_whole = false;
        self.hashes = Hashes::new(self.before.clone());
        self.journal = Journal::default();
        for path in [&self.paths.whole, &self.paths.part, &self.paths.journal] {
            absent(path).await?;
        }
        Ok(())
    }

    /// Writes down what the bytes are taken from, before the first of them.
    pub(super) async fn note(&mut self, journal: Journal) -> Result<()> {
        let text = serde_json::to_vec(&journal).map_err(|error| Error::failed(error.to_string()))?;
        tokio::fs::write(&self.paths.journal, text)
            .await
            .map_err(|error| disk(&self.paths.journal, &error))?;
        self.journal = journal;
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.file.is_none() {
            let mut options = tokio::fs::OpenOptions::new();
            let opened = options.create(true).append(true).open(&self.paths.part).await;
            self.file = Some(opened.map_err(|error| disk(&self.paths.part, &error))?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes).await.map_err(|error| disk(&self.paths.part, &error))?;
            self.hashes.take(bytes);
        }
        Ok(())
    }

    /// Durable, under its final name.
    pub(super) async fn finish(mut self) -> Result<Fetched> {
        if !self.is_whole {
            // An empty file was never opened.
            self.write(&[]).await?;
            if let Some(file) = self.file.take() {
                settle(file).await.map_err(|error| disk(&self.paths.part, &error))?;
            }
            tokio::fs::rename(&self.paths.part, &self.paths.whole)
                .await
                .map_err(|error| disk(&self.paths.whole, &error))?;
            absent(&self.paths.journal).await?;
        }
        let Hashes { own, combined, written } = self.hashes;
        Ok(Fetched {
            path: self.paths.whole,
            size: written,
            sha256: digest_of(own)?,
            combined,
        })
    }

    pub(super) async fn remove(mut self) {
        if let Err(error) = self.restart().await {
            tracing::warn!(%error, "a part of a download was not removed");
        }
    }
}

fn is_expected(wanted: &Wanted, hashes: &Hashes) -> Result<bool> {
    Ok(wanted.sha256.as_ref() == Some(&digest_of(hashes.own.clone())?))
}

fn hash_file(path: &Path, mut hashes: Hashes) -> Option<Hashes> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hashes),
            count => hashes.take(&buffer[..count]),
        }
    }
}

/// A hash as a digest.
pub(super) fn digest_of(hasher: Sha256) -> Result<Digest> {
    let text: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse().map_err(|error: model::id::IdError| Error::failed(error.to_string()))
}

/// Removes a file that may be absent.
///
/// # Errors
/// It is there and cannot be removed.
pub(super) async fn absent(path: &Path) -> Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(disk(path, &error)),
        _ => Ok(()),
    }
}

/// A failure of the disk under the state directory.
pub(super) fn disk(path: &Path, error: &std::io::Error) -> Error {
    let text = format!("{} cannot be written ({error})", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(model::ErrorCode::NoSpace, text).hint("make room under the state directory")
        }
        _ => Error::failed(text),
    }
}
