//! What a source's row says, an index that went stale, newer builds, and templates that containers stand on.

use std::time::Duration;

use model::ErrorCode;
use model::container::CreateRequest;
use model::task::{Task, TaskState};
use serde_json::json;

use super::server::{Answer, Mode};
use super::world::{Build, INDEX, META, ROOT, World, anna, manual, reference};

const DAY: Duration = Duration::from_secs(86_400);
const NEWER_ROOT: &str = "images/newer.squashfs";

fn newer() -> Build {
    Build {
        root_path: NEWER_ROOT,
        meta: Build::first().meta,
        ..Build::of("20261102_06:30", 11)
    }
}

fn failure(task: &Task) -> &str {
    assert_eq!(task.state, TaskState::Failed);
    &task.error.as_ref().unwrap().message
}

async fn create(world: &World, name: &str, start: bool) -> Task {
    let request: CreateRequest = serde_json::from_value(json!({ "name": name, "template": "test:quayos/2", "start": start })).unwrap();
    let task = world.control.containers.create(&anna(), request, None).await.unwrap();
    world.end(&task).await
}

#[tokio::test]
async fn a_source_says_when_it_was_read_and_what_went_wrong() {
    let world = World::at(manual()).await;
    let read_at = world.clock.now();
    let source = world.source().await;
    assert_eq!((source.last_refresh_at, source.last_error.as_deref()), (Some(read_at), None));
    assert_eq!((source.offered, source.dropped, source.encrypted), (1, 1, false));
    world.clock.advance(DAY);
    world.server.serve(INDEX, [Answer::whole(b"").with(Mode::Status(500))]);
    failure(&world.refresh().await);
    let source = world.source().await;
    assert_eq!(source.last_refresh_at, Some(read_at), "the last time that it could be read");
    assert!(source.last_error.unwrap().contains("500"));
    assert!(!world.shown().await.downloaded, "what it offered stays in the list");
    Build::first().announce(&world.server);
    assert_eq!(world.refresh().await.state, TaskState::Done);
    let source = world.source().await;
    assert_eq!((source.last_refresh_at, source.last_error), (Some(world.clock.now()), None));
}

#[tokio::test]
async fn an_index_that_cannot_be_read_anew_is_used_as_it_was() {
    let mut world = World::at(manual()).await;
    for answer in [Answer::whole(b"").with(Mode::Status(500)), Answer::whole(b"{]")] {
        world.clock.advance(DAY);
        world.server.serve(INDEX, [answer]);
        world.restart().await;
        let task = world.download().await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        assert!(world.source().await.last_error.is_some());
        world.control.templates.remove(&anna(), &reference()).await.unwrap();
    }
}

#[tokio::test]
async fn an_index_without_end_is_refused() {
    let world = World::new().await;
    world.server.serve(INDEX, [Answer::whole(b"").with(Mode::Endless)]);
    assert!(failure(&world.refresh().await).contains("larger than 128 MiB"));
}

#[tokio::test]
async fn a_newer_build_is_shown_and_replaces_the_old_one() {
    let world = World::new().await;
    assert_eq!(world.download().await.state, TaskState::Done);
    assert!(!world.shown().await.newer_available);
    let ended = Build {
        end_of_life: Some("2027-06-30"),
        ..newer()
    };
    ended.publish(&world.server);
    world.refresh().await;
    let shown = world.shown().await;
    assert!(shown.downloaded && shown.newer_available);
    assert_eq!(shown.end_of_life.as_deref(), Some("2027-06-30"));
    assert_eq!(shown.serial.as_deref(), Some("20261101_06:30"), "what is here");
    assert_eq!(world.download().await.state, TaskState::Done);
    let shown = world.shown().await;
    assert!(shown.downloaded && !shown.newer_available);
    assert_eq!(shown.serial.as_deref(), Some("20261102_06:30"));
    assert_eq!(world.layers(), [newer().fingerprint().parse().unwrap()], "the old layer stands under nothing");
}

