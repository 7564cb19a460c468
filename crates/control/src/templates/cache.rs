//! Catalogues on disk and in memory, so that a restart of the console shows what was offered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::id::Name;
use model::template::Source;

use super::offer::Catalogue;
use super::part::{absent, disk};
use crate::error::{Error, Result};

/// What every source offered when it was read last.
#[derive(Debug)]
pub(super) struct Catalogues {
    folder: PathBuf,
    known: Mutex<HashMap<Name, Arc<Catalogue>>>,
}

impl Catalogues {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Name, Arc<Catalogue>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// The catalogue of this source; `None` when it was never read at this address.
    pub(super) async fn of(&self, source: &Source) -> Option<Arc<Catalogue>> {
        let fits = |catalogue: &Arc<Catalogue>| catalogue.url == source.url;
        let known = self.known().get(&source.name).cloned();
        if known.is_some() {
            return known.filter(fits);
        }
        let bytes = tokio::fs::read(self.path(&source.name)).await.ok()?;
        match serde_json::from_slice::<Catalogue>(&bytes) {
            Ok(catalogue) => {
                let catalogue = Arc::new(catalogue);
                self.known().insert(source.name.clone(), Arc::clone(&catalogue));
                Some(catalogue).filter(fits)
            }
            Err(error) => {
                // Only a copy: the next refresh writes it anew.
                tracing::warn!(source = %source.name, %error, "the kept catalogue cannot be read");
                None
            }
        }
    }

    /// Keeps what was read, whole or not at all.
    pub(super) async fn keep(&self, name: &Name, catalogue: Catalogue) -> Result<Arc<Catalogue>> {
        let bytes = serde_json::to_vec(&catalogue).map_err(|error| Error::failed(error.to_string()))?;
        let path = self.path(name);
        let new = path.with_extension("new");
        tokio::fs::create_dir_all(&self.folder).await.map_err(|error| disk(&self.folder, &error))?;
        tokio::fs::write(&new, bytes).await.map_err(|error| disk(&new, &error))?;
        tokio::fs::rename(&new, &path).await.map_err(|error| disk(&path, &error))?;
        let catalogue = Arc::new(catalogue);
        self.known().insert(name.clone(), Arc::clone(&catalogue));
        Ok(catalogue)
    }

    /// Forgets a source that was removed.
    pub(super) async fn forget(&self, name: &Name) -> Result<()> {
        self.known().remove(name);
        absent(&self.path(name)).await
    }
}
