//! From a reference to a template that is here: resolve, pin, fetch, verify, unpack, record.

use model::engine::Unpacked;
use model::id::Name;
use model::task::ProgressPart;
use model::template::{LocalTemplate, Provenance, Source};
use model::{Digest, TemplateRef};
use serde::{Deserialize, Serialize};

use super::build::Suite;
use super::fetch::{Failure, Fetch, Fetched, Wanted};
use super::gauge::Gauge;
use super::metadata::Metadata;
use super::offer::{Choice, Content, Offer, host_arch};
use super::part::{absent, digest_of};
use super::simplestreams::natural;
use super::source::{base_url, below};
use super::unpack::check_space;
use super::web::{Named, upstream};
use super::{Templates, row_key};
use crate::engine;
use crate::error::{Error, Result};
use crate::store::Fact;
use crate::tasks::Context;

/// Under this key a task keeps what it decided to fetch, so that a restart goes on with the same.
pub(super) const PIN: &str = "template";

/// What is being fetched, decided before the first byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) reference: TemplateRef,
    pub(super) source: Source,
    pub(super) offer: Offer,
}

impl Templates {
    /// Makes a template available to a container that is being created, downloading it when it is not here.
    ///
    /// # Errors
    /// There is no such template, it cannot be used here, or one of the phases failed.
    pub(crate) async fn ensure(&self, context: &Context, reference: &TemplateRef) -> Result<LocalTemplate> {
        if let Some(local) = self.local(reference).await? {
            return Ok(local.value);
        }
        self.bring(context, reference).await
    }

