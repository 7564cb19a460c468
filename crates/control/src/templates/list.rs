//! Lists: what is here and what is offered, merged by reference, and who stands on what.

use std::collections::BTreeMap;

use model::access::Permission;
use model::id::Name;
use model::template::{LocalTemplate, Template};
use model::{Digest, TemplateRef};

use super::Templates;
use super::download::is_newer;
use super::offer::{Offer, host_arch};
use crate::caller::Caller;
use crate::containers::row::{ContainerRow, TrashRow, key};
use crate::engine;
use crate::error::{Error, Result};

/// What a list shall show.
#[derive(Clone, Debug, Default)]
pub struct TemplateFilter {
    /// Also what sources offer.
    pub remote: bool,
    pub source: Option<String>,
    /// Words that must all stand somewhere in what is shown.
    pub search: Option<String>,
    /// Also what this host cannot use.
    pub unusable: bool,
}

impl TemplateFilter {
    fn takes(&self, template: &Template) -> bool {
        let is_from = self.source.as_ref().is_none_or(|source| template.reference.source().as_str() == source);
        let shown = format!(
            "{} {} {} {} {} {}",
            template.name, template.os, template.release, template.variant, template.arch, template.reference
        )
        .to_lowercase();
        let words = self.search.as_deref().unwrap_or_default().to_lowercase();
        (self.remote || template.downloaded)
            && is_from
            && (self.unusable || template.unusable.is_none())
            && words.split_whitespace().all(|word| shown.contains(word))
    }
}

/// Who stands on a layer.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub templates: Vec<TemplateRef>,
    pub containers: Vec<String>,
}

/// A container that stands on layers.
struct User {
    name: String,
    template: TemplateRef,
    layers: Vec<Digest>,
}

impl User {
    fn stands_on(&self, local: &LocalTemplate) -> bool {
        // While it is being created it has no layers yet.
        if self.layers.is_empty() {
            self.template == local.reference
        } else {
            local.layers.iter().any(|layer| self.layers.contains(layer))
        }
    }
}

impl Templates {
    /// Templates that are here, and those that are offered if that is asked for.
    ///
    /// # Errors
    /// Nobody is signed in, or the store fails.
    pub async fn list(&self, caller: &Caller, filter: &TemplateFilter) -> Result<Vec<Template>> {
        caller.require(Permission::View)?;
        if filter.remote
            && let Err(error) = self.revalidate().await
        {
            tracing::info!(%error, "the sources of templates are not read now");
        }
        let mut found: Vec<Template> = self.all().await?.into_values().filter(|template| filter.takes(template)).collect();
        found.sort_by(|a, b| (a.os.to_lowercase(), &b.release, a.reference.to_string()).cmp(&(b.os.to_lowercase(), &a.release, b.reference.to_string())));
        Ok(found)
    }

    /// One template.
    ///
    /// # Errors
    /// Nobody is signed in, or there is none.
    pub async fn show(&self, caller: &Caller, reference: &TemplateRef) -> Result<Template> {
        caller.require(Permission::View)?;
        let mut all = self.all().await?;
        if let Some(template) = all.remove(&reference.to_string()) {
            return Ok(template);
        }
        // Another name for the same.
        let canonical = match self.local(reference).await? {
            Some(local) => Some(local.value.reference),
            None => self.offered_as(reference).await?,
        };
        canonical
            .and_then(|canonical| all.remove(&canonical.to_string()))
            .ok_or_else(|| Error::not_found("template", reference))
    }

    async fn offered_as(&self, reference: &TemplateRef) -> Result<Option<TemplateRef>> {
        for source in self.all_sources().await?.into_iter().filter(|source| source.name == *reference.source()) {
            if let Some(catalogue) = self.catalogues.of(&source).await
                && let Some(offer) = catalogue.find(reference, host_arch())
            {
                return self.canonical(&source.name, offer).map(Some);
            }
        }
        Ok(None)
    }

    async fn all(&self) -> Result<BTreeMap<String, Template>> {
        let (rows, users) = (self.rows().await?, self.users().await?);
        let mut all: BTreeMap<String, Template> = rows.iter().map(|(key, local)| (key.clone(), self.shown(local, &users))).collect();
        for source in self.all_sources().await? {
            let Some(catalogue) = self.catalogues.of(&source).await else { continue };
            for offer in &catalogue.offers {
                let template = self.offered(&source.name, offer, &rows)?;
                let key = template.reference.to_string();
                match all.get_mut(&key) {
                    None => drop(all.insert(key, template)),
                    Some(here) if here.downloaded => {
                        here.newer_available = template.newer_available;
                        here.name = template.name;
                        here.end_of_life = template.end_of_life;
                        if template.newer_available {
                            here.size_bytes = template.size_bytes;
                        }
                    }
                    // Two products of one alias: the first one stands.
                    Some(_) => {}
                }
            }
        }
        Ok(all)
    }

