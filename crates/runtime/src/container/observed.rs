//! What a container is now, as its shim, its groups and its folder tell; shims of an earlier console are adopted on the way.
//!
//! Invariant: what cannot be read is `Unknown`, never `Stopped`.

use model::container::ContainerState;
use model::engine::{Manifest, Observed};
use model::{ContainerId, Timestamp};

use super::{Running, Runtime};
use crate::cgroup::counters::Reader;
use crate::cgroup::{Group, limits};
use crate::error::Result;
use crate::shim::engine::Connection;
use crate::shim::protocol::Fields;

impl Runtime {
    /// Every container that has a folder, as it is now; adopts shims of an earlier console.
    ///
    /// # Errors
    /// The folders cannot be read: an empty list would mean that nothing exists.
    pub fn observe(&self) -> Result<Vec<Observed>> {
        let ids = self.folders.ids()?;
        Ok(ids.into_iter().map(|id| self.observe_one(id)).collect())
    }

    /// One container as it is now; what cannot be read is `Unknown`, never `Stopped`.
    pub fn observe_one(&self, id: ContainerId) -> Observed {
        let status = Connection::open(&self.shims(), &id.to_string()).and_then(|shim| shim.ask_shortly(&Fields::command("hello")).ok());
        // Read after the answer: a run is recorded as ended before the next one can be seen.
        let exits = self.folders.exits(id);
        let group = self.look(id);
        let is_frozen = matches!(&group, Ok(Some(group)) if group.is_frozen());
        let Some((status, _)) = status else {
            let is_alive = match &group {
                Ok(None) => Some(false),
                Ok(Some(group)) => group.is_populated(),
                Err(_) => None,
            };
            let state = match is_alive {
                Some(true) if is_frozen => ContainerState::Frozen,
                Some(true) => ContainerState::Running,
                Some(false) => ended_state(&exits.newest),
                None => ContainerState::Unknown,
            };
            match &group {
                _ if is_alive == Some(false) => self.tidy_unless_busy(id),
                Ok(Some(group)) => self.events.follow_orphan(id, group),
                _ => {}
            }
            return Observed {
                id,
                state,
                degraded: is_alive == Some(true),
                pid: None,
                started_at: None,
                exits: exits.newest,
                older_exits: exits.older,
                restarts: None,
                next_start_at: None,
            };
        };
        self.adopt(id, group.ok().flatten().as_ref());
        self.events.follow_found(id);
        let state = match status.get("state") {
            Some("running") if is_frozen => ContainerState::Frozen,
            Some("running") => ContainerState::Running,
            Some("restarting") => ContainerState::Starting,
            _ => ended_state(&exits.newest),
        };
        let started_at = status.number("started-ms").filter(|ms| *ms > 0).map(Timestamp::from_ms);
        Observed {
            id,
            state,
            degraded: false,
            pid: status.number("pid").filter(|pid| *pid > 0),
            started_at,
            exits: exits.newest,
            older_exits: exits.older,
            restarts: status.number("restarts"),
            next_start_at: status.number("next-start-ms").map(Timestamp::from_ms),
        }
    }

    /// Names inside and outside, as the manifest has them.
    pub(super) fn nics_of(&self, id: ContainerId) -> Vec<(String, String)> {
        self.folders.manifest(id).map(names_of_nics).unwrap_or_default()
    }

    fn adopt(&self, id: ContainerId, group: Option<&Group>) {
        let Some(group) = group else { return };
        let mut all = self.running();
        if all.contains_key(&id) {
            return;
        }
        let manifest = self.folders.manifest(id);
        let limits = manifest.as_ref().map(|manifest| manifest.spec.limits.clone()).unwrap_or_default();
        let nics = manifest.map(names_of_nics).unwrap_or_default();
        if let Some(cpus) = limits::cpus_of(group) {
            self.chosen_cpus().insert(id, cpus);
        }
        all.insert(
            id,
            Running {
                reader: Reader::open(group, self.disk),
                limits,
                nics,
            },
        );
        drop(all);
        self.events.follow_memory(id, group);
    }
}

fn names_of_nics(manifest: Manifest) -> Vec<(String, String)> {
    manifest.nics.into_iter().map(|nic| (nic.name, nic.host_name)).collect()
}

fn ended_state(exits: &[model::container::ExitRecord]) -> ContainerState {
    use model::container::ExitReason as R;
    match exits.last().map(|exit| exit.reason) {
        Some(R::RestartLoop | R::StartFailed) => ContainerState::Error,
        _ => ContainerState::Stopped,
    }
}
