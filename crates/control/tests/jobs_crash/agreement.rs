//! Whether the rows of the store, the picture of the console and the world of the host say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use control::Control;
use control::containers::row::{ContainerRow, RangeRow, StatRow, TrashRow};
use model::template::LocalTemplate;
use model::{ContainerId, ContainerState, Digest};
use serde::de::DeserializeOwned;

use super::disk::{Disk, World};
use super::verbs::anna;

struct Rows {
    containers: BTreeMap<ContainerId, ContainerRow>,
    stats: BTreeMap<ContainerId, StatRow>,
    trash: BTreeMap<ContainerId, TrashRow>,
    templates: Vec<LocalTemplate>,
}

/// Panics with what does not agree.
pub async fn check(control: &Control, disk: &Disk, dir: &Path, what: &str) {
    let (rows, world) = (Rows::read(control).await, disk.world());
    folders(&rows, &world, what);
    claims(control, &rows, what).await;
    pictures(control, &rows, &world, what).await;
    networks(&rows, &world, what);
    let layers = |row: &ContainerRow| row.layers.clone();
    let used = rows.templates.iter().flat_map(|template| template.layers.clone());
    let used = used.chain(rows.containers.values().flat_map(layers));
    let used: BTreeSet<Digest> = used.chain(rows.trash.values().flat_map(|trashed| layers(&trashed.row))).collect();
    assert_eq!(world.layers, used, "{what}: layers and who stands on them");
    assert_eq!(control.facts.list::<String>("first/").await.unwrap().len(), 0, "{what}: a secret stays");
    let files = std::fs::read_dir(dir.join("state/downloads")).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().file_name()).filter(|name| name != "index").collect();
    assert!(files.is_empty(), "{what}: {files:?} stay in downloads");
}

/// Whether something in the trash can only go and nobody has been told that it resists.
pub async fn is_about_to_purge(control: &Control) -> bool {
    let trash = list::<TrashRow>(control, "trash/").await;
    trash.values().any(|row| row.purging && row.problem.is_none())
}

async fn list<T: DeserializeOwned>(control: &Control, prefix: &str) -> BTreeMap<String, T> {
    let facts = control.facts.list::<T>(prefix).await.unwrap();
    facts.into_iter().map(|(key, fact)| (key, fact.value)).collect()
}

impl Rows {
    async fn read(control: &Control) -> Self {
        let (mut containers, mut stats) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in list::<serde_json::Value>(control, "ct/").await {
            let (id, part) = key.split_once('/').unwrap();
            let id: ContainerId = id.parse().unwrap();
            if part == "spec" {
                containers.insert(id, serde_json::from_value(value).unwrap());
            } else {
                stats.insert(id, serde_json::from_value(value).unwrap());
            }
        }
        let trash = list::<TrashRow>(control, "trash/").await;
        Self {
            containers,
            stats,
            trash: trash.into_values().map(|row| (row.row.id, row)).collect(),
            templates: list(control, "tpl/").await.into_values().collect(),
        }
    }

    /// Everything that holds ids and addresses.
    fn holders(&self) -> impl Iterator<Item = &ContainerRow> {
        self.containers.values().chain(self.trash.values().map(|trashed| &trashed.row))
    }
}

fn folders(rows: &Rows, world: &World, what: &str) {
    // What could not be removed for good may be anywhere; a person is told why, and it is tried again.
    let resists = |id: &ContainerId| rows.trash.get(id).is_some_and(|row| row.purging && row.problem.is_some());
    let folders = world.folders.iter().filter(|(id, _)| !resists(id)).map(|(id, folder)| (*id, folder.trashed));
    let listed = rows.containers.keys().map(|id| (*id, false));
    let trashed = rows.trash.keys().filter(|id| !resists(id)).map(|id| (*id, true));
    assert_eq!(folders.collect::<BTreeMap<_, _>>(), listed.chain(trashed).collect(), "{what}: folders and rows");
    for (id, row) in &rows.containers {
        assert!(row.made, "{what}: {row:?}");
        assert_eq!(row.manifest().as_ref(), Some(&world.folders[id].manifest), "{what}: the manifest");
    }
    let waits = rows.trash.values().find(|row| row.purging && row.problem.is_none());
    assert_eq!(waits, None, "{what}: nobody is told");
    assert_eq!(
        rows.stats.keys().collect::<Vec<_>>(),
        rows.containers.keys().collect::<Vec<_>>(),
        "{what}: runs"
    );
    for (id, stat) in &rows.stats {
        let run = world.folders[id].run.as_ref();
        assert_eq!(stat.started_at, run.map(|run| run.started_at), "{what}: the run");
        assert_eq!((stat.run.is_some(), stat.stopping), (run.is_some(), false), "{what}: the run");
    }
}

/// Names, blocks of ids, addresses: each belongs to somebody who is there, and to nobody else.
async fn claims(control: &Control, rows: &Rows, what: &str) {
    let names = list::<ContainerId>(control, "name/").await;
    let expected = rows.containers.iter().map(|(id, row)| (row.spec.name.to_string(), *id));
    assert_eq!(names, expected.collect(), "{what}: names");
    let ranges = list::<RangeRow>(control, "range/").await.into_iter();
    let owned = ranges.filter_map(|(base, row)| match row {
        RangeRow::Owner(id) => Some((base.parse().unwrap(), id)),
        RangeRow::FreedAt(_) => None,
    });
    let expected: BTreeMap<u32, ContainerId> = rows.holders().map(|row| (row.base_id, row.id)).collect();
    assert_eq!(owned.collect::<BTreeMap<_, _>>(), expected, "{what}: blocks of ids");
    let mut claimed = list::<ContainerId>(control, "ip/berth0/").await;
    claimed.extend(list::<ContainerId>(control, "mac/").await);
    let mut expected = BTreeMap::new();
    for row in rows.holders() {
        for nic in &row.nics {
            expected.insert(nic.mac.clone(), row.id);
            expected.extend(nic.ipv4.map(|(address, _)| (address.to_string(), row.id)));
            expected.extend(nic.ipv6.map(|(address, _)| (address.to_string(), row.id)));
        }
    }
    assert_eq!(claimed, expected, "{what}: addresses");
}

async fn pictures(control: &Control, rows: &Rows, world: &World, what: &str) {
    let shown = control.containers.list(&anna()).await.unwrap();
    assert_eq!(shown.len(), rows.containers.len(), "{what}: {shown:?}");
    for summary in shown {
        let expected = match &world.folders[&summary.id].run {
            Some(run) if run.frozen => ContainerState::Frozen,
            Some(_) => ContainerState::Running,
            None => ContainerState::Stopped,
        };
        assert_eq!((summary.state, summary.task), (expected, None), "{what}: {}", summary.name);
    }
}

fn networks(rows: &Rows, world: &World, what: &str) {
    let plans = world.networks.values().flat_map(|plan| &plan.nics);
    let on_host: BTreeSet<String> = plans.map(|nic| nic.container.to_string()).collect();
    let expected: BTreeSet<String> = rows.containers.values().map(|row| row.spec.name.to_string()).collect();
    assert_eq!(on_host, expected, "{what}: the network");
    assert_eq!(world.networks.len(), usize::from(!expected.is_empty()), "{what}: bridges");
}
