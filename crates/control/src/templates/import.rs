//! Templates brought in by hand: from an address, or from a file that somebody sends.

use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt as _};
use model::access::Permission;
use model::id::Name;
use model::task::{ProgressPart, Task};
use model::template::{LocalTemplate, Provenance};
use model::{Digest, TemplateRef};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::fetch::{Fetch, Fetched, Wanted, settle};
use super::gauge::Gauge;
use super::metadata::Metadata;
use super::offer::host_arch;
use super::part::{absent, digest_of, disk};
use super::source::refuse_secrets;
use super::unpack::check_room;
use super::web::{Named, shown};
use super::{Templates, row_key};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::tasks::Context;

pub(super) const KIND: &str = "template.import";
/// Larger archives are refused.
const CAP: u64 = 64 << 30;
/// What a task remembers once its row is about to be written.
const RECORDED: &str = "recorded";
/// Beginning of the names of files that are being sent.
const INCOMING: &str = "incoming-";

/// What shall be brought in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    name: Name,
    sha256: Option<Digest>,
    from: From,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum From {
    Url {
        url: String,
        key: String,
    },
    /// A file that is here already, with its size and hash.
    File {
        path: PathBuf,
        size: u64,
        sha256: Digest,
    },
}

impl Wish {
    /// Removes the file that was sent or fetched for it.
    pub(super) async fn forget(&self, templates: &Templates) -> Result<()> {
        match &self.from {
            From::File { path, .. } => absent(path).await,
            From::Url { key, .. } => templates.remove_files(key).await,
        }
    }

    /// The name, without its ending, of the file that it goes on with.
    pub(super) fn stem(&self) -> Option<String> {
        match &self.from {
            From::File { path, .. } => Some(path.file_stem()?.to_string_lossy().into_owned()),
            From::Url { key, .. } => Some(key.clone()),
        }
    }
}

