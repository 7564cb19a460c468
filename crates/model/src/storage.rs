//! Mounts of a container and the trash.

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;
use crate::time::Timestamp;

/// A folder of the host inside the container: `SRC:DST[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Mount {
    pub source: String,
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
}

/// A deleted container that can still come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TrashEntry {
    pub id: ContainerId,
    pub name: String,
    /// `None` until it was measured.
    pub size_bytes: Option<u64>,
    pub deleted_at: Timestamp,
    pub deleted_by: String,
    pub expires_at: Timestamp,
    /// Why it could not be removed for good when that was tried last; it is tried again.
    #[serde(default)]
    pub problem: Option<String>,
}
