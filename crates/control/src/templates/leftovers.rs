//! What lies in the folder of downloads and belongs to nobody: of crashes, of tasks that ended, of parts that nobody
//! came back for.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::download::{PIN, Pinned};
use super::offer::Content;
use super::part::absent;
use super::{Templates, import};
use crate::error::{Error, Result};
use crate::tasks::{Context, Unfinished};

/// A part that a network's failure left is worth so long: who comes back within a day goes on with it.
const KEPT: Duration = Duration::from_secs(86_400);

/// When it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Before any task runs and anybody can send a file: whatever no task will go on with is left over.
    AtStart,
    /// While tasks run: only what is old.
    Later,
}

impl Templates {
    /// Removes what no living task goes on with.
    ///
    /// # Errors
    /// The store cannot be read. A file that cannot be removed is logged.
    pub async fn sweep(&self, when: Sweep) -> Result<()> {
        let pinned: BTreeSet<String> = self.tasks.unfinished().await?.iter().flat_map(stems_of).collect();
        let folder = self.folder.clone();
        let swept = tokio::task::spawn_blocking(move || sweep_folder(&folder, &pinned, when)).await;
        swept.map_err(|join| Error::failed(join.to_string()))
    }

    /// Removes what a task has fetched that nobody wants any more, unless another one is fetching the same.
    pub(crate) async fn abandon(&self, context: &Context) -> Result<()> {
        let Some(pinned) = context.recall(PIN).and_then(|value| serde_json::from_value::<Pinned>(value).ok()) else {
            return Ok(());
        };
        let others = self.tasks.unfinished().await?;
        let others: BTreeSet<String> = others.iter().filter(|task| task.id != context.id()).flat_map(stems_of).collect();
        for stem in stems_of_pin(&pinned).into_iter().filter(|stem| !others.contains(stem)) {
            self.remove_files(&stem).await?;
        }
        Ok(())
    }

    /// Removes a file on its way in all its forms.
    pub(super) async fn remove_files(&self, stem: &str) -> Result<()> {
        for ending in ["part", "json", "file"] {
            absent(&self.folder.join(format!("{stem}.{ending}"))).await?;
        }
        Ok(())
    }
}

/// Names, without their endings, of the files that a task goes on with.
fn stems_of(task: &Unfinished) -> Vec<String> {
    let pin = task.memory.get(PIN).cloned().unwrap_or(Value::Null);
    let mut stems = serde_json::from_value::<Pinned>(pin).map_or_else(|_| Vec::new(), |pinned| stems_of_pin(&pinned));
    if task.kind == import::KIND {
        let wish = serde_json::from_value::<import::Wish>(task.params.clone());
        stems.extend(wish.ok().and_then(|wish| wish.stem()));
    }
    stems
}

fn stems_of_pin(pinned: &Pinned) -> Vec<String> {
    match &pinned.offer.content {
        Content::Files(choices) => choices.iter().flat_map(|choice| &choice.files).map(|file| file.sha256.to_string()).collect(),
        Content::Suite { .. } => Vec::new(),
    }
}

fn sweep_folder(folder: &Path, pinned: &BTreeSet<String>, when: Sweep) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(std::result::Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((stem, ending)) = name.rsplit_once('.') else { continue };
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() || pinned.contains(stem) {
            continue;
        }
        let is_old = metadata.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT);
        // Only what is named by its hash can be gone on with by another task.
        let can_be_resumed = stem.parse::<model::Digest>().is_ok() && matches!(ending, "part" | "json");
        if (is_old || (when == Sweep::AtStart && !can_be_resumed))
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(%error, file = name, "what an earlier task left stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_goes_on_with_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (hash, wanted) = ("ab".repeat(32), "cd".repeat(32));
        let files = [
            format!("{hash}.part"),
            format!("{hash}.json"),
            format!("{hash}.file"),
            format!("{wanted}.file"),
            "import-1.file".into(),
            "import-2.part".into(),
            "build-1.tar".into(),
            "incoming-1.part".into(),
            "incoming-2.file".into(),
        ];
        for file in &files {
            std::fs::write(dir.path().join(file), b"x").unwrap();
        }
        std::fs::create_dir(dir.path().join("index")).unwrap();
        let pinned = BTreeSet::from([wanted.clone(), "import-2".to_owned()]);
        let left = || -> BTreeSet<String> {
            let entries = std::fs::read_dir(dir.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        sweep_folder(dir.path(), &pinned, Sweep::Later);
        assert_eq!(left().len(), files.len() + 1, "somebody may be sending or fetching it");
        sweep_folder(dir.path(), &pinned, Sweep::AtStart);
        let stay = [
            format!("{hash}.part"),
            format!("{hash}.json"),
            format!("{wanted}.file"),
            "import-2.part".into(),
            "index".into(),
        ];
        assert_eq!(left(), BTreeSet::from(stay));
        let two_days_ago = std::time::SystemTime::now() - 2 * KEPT;
        for file in left().iter().filter(|file| *file != "index") {
            std::fs::File::options()
                .write(true)
                .open(dir.path().join(file))
                .unwrap()
                .set_modified(two_days_ago)
                .unwrap();
        }
        sweep_folder(dir.path(), &pinned, Sweep::Later);
        assert_eq!(left().len(), 3, "what is pinned waits as long as its task: {:?}", left());
    }
}
