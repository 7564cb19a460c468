//! Templates from an address and from a file that somebody sends.

use futures::{StreamExt as _, stream};
use model::ErrorCode;
use model::task::TaskState;
use model::template::Template;

use super::server::{Answer, Mode};
use super::world::{Build, ROOT, World, anna, bytes, sha256, soon};

const FILE: &str = "files/My_Rootfs.tar.xz";
/// A little more than what counts as having moved.
const SOME: usize = 20_000;

fn archive() -> Vec<u8> {
    bytes(5, 48 << 10)
}

async fn mine(world: &World, name: &str) -> Result<Template, control::Error> {
    world.control.templates.show(&anna(), &format!("local:{name}").parse().unwrap()).await
}

type Piece = std::io::Result<Vec<u8>>;

fn pieces() -> Vec<Piece> {
    archive().chunks(5000).map(|chunk| Ok(chunk.to_vec())).collect()
}

#[tokio::test]
async fn an_address_becomes_a_template_of_its_name() {
    let world = World::new().await;
    world.server.serve(FILE, [Answer::whole(&archive())]);
    for (hash, name, verified) in [(Some(sha256(&archive())), "checked", "sha256"), (None, "my-rootfs", "nothing")] {
        let given = hash.is_some().then_some(name);
        let templates = &world.control.templates;
        let task = templates
            .import_url(&anna(), &world.server.url(FILE), given, hash.as_deref(), None)
            .await
            .unwrap();
        let task = world.end(&task).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        let template = mine(&world, name).await.unwrap();
        assert_eq!(template.verified.as_deref(), Some(verified), "the lack of a hash is shown for ever");
        assert_eq!(template.size_bytes, Some(48 << 10));
        assert_eq!(template.digest.unwrap().as_str(), sha256(&archive()));
    }
    assert!(world.files().is_empty());
    assert_eq!(world.layers().len(), 1, "the same bytes are one layer");
}

#[tokio::test]
async fn an_address_with_other_bytes_than_announced_is_refused() {
    let world = World::new().await;
    world.server.serve(FILE, [Answer::whole(&bytes(6, 48 << 10))]);
    let (templates, hash) = (&world.control.templates, sha256(&archive()));
    let url = world.server.url(FILE);
    let task = templates.import_url(&anna(), &url, None, Some(&hash), None).await.unwrap();
    let task = world.end(&task).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.error.unwrap().message.contains("not what was announced"));
    assert_eq!(mine(&world, "my-rootfs").await.unwrap_err().code(), ErrorCode::NotFound);
    world.assert_nothing_left().await;
    world.server.serve(FILE, [Answer::whole(&archive())]);
    let task = templates.import_url(&anna(), &url, None, Some(&hash), None).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done, "the name is free, the right file is taken");
}

#[tokio::test]
async fn what_stands_in_an_addresss_query_is_told_to_nobody() {
    let world = World::new().await;
    let url = format!("{}?token=secret", world.server.url(FILE));
    let task = world.control.templates.import_url(&anna(), &url, None, None, None).await.unwrap();
    let task = world.end(&task).await;
    let error = task.error.clone().unwrap();
    assert!(error.message.contains("My_Rootfs.tar.xz?\u{2026}"), "{}", error.message);
    let log = world.control.tasks.log(&anna(), task.id).await.unwrap();
    let told = format!("{} {log}", serde_json::to_string(&task).unwrap());
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn an_import_is_resumed_after_a_cut_and_after_a_restart() {
    let mut world = World::new().await;
    let whole = Answer::whole(&archive());
    let script = [whole.clone().with(Mode::Cut(SOME)), whole.clone().with(Mode::Held(10_000)), whole];
    world.server.serve(FILE, script);
    let mut watch = world.watch();
    let task = world
        .control
        .templates
        .import_url(&anna(), &world.server.url(FILE), None, None, None)
        .await
        .unwrap();
    watch.until(&task, "30,000 bytes are here", |now| now.progress.done == 30_000).await;
    world.restart().await;
    let task = world.end(&task).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let asked: Vec<_> = world.server.asked(FILE).into_iter().map(|asked| asked.range).collect();
    assert_eq!(asked, [None, Some("bytes=20000-".into()), Some("bytes=30000-".into())]);
    assert_eq!(mine(&world, "my-rootfs").await.unwrap().digest.unwrap().as_str(), sha256(&archive()));
    assert!(world.files().is_empty());
}

#[tokio::test]
async fn a_cancelled_import_leaves_nothing() {
    let world = World::new().await;
    world.server.serve(FILE, [Answer::whole(&archive()).with(Mode::Held(SOME))]);
    let mut watch = world.watch();
    let task = world
        .control
        .templates
        .import_url(&anna(), &world.server.url(FILE), None, None, None)
        .await
        .unwrap();
    watch.until(&task, "some bytes are here", |now| now.progress.done == SOME as u64).await;
    world.control.tasks.cancel(&anna(), task.id).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Cancelled);
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_file_that_is_sent_becomes_a_template() {
    let world = World::new().await;
    let templates = &world.control.templates;
    let hash = sha256(&archive());
    let task = templates.upload(&anna(), "mine", Some(&hash), None, stream::iter(pieces())).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done);
    let template = mine(&world, "mine").await.unwrap();
    assert_eq!(template.verified.as_deref(), Some("sha256"));
    assert_eq!(template.digest.unwrap().as_str(), hash);
    assert!(world.files().is_empty());
    let taken = templates.upload(&anna(), "mine", None, None, stream::iter(pieces())).await.unwrap_err();
    assert_eq!(taken.code(), ErrorCode::Conflict);
    assert!(world.files().is_empty());
}

