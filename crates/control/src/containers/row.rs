//! What the store keeps about a container, and where: the rows under `ct/`, `name/`, `range/` and `trash/`.
//!
//! Invariant: a row holds enough to start the container, so that a start reads nothing else.

use model::container::{ContainerSpec, ExitReason, ExitRecord, TemplateUse};
use model::engine::{ID_COUNT, MANIFEST_VERSION, Manifest, NicPlan, StartRequest};
use model::storage::TrashEntry;
use model::{ContainerId, ContainerName, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::age::Age;

/// Ends of runs kept for each container.
pub const EXITS_KEPT: usize = 20;

/// `ct/<id>/spec`: the configuration and everything that was decided for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerRow {
    pub id: ContainerId,
    pub spec: ContainerSpec,
    /// Absent until the template is here.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Template layers, lowest first; empty until the template is here.
    #[serde(default)]
    pub layers: Vec<Digest>,
    pub base_id: u32,
    pub nics: Vec<NicPlan>,
    pub created_at: Timestamp,
    pub created_by: String,
    /// Whether the container's folder exists; false = it is still being created.
    #[serde(default)]
    pub made: bool,
    /// Where the template came from: immutable, and outlives the template.
    #[serde(default)]
    pub provenance: Option<model::template::Provenance>,
}

impl ContainerRow {
    /// The manifest beside the container; `None` while the template is not here.
    #[must_use]
    pub fn manifest(&self) -> Option<Manifest> {
        Some(Manifest {
            version: MANIFEST_VERSION,
            id: self.id,
            spec: self.spec.clone(),
            digest: self.digest.clone()?,
            layers: self.layers.clone(),
            base_id: self.base_id,
            nics: self.nics.clone(),
            created_at: self.created_at,
            created_by: self.created_by.clone(),
        })
    }

    /// Everything a start needs.
    #[must_use]
    pub fn start_request(&self) -> StartRequest {
        StartRequest {
            id: self.id,
            name: self.spec.name.clone(),
            hostname: self.spec.hostname.clone().unwrap_or_else(|| self.spec.name.to_string()),
            layers: self.layers.clone(),
            base_id: self.base_id,
            limits: self.spec.limits.clone(),
            nics: self.nics.clone(),
            env: self.spec.env.clone(),
            restart: self.spec.restart,
            nesting: self.spec.nesting,
            mounts: self.spec.mounts.clone(),
        }
    }

    /// Which template it stands on, once that is known.
    #[must_use]
    pub fn template_use(&self) -> Option<TemplateUse> {
        self.digest.clone().map(|digest| TemplateUse {
            reference: self.spec.template.clone(),
            digest,
        })
    }

    /// Its user ids on the host.
    #[must_use]
    pub fn id_range(&self) -> (u32, u32) {
        (self.base_id, ID_COUNT)
    }
}

/// `ct/<id>/stat`: what is true about the container's runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatRow {
    /// Somebody asked it to stop and it has not ended yet.
    #[serde(default)]
    pub stopping: bool,
    /// With what the present run was started; absent while it does not run.
    #[serde(default)]
    pub run: Option<StartRequest>,
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// How often its policy has started it again since its start was asked for.
    #[serde(default)]
    pub restarts: u32,
    /// Its NICs were changed while it ran: what the old ones held is given back at the next start.
    #[serde(default)]
    pub nics_changed: bool,
    /// In the order in which they came, at most [`EXITS_KEPT`].
    #[serde(default)]
    pub exits: Vec<ExitRecord>,
    /// How many of the engine's records were taken in. The engine counts all that there ever were, so that their number
    /// orders them where the host's clock, which can be set back, does not.
    #[serde(default)]
    pub exits_seen: Option<usize>,
    /// How many of the engine's records are of runs before the present one.
    #[serde(default)]
    pub exits_before: usize,
}

impl StatRow {
    /// Takes in the engine's newest records, before which there were `older`; says which were new.
    pub fn learn(&mut self, older: usize, newest: &[ExitRecord]) -> Vec<ExitRecord> {
        // A row that does not know yet goes by what it has.
        let overlap = || older + newest.iter().rposition(|exit| self.exits.contains(exit)).map_or(0, |last| last + 1);
        let seen = self.exits_seen.unwrap_or_else(overlap);
        // Old news may have fewer than are known.
        let new = newest.get(seen.saturating_sub(older)..).unwrap_or_default().to_vec();
        self.exits_seen = Some(seen.max(older + newest.len()));
        for exit in &new {
            self.add(exit.clone());
        }
        new
    }

