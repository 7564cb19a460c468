//! The places that offer templates: rows in the store, and reading what they offer now.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Permission;
use model::error::ErrorCode;
use model::id::Name;
use model::task::{Progress, Task};
use model::template::{NewSource, Source, SourceKind};
use reqwest::Url;
use serde_json::json;

use super::offer::{Catalogue, host_arch};
use super::simplestreams::{self, HostFacts};
use super::web::{Named, Web, shown, upstream};
use super::{KIND_REFRESH, Templates, mirror};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::store::Fact;
use crate::tasks::Context;

/// Says that the presets were made once: who removes one has removed it.
const SEEDED: &str = "setting/source-presets";
const INDEX_CAP: usize = 128 << 20;
/// An index is read again before a download when it is older.
const FRESH_MS: i64 = 3_600_000;
/// A page that is looked at often has sources read at most so often, also those that fail.
const ASKED_AGAIN: Duration = Duration::from_secs(600);

/// The target of a task that reads them all.
pub(super) const EVERY: &str = "all sources";

pub(super) fn key(name: &str) -> String {
    format!("source/{name}")
}

impl Templates {
    /// All sources by name.
    ///
    /// # Errors
    /// Nobody is signed in, or the store fails.
    pub async fn sources(&self, caller: &Caller) -> Result<Vec<Source>> {
        caller.require(Permission::View)?;
        self.all_sources().await
    }

    pub(super) async fn all_sources(&self) -> Result<Vec<Source>> {
        self.seeded.get_or_try_init(|| self.seed()).await?;
        let rows = self.facts.list::<Source>("source/").await?;
        Ok(rows.into_values().map(|fact| fact.value).collect())
    }

    async fn seed(&self) -> Result<()> {
        let preset = |name: &str, kind, url: &str| -> Result<Source> {
            let name = name.parse().map_err(|error: model::id::IdError| Error::failed(error.to_string()))?;
            Ok(row(NewSource {
                name,
                kind,
                url: url.to_owned(),
            }))
        };
        let images = preset("images", SourceKind::Simplestreams, "https://images.linuxcontainers.org")?;
        let debian = preset("mirror", SourceKind::Mirror, "http://deb.debian.org/debian")?;
        let edit = self.facts.change().absent(SEEDED).put(SEEDED, &true);
        // That a compare does not hold means that it was done long ago.
        edit.put(key("images"), &images).put(key("mirror"), &debian).commit().await.map(drop)
    }

    /// Adds a source. Its host and port may be fetched from then on, private ones included.
    ///
    /// # Errors
    /// Not an administrator's to do; a name that is taken; an address that is not http(s); a kind that is not read yet.
    pub async fn add_source(&self, caller: &Caller, new: NewSource) -> Result<Source> {
        caller.require(Permission::Administer)?;
        let target = match Url::parse(new.url.trim()) {
            Ok(url) => format!("{} {}", new.name, shown(&url)),
            Err(_) => new.name.to_string(),
        };
        let added = self.put_source(new).await;
        let source = self.noted(caller, "source.add", &target, added).await?;
        // What it offers is what it was added for.
        if let Err(error) = self.refresh(caller, Some(source.name.as_str()), None).await {
            tracing::warn!(source = %source.name, %error, "the new source is not read now");
        }
        Ok(source)
    }

