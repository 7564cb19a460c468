//! Templates: sources that offer them, bringing them here, and which of them are in use. Every way in is one pipeline:
//! resolve, fetch, verify, unpack, record; a template is listed only after its last step.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use model::TemplateRef;
use model::access::Permission;
use model::id::Name;
use model::task::Task;
use model::template::LocalTemplate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, OnceCell, OwnedRwLockReadGuard, RwLock};

use crate::access::Access;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::store::{Edit, Fact, Facts};
use crate::tasks::{AfterCrash, Context, Job, Tasks};

mod build;
mod cache;
mod download;
mod fetch;
mod gauge;
mod import;
mod leftovers;
mod list;
mod metadata;
mod mirror;
mod offer;
mod part;
mod signature;
mod simplestreams;
mod source;
mod under_way;
mod unpack;
mod web;

pub use leftovers::Sweep;
pub(crate) use list::Standing;
pub use list::TemplateFilter;

const KIND_DOWNLOAD: &str = "template.download";
const KIND_REFRESH: &str = "source.refresh";

/// Below it stand templates that are here, by reference.
const ROWS: &str = "tpl/";

fn row_key(reference: &TemplateRef) -> String {
    format!("{ROWS}{reference}")
}

/// The templates of this console.
#[derive(Debug)]
pub struct Templates {
    facts: Facts,
    engine: Arc<dyn Engine>,
    tasks: Arc<Tasks>,
    access: Arc<Access>,
    clock: Clock,
    /// Parts, journals and catalogues: `<state-dir>/downloads`.
    folder: PathBuf,
    catalogues: cache::Catalogues,
    seeded: OnceCell<()>,
    /// One at a time reads a source; others are read meanwhile.
    refreshing: std::sync::Mutex<HashMap<Name, Arc<Mutex<()>>>>,
    /// When a page last had sources read again.
    revalidated: std::sync::Mutex<Option<Duration>>,
    reads_by_itself: AtomicBool,
    /// Held while a file that was sent becomes a task.
    beginning: Mutex<()>,
    web: OnceCell<web::Web>,
    cgroup: OnceCell<String>,
    under_way: under_way::UnderWay,
    /// Read while templates are brought here: their layers belong to no row yet. Written by who removes layers.
    busy: Arc<RwLock<()>>,
}

/// While it lives no layer is removed: one that is in no row may be about to stand under somebody.
pub(crate) type Busy = OwnedRwLockReadGuard<()>;

