//! What a source offers, in one form for all kinds of sources, and how a reference finds it.

use std::collections::BTreeMap;

use model::{Digest, TemplateRef, Timestamp};
use serde::{Deserialize, Serialize};

/// A source's catalogue as it was read last; kept on disk, so that a restart shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Catalogue {
    pub(super) read_at: Option<Timestamp>,
    /// Where it was read: of a source that was removed and added with another address nothing is shown.
    pub(super) url: String,
    pub(super) offers: Vec<Offer>,
    /// Records that could not be read at all, with reasons.
    #[serde(default)]
    pub(super) dropped: Vec<String>,
    /// Tags of the files that it was read from, by their addresses: with them the server says whether anything changed.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// Version and host that judged what can be used.
    #[serde(default)]
    pub(super) made_for: String,
}

/// One template of a source, in its newest build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// The source's own identifier: opaque.
    pub(super) product: String,
    /// The one that lists show first.
    pub(super) aliases: Vec<String>,
    pub(super) name: String,
    pub(super) os: String,
    pub(super) release: String,
    /// As Debian spells it.
    pub(super) arch: String,
    pub(super) variant: String,
    pub(super) serial: String,
    pub(super) created_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) end_of_life: Option<String>,
    #[serde(default)]
    pub(super) wants_nesting: bool,
    /// Why no container can be made from it here.
    #[serde(default)]
    pub(super) unusable: Option<String>,
    pub(super) content: Content,
}

/// How the template comes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// Files to download; the preferred choice first.
    Files(Vec<Choice>),
    /// A suite to build from packages.
    Suite {
        suite: String,
        distribution: String,
        /// `13`, `24.04`; none while it is not released.
        #[serde(default)]
        version: Option<String>,
        /// Of the signed Release file that it was read from.
        #[serde(default)]
        index_sha256: Option<Digest>,
    },
}

/// Files that together are the template, in the order in which its fingerprint covers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) fingerprint: Digest,
    pub(super) files: Vec<Blob>,
}

/// A file on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    /// For people.
    pub(super) name: String,
    /// Below the source's address.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: Digest,
}

impl Choice {
    /// Whether the root file system is a squashfs image, of which less can be read than of a tar archive.
    pub(super) fn is_squashfs(&self) -> bool {
        self.files.last().is_some_and(|root| root.name.ends_with("squashfs"))
    }

    pub(super) fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

impl Offer {
    /// The part of the reference that lists show. Another architecture than the host's stands in it.
    pub(super) fn alias(&self, host_arch: &str) -> String {
        let alias = self.aliases.first().unwrap_or(&self.product);
        if self.arch == host_arch {
            alias.clone()
        } else {
            format!("{alias}/{}", self.arch)
        }
    }

    fn answers_to(&self, alias: &str, host_arch: &str) -> bool {
        if self.product == alias || (self.arch == host_arch && self.aliases.iter().any(|known| known == alias)) {
            return true;
        }
        let bare = alias.strip_suffix(self.arch.as_str()).and_then(|rest| rest.strip_suffix('/'));
        bare.is_some_and(|bare| self.aliases.iter().any(|known| known == bare))
    }

    pub(super) fn size(&self) -> Option<u64> {
        match &self.content {
            Content::Files(choices) => choices.first().map(Choice::size),
            Content::Suite { .. } => None,
        }
    }

    pub(super) fn fingerprints(&self) -> impl Iterator<Item = &Digest> {
        let choices: &[Choice] = match &self.content {
            Content::Files(choices) => choices,
            Content::Suite { .. } => &[],
        };
        choices.iter().map(|choice| &choice.fingerprint)
    }
}

impl Catalogue {
    /// What a reference means here: the host's own architecture first.
    pub(super) fn find(&self, reference: &TemplateRef, host_arch: &str) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.answers_to(reference.alias(), host_arch))
    }
}

/// The architecture of this host as Debian spells it.
pub(super) fn host_arch() -> &'static str {
    debian_arch(std::env::consts::ARCH).unwrap_or(std::env::consts::ARCH)
}

/// One spelling for all: Debian's.
pub(super) fn debian_arch(text: &str) -> Option<&'static str> {
    Some(match text {
        "amd64" | "x86_64" => "amd64",
        "i386" | "i686" | "x86" => "i386",
        "arm64" | "aarch64" => "arm64",
        "armhf" | "armv7l" | "arm" => "armhf",
        "armel" | "armv6l" => "armel",
        "ppc64el" | "ppc64le" | "powerpc64" => "ppc64el",
        "s390x" => "s390x",
        "riscv64" => "riscv64",
        "loong64" | "loongarch64" => "loong64",
        _ => return None,
    })
}

/// Whether programs of this architecture run on that host.
pub(super) fn runs_on(arch: &str, host_arch: &str) -> bool {
    arch == host_arch || (arch == "i386" && host_arch == "amd64")
}

/// Puts the alias that people would type first: short, with a number rather than a code name.
pub(super) fn order_aliases(aliases: &mut Vec<String>) {
    aliases.sort_by_key(|alias| (!alias.contains('/'), alias.len(), !alias.contains(|c: char| c.is_ascii_digit()), alias.clone()));
    aliases.dedup();
}
