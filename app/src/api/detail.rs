//! Everything about one container that its page shows. What it is made of comes as text: to read rules, ports and mounts
//! apart, only to write them again, would make the page heavier.

use model::container::{ContainerDetail, ContainerSummary, ExitRecord, NicDetail, RestartPolicy};
use serde::{Deserialize, Serialize};

/// A container as its page knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    pub summary: ContainerSummary,
    /// What it is made from, also before that is here.
    pub template: String,
    /// How its last run ended.
    pub exit: Option<ExitRecord>,
    pub nics: Vec<NicDetail>,
    /// Ports of the host that lead inside.
    pub publish: Vec<String>,
    /// Rules of its firewall, in order.
    pub firewall: Vec<String>,
    pub restart: RestartPolicy,
    /// How often its policy has started it again.
    pub restarts: u32,
    pub notes: String,
    /// Keys of what it was given and has only from its next start on.
    pub pending: Vec<String>,
    /// Guards updates.
    pub etag: String,
    /// First host id and count of its own range.
    pub id_range: (u32, u32),
}

impl From<ContainerDetail> for Detail {
    fn from(detail: ContainerDetail) -> Self {
        let ContainerDetail { summary, spec, mut exits, .. } = detail;
        Self {
            summary,
            template: spec.template.to_string(),
            exit: exits.pop(),
            nics: detail.nics,
            publish: spec.publish.iter().map(ToString::to_string).collect(),
            firewall: spec.firewall.iter().map(ToString::to_string).collect(),
            restart: spec.restart,
            restarts: detail.restarts,
            notes: spec.notes,
            pending: detail.pending_restart,
            etag: detail.etag,
            id_range: detail.id_range,
        }
    }
}
