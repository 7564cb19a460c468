//! `berth doctor`: what is left is told, repaired only when that is asked for, and data of containers stay.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use control::clock::Clock;
use control::containers::row::RangeRow;
use control::engine::Engine as _;
use control::engine::fake::Fake;
use control::store::Facts;
use control::store::memory::Memory;
use control::store::sqlite::Sqlite;
use control::{Caller, Control};
use model::container::CreateRequest;
use model::engine::{FirstBoot, Manifest};
use model::error::ErrorCode;
use model::leftover::{Finding, FindingState, Leftover, LeftoverKind};
use model::template::LocalTemplate;
use model::{ContainerId, Timestamp};

#[path = "world/console.rs"]
mod console;

use console::{BLOCK, WIDE, anna, soon};

const NOW: Timestamp = Timestamp { ms: 1_795_132_800_000 };
/// An id that no container has.
fn nobody() -> ContainerId {
    "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap()
}

struct World {
    control: Arc<Control>,
    engine: Arc<Fake>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW);
        let (engine, store) = (Arc::new(Fake::new()), Arc::new(Memory::new(clock.clone())));
        let config = console::config(folder.path(), WIDE);
        let control = Control::open(config, engine.clone(), store, clock).await.unwrap();
        engine.add_layer(console::digest());
        console::add_template(&control.facts).await;
        Self {
            control,
            engine,
            _folder: folder,
        }
    }

    async fn create(&self, name: &str) -> ContainerId {
        let request: CreateRequest = serde_json::from_value(serde_json::json!({ "name": name, "template": "local:test" })).unwrap();
        let task = self.control.containers.create(&anna(), request, None).await.unwrap();
        soon("it is made", self.control.tasks.wait(task.id)).await.unwrap();
        self.control.containers.show(&anna(), name).await.unwrap().summary.id
    }

    async fn examine(&self, repairs: bool) -> Vec<Finding> {
        self.control.containers.examine(&anna(), repairs).await.unwrap()
    }

    fn leave(&self, kind: LeftoverKind, container: ContainerId) {
        self.engine.leave(Leftover {
            kind,
            name: "x".into(),
            container: Some(container),
        });
    }
}

fn states(findings: &[Finding]) -> Vec<(LeftoverKind, FindingState)> {
    findings.iter().map(|finding| (finding.leftover.kind, finding.state)).collect()
}

#[tokio::test]
async fn what_the_host_has_left_is_told_and_then_repaired() {
    let world = World::new().await;
    let id = world.create("web").await;
    assert_eq!(world.examine(false).await, []);
    world.leave(LeftoverKind::Link, id);
    world.leave(LeftoverKind::Folder, nobody());
    let told = [(LeftoverKind::Link, FindingState::Found), (LeftoverKind::Folder, FindingState::Found)];
    assert_eq!(states(&world.examine(false).await), told);
    assert_eq!(states(&world.examine(false).await), told, "nobody asked for a repair");
    world.engine.fail("clear", 1);
    let repaired = world.examine(true).await;
    assert_eq!(
        states(&repaired),
        [(LeftoverKind::Link, FindingState::Failed), (LeftoverKind::Folder, FindingState::Repaired)]
    );
    assert!(repaired[0].message.as_ref().unwrap().contains("made to fail"));
    assert_eq!(states(&world.examine(true).await), [(LeftoverKind::Link, FindingState::Repaired)]);
    assert_eq!(world.examine(true).await, []);
}

#[tokio::test]
async fn a_claim_that_no_container_has_becomes_free_and_others_stay() {
    let world = World::new().await;
    world.create("web").await;
    let trashed = world.create("old").await;
    let task = world.control.containers.delete(&anna(), "old", false, false, None).await.unwrap();
    soon("it is in the trash", world.control.tasks.wait(task.id)).await.unwrap();
    assert_eq!(world.examine(false).await, []);
    let range = format!("range/{:010}", BLOCK + 40 * 65_536);
    let facts = &world.control.facts;
    let edit = facts
        .change()
        .put(&range, &RangeRow::Owner(nobody()))
        .put("name/gone", &nobody())
        .put("ip/berth0/10.213.0.99", &nobody());
    edit.put("mac/02:00:00:00:00:01", &nobody()).commit().await.unwrap().unwrap();
    assert_eq!(states(&world.examine(false).await), [(LeftoverKind::Claim, FindingState::Found); 4]);
    assert_eq!(states(&world.examine(true).await), [(LeftoverKind::Claim, FindingState::Repaired); 4]);
    assert_eq!(facts.get::<RangeRow>(&range).await.unwrap().unwrap().value, RangeRow::FreedAt(NOW));
    assert!(facts.get::<ContainerId>("name/gone").await.unwrap().is_none());
    assert_eq!(world.examine(false).await, []);
    world.control.containers.restore(&anna(), trashed, None, None).await.unwrap();
}