#[tokio::test]
async fn a_file_that_is_sent_wrong_leaves_nothing() {
    let world = World::new().await;
    let templates = &world.control.templates;
    let wrong = templates
        .upload(&anna(), "mine", Some(&"ab".repeat(32)), None, stream::iter(pieces()))
        .await
        .unwrap_err();
    assert_eq!((wrong.code(), wrong.body.field.as_deref()), (ErrorCode::Invalid, Some("sha256")));
    let mut broken = pieces();
    broken[5] = Err(std::io::Error::other("the line is dead"));
    let broken = templates.upload(&anna(), "mine", None, None, stream::iter(broken)).await.unwrap_err();
    assert_eq!(broken.code(), ErrorCode::BadRequest);
    assert!(broken.to_string().contains("25000 bytes"), "{broken}");
    for (name, hash) in [("No Name", None), ("../x", None), ("mine", Some("abc"))] {
        let refused = templates.upload(&anna(), name, hash, None, stream::iter(pieces())).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Invalid, "{name}");
    }
    world.engine.fail("unpack", 1);
    let task = templates.upload(&anna(), "mine", None, None, stream::iter(pieces())).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Failed);
    world.assert_nothing_left().await;
    let task = templates.upload(&anna(), "mine", None, None, stream::iter(pieces())).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done, "the name is free all the same");
}

#[tokio::test]
async fn what_was_being_sent_when_the_console_ended_is_swept() {
    let mut world = World::new().await;
    let control = std::sync::Arc::clone(&world.control);
    let never_ends = stream::iter(pieces()).chain(stream::pending());
    let sending = tokio::spawn(async move { control.templates.upload(&anna(), "mine", None, None, never_ends).await });
    soon("the file grows", async {
        while world.files().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // As when the process ends: nobody cleans up behind it.
    sending.abort();
    drop(sending.await);
    assert_eq!(world.files().len(), 1);
    world.restart().await;
    assert_eq!(world.files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_was_sent_and_cancelled_before_its_turn_is_removed() {
    let world = World::new().await;
    world.server.serve(ROOT, [Answer::whole(&Build::first().root).with(Mode::Held(SOME))]);
    let mut watch = world.watch();
    let first = world.begin().await;
    watch.until_root(&first, SOME as u64).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        // They wait for the first, each with a place in the lane of long work.
        others.push(world.begin().await);
    }
    let task = world
        .control
        .templates
        .upload(&anna(), "mine", None, None, stream::iter(pieces()))
        .await
        .unwrap();
    assert_eq!(world.control.tasks.show(&anna(), task.id).await.unwrap().state, TaskState::Queued);
    let sent = || world.files().into_iter().filter(|name| name.starts_with("incoming-")).count();
    assert_eq!(sent(), 1);
    world.control.tasks.cancel(&anna(), task.id).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Cancelled);
    assert_eq!(sent(), 0);
    world.server.release();
    for task in others {
        assert_eq!(world.end(&task).await.state, TaskState::Done);
    }
}

#[tokio::test]
async fn an_image_says_for_which_machine_and_when_it_was_made() {
    let world = World::new().await;
    let (templates, url) = (&world.control.templates, world.server.url(FILE));
    world.server.serve(FILE, [Answer::whole(&archive())]);
    world.engine.set_metadata("architecture: s390x\ncreation_date: 1762000000\n");
    let task = templates.import_url(&anna(), &url, None, None, None).await.unwrap();
    let task = world.end(&task).await;
    assert_eq!(task.state, TaskState::Failed);
    let error = task.error.unwrap();
    assert!(error.message.contains("made for s390x") && error.hint.is_some(), "{error:?}");
    assert!(world.layers().is_empty() && world.files().is_empty(), "nothing of it stays");
    world
        .engine
        .set_metadata(&format!("architecture: {}\ncreation_date: 1762000000\n", std::env::consts::ARCH));
    let task = templates.import_url(&anna(), &url, None, None, None).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Done);
    let made = mine(&world, "my-rootfs").await.unwrap().created_at;
    assert_eq!(made.map(|at| at.ms), Some(1_762_000_000_000));
}

#[tokio::test]
async fn an_image_that_is_another_than_the_index_says_is_refused() {
    let world = World::new().await;
    world.engine.set_metadata("architecture: s390x\n");
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Failed);
    let error = task.error.unwrap();
    assert!(error.message.contains("made for s390x, and the index offers it for"), "{error:?}");
    world.assert_nothing_left().await;
}
