//! Templates and the sources that offer them.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Name, TaskId, TemplateRef};
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Simplestreams,
    Mirror,
    Aplinfo,
    Oci,
    Lxc,
}

impl std::str::FromStr for SourceKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "simplestreams" => Ok(Self::Simplestreams),
            "mirror" => Ok(Self::Mirror),
            "aplinfo" => Ok(Self::Aplinfo),
            "oci" => Ok(Self::Oci),
            "lxc" => Ok(Self::Lxc),
            _ => Err(format!("`{text}` is not a kind of source; use simplestreams or mirror")),
        }
    }
}

/// A place that offers templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Source {
    pub name: Name,
    pub kind: SourceKind,
    pub url: String,
    /// Whether the transport is TLS; else the page says "not encrypted".
    pub encrypted: bool,
    /// Templates offered at the last refresh.
    pub offered: u32,
    pub last_refresh_at: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Entries that cannot be used here, with reasons, for "show unusable".
    #[serde(default)]
    pub dropped: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewSource {
    pub name: Name,
    pub kind: SourceKind,
    pub url: String,
}

/// A template as lists show it: offered by a source, here already, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Template {
    #[serde(rename = "ref")]
    pub reference: TemplateRef,
    pub name: String,
    pub os: String,
    pub release: String,
    pub arch: String,
    pub variant: String,
    /// Bytes to download; `None` when it cannot be known before.
    pub size_bytes: Option<u64>,
    /// Bytes on disk once it is here.
    #[serde(default)]
    pub unpacked_bytes: Option<u64>,
    /// Fingerprint; of a mirror known only after the build.
    pub digest: Option<Digest>,
    pub downloaded: bool,
    pub newer_available: bool,
    /// When the image was built.
    pub created_at: Option<Timestamp>,
    /// Build serial of the index.
    #[serde(default)]
    pub serial: Option<String>,
    /// `YYYY-MM-DD`.
    #[serde(default)]
    pub end_of_life: Option<String>,
    /// Containers that stand on it, the trash included.
    #[serde(default)]
    pub used_by: Vec<String>,
    /// Why it cannot be used on this host.
    #[serde(default)]
    pub unusable: Option<String>,
    /// What was checked: `sha256`, `sha256+tls`, `release signature` ...
    #[serde(default)]
    pub verified: Option<String>,
    /// The running download.
    #[serde(default)]
    pub task: Option<TaskId>,
    /// Whether the image asks for nesting.
    #[serde(default)]
    pub wants_nesting: bool,
}

/// Immutable facts about where a template came from (formats.md section 11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Provenance {
    pub source_kind: String,
    pub source_name: String,
    pub url: String,
    pub product: String,
    pub serial: String,
    pub fingerprint: Digest,
    pub verified: String,
    pub downloaded_at: Timestamp,
    pub downloaded_by: String,
    pub berth_version: String,
    /// Of the signed index (a mirror's InRelease) that named it.
    #[serde(default)]
    pub index_sha256: Option<Digest>,
}

/// A template that is here: its layers by digest, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LocalTemplate {
    #[serde(rename = "ref")]
    pub reference: TemplateRef,
    pub layers: Vec<Digest>,
    pub os: String,
    pub release: String,
    pub arch: String,
    pub variant: String,
    pub size_bytes: u64,
    pub unpacked_bytes: u64,
    pub created_at: Option<Timestamp>,
    pub provenance: Provenance,
    /// Entries of the archive that were not created, by kind (`device nodes: 14`).
    #[serde(default)]
    pub left_out: Vec<String>,
    #[serde(default)]
    pub wants_nesting: bool,
}