impl Templates {
    /// Templates over a store, with their files below the state directory; teaches the tasks their jobs.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(facts: Facts, engine: Arc<dyn Engine>, tasks: Arc<Tasks>, access: Arc<Access>, clock: Clock, state_dir: &Path) -> Result<Arc<Self>> {
        let folder = state_dir.join("downloads");
        std::fs::create_dir_all(&folder).map_err(|error| Error::failed(format!("{} cannot be made ({error})", folder.display())))?;
        let this = Arc::new(Self {
            facts,
            engine,
            tasks,
            access,
            clock,
            catalogues: cache::Catalogues::new(folder.join("index")),
            folder,
            seeded: OnceCell::new(),
            refreshing: std::sync::Mutex::default(),
            revalidated: std::sync::Mutex::default(),
            reads_by_itself: AtomicBool::new(false),
            beginning: Mutex::default(),
            web: OnceCell::new(),
            cgroup: OnceCell::new(),
            under_way: under_way::UnderWay::default(),
            busy: Arc::default(),
        });
        this.register(KIND_DOWNLOAD, |templates, Wish { reference }| Work::Download { templates, reference });
        this.register(KIND_REFRESH, |templates, Refresh { sources }| Work::Refresh { templates, sources });
        this.register(import::KIND, |templates, wish| Work::Import { templates, wish });
        Ok(this)
    }

    /// The tasks hold us weakly: they outlive no console.
    fn register<P: DeserializeOwned + 'static>(self: &Arc<Self>, kind: &'static str, make: fn(Arc<Self>, P) -> Work) {
        let weak: Weak<Self> = Arc::downgrade(self);
        let constructor = move |params: serde_json::Value| -> Result<Arc<dyn Job>> {
            let this = weak.upgrade().ok_or_else(|| Error::failed("the console is shutting down"))?;
            let params = serde_json::from_value(params).map_err(|error| Error::failed(format!("the parameters of a task {kind} are damaged ({error})")))?;
            Ok(Arc::new(make(this, params)))
        };
        self.tasks.register(kind, Arc::new(constructor));
    }

    /// Adds to the transaction that puts a container on this template that it still is what it was: then its layers stand
    /// under the template until they stand under the container, and no sweep takes them in between.
    pub(crate) fn unchanged(edit: Edit, local: &Fact<LocalTemplate>) -> Edit {
        edit.unchanged(row_key(&local.value.reference), local.rev)
    }

    pub(crate) async fn busy(&self) -> Busy {
        Arc::clone(&self.busy).read_owned().await
    }

    async fn web(&self) -> Result<&web::Web> {
        self.web.get_or_try_init(|| async { web::Web::new() }).await
    }

    async fn host_cgroup(&self) -> Result<&str> {
        let found = self.cgroup.get_or_try_init(|| engine::call(&self.engine, |engine| Ok(engine.host().cgroup)));
        found.await.map(String::as_str)
    }

    async fn rows(&self) -> Result<BTreeMap<String, LocalTemplate>> {
        let rows = self.facts.list::<LocalTemplate>(ROWS).await?;
        Ok(rows.into_iter().map(|(reference, fact)| (reference, fact.value)).collect())
    }

    async fn stored(&self, reference: &TemplateRef) -> Result<Option<Fact<LocalTemplate>>> {
        self.facts.get(&row_key(reference)).await
    }

    /// The template of this reference, or of another name for the same, if it is here.
    pub(crate) async fn local(&self, reference: &TemplateRef) -> Result<Option<Fact<LocalTemplate>>> {
        if let Some(local) = self.stored(reference).await? {
            return Ok(Some(local));
        }
        let sources = self.all_sources().await?;
        let Some(source) = sources.into_iter().find(|source| source.name == *reference.source()) else {
            return Ok(None);
        };
        let Some(catalogue) = self.catalogues.of(&source).await else {
            return Ok(None);
        };
        match catalogue.find(reference, offer::host_arch()) {
            Some(offer) => self.stored(&self.canonical(&source.name, offer)?).await,
            None => Ok(None),
        }
    }

    /// Downloads a template, or its newer build.
    ///
    /// # Errors
    /// The caller may not. What else can go wrong is the task's to tell.
    pub async fn download(&self, caller: &Caller, reference: &TemplateRef, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Templates)?;
        let (target, params) = (reference.to_string(), json!({ "reference": reference }));
        let begun = self.tasks.start(caller, KIND_DOWNLOAD, &target, None, params, key).await;
        self.audited(caller, KIND_DOWNLOAD, &target, begun).await
    }

    /// Writes into the audit log what somebody began, or why not.
    async fn audited(&self, caller: &Caller, action: &str, target: &str, begun: Result<Task>) -> Result<Task> {
        let detail = begun.as_ref().map_or_else(ToString::to_string, |task| format!("task {}", task.id));
        self.access.record(caller, action, target, &detail, begun.is_ok()).await;
        begun
    }

    /// Writes into the audit log what somebody did, or why not.
    async fn noted<T>(&self, caller: &Caller, action: &str, target: &str, done: Result<T>) -> Result<T> {
        let detail = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
        self.access.record(caller, action, target, &detail, done.is_ok()).await;
        done
    }

    /// Removes a template that nothing stands on, with its files.
    ///
    /// # Errors
    /// The caller may not; it is not here; `Conflict` names the containers that stand on it.
    pub async fn remove(&self, caller: &Caller, reference: &TemplateRef) -> Result<()> {
        caller.require(Permission::Templates)?;
        let removed = self.remove_unused(reference).await;
        self.noted(caller, "template.remove", &reference.to_string(), removed).await
    }

    async fn remove_unused(&self, reference: &TemplateRef) -> Result<()> {
        let local = self.local(reference).await?.ok_or_else(|| Error::not_found("template", reference))?.value;
        let users = self.users_of(&local).await?;
        if !users.is_empty() {
            return Err(Error::conflict(format!("{} stands under {}", local.reference, users.join(", ")))
                .hint("delete those containers for good first; in the trash they count too"));
        }
        self.facts.change().delete(row_key(&local.reference)).commit().await?;
        self.sweep_layers().await;
        Ok(())
    }

    /// Removes layers that no template and no container stands on. What cannot be removed, or not now because somebody
    /// is bringing a template, stays for the next time.
    pub(crate) async fn sweep_layers(&self) {
        let Ok(_alone) = self.busy.try_write() else { return };
        let outcome: Result<()> = async {
            let layers = engine::call(&self.engine, |engine| Ok(engine.layers())).await?;
            let mut used: Vec<model::Digest> = self.rows().await?.into_values().flat_map(|row| row.layers).collect();
            used.extend(self.layers_of_containers().await?);
            // A store that was lost knows no container: what stands on disk stays on its feet until it is rebuilt.
            let manifests = engine::call(&self.engine, |engine| Ok(engine.manifests())).await?;
            used.extend(manifests.into_iter().flat_map(|manifest| manifest.layers));
            for layer in layers.into_iter().filter(|layer| !used.contains(layer)) {
                engine::call(&self.engine, move |engine| engine.remove_layer(&layer)).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = outcome {
            tracing::warn!(%error, "layers that nobody uses could not be removed");
        }
    }

    /// From now on sources are read without being asked: at the start, once a day, and when a page shows what they offer.
    pub fn read_by_itself(&self) {
        self.reads_by_itself.store(true, Ordering::Relaxed);
    }

    /// Begins to read sources again whose catalogue is a day old or was never read: as a task, so that pages hear of it.
    /// Called at the start and from time to time.
    pub async fn refresh_stale(&self) {
        const DAY_MS: i64 = 86_400_000;
        let sources = match self.all_sources().await {
            Ok(sources) => sources,
            Err(error) => return tracing::warn!(%error, "the sources of templates could not be read"),
        };
        let now = self.clock.now().ms;
        let due = sources
            .into_iter()
            .filter(|source| source.last_refresh_at.is_none_or(|at| now - at.ms > DAY_MS));
        let names: Vec<Name> = due.map(|source| source.name).collect();
        if names.is_empty() {
            return;
        }
        let target = match names.as_slice() {
            [one] => one.as_str(),
            _ => source::EVERY,
        };
        if let Err(error) = self.begin_refresh(&Caller::berth(), target, &names, None).await {
            tracing::info!(%error, "the sources of templates are not read now");
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Wish {
    reference: TemplateRef,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refresh {
    sources: Vec<Name>,
}

/// What tasks of templates do: each in one step that goes on where it was after a crash.
enum Work {
    Download { templates: Arc<Templates>, reference: TemplateRef },
    Refresh { templates: Arc<Templates>, sources: Vec<Name> },
    Import { templates: Arc<Templates>, wish: import::Wish },
}

impl Job for Work {
    fn steps(&self) -> &'static [&'static str] {
        &["fetch"]
    }

    fn act<'a>(&'a self, _: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self {
                Self::Download { templates, reference } => {
                    let busy = templates.busy().await;
                    templates.bring(context, reference).await?;
                    drop(busy);
                    // The build that it replaced may stand under nothing now.
                    templates.sweep_layers().await;
                    Ok(())
                }
                Self::Refresh { templates, sources } => templates.refresh_all(context, sources).await,
                Self::Import { templates, wish } => templates.bring_in(context, wish).await,
            }
        })
    }

    /// What a failed step fetched it has removed itself, but for what the network may still bring; who cancels wants
    /// nothing of it. Layers without a row are swept.
    fn undo<'a>(&'a self, _: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self {
                Self::Download { templates, .. } => {
                    if context.is_cancelled() {
                        templates.abandon(context).await?;
                    }
                    templates.sweep_layers().await;
                }
                Self::Refresh { .. } => {}
                Self::Import { templates, wish } => {
                    wish.forget(templates).await?;
                    templates.sweep_layers().await;
                }
            }
            Ok(())
        })
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }
}