#[tokio::test]
async fn a_manifest_that_is_gone_is_written_again_and_a_strange_container_is_left_alone() {
    let world = World::new().await;
    let id = world.create("web").await;
    let manifest = world.engine.manifests()[0].clone();
    world
        .engine
        .write_manifest(&Manifest {
            created_by: "nobody".into(),
            ..manifest.clone()
        })
        .unwrap();
    world.leave(LeftoverKind::Folder, id);
    world
        .engine
        .create(
            &Manifest {
                id: nobody(),
                ..manifest.clone()
            },
            &FirstBoot::default(),
        )
        .unwrap();
    let facts = &world.control.facts;
    facts.change().put("name/strange", &nobody()).commit().await.unwrap().unwrap();
    let findings = world.examine(true).await;
    let wanted = [
        (LeftoverKind::Manifest, FindingState::Repaired),
        (LeftoverKind::Container, FindingState::LeftAlone),
    ];
    assert_eq!(states(&findings), wanted);
    assert!(findings[1].message.as_ref().unwrap().contains("berth rescue"));
    assert!(world.engine.manifests().contains(&manifest), "as the store has it");
    assert_eq!(world.engine.folders().len(), 2, "no data is removed");
    let claim = facts.get::<ContainerId>("name/strange").await.unwrap();
    assert_eq!(claim.unwrap().value, nobody(), "what a rescue needs is kept");
}

#[tokio::test]
async fn each_network_that_cannot_be_made_is_told() {
    let world = World::new().await;
    world.create("web").await;
    world.engine.break_network("berth0", true);
    let findings = world.examine(true).await;
    assert_eq!(states(&findings), [(LeftoverKind::Network, FindingState::Failed)]);
    assert_eq!(findings[0].leftover.name, "berth0");
    world.engine.break_network("berth0", false);
    assert_eq!(world.examine(true).await, []);
}

#[tokio::test]
async fn a_layer_that_is_missing_is_told_with_who_stands_on_it_and_the_way_back() {
    let world = World::new().await;
    world.create("web").await;
    let facts = &world.control.facts;
    let mut row = facts.get::<LocalTemplate>("tpl/local:test").await.unwrap().unwrap().value;
    world.engine.remove_layer(&console::digest()).unwrap();
    let told = |findings: Vec<Finding>| {
        assert_eq!(states(&findings), [(LeftoverKind::Layer, FindingState::LeftAlone)]);
        assert_eq!(findings[0].leftover.name, console::digest().to_string());
        findings[0].message.clone().unwrap()
    };
    let message = told(world.examine(true).await);
    assert!(
        message.contains("under local:test, web; ") && message.contains("import the same file"),
        "{message}"
    );
    row.reference = "images:debian/13".parse().unwrap();
    facts.change().put("tpl/images:debian/13", &row).commit().await.unwrap().unwrap();
    let message = told(world.examine(false).await);
    assert!(message.contains("run `berth template download images:debian/13`"), "{message}");
    world.engine.add_layer(console::digest());
    assert_eq!(world.examine(false).await, []);
}

#[tokio::test]
async fn a_store_that_is_damaged_while_it_is_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, engine) = (Clock::manual(NOW), Arc::new(Fake::new()));
    let state = folder.path().join("store");
    std::fs::create_dir(&state).unwrap();
    let facts = Facts(Arc::new(Sqlite::open(&state, clock.clone()).unwrap()));
    for n in 0..300 {
        facts.change().put(format!("note/{n}"), &"x".repeat(500)).commit().await.unwrap().unwrap();
    }
    drop(facts);
    let store = Arc::new(Sqlite::open(&state, clock.clone()).unwrap());
    let control = Control::open(console::config(folder.path(), WIDE), engine, store, clock).await.unwrap();
    assert_eq!(control.containers.examine(&anna(), false).await.unwrap(), []);
    let file = std::fs::OpenOptions::new().write(true).open(state.join("berth.db")).unwrap();
    let middle = file.metadata().unwrap().len() / 8192 * 4096;
    file.write_all_at(&[0xff; 4096], middle).unwrap();
    let findings = control.containers.examine(&anna(), false).await.unwrap();
    assert_eq!(states(&findings), [(LeftoverKind::Store, FindingState::LeftAlone)]);
    assert!(findings[0].message.as_ref().unwrap().contains("berth rescue"), "{findings:?}");
}

#[tokio::test]
async fn only_an_administrator_looks() {
    let world = World::new().await;
    let error = world.control.containers.examine(&Caller::anonymous("127.0.0.1"), false).await.unwrap_err();
    assert_eq!(error.body.code, ErrorCode::SignInRequired);
}