    fn shown(&self, local: &LocalTemplate, users: &[User]) -> Template {
        Template {
            reference: local.reference.clone(),
            name: name_of(&local.os, &local.release, local.reference.alias()),
            os: local.os.clone(),
            release: local.release.clone(),
            arch: local.arch.clone(),
            variant: local.variant.clone(),
            size_bytes: Some(local.size_bytes),
            unpacked_bytes: Some(local.unpacked_bytes),
            digest: local.layers.last().cloned(),
            downloaded: true,
            newer_available: false,
            created_at: local.created_at,
            serial: Some(local.provenance.serial.clone()),
            end_of_life: None,
            used_by: users.iter().filter(|user| user.stands_on(local)).map(|user| user.name.clone()).collect(),
            unusable: None,
            verified: Some(local.provenance.verified.clone()),
            task: self.under_way.task(&local.reference),
            wants_nesting: local.wants_nesting,
        }
    }

    fn offered(&self, source: &Name, offer: &Offer, rows: &BTreeMap<String, LocalTemplate>) -> Result<Template> {
        let reference = self.canonical(source, offer)?;
        let local = rows.get(&reference.to_string());
        Ok(Template {
            task: self.under_way.task(&reference),
            newer_available: local.is_some_and(|local| is_newer(local, offer)),
            reference,
            name: offer.name.clone(),
            os: offer.os.clone(),
            release: offer.release.clone(),
            arch: offer.arch.clone(),
            variant: offer.variant.clone(),
            size_bytes: offer.size(),
            unpacked_bytes: None,
            digest: offer.fingerprints().next().cloned(),
            downloaded: false,
            created_at: offer.created_at,
            serial: Some(offer.serial.clone()),
            end_of_life: offer.end_of_life.clone(),
            used_by: Vec::new(),
            unusable: offer.unusable.clone(),
            verified: None,
            wants_nesting: offer.wants_nesting,
        })
    }

    async fn users(&self) -> Result<Vec<User>> {
        let user = |row: ContainerRow, suffix: &str| User {
            name: format!("{}{suffix}", row.spec.name),
            template: row.spec.template,
            layers: row.layers,
        };
        let rows = self.facts.list::<serde_json::Value>(key::CONTAINERS).await?;
        let rows = rows.into_iter().filter(|(rest, _)| rest.ends_with("/spec"));
        let mut users: Vec<User> = rows
            .filter_map(|(_, fact)| serde_json::from_value(fact.value).ok())
            .map(|row| user(row, ""))
            .collect();
        let trashed = self.facts.list::<TrashRow>(key::TRASH).await?;
        users.extend(trashed.into_values().map(|fact| user(fact.value.row, " (trash)")));
        Ok(users)
    }

    pub(super) async fn users_of(&self, local: &LocalTemplate) -> Result<Vec<String>> {
        Ok(self
            .users()
            .await?
            .into_iter()
            .filter(|user| user.stands_on(local))
            .map(|user| user.name)
            .collect())
    }

    /// Layers that are not there, each with the templates and the containers that stand on it.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn missing_layers(&self) -> Result<BTreeMap<Digest, Standing>> {
        // Nobody replaces a layer between the look at the rows and the look at the layers.
        let _busy = self.busy().await;
        let mut missing: BTreeMap<Digest, Standing> = BTreeMap::new();
        for local in self.rows().await?.into_values() {
            for layer in local.layers {
                missing.entry(layer).or_default().templates.push(local.reference.clone());
            }
        }
        for user in self.users().await? {
            for layer in user.layers {
                missing.entry(layer).or_default().containers.push(user.name.clone());
            }
        }
        for layer in engine::call(&self.engine, |engine| Ok(engine.layers())).await? {
            missing.remove(&layer);
        }
        Ok(missing)
    }

    pub(super) async fn layers_of_containers(&self) -> Result<Vec<Digest>> {
        Ok(self.users().await?.into_iter().flat_map(|user| user.layers).collect())
    }
}

fn name_of(os: &str, release: &str, alias: &str) -> String {
    if os.is_empty() {
        alias.to_owned()
    } else {
        format!("{os} {release}").trim().to_owned()
    }
}
