//! A new store out of the manifests beside the containers, for when the old one can no longer be used (trust rule D24).
//! Names, settings, user ids and addresses come back; what only the store knew is lost.
//!
//! Works on files while no console runs, so that there is no caller to judge: whoever may read the folders is root.
//!
//! Invariant: the new store is whole before it takes the place of the old one, and the old one is kept.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::engine::{MANIFEST_VERSION, Manifest, NicPlan};
use model::network::{Cidr, NicSpec};
use model::{ContainerId, Timestamp};
use runtime::rootfs::Found;
use serde::Serialize;

use super::row::{ContainerRow, RangeRow, StatRow, TrashRow, key};
use super::trash::KEPT;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::networks::plan::NetRow;
use crate::networks::{self, address};
use crate::store::sqlite::Sqlite;
use crate::store::{Edit, Facts};

/// What no manifest knows.
pub const LOST: &str = "accounts, tokens, sessions, sources that were added, the list of templates (a layer that no container stands on goes with the next start), tasks, the audit log";

/// Says that the store was rebuilt, and when: also one without any container was written to.
const RESCUED: &str = "setting/rescued";

/// What becomes of one container's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: ContainerId,
    pub name: Option<String>,
    pub trashed: bool,
    pub addresses: Vec<IpAddr>,
    /// Why it cannot be taken in.
    pub problem: Option<String>,
}

/// What a rescue would do.
#[derive(Clone, Debug)]
pub struct Rescue {
    pub findings: Vec<Finding>,
    rows: Vec<(ContainerRow, bool)>,
}

impl Rescue {
    /// Judges what lies in the state directory; nothing is changed.
    #[must_use]
    pub fn plan(mut found: Vec<Found>) -> Self {
        // Those in the trash come last: what others have meanwhile is not theirs.
        found.sort_by_key(|found| (found.is_trashed, found.id));
        let (mut claimed, mut findings, mut rows) = (HashMap::new(), Vec::new(), Vec::new());
        for Found { id, is_trashed, manifest } in found {
            let judged = judge(id, is_trashed, manifest, &mut claimed);
            findings.push(Finding {
                id,
                trashed: is_trashed,
                name: judged.as_ref().ok().map(|row| row.spec.name.to_string()),
                addresses: judged.iter().flat_map(|row| &row.nics).flat_map(networks::addresses).collect(),
                problem: judged.as_ref().err().cloned(),
            });
            rows.extend(judged.ok().map(|row| (row, is_trashed)));
        }
        Self { findings, rows }
    }

    /// Writes the new store and puts it in the place of the old one. Gives the name under which that is kept.
    ///
    /// # Errors
    /// `Conflict` when a folder cannot be taken in: the next start would remove the layers that it stands on. The disk
    /// is full or fails; then the old store is still in its place.
    pub async fn apply(&self, state_dir: &Path, clock: &Clock) -> Result<PathBuf> {
        if let Some((id, problem)) = self.findings.iter().find_map(|finding| Some((finding.id, finding.problem.as_ref()?))) {
            return Err(Error::conflict(format!("the folder of container {id} cannot be taken in: {problem}"))
                .hint("nothing was changed; mend its manifest.json, or move the folder out of the state directory to give it up"));
        }
        let fresh = state_dir.join("rescue");
        let failed = |error: std::io::Error| Error::failed(format!("{} cannot be made anew ({error})", fresh.display()));
        if fresh.exists() {
            // Of an earlier try that broke off.
            std::fs::remove_dir_all(&fresh).map_err(failed)?;
        }
        std::fs::create_dir(&fresh).map_err(failed)?;
        self.write(&fresh, clock).await?;
        let kept = Sqlite::replace(state_dir, &fresh, clock.now())?;
        std::fs::remove_dir_all(&fresh).map_err(failed)?;
        Ok(kept)
    }

    async fn write(&self, folder: &Path, clock: &Clock) -> Result<()> {
        let facts = Facts(Arc::new(Sqlite::open(folder, clock.clone())?));
        facts.change().put(RESCUED, &clock.now()).commit().await?;
        for network in bridges(&self.rows)? {
            facts.change().put(key::network(&network.bridge), &network).commit().await?;
        }
        let mut claimed = HashMap::new();
        for (row, is_trashed) in &self.rows {
            let mut edit = facts.change().put(key::range(row.base_id), &RangeRow::Owner(row.id));
            let free = networks::keys(&row.nics)
                .into_iter()
                .filter(|key| claimed.insert(key.clone(), row.id).is_none());
            edit = free.fold(edit, |edit, key| edit.put(key, &row.id));
            put_row(edit, row, *is_trashed, clock.now()).commit().await?;
        }
        Ok(())
    }
}

