//! Builds that change on the server, files that two templates share, and what is left for who comes back.

use model::ErrorCode;
use model::task::TaskState;

use super::server::{Answer, Mode, Ranges, Server};
use super::world::{Build, INDEX, ROOT, World, anna, fine_clock, manual, sha256};

const NEWER_ROOT: &str = "images/newer.squashfs";
const FILE: &str = "files/mine.tar.xz";
/// A little more than what counts as having moved.
const SOME: usize = 20_000;

fn root() -> Answer {
    Answer::whole(&Build::first().root)
}

#[tokio::test]
async fn a_build_that_is_gone_is_replaced_by_the_one_that_is_there() {
    let world = World::new().await;
    let newer = Build {
        root_path: NEWER_ROOT,
        meta: Build::first().meta,
        ..Build::of("20261102_06:30", 11)
    };
    newer.publish(&world.server);
    world.server.remove(ROOT);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.shown().await.serial.as_deref(), Some("20261102_06:30"));
    assert_eq!(world.layers(), [newer.fingerprint().parse().unwrap()]);
    assert!(world.files().is_empty(), "{:?}", world.files());
    let log = world.control.tasks.log(&anna(), task.id).await.unwrap();
    assert!(log.contains("the build has changed: 20261102_06:30 instead of 20261101_06:30"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_network_failed_waits_for_the_next_try() {
    let world = World::new().await;
    fine_clock();
    world.server.serve(ROOT, [root().with(Mode::Cut(SOME)), root().with(Mode::Status(503))]);
    assert_eq!(world.download_late().await.state, TaskState::Failed);
    let part = format!("{}.part", sha256(&Build::first().root));
    assert!(world.files().contains(&part), "{:?}", world.files());
    world.server.serve(ROOT, [root()]);
    assert_eq!(world.download_late().await.state, TaskState::Done);
    let last = world.server.asked(ROOT).pop().unwrap();
    assert_eq!(last.range, Some(format!("bytes={SOME}-")));
    assert!(world.files().is_empty());
}

#[tokio::test]
async fn two_templates_with_a_file_in_common_do_not_disturb_each_other() {
    let world = World::new().await;
    let other = Server::start().await;
    let twin = Build {
        meta: Build::of("x", 40).meta,
        ..Build::first()
    };
    twin.publish(&other);
    world.add_source("other", &other.url("")).await;
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let first = world.begin().await;
    watch.until_root(&first, SOME as u64).await;
    let second = world
        .control
        .templates
        .download(&anna(), &"other:quayos/2".parse().unwrap(), None)
        .await
        .unwrap();
    world.server.release();
    for task in [first, second] {
        let task = world.end(&task).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    }
    assert_eq!(world.layers().len(), 2);
    assert!(world.files().is_empty(), "{:?}", world.files());
}

#[tokio::test]
async fn an_import_that_cannot_be_unpacked_leaves_nothing() {
    let world = World::new().await;
    world.server.serve(FILE, [Answer::whole(&Build::first().root)]);
    world.engine.fail("unpack", 1);
    let task = world
        .control
        .templates
        .import_url(&anna(), &world.server.url(FILE), None, None, None)
        .await
        .unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Failed);
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn without_a_hash_and_a_strong_tag_nothing_is_resumed() {
    let world = World::new().await;
    let weak = || root().etag("W/\"weak\"").ranges(Ranges::Careless);
    world.server.serve(FILE, [weak().with(Mode::Cut(SOME)), weak()]);
    let task = world
        .control
        .templates
        .import_url(&anna(), &world.server.url(FILE), None, None, None)
        .await
        .unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done);
    let asked: Vec<_> = world.server.asked(FILE).into_iter().map(|asked| asked.range).collect();
    assert_eq!(asked, [None, None], "the rest could be of another file");
}

#[tokio::test]
async fn an_address_with_a_password_is_refused() {
    let world = World::new().await;
    let refused = world
        .control
        .templates
        .import_url(&anna(), "https://me:secret@example.org/x.tar", None, None, None)
        .await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), refused.body.field.as_deref()), (ErrorCode::Invalid, Some("url")));
}

#[tokio::test]
async fn words_find_the_architecture_too() {
    let world = World::new().await;
    let filter = |search: &str| control::templates::TemplateFilter {
        remote: true,
        search: Some(search.to_owned()),
        ..Default::default()
    };
    let arch = world.shown().await.arch;
    for (words, found) in [(format!("quayos {arch}"), 1), ("quayos vax".to_owned(), 0)] {
        let list = world.control.templates.list(&anna(), &filter(&words)).await.unwrap();
        assert_eq!(list.len(), found, "{words}");
    }
}

#[tokio::test]
async fn an_index_that_did_not_change_is_not_read_again() {
    let world = World::at(manual()).await;
    world.clock.advance(std::time::Duration::from_secs(7200));
    for path in [INDEX, "streams/v1/images.json"] {
        world.server.serve(path, [Answer::whole(b"").with(Mode::Status(304))]);
    }
    assert_eq!(world.refresh().await.state, TaskState::Done);
    let source = world.source().await;
    assert_eq!((source.offered, source.last_refresh_at), (1, Some(world.clock.now())));
    assert!(!world.shown().await.downloaded, "what it offers is still in the list");
}

#[tokio::test]
async fn who_did_what_with_templates_is_in_the_audit_log() {
    let world = World::new().await;
    let (templates, tasks) = (&world.control.templates, &world.control.tasks);
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let task = world.begin().await;
    watch.until_root(&task, SOME as u64).await;
    tasks.cancel(&anna(), task.id).await.unwrap();
    world.end(&task).await;
    templates.remove(&anna(), &super::world::reference()).await.unwrap_err();
    templates.remove_source(&anna(), "test").await.unwrap();
    world.control.shut_down().await;
    let entries = world.control.access.audit(&anna(), None).await.unwrap();
    for (action, ok) in [
        ("source.add", true),
        ("source.refresh", true),
        ("template.download", true),
        ("task.cancel", true),
        ("template.remove", false),
        ("source.remove", true),
    ] {
        let found = entries.iter().find(|entry| entry.action == action);
        let found = found.unwrap_or_else(|| panic!("{action} is not in the log: {entries:?}"));
        assert_eq!((found.user.as_str(), found.ok), ("anna", ok), "{action}");
    }
}

#[tokio::test]
async fn a_container_keeps_where_its_template_came_from() {
    let world = World::new().await;
    let request = serde_json::from_value(serde_json::json!({ "name": "web", "template": "test:quayos/2" })).unwrap();
    let task = world.control.containers.create(&anna(), request, None).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done);
    let kept = world.control.containers.show(&anna(), "web").await.unwrap().provenance.unwrap();
    assert_eq!((kept.source_name.as_str(), kept.serial.as_str()), ("test", "20261101_06:30"));
    assert_eq!(kept.fingerprint.as_str(), Build::first().fingerprint());
    assert_eq!(kept.downloaded_by, "anna");
}