impl Templates {
    /// Downloads an archive from an address and makes it the template `local:NAME`.
    ///
    /// # Errors
    /// The caller may not; `Invalid` names the field; `Conflict` when there is one of this name.
    pub async fn import_url(&self, caller: &Caller, url: &str, name: Option<&str>, sha256: Option<&str>, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Templates)?;
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        let parsed = parsed
            .ok_or_else(|| Error::invalid("url", format!("`{url}` is not an address of an archive")).hint("write it like https://example.org/rootfs.tar.xz"))?;
        refuse_secrets(&parsed)?;
        let given = name.map(str::to_owned).unwrap_or_else(|| name_of(parsed.path()));
        if let Some(task) = self.imported_before(caller, &given, key).await? {
            return Ok(task);
        }
        let wish = Wish {
            name: self.free_name(&given).await?,
            sha256: checked_digest(sha256)?,
            from: From::Url {
                url: parsed.to_string(),
                key: format!("import-{}", uuid::Uuid::new_v4().simple()),
            },
        };
        self.begin_import(caller, &wish, key).await
    }

    /// Takes an archive as it comes and makes it the template `local:NAME`.
    ///
    /// # Errors
    /// As [`Templates::import_url`]; the stream breaks off, is not what `sha256` says, or the disk is full. Nothing stays then.
    pub async fn upload<B: AsRef<[u8]>>(
        &self,
        caller: &Caller,
        name: &str,
        sha256: Option<&str>,
        key: Option<&str>,
        body: impl Stream<Item = std::io::Result<B>> + Send,
    ) -> Result<Task> {
        caller.require(Permission::Templates)?;
        if let Some(task) = self.imported_before(caller, name, key).await? {
            return Ok(task);
        }
        let (name, expected) = (self.free_name(name).await?, checked_digest(sha256)?);
        let part = self.folder.join(format!("{INCOMING}{}.part", uuid::Uuid::new_v4().simple()));
        let outcome = self.take_in(&part, name, expected, body).await;
        let outcome = match outcome {
            Ok(wish) => self.begin_upload(caller, &wish, key).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            absent(&part).await?;
        }
        outcome
    }

    async fn take_in<B: AsRef<[u8]>>(
        &self,
        part: &Path,
        name: Name,
        expected: Option<Digest>,
        body: impl Stream<Item = std::io::Result<B>> + Send,
    ) -> Result<Wish> {
        let mut file = tokio::fs::File::create_new(part).await.map_err(|error| disk(part, &error))?;
        let (mut hasher, mut size) = (Sha256::new(), 0_u64);
        let mut body = std::pin::pin!(body);
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| Error::new(model::ErrorCode::BadRequest, format!("the file broke off after {size} bytes ({error})")))?;
            let bytes = bytes.as_ref();
            size += bytes.len() as u64;
            if size > CAP {
                return Err(Error::new(model::ErrorCode::TooLarge, format!("the file is larger than {} GiB", CAP >> 30)));
            }
            hasher.update(bytes);
            file.write_all(bytes).await.map_err(|error| disk(part, &error))?;
        }
        settle(file).await.map_err(|error| disk(part, &error))?;
        check_room(&self.folder, size.saturating_mul(4))?;
        let found = digest_of(hasher)?;
        check(expected.as_ref(), &found)?;
        let whole = part.with_extension("file");
        tokio::fs::rename(part, &whole).await.map_err(|error| disk(part, &error))?;
        Ok(Wish {
            name,
            sha256: expected,
            from: From::File {
                path: whole,
                size,
                sha256: found,
            },
        })
    }

    /// Begins with a file that is here; one that was sent twice with one key is wanted once.
    async fn begin_upload(&self, caller: &Caller, wish: &Wish, key: Option<&str>) -> Result<Task> {
        let _one_at_a_time = self.beginning.lock().await;
        let target = format!("local:{}", wish.name);
        let earlier = self.tasks.earlier(caller, KIND, &target, key).await;
        let begun = match earlier {
            Ok(None) => match self.begin_import(caller, wish, key).await {
                Ok(task) => return Ok(task),
                Err(error) => Err(error),
            },
            Ok(Some(task)) => Ok(task),
            Err(error) => Err(error),
        };
        wish.forget(self).await?;
        begun
    }

    /// The task that this key began earlier: its name is taken by now.
    async fn imported_before(&self, caller: &Caller, name: &str, key: Option<&str>) -> Result<Option<Task>> {
        self.tasks.earlier(caller, KIND, &format!("local:{name}"), key).await
    }

    async fn free_name(&self, text: &str) -> Result<Name> {
        let name: Name = text.parse().map_err(|error: model::id::IdError| {
            Error::invalid("name", format!("`{text}` is not a name for a template ({error})")).hint("give one with --name")
        })?;
        let taken = self.stored(&reference(&name)?).await?.is_some();
        if taken {
            Err(Error::conflict(format!("there is a template `local:{name}` already")).hint("choose another name, or remove it first"))
        } else {
            Ok(name)
        }
    }

    async fn begin_import(&self, caller: &Caller, wish: &Wish, key: Option<&str>) -> Result<Task> {
        let params = serde_json::to_value(wish).map_err(|error| Error::failed(error.to_string()))?;
        let (target, exclusive) = (format!("local:{}", wish.name), format!("template/local:{}", wish.name));
        let begun = self.tasks.start(caller, KIND, &target, Some(exclusive), params, key).await;
        self.audited(caller, KIND, &target, begun).await
    }

    /// The task's one step.
    pub(super) async fn bring_in(&self, context: &Context, wish: &Wish) -> Result<()> {
        let _busy = self.busy().await;
        let target = reference(&wish.name)?;
        if context.recall(RECORDED).is_some() && self.stored(&target).await?.is_some() {
            // A crash came after the row was written: the file may be gone already.
            return wish.forget(self).await;
        }
        let gauge = Gauge::new(context, watch::Sender::default());
        let fetched = match &wish.from {
            From::File { path, size, sha256 } => Fetched {
                path: path.clone(),
                size: *size,
                sha256: sha256.clone(),
                combined: None,
            },
            From::Url { url, key } => self.fetch_import(&gauge, wish, url, key).await?,
        };
        let unpacked = self.layer(&gauge, &fetched, &fetched.sha256, &target.to_string()).await?;
        let metadata = Metadata::read(unpacked.metadata.as_deref().unwrap_or_default());
        let arch = self.or_forget_layer(&fetched.sha256, metadata.arch_on(host_arch())).await?;
        let mut local = self.describe(context, wish, &target, &fetched, &unpacked);
        local.created_at = metadata.created_at;
        if let Some(arch) = arch {
            arch.clone_into(&mut local.arch);
        }
        context.remember(RECORDED, true.into()).await?;
        self.facts.change().put(row_key(&target), &local).commit().await?;
        wish.forget(self).await
    }

    async fn fetch_import(&self, gauge: &Gauge<'_>, wish: &Wish, url: &str, key: &str) -> Result<Fetched> {
        let parsed = Url::parse(url).map_err(|error| Error::invalid("url", error.to_string()))?;
        let sources = self.all_sources().await?;
        // Private addresses only where an administrator named them.
        let named = Named::of(sources.iter().map(|source| source.url.as_str()));
        gauge.phase(
            "download",
            None,
            vec![ProgressPart {
                name: name_of(parsed.path()),
                done: 0,
                total: None,
            }],
        );
        let fetch = Fetch {
            web: self.web().await?,
            named: &named,
            folder: &self.folder,
            gauge,
        };
        let wanted = Wanted {
            url: parsed,
            key: key.to_owned(),
            size: None,
            sha256: wish.sha256.clone(),
            part: 0,
            cap: CAP,
        };
        Ok(fetch.file(&wanted, None).await?)
    }

    fn describe(&self, context: &Context, wish: &Wish, target: &TemplateRef, fetched: &Fetched, unpacked: &model::engine::Unpacked) -> LocalTemplate {
        let (kind, url) = match &wish.from {
            // Whoever may look reads it at the template and at its containers.
            From::Url { url, .. } => ("url", Url::parse(url).map(|url| shown(&url)).unwrap_or_default()),
            From::File { .. } => ("upload", String::new()),
        };
        LocalTemplate {
            reference: target.clone(),
            layers: vec![fetched.sha256.clone()],
            os: unpacked.os.clone().unwrap_or_default(),
            release: unpacked.release.clone().unwrap_or_default(),
            arch: host_arch().to_owned(),
            variant: "default".to_owned(),
            size_bytes: fetched.size,
            unpacked_bytes: unpacked.bytes,
            created_at: None,
            provenance: Provenance {
                source_kind: kind.to_owned(),
                source_name: "local".to_owned(),
                url,
                product: wish.name.to_string(),
                serial: String::new(),
                fingerprint: fetched.sha256.clone(),
                verified: if wish.sha256.is_some() { "sha256" } else { "nothing" }.to_owned(),
                downloaded_at: self.clock.now(),
                downloaded_by: context.caller().name.clone(),
                berth_version: env!("CARGO_PKG_VERSION").to_owned(),
                index_sha256: None,
            },
            left_out: unpacked.left_out.clone(),
            wants_nesting: false,
        }
    }
}

