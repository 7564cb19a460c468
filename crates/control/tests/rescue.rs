//! `berth rescue`: a store that is damaged is made again from the manifests beside the containers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::Path;
use std::sync::Arc;

use control::Control;
use control::clock::Clock;
use control::containers::rescue::Rescue;
use control::engine::Engine;
use control::engine::fake::Fake;
use control::store::sqlite::Sqlite;
use model::container::ContainerDetail;
use model::task::{Task, TaskState};
use model::{ContainerId, ErrorCode, Timestamp};
use runtime::rootfs::Folders;

#[path = "world/console.rs"]
mod console;

use console::{WIDE, anna, soon};

struct World {
    folder: tempfile::TempDir,
    engine: Arc<Fake>,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let engine = Arc::new(Fake::new());
        engine.add_layer(console::digest());
        Self {
            folder: tempfile::tempdir().unwrap(),
            engine,
            clock: Clock::manual(Timestamp::from_ms(1_795_132_800_000)),
        }
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    async fn open(&self) -> Arc<Control> {
        let mut config = console::config(self.folder.path(), WIDE);
        // Another one than is free: it must come back by itself.
        config.subnet = (!self.state().join("berth.db").exists()).then(|| "10.213.40.1/24".parse().unwrap());
        let store = Arc::new(Sqlite::open(&self.state(), self.clock.clone()).unwrap());
        let control = Control::open(config, self.engine.clone(), store, self.clock.clone()).await.unwrap();
        console::add_template(&control.facts).await;
        control
    }

    /// What the engine of a host would have on its disk.
    fn write_folders(&self) {
        let manifests = self.engine.manifests();
        for place in ["containers", "trash"] {
            std::fs::create_dir_all(self.state().join(place)).unwrap();
        }
        for (id, is_trashed) in self.engine.folders() {
            let place = if is_trashed { "trash" } else { "containers" };
            let own = self.state().join(place).join(id.to_string());
            std::fs::create_dir_all(&own).unwrap();
            let manifest = manifests.iter().find(|manifest| manifest.id == id).unwrap();
            std::fs::write(own.join("manifest.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
        }
    }

    fn plan(&self) -> Rescue {
        Rescue::plan(Folders { state: self.state() }.found().unwrap())
    }
}

async fn end(control: &Control, task: Result<Task, control::Error>) {
    let task = soon("the task ends", control.tasks.wait(task.unwrap().id)).await.unwrap();
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
}

async fn create(control: &Control, name: &str, start: bool) -> ContainerDetail {
    let mounts = serde_json::json!([{ "source": "/srv/share", "target": "/data", "read_only": true }]);
    let request = serde_json::from_value(serde_json::json!({ "name": name, "template": "local:test", "start": start, "mounts": mounts })).unwrap();
    end(control, control.containers.create(&anna(), request, None).await).await;
    control.containers.show(&anna(), name).await.unwrap()
}

/// As after a power cut on a disk that lies.
fn truncate(path: &Path) {
    for side in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{side}", path.display())));
    }
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[tokio::test]
async fn a_truncated_store_is_rebuilt_with_names_ids_and_addresses() {
    let world = World::new();
    let control = world.open().await;
    let before = [create(&control, "web", true).await, create(&control, "db", false).await];
    let old = create(&control, "old", false).await.summary.id;
    end(&control, control.containers.delete(&anna(), "old", false, false, None).await).await;
    control.shut_down().await;
    drop(control);
    world.write_folders();
    truncate(&world.state().join("berth.db"));
    assert!(Sqlite::open(&world.state(), world.clock.clone()).is_err());

    let kept = world.plan().apply(&world.state(), &world.clock).await.unwrap();
    assert!(kept.exists() && !world.state().join("rescue").exists());
    let control = world.open().await;
    for was in before {
        let now = control.containers.show(&anna(), was.summary.name.as_str()).await.unwrap();
        assert_eq!((now.summary.id, now.id_range, now.nics), (was.summary.id, was.id_range, was.nics));
        assert_eq!(now.summary.state, was.summary.state, "what runs runs on");
        assert_eq!(now.spec.mounts, ["/srv/share:/data:ro".parse().unwrap()]);
    }
    let trash: Vec<ContainerId> = control.containers.trash(&anna()).await.unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(trash, [old]);
    end(&control, control.containers.restore(&anna(), old, None, None).await).await;
    create(&control, "new", true).await;
    assert!(control.access.needs_setup().await.unwrap());
    let network = control.networks.list(&anna()).await.unwrap().remove(0);
    assert_eq!(network.ipv4.to_string(), "10.213.40.1/24");
}

#[tokio::test]
async fn a_folder_that_cannot_be_taken_in_is_named_and_nothing_is_changed() {
    let world = World::new();
    let control = world.open().await;
    let (web, db) = (create(&control, "web", false).await.summary.id, create(&control, "db", false).await.summary.id);
    control.shut_down().await;
    drop(control);
    world.write_folders();
    let manifest = |id: ContainerId| world.state().join("containers").join(id.to_string()).join("manifest.json");
    let (path, before) = (world.state().join("berth.db"), std::fs::read(manifest(web)).unwrap());
    for (text, told) in [(b"{".to_vec(), "damaged"), (std::fs::read(manifest(db)).unwrap(), "is that of")] {
        std::fs::write(manifest(web), text).unwrap();
        let store = std::fs::read(&path).unwrap();
        let refused = world.plan().apply(&world.state(), &world.clock).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Conflict);
        assert!(
            refused.body.message.contains(told) && refused.body.message.contains(&web.to_string()),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), store);
    }
    let twin = String::from_utf8(before).unwrap().replace("\"web\"", "\"db\"");
    std::fs::write(manifest(web), twin).unwrap();
    let problems: Vec<String> = world.plan().findings.into_iter().filter_map(|finding| finding.problem).collect();
    assert!(problems.len() == 1 && problems[0].contains("name/db belongs to"), "{problems:?}");
}