#[tokio::test]
async fn an_old_build_stays_as_long_as_a_container_stands_on_it() {
    let world = World::new().await;
    assert_eq!(create(&world, "web", false).await.state, TaskState::Done);
    newer().publish(&world.server);
    world.refresh().await;
    assert_eq!(world.download().await.state, TaskState::Done);
    assert_eq!(world.layers().len(), 2);
    let delete = world.control.containers.delete(&anna(), "web", false, true, None).await.unwrap();
    assert_eq!(world.end(&delete).await.state, TaskState::Done);
    world.control.templates.remove(&anna(), &reference()).await.unwrap();
    assert!(world.layers().is_empty(), "{:?}", world.layers());
}

#[tokio::test]
async fn a_serial_that_goes_back_is_not_newer() {
    let world = World::new().await;
    assert_eq!(world.download().await.state, TaskState::Done);
    Build {
        serial: "20261031_06:30",
        ..newer()
    }
    .publish(&world.server);
    world.refresh().await;
    assert!(!world.shown().await.newer_available);
}

#[tokio::test]
async fn a_template_under_a_container_cannot_be_removed() {
    let world = World::new().await;
    let (containers, templates) = (&world.control.containers, &world.control.templates);
    assert_eq!(create(&world, "web", false).await.state, TaskState::Done);
    let refused = templates.remove(&anna(), &reference()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert!(refused.to_string().contains("web"), "{refused}");
    assert_eq!(world.shown().await.used_by, ["web"]);
    let id = containers.show(&anna(), "web").await.unwrap().summary.id;
    world.end(&containers.delete(&anna(), "web", false, false, None).await.unwrap()).await;
    let refused = templates.remove(&anna(), &reference()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert!(refused.to_string().contains("web (trash)"), "{refused}");
    world.end(&containers.purge(&anna(), id).await.unwrap()).await;
    templates.remove(&anna(), &reference()).await.unwrap();
    world.assert_nothing_left().await;
    let gone = templates.remove(&anna(), &reference()).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_container_brings_its_template_with_it() {
    let world = World::new().await;
    let task = create(&world, "web", true).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let shown = world.shown().await;
    assert!(shown.downloaded);
    assert_eq!(shown.used_by, ["web"]);
    let template = world.control.containers.show(&anna(), "web").await.unwrap().summary.template.unwrap();
    assert_eq!(template.digest, Build::first().fingerprint().parse().unwrap());
    assert_eq!(create(&world, "db", true).await.state, TaskState::Done);
    assert_eq!(
        (world.server.asked(META).len(), world.server.asked(ROOT).len()),
        (1, 1),
        "the second finds it here"
    );
}

#[tokio::test]
async fn a_container_whose_template_cannot_be_had_leaves_nothing() {
    let world = World::new().await;
    world.server.serve(ROOT, [Answer::whole(&super::world::bytes(77, 64 << 10))]);
    assert!(failure(&create(&world, "web", true).await).contains("not what was announced"));
    assert!(world.engine.folders().is_empty());
    assert!(world.control.containers.list(&anna()).await.unwrap().is_empty());
    world.assert_nothing_left().await;
    Build::first().publish(&world.server);
    assert_eq!(create(&world, "web", true).await.state, TaskState::Done, "the name is free again");
}

#[tokio::test]
async fn two_containers_share_the_download_of_their_template() {
    let world = World::new().await;
    let (one, other) = tokio::join!(create(&world, "web", true), create(&world, "db", true));
    assert_eq!(
        (one.state, other.state),
        (TaskState::Done, TaskState::Done),
        "{:?} {:?}",
        one.error,
        other.error
    );
    assert_eq!((world.server.asked(META).len(), world.server.asked(ROOT).len()), (1, 1));
}

#[tokio::test]
async fn a_source_that_is_removed_takes_its_offers_along_but_no_template() {
    let world = World::new().await;
    assert_eq!(world.download().await.state, TaskState::Done);
    world.control.templates.remove_source(&anna(), "test").await.unwrap();
    assert!(world.is_here().await);
    world.control.templates.remove(&anna(), &reference()).await.unwrap();
    let gone = world.control.templates.show(&anna(), &reference()).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
    let task = world.download().await;
    assert_eq!(task.error.unwrap().code, ErrorCode::NotFound);
}