fn judge(
    id: ContainerId,
    is_trashed: bool,
    manifest: Option<Manifest>,
    claimed: &mut HashMap<String, ContainerId>,
) -> std::result::Result<ContainerRow, String> {
    let manifest = manifest.ok_or("its manifest.json is missing or damaged")?;
    if manifest.version > MANIFEST_VERSION {
        return Err("its manifest.json was made by a newer Berth".into());
    }
    if manifest.id != id {
        return Err(format!("its manifest.json is that of {}", manifest.id));
    }
    let row = row_of(manifest);
    let mut wanted = vec![key::range(row.base_id)];
    if !is_trashed {
        wanted.push(key::name(&row.spec.name));
        wanted.extend(networks::keys(&row.nics));
    }
    for key in wanted {
        if let Some(other) = claimed.insert(key.clone(), id) {
            return Err(format!("{} belongs to {other} too", key.trim_start_matches(crate::store::PREFIX)));
        }
    }
    Ok(row)
}

fn row_of(manifest: Manifest) -> ContainerRow {
    ContainerRow {
        id: manifest.id,
        spec: manifest.spec,
        digest: Some(manifest.digest),
        layers: manifest.layers,
        base_id: manifest.base_id,
        nics: manifest.nics,
        created_at: manifest.created_at,
        created_by: manifest.created_by,
        made: true,
        provenance: None,
    }
}

fn put_row(edit: Edit, row: &ContainerRow, is_trashed: bool, now: Timestamp) -> Edit {
    let id = row.id;
    if !is_trashed {
        let edit = edit.put(key::name(&row.spec.name), &id).put(key::spec(id), row);
        return edit.put(key::stat(id), &StatRow::default());
    }
    // When it was deleted is not known: it waits the whole time again.
    let trashed = TrashRow {
        row: row.clone(),
        exits: Vec::new(),
        exits_seen: None,
        deleted_at: now,
        deleted_by: "berth".into(),
        expires_at: now.plus_ms(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX)),
        size_bytes: None,
        purging: false,
        problem: None,
    };
    edit.put(key::trash(id), &trashed)
}

/// The bridges as containers know them: where nobody chose a gateway, it is the bridge's own address.
fn bridges(rows: &[(ContainerRow, bool)]) -> Result<Vec<NetRow>> {
    let mut by_bridge: BTreeMap<&str, Vec<(&NicSpec, &NicPlan)>> = BTreeMap::new();
    for (spec, nic) in rows.iter().flat_map(|(row, _)| row.spec.nics.iter().zip(&row.nics)) {
        by_bridge.entry(&nic.bridge).or_default().push((spec, nic));
    }
    let mut networks = Vec::new();
    for (bridge, nics) in by_bridge {
        // One of which nobody knows the address gets a new one when it is needed.
        let Some(ipv4) = nics.iter().find_map(|(spec, nic)| own_v4(spec, nic)) else {
            continue;
        };
        let ipv6 = match nics.iter().find_map(|(spec, nic)| own_v6(spec, nic)) {
            Some(ipv6) => ipv6,
            None => address::unique_local(networks::random()?),
        };
        networks.push(NetRow {
            bridge: bridge.to_owned(),
            ipv4,
            ipv6,
        });
    }
    Ok(networks)
}

/// Only an address that Berth chose has the prefix of the bridge.
fn own_v4(spec: &NicSpec, nic: &NicPlan) -> Option<Cidr> {
    let is_own = !nic.fixed_ipv4 && !spec.gw.is_some_and(|gw| gw.is_ipv4());
    let (addr, (_, prefix)) = (IpAddr::V4(nic.gateway4.filter(|_| is_own)?), nic.ipv4?);
    Some(Cidr { addr, prefix })
}

fn own_v6(spec: &NicSpec, nic: &NicPlan) -> Option<Cidr> {
    let is_own = !nic.fixed_ipv6 && !spec.gw.is_some_and(|gw| gw.is_ipv6());
    let (addr, (_, prefix)) = (IpAddr::V6(nic.gateway6.filter(|_| is_own)?), nic.ipv6?);
    Some(Cidr { addr, prefix })
}