    /// Adds the end of a run that the engine has no record of.
    pub fn add(&mut self, exit: ExitRecord) {
        self.exits.push(exit);
        let surplus = self.exits.len().saturating_sub(EXITS_KEPT);
        self.exits.drain(..surplus);
    }

    /// Whether the present run's own end is on record. After a reboot inside it went on.
    #[must_use]
    pub fn has_recorded_end(&self) -> bool {
        let last = self.exits.last().map(|exit| exit.reason);
        self.exits_seen.unwrap_or(0) > self.exits_before && last != Some(ExitReason::Reboot)
    }

    /// What differs between the present run and what the next one would be, as keys of `set`.
    #[must_use]
    pub fn pending(&self, row: &ContainerRow) -> Vec<String> {
        let Some(run) = &self.run else { return Vec::new() };
        let next = row.start_request();
        let (held, wanted) = (&run.limits, &next.limits);
        let differs = [
            ("hostname", run.hostname != next.hostname),
            ("cpus", held.cpus != wanted.cpus),
            ("cpu-weight", held.cpu_weight != wanted.cpu_weight),
            ("cpuset", held.cpuset != wanted.cpuset),
            ("memory", held.memory_bytes != wanted.memory_bytes),
            ("memory-high", held.memory_high_bytes != wanted.memory_high_bytes),
            ("swap", held.swap_bytes != wanted.swap_bytes),
            ("pids", held.pids != wanted.pids),
            ("io-read", held.io_read_bps != wanted.io_read_bps),
            ("io-write", held.io_write_bps != wanted.io_write_bps),
            ("disk", held.disk_bytes != wanted.disk_bytes),
            ("nic", run.nics != next.nics),
            ("env", run.env != next.env),
            ("restart", run.restart != next.restart),
            ("nesting", run.nesting != next.nesting),
            ("mount", run.mounts != next.mounts),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
    }
}

/// `range/<base id>`: who has these 65,536 ids, or since when nobody has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeRow {
    Owner(ContainerId),
    FreedAt(Timestamp),
}

/// `trash/<id>`: a deleted container that can still come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrashRow {
    pub row: ContainerRow,
    #[serde(default)]
    pub exits: Vec<ExitRecord>,
    #[serde(default)]
    pub exits_seen: Option<usize>,
    pub deleted_at: Timestamp,
    pub deleted_by: String,
    /// By a clock that never leaps; lists show what the wall clock is to say then.
    pub expires_at: Timestamp,
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Its files are being removed: it cannot come back.
    #[serde(default)]
    pub purging: bool,
    /// Why that failed when it was tried last.
    #[serde(default)]
    pub problem: Option<String>,
}

impl TrashRow {
    /// As lists show it.
    #[must_use]
    pub(crate) fn entry(&self, age: Age) -> TrashEntry {
        TrashEntry {
            id: self.row.id,
            name: self.row.spec.name.to_string(),
            size_bytes: self.size_bytes,
            deleted_at: self.deleted_at,
            deleted_by: self.deleted_by.clone(),
            expires_at: age.shown(self.expires_at),
            problem: self.problem.clone(),
        }
    }
}

/// Where the rows stand.
pub mod key {
    use super::{ContainerId, ContainerName};

    /// Below it stand `<id>/spec` and `<id>/stat`.
    pub const CONTAINERS: &str = "/berth/v1/ct/";
    /// Below it stand the trashed ones by id.
    pub const TRASH: &str = "/berth/v1/trash/";
    /// Below it stand the blocks of ids by their first one.
    pub const RANGES: &str = "/berth/v1/range/";
    /// Below it stand names in use.
    pub const NAMES: &str = "/berth/v1/name/";
    /// Below it stand MAC addresses in use.
    pub const MACS: &str = "/berth/v1/mac/";
    /// Below it stand the bridges, and below each its addresses in use.
    pub const ADDRESSES: &str = "/berth/v1/ip/";
    /// Below it stand the managed bridges by name.
    pub const NETWORKS: &str = "/berth/v1/net/";
    /// Below it stand root's password hashes of containers that are being created.
    pub const FIRST: &str = "/berth/v1/first/";

