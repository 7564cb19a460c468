//! What Berth's own work has left on the host or in its store that nobody uses any more, and what it keeps that is damaged:
//! the lines of `berth doctor`.

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;

/// Something of Berth's own that nobody uses any more, or that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Leftover {
    pub kind: LeftoverKind,
    /// The group, the link, the file or the key.
    pub name: String,
    /// Whose it was.
    pub container: Option<ContainerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// Control groups of a container that has ended.
    Cgroup,
    /// The host end of a container's link, or the device that limits it.
    Link,
    /// A file of a shim that is gone.
    RunFile,
    /// A mount below the run directory.
    Mount,
    /// The folder of a container that was never made whole, without a manifest.
    Folder,
    /// A manifest that is missing beside a container that the store knows.
    Manifest,
    /// User ids, an address or a name that no container has.
    Claim,
    /// A container that the store does not know.
    Container,
    /// Bridge, rules or servers of the network.
    Network,
    /// The store, when it is damaged.
    Store,
    /// A layer that is missing under a template or a container.
    Layer,
    /// The program that holds containers, when it is not what its name says.
    Program,
}

impl LeftoverKind {
    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Link => "link",
            Self::RunFile => "run file",
            Self::Mount => "mount",
            Self::Folder => "folder",
            Self::Manifest => "manifest",
            Self::Claim => "claim",
            Self::Container => "container",
            Self::Network => "network",
            Self::Store => "store",
            Self::Layer => "layer",
            Self::Program => "program",
        }
    }
}

/// What was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Finding {
    #[serde(flatten)]
    pub leftover: Leftover,
    pub state: FindingState,
    /// Why it stays, or what to do.
    #[serde(default)]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// It can be repaired.
    Found,
    Repaired,
    Failed,
    /// Somebody has to decide.
    LeftAlone,
}