fn reference(name: &Name) -> Result<TemplateRef> {
    format!("local:{name}")
        .parse()
        .map_err(|error: model::id::IdError| Error::failed(error.to_string()))
}

fn checked_digest(text: Option<&str>) -> Result<Option<Digest>> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| Error::invalid("sha256", format!("`{text}` is not a SHA-256 (64 hexadecimal digits)")))
    };
    text.map(parse).transpose()
}

fn check(expected: Option<&Digest>, found: &Digest) -> Result<()> {
    match expected {
        Some(expected) if expected != found => Err(Error::invalid("sha256", format!("the file's sha256 is {found}, it should be {expected}"))),
        _ => Ok(()),
    }
}

/// A name out of an address's path: `/x/Debian-13.tar.xz` becomes `debian-13`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let stem = [".tar.xz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tgz", ".txz", ".tar", ".squashfs"]
        .iter()
        .find_map(|end| file.strip_suffix(end))
        .unwrap_or(file);
    let plain: String = stem
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name: String = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(63).collect();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_out_of_the_address() {
        assert_eq!(name_of("/images/Debian-13_rootfs.tar.xz"), "debian-13-rootfs");
        assert_eq!(name_of("/"), "");
    }

    #[test]
    fn a_hash_is_one_or_named_as_wrong() {
        assert!(checked_digest(Some("abc")).is_err());
        assert_eq!(checked_digest(None), Ok(None));
    }
}