    /// The configuration.
    #[must_use]
    pub fn spec(id: ContainerId) -> String {
        format!("{CONTAINERS}{id}/spec")
    }
    /// The runs.
    #[must_use]
    pub fn stat(id: ContainerId) -> String {
        format!("{CONTAINERS}{id}/stat")
    }
    /// Who has a name.
    #[must_use]
    pub fn name(name: &ContainerName) -> String {
        format!("{NAMES}{name}")
    }
    /// A block of ids.
    #[must_use]
    pub fn range(base_id: u32) -> String {
        format!("{RANGES}{base_id:010}")
    }
    /// The trash.
    #[must_use]
    pub fn trash(id: ContainerId) -> String {
        format!("{TRASH}{id}")
    }
    /// Once-used secrets of a create.
    #[must_use]
    pub fn first(id: ContainerId) -> String {
        format!("{FIRST}{id}")
    }
    /// Addresses in use on a bridge.
    #[must_use]
    pub fn addresses(bridge: &str) -> String {
        format!("{ADDRESSES}{bridge}/")
    }
    /// A managed bridge.
    #[must_use]
    pub fn network(bridge: &str) -> String {
        format!("{NETWORKS}{bridge}")
    }
    /// One address in use on a bridge.
    #[must_use]
    pub fn address(bridge: &str, address: std::net::IpAddr) -> String {
        format!("{ADDRESSES}{bridge}/{address}")
    }
    /// One MAC address in use.
    #[must_use]
    pub fn mac(mac: &str) -> String {
        format!("{MACS}{mac}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(ms: i64) -> ExitRecord {
        ExitRecord {
            at: Timestamp::from_ms(ms),
            reason: ExitReason::Exited,
            code: 0,
            oom_kills: 0,
            message: None,
        }
    }

    #[test]
    fn an_exit_is_learned_once_and_twenty_are_kept() {
        let mut stat = StatRow::default();
        let all: Vec<_> = (1..60).map(exit).collect();
        assert_eq!(stat.learn(0, &all[..2]).len(), 2);
        assert_eq!(stat.learn(0, &all[..3]), [exit(3)]);
        assert_eq!(stat.learn(0, &all[..2]), [], "old news");
        stat.learn(0, &all);
        assert_eq!((stat.exits.len(), stat.exits.last()), (EXITS_KEPT, Some(&exit(59))));
        assert_eq!(stat.learn(0, &all), []);
    }

    #[test]
    fn the_first_records_may_be_gone() {
        let mut stat = StatRow::default();
        let all: Vec<_> = (0..60).map(exit).collect();
        stat.learn(0, &all[..30]);
        assert_eq!(stat.learn(25, &all[25..32]), [exit(30), exit(31)]);
        assert_eq!(stat.learn(20, &all[20..25]), [], "old news");
        // While nobody looked more came than are left.
        assert_eq!(stat.learn(50, &all[50..]).len(), 10);
        assert_eq!(stat.learn(55, &all[55..]), []);
        assert_eq!((stat.exits_seen, stat.exits.last()), (Some(60), Some(&exit(59))));
        stat.exits_seen = None;
        assert_eq!(stat.learn(50, &[&all[50..], &[exit(7)]].concat()), [exit(7)]);
        assert_eq!(stat.exits_seen, Some(61));
    }

    #[test]
    fn exits_come_in_the_engines_order_whatever_the_clock_does() {
        let mut stat = StatRow::default();
        stat.learn(0, &[exit(100)]);
        // Set back by a lot, then to the very same moment.
        assert_eq!(stat.learn(0, &[exit(100), exit(5)]), [exit(5)]);
        assert_eq!(stat.learn(0, &[exit(100), exit(5), exit(5)]), [exit(5)]);
        // A failed start that only the console knows of stands between them and hides none.
        stat.add(exit(200));
        assert_eq!(stat.learn(0, &[exit(100), exit(5), exit(5), exit(7)]), [exit(7)]);
        assert_eq!(stat.exits, [exit(100), exit(5), exit(5), exit(200), exit(7)]);
        // A row of an earlier version has no number.
        stat.exits_seen = None;
        assert_eq!(stat.learn(0, &[exit(100), exit(5), exit(5), exit(7), exit(6)]), [exit(6)]);
    }
}