    /// Brings here what the reference means. When the server no longer has those files, the index is read again: it keeps
    /// only the newest builds. The caller holds [`Templates::busy`].
    pub(super) async fn bring(&self, context: &Context, reference: &TemplateRef) -> Result<LocalTemplate> {
        let pinned = self.resolve(context, reference).await?;
        match self.obtain(context, &pinned).await {
            Err(Failure::Gone(error)) => {
                let pinned = self.resolve_anew(context, reference, &pinned, error).await?;
                Ok(self.obtain(context, &pinned).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// What the reference means after the index was read again, once.
    async fn resolve_anew(&self, context: &Context, reference: &TemplateRef, before: &Pinned, gone: Error) -> Result<Pinned> {
        context.log(&format!("{gone}; the index is read again"));
        let read = tokio::select! {
            read = self.catalogue(&before.source, true) => read,
            () = context.cancelled() => return Err(super::fetch::cancelled()),
        };
        let Ok(catalogue) = read else { return Err(gone) };
        let Some(offer) = catalogue.find(reference, host_arch()).filter(|offer| **offer != before.offer).cloned() else {
            return Err(gone);
        };
        self.abandon(context).await?;
        context.log(&format!("the build has changed: {} instead of {}", offer.serial, before.offer.serial));
        let pinned = Pinned { offer, ..before.clone() };
        self.pin(context, &pinned).await?;
        Ok(pinned)
    }

    async fn pin(&self, context: &Context, pinned: &Pinned) -> Result<()> {
        let value = serde_json::to_value(pinned).map_err(|error| Error::failed(error.to_string()))?;
        context.remember(PIN, value).await
    }

    /// What the reference means now. The first answer holds for the whole task.
    pub(super) async fn resolve(&self, context: &Context, reference: &TemplateRef) -> Result<Pinned> {
        if let Some(pinned) = context.recall(PIN).and_then(|value| serde_json::from_value::<Pinned>(value).ok()) {
            return Ok(pinned);
        }
        let pinned = tokio::select! {
            pinned = self.find_offer(reference) => pinned?,
            () = context.cancelled() => return Err(super::fetch::cancelled()),
        };
        self.pin(context, &pinned).await?;
        context.log(&format!("{reference} is {} of {}", pinned.offer.product, pinned.offer.serial));
        Ok(pinned)
    }

    async fn find_offer(&self, reference: &TemplateRef) -> Result<Pinned> {
        let unknown = || Error::not_found("template", reference).hint("`berth template list --remote` shows what there is");
        if reference.source().as_str() == "local" {
            return Err(unknown());
        }
        let source = self.find_source(reference.source().as_str()).await?.value;
        let mut catalogue = self.catalogue(&source, false).await?;
        if catalogue.find(reference, host_arch()).is_none() {
            // It may be newer than what was read.
            catalogue = self.catalogue(&source, true).await?;
        }
        let offer = catalogue.find(reference, host_arch()).cloned().ok_or_else(unknown)?;
        if let Some(reason) = &offer.unusable {
            return Err(Error::new(model::ErrorCode::Unsupported, format!("{reference} cannot be used here: {reason}")));
        }
        let reference = self.canonical(&source.name, &offer)?;
        Ok(Pinned { reference, source, offer })
    }

    pub(super) fn canonical(&self, source: &Name, offer: &Offer) -> Result<TemplateRef> {
        TemplateRef::new(source.clone(), &offer.alias(host_arch())).map_err(|error| Error::failed(error.to_string()))
    }

    /// Brings the pinned template here. Whoever wants the same at the same time waits for the first and shows its progress.
    async fn obtain(&self, context: &Context, pinned: &Pinned) -> std::result::Result<LocalTemplate, Failure> {
        let key = pinned
            .offer
            .fingerprints()
            .next()
            .map_or_else(|| pinned.offer.product.clone(), ToString::to_string);
        let turn = self.under_way.turn(&key, context).await?;
        let _shown = self.under_way.show(&pinned.reference, context.id());
        if let Some(Fact { value: local, .. }) = self.stored(&pinned.reference).await?
            && is_this_build(&local, &pinned.offer)
            && self.has_layers(&local).await?
        {
            // A crash may have come between the row and the removal of the files.
            self.abandon(context).await?;
            return Ok(local);
        }
        let gauge = Gauge::new(context, turn.progress());
        match &pinned.offer.content {
            Content::Suite {
                suite, distribution, version, ..
            } => {
                let wanted = Suite {
                    suite,
                    distribution,
                    version: version.as_deref(),
                };
                Ok(self.build(&gauge, pinned, wanted).await?)
            }
            Content::Files(choices) => {
                let mut outcome = Err(Failure::Other(upstream("the template has no files")));
                for choice in choices {
                    outcome = self.obtain_files(&gauge, pinned, choice).await;
                    match &outcome {
                        Err(Failure::Other(error)) if error.code() == model::ErrorCode::Unsupported => {
                            context.log(&format!("{error}; another form of it is tried"));
                        }
                        _ => break,
                    }
                }
                outcome
            }
        }
    }

    async fn obtain_files(&self, gauge: &Gauge<'_>, pinned: &Pinned, choice: &Choice) -> std::result::Result<LocalTemplate, Failure> {
        check_space(&self.folder, choice.size())?;
        if choice.is_squashfs() {
            gauge
                .context()
                .log("there is only a squashfs image: extended attributes (capabilities of files) and hard links are not kept");
        }
        let _lanes = self.lanes(gauge.context(), choice).await?;
        let fetched = self.fetch_files(gauge, pinned, choice).await?;
        let outcome = self.unpack_files(gauge, pinned, choice, &fetched).await;
        // The layer has everything now, and what was refused is not wanted again.
        for file in &fetched {
            absent(&file.path).await?;
        }
        Ok(outcome?)
    }

    /// The right to each file: two templates may have one in common. Always in the same order, so that nobody waits for
    /// somebody who waits for them.
    async fn lanes(&self, context: &Context, choice: &Choice) -> Result<Vec<super::under_way::Turn>> {
        let keys: std::collections::BTreeSet<String> = choice.files.iter().map(|file| format!("file/{}", file.sha256)).collect();
        let mut lanes = Vec::new();
        for key in keys {
            lanes.push(self.under_way.turn(&key, context).await?);
        }
        Ok(lanes)
    }

    /// All files of a choice, or none: without the others the first is of no use to anybody.
    async fn fetch_files(&self, gauge: &Gauge<'_>, pinned: &Pinned, choice: &Choice) -> std::result::Result<Vec<Fetched>, Failure> {
        let mut fetched = Vec::new();
        let outcome = self.fetch_each(gauge, pinned, choice, &mut fetched).await;
        if outcome.is_err() {
            for file in &fetched {
                absent(&file.path).await?;
            }
        }
        outcome.map(|()| fetched)
    }

    async fn fetch_each(&self, gauge: &Gauge<'_>, pinned: &Pinned, choice: &Choice, fetched: &mut Vec<Fetched>) -> std::result::Result<(), Failure> {
        let base = base_url(&pinned.source.url)?;
        let named = Named::of([pinned.source.url.as_str()]);
        let parts = choice.files.iter().map(|file| ProgressPart {
            name: file.name.clone(),
            done: 0,
            total: Some(file.size),
        });
        gauge.phase("download", Some(choice.size()), parts.collect());
        let fetch = Fetch {
            web: self.web().await?,
            named: &named,
            folder: &self.folder,
            gauge,
        };
        let mut combined = sha2::Sha256::default();
        for (part, file) in choice.files.iter().enumerate() {
            let wanted = Wanted {
                url: below(&base, &file.path)?,
                key: file.sha256.to_string(),
                size: Some(file.size),
                sha256: Some(file.sha256.clone()),
                part,
                cap: file.size,
            };
            let file = fetch.file(&wanted, Some(combined)).await?;
            combined = file.combined.clone().ok_or_else(|| Error::failed("the combined hash was not kept"))?;
            fetched.push(file);
        }
        let found = digest_of(combined)?;
        if found == choice.fingerprint {
            return Ok(());
        }
        let text = format!(
            "the files do not belong together: their fingerprint is {found}, the index says {}",
            choice.fingerprint
        );
        Err(upstream(text).hint("refresh the source and try again").into())
    }

    async fn unpack_files(&self, gauge: &Gauge<'_>, pinned: &Pinned, choice: &Choice, fetched: &[Fetched]) -> Result<LocalTemplate> {
        // The root file system comes last; what stands before it describes it.
        let root = fetched.last().ok_or_else(|| Error::failed("the template has no files"))?;
        let origin = pinned.reference.to_string();
        let unpacked = self.layer(gauge, root, &choice.fingerprint, &origin).await?;
        let metadata = Metadata::read(unpacked.metadata.as_deref().unwrap_or_default());
        self.or_forget_layer(&choice.fingerprint, metadata.require_arch(&pinned.offer.arch)).await?;
        let verified = if pinned.source.encrypted { "sha256+tls" } else { "sha256" };
        self.record(gauge.context(), pinned, &choice.fingerprint, choice.size(), verified, unpacked)
            .await
    }

    /// Gives a judgement on; a layer that was just unpacked and is refused is wanted by nobody.
    pub(super) async fn or_forget_layer<T>(&self, digest: &Digest, judged: Result<T>) -> Result<T> {
        if judged.is_err() {
            let digest = digest.clone();
            engine::call(&self.engine, move |engine| engine.remove_layer(&digest)).await?;
        }
        judged
    }

    /// The layer of a verified file: unpacked once per digest.
    pub(super) async fn layer(&self, gauge: &Gauge<'_>, file: &Fetched, digest: &Digest, origin: &str) -> Result<Unpacked> {
        let layers = engine::call(&self.engine, |engine| Ok(engine.layers())).await?;
        if layers.contains(digest) {
            let rows = self.rows().await?;
            let known = rows.into_values().find(|row| row.layers.contains(digest));
            gauge.context().log("it is unpacked already");
            return Ok(known.map_or_else(Unpacked::default, |row| Unpacked {
                bytes: row.unpacked_bytes,
                left_out: row.left_out,
                ..Unpacked::default()
            }));
        }
        self.unpack(gauge, &file.path, file.size, digest, origin).await
    }

    /// Writes the row: from here on the template is listed.
    pub(super) async fn record(
        &self,
        context: &Context,
        pinned: &Pinned,
        digest: &Digest,
        size: u64,
        verified: &str,
        unpacked: Unpacked,
    ) -> Result<LocalTemplate> {
        let Pinned { reference, source, offer } = pinned;
        let local = LocalTemplate {
            reference: reference.clone(),
            layers: vec![digest.clone()],
            os: offer.os.clone(),
            release: offer.release.clone(),
            arch: offer.arch.clone(),
            variant: offer.variant.clone(),
            size_bytes: size,
            unpacked_bytes: unpacked.bytes,
            created_at: offer.created_at,
            provenance: Provenance {
                source_kind: format!("{:?}", source.kind).to_lowercase(),
                source_name: source.name.to_string(),
                url: source.url.clone(),
                product: offer.product.clone(),
                serial: offer.serial.clone(),
                fingerprint: digest.clone(),
                verified: verified.to_owned(),
                downloaded_at: self.clock.now(),
                downloaded_by: context.caller().name.clone(),
                berth_version: env!("CARGO_PKG_VERSION").to_owned(),
                index_sha256: match &offer.content {
                    Content::Suite { index_sha256, .. } => index_sha256.clone(),
                    Content::Files(_) => None,
                },
            },
            left_out: unpacked.left_out,
            wants_nesting: offer.wants_nesting,
        };
        self.facts.change().put(row_key(reference), &local).commit().await?;
        Ok(local)
    }

    async fn has_layers(&self, local: &LocalTemplate) -> Result<bool> {
        let layers = engine::call(&self.engine, |engine| Ok(engine.layers())).await?;
        Ok(local.layers.iter().all(|layer| layers.contains(layer)))
    }
}

fn is_this_build(local: &LocalTemplate, offer: &Offer) -> bool {
    match &offer.content {
        Content::Files(_) => offer.fingerprints().any(|fingerprint| *fingerprint == local.provenance.fingerprint),
        // What comes out of a build is known only after it.
        Content::Suite { .. } => local.provenance.serial == offer.serial,
    }
}

/// Whether the source offers a later build than the one that is here.
pub(super) fn is_newer(local: &LocalTemplate, offer: &Offer) -> bool {
    let here = &local.provenance;
    let is_later_serial = natural(&offer.serial) > natural(&here.serial);
    let later = match (offer.created_at, local.created_at) {
        (Some(offered), Some(made)) => offered > made || (offered == made && is_later_serial),
        _ => is_later_serial,
    };
    // Another product of the same name is another thing, not a later build of this one.
    later && offer.product == here.product && !is_this_build(local, offer)
}
