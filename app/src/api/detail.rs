//! Everything about one container, on its way to a page. Of the interface's own form a reader must gather all fields first
//! to divide them between two types; here the summary stands apart.

use model::Timestamp;
use model::container::{ContainerDetail, ContainerSpec, ContainerSummary, ExitRecord, NicDetail};
use model::template::Provenance;
use serde::{Deserialize, Serialize};

/// A [`ContainerDetail`] whose summary is a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Apart", into = "Apart")]
pub struct Detail(pub ContainerDetail);

#[derive(Serialize, Deserialize)]
struct Apart {
    summary: ContainerSummary,
    spec: ContainerSpec,
    etag: String,
    id_range: (u32, u32),
    exits: Vec<ExitRecord>,
    nics: Vec<NicDetail>,
    pending_restart: Vec<String>,
    restarts: u32,
    next_start_at: Option<Timestamp>,
    provenance: Option<Provenance>,
}

impl From<Apart> for Detail {
    fn from(apart: Apart) -> Self {
        Self(ContainerDetail {
            summary: apart.summary,
            spec: apart.spec,
            etag: apart.etag,
            id_range: apart.id_range,
            exits: apart.exits,
            nics: apart.nics,
            pending_restart: apart.pending_restart,
            restarts: apart.restarts,
            next_start_at: apart.next_start_at,
            provenance: apart.provenance,
        })
    }
}

impl From<Detail> for Apart {
    fn from(Detail(detail): Detail) -> Self {
        Self {
            summary: detail.summary,
            spec: detail.spec,
            etag: detail.etag,
            id_range: detail.id_range,
            exits: detail.exits,
            nics: detail.nics,
            pending_restart: detail.pending_restart,
            restarts: detail.restarts,
            next_start_at: detail.next_start_at,
            provenance: detail.provenance,
        }
    }
}