    async fn put_source(&self, new: NewSource) -> Result<Source> {
        self.all_sources().await?;
        if new.name.as_str() == "local" {
            return Err(Error::invalid("name", "`local` stands for templates that were uploaded; use another name"));
        }
        if !matches!(new.kind, SourceKind::Simplestreams | SourceKind::Mirror) {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "this version reads sources of the kinds simplestreams and mirror only",
            ));
        }
        let url = checked_url(&new.url)?;
        let source = row(NewSource { url, ..new });
        let key = key(source.name.as_str());
        let added = self.facts.change().absent(&key).put(&key, &source).commit().await?;
        added.ok_or_else(|| Error::conflict(format!("there is a source `{}` already", source.name)).hint("remove it first, or use another name"))?;
        Ok(source)
    }

    /// Removes a source; templates that are here stay.
    ///
    /// # Errors
    /// Not an administrator's to do, or there is none.
    pub async fn remove_source(&self, caller: &Caller, name: &str) -> Result<()> {
        caller.require(Permission::Administer)?;
        let removed = self.drop_source(name).await;
        self.noted(caller, "source.remove", name, removed).await
    }

    async fn drop_source(&self, name: &str) -> Result<()> {
        let Fact { value: source, rev } = self.find_source(name).await?;
        let key = key(name);
        let removed = self.facts.change().unchanged(&key, rev).delete(&key).commit().await?;
        removed.ok_or_else(|| Error::conflict("the source is being refreshed just now").hint("try again"))?;
        self.catalogues.forget(&source.name).await
    }

    pub(super) async fn find_source(&self, name: &str) -> Result<Fact<Source>> {
        self.seeded.get_or_try_init(|| self.seed()).await?;
        self.facts.get::<Source>(&key(name)).await?.ok_or_else(|| Error::not_found("source", name))
    }

    /// Reads anew what one source offers, or all.
    ///
    /// # Errors
    /// The caller may not, or there is no such source.
    pub async fn refresh(&self, caller: &Caller, name: Option<&str>, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Templates)?;
        let names: Vec<Name> = match name {
            Some(name) => vec![self.find_source(name).await?.value.name],
            None => self.all_sources().await?.into_iter().map(|source| source.name).collect(),
        };
        let target = name.unwrap_or(EVERY);
        let begun = self.begin_refresh(caller, target, &names, key).await;
        self.audited(caller, KIND_REFRESH, target, begun).await
    }

    pub(super) async fn begin_refresh(&self, caller: &Caller, target: &str, names: &[Name], key: Option<&str>) -> Result<Task> {
        self.tasks.start(caller, KIND_REFRESH, target, None, json!({ "sources": names }), key).await
    }

    /// One source after the other; one that fails keeps no other from being read.
    pub(super) async fn refresh_all(&self, context: &Context, names: &[Name]) -> Result<()> {
        let mut failures = Vec::new();
        for (done, name) in names.iter().enumerate() {
            context.progress(Progress {
                done: done as u64,
                total: Some(names.len() as u64),
                unit: "sources".into(),
                phase: "refresh".into(),
                note: Some(name.to_string()),
                ..Progress::default()
            });
            let refreshed = tokio::select! {
                refreshed = self.refresh_one(name.as_str()) => refreshed,
                () = context.cancelled() => return Err(super::fetch::cancelled()),
            };
            match refreshed {
                Ok(catalogue) => context.log(&format!("{name} offers {} templates", catalogue.offers.len())),
                Err(error) => {
                    context.log(&format!("{name}: {error}"));
                    failures.push((name, error));
                }
            }
        }
        match failures.as_slice() {
            [] => Ok(()),
            [(_, error)] if names.len() == 1 => Err(error.clone()),
            several => {
                let list: Vec<String> = several.iter().map(|(name, error)| format!("{name}: {error}")).collect();
                Err(upstream(format!(
                    "{} of {} sources could not be read: {}",
                    several.len(),
                    names.len(),
                    list.join("; ")
                )))
            }
        }
    }

    /// Reads a source and keeps what it offers; when that fails the old catalogue stays and the row says why.
    pub(super) async fn refresh_one(&self, name: &str) -> Result<Arc<Catalogue>> {
        let source = self.find_source(name).await?.value;
        let lane = Arc::clone(lanes(&self.refreshing).entry(source.name.clone()).or_default());
        let _one_at_a_time = lane.lock().await;
        let known = self.catalogues.of(&source).await;
        let read = self.read_source(&source, known.as_deref()).await;
        let outcome = match read {
            Ok(catalogue) => self.catalogues.keep(&source.name, catalogue).await,
            Err(error) => Err(error),
        };
        let now = self.clock.now();
        let Some(Fact { value: mut row, rev }) = self.facts.get::<Source>(&key(name)).await?.filter(|fact| fact.value.url == source.url) else {
            self.catalogues.forget(&source.name).await?;
            return Err(Error::not_found("source", name));
        };
        match &outcome {
            Ok(catalogue) => {
                let usable = catalogue.offers.iter().filter(|offer| offer.unusable.is_none()).count();
                row.offered = u32::try_from(usable).unwrap_or(u32::MAX);
                row.dropped = u32::try_from(catalogue.offers.len() - usable + catalogue.dropped.len()).unwrap_or(u32::MAX);
                (row.last_refresh_at, row.last_error) = (Some(now), None);
            }
            Err(error) => row.last_error = Some(error.to_string()),
        }
        let key = key(name);
        self.facts.change().unchanged(&key, rev).put(&key, &row).commit().await?;
        outcome
    }

    /// What it offers now: what was known when the server says that nothing changed.
    async fn read_source(&self, source: &Source, known: Option<&Catalogue>) -> Result<Catalogue> {
        let base = base_url(&source.url)?;
        let (web, named) = (self.web().await?, Named::of([source.url.as_str()]));
        let fresh = Catalogue {
            read_at: Some(self.clock.now()),
            url: source.url.clone(),
            made_for: format!("{} {}", env!("CARGO_PKG_VERSION"), self.host_cgroup().await?),
            ..Catalogue::default()
        };
        match source.kind {
            SourceKind::Simplestreams => {
                if let Some(known) = known.filter(|known| known.made_for == fresh.made_for)
                    && is_unchanged(web, &named, &known.tags).await?
                {
                    return Ok(Catalogue {
                        read_at: fresh.read_at,
                        ..known.clone()
                    });
                }
                self.read_streams(web, &named, &base, fresh).await
            }
            SourceKind::Mirror => {
                let mut dropped = Vec::new();
                let offers = mirror::read(web, &named, &base, host_arch(), self.clock.now(), &mut dropped).await?;
                Ok(Catalogue { offers, dropped, ..fresh })
            }
            _ => Err(Error::new(ErrorCode::Unsupported, "this version cannot read sources of this kind")),
        }
    }

    async fn read_streams(&self, web: &Web, named: &Named, base: &Url, fresh: Catalogue) -> Result<Catalogue> {
        let (mut catalogue, mut tags) = (fresh, Some(BTreeMap::new()));
        let mut note = |url: &Url, tag: Option<String>| match (tag, tags.as_mut()) {
            (Some(tag), Some(tags)) => drop(tags.insert(url.to_string(), tag)),
            // One file that cannot be asked for by its tag: all are read each time.
            _ => tags = None,
        };
        let index = below(base, "streams/v1/index.json")?;
        let whole = web.read_tagged(&index, named, INDEX_CAP).await?;
        let (bytes, tag) = whole.ok_or_else(|| upstream(format!("{index} does not exist: this is no simplestreams server")))?;
        note(&index, tag);
        let cgroup = self.host_cgroup().await?.to_owned();
        for path in simplestreams::product_lists(&bytes).map_err(upstream)? {
            let url = below(base, &path)?;
            let whole = web.read_tagged(&url, named, INDEX_CAP).await?;
            let (list, tag) = whole.ok_or_else(|| upstream(format!("{url} does not exist")))?;
            note(&url, tag);
            let cgroup = cgroup.clone();
            // Tens of mebibytes: no work for a thread that others wait for.
            let parsed = tokio::task::spawn_blocking(move || {
                let (host, mut dropped) = (
                    HostFacts {
                        arch: host_arch(),
                        cgroup: &cgroup,
                    },
                    Vec::new(),
                );
                simplestreams::offers(&list, host, &mut dropped).map(|offers| (offers, dropped))
            });
            let parsed = parsed.await.map_err(|join| Error::failed(join.to_string()))?;
            let (offers, dropped) = parsed.map_err(|error| upstream(format!("{url}: {error}")))?;
            catalogue.offers.extend(offers);
            catalogue.dropped.extend(dropped);
        }
        catalogue.tags = tags.unwrap_or_default();
        Ok(catalogue)
    }

    /// Has sources read again that a page shows and that were not read for an hour.
    pub(super) async fn revalidate(&self) -> Result<()> {
        let (now, boot) = (self.clock.now().ms, self.clock.boot());
        let is_recent = |at: &Option<Duration>| at.is_some_and(|at| boot.saturating_sub(at) < ASKED_AGAIN);
        if !self.reads_by_itself.load(Ordering::Relaxed) || is_recent(&lanes(&self.revalidated)) {
            return Ok(());
        }
        let is_old = |source: &Source| source.last_refresh_at.is_none_or(|at| now.saturating_sub(at.ms) > FRESH_MS);
        let old: Vec<Name> = self.all_sources().await?.into_iter().filter(is_old).map(|source| source.name).collect();
        if old.is_empty() {
            return Ok(());
        }
        *lanes(&self.revalidated) = Some(boot);
        let target = if let [one] = old.as_slice() { one.to_string() } else { EVERY.to_owned() };
        self.begin_refresh(&Caller::berth(), &target, &old, None).await.map(drop)
    }

    /// What a source offers; read anew when that is old or `must_be_new`. An old catalogue is better than none.
    pub(super) async fn catalogue(&self, source: &Source, must_be_new: bool) -> Result<Arc<Catalogue>> {
        let known = self.catalogues.of(source).await;
        let age = known
            .as_ref()
            .and_then(|known| known.read_at)
            .map(|at| self.clock.now().ms.saturating_sub(at.ms));
        if let Some(known) = &known
            && !must_be_new
            && age.is_some_and(|age| age < FRESH_MS)
        {
            return Ok(Arc::clone(known));
        }
        match (self.refresh_one(source.name.as_str()).await, known) {
            (Ok(catalogue), _) => Ok(catalogue),
            (Err(error), Some(known)) if !must_be_new => {
                tracing::warn!(source = %source.name, %error, "the source could not be read; what it offered before is used");
                Ok(known)
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// Whether the server still has what these tags name. An answer that cannot be had is found out when all is read.
async fn is_unchanged(web: &Web, named: &Named, tags: &BTreeMap<String, String>) -> Result<bool> {
    for (url, tag) in tags {
        let Ok(url) = Url::parse(url) else { return Ok(false) };
        if !web.still_has(&url, named, tag).await? {
            return Ok(false);
        }
    }
    Ok(!tags.is_empty())
}

fn lanes<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn row(new: NewSource) -> Source {
    Source {
        encrypted: new.url.starts_with("https://"),
        name: new.name,
        kind: new.kind,
        url: new.url,
        offered: 0,
        last_refresh_at: None,
        last_error: None,
        dropped: 0,
    }
}

/// Addresses are shown to everybody who may look.
///
/// # Errors
/// It holds a name or a password.
pub(super) fn refuse_secrets(url: &Url) -> Result<()> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    Err(Error::invalid(
        "url",
        "the address must not hold a name or a password: everybody who may look would see them",
    ))
}

/// One way to write an address; secrets have no place in it.
fn checked_url(text: &str) -> Result<String> {
    let url = Url::parse(text.trim())
        .map_err(|error| Error::invalid("url", format!("`{text}` is not an address ({error})")).hint("write it like https://images.example.org"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::invalid("url", "the address of a source begins with https:// or http://"));
    }
    refuse_secrets(&url)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid("url", "the address of a source has neither `?` nor `#`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The address as a folder, so that paths join below it.
pub(super) fn base_url(text: &str) -> Result<Url> {
    Url::parse(&format!("{}/", text.trim_end_matches('/'))).map_err(|error| Error::failed(format!("`{text}` is not an address ({error})")))
}

/// A path below the base, with each part encoded: build folders have colons in their names.
pub(super) fn below(base: &Url, path: &str) -> Result<Url> {
    let mut url = base.clone();
    let failed = || Error::failed(format!("{base} cannot have paths"));
    url.path_segments_mut().map_err(|()| failed())?.pop_if_empty().extend(path.split('/'));
    Ok(url)
}
