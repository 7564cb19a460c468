//! One download: progress, resuming, cancelling, sharing, and servers that do it wrong.

use std::time::Duration;

use model::ErrorCode;
use model::task::{Task, TaskState};

use super::server::{Answer, Mode, Ranges};
use super::world::{Build, META, ROOT, World, anna, bytes, fine_clock, late, reference};

/// A little more than what counts as having moved.
const SOME: usize = 20_000;

fn ranges(world: &World) -> Vec<Option<String>> {
    world.server.asked(ROOT).into_iter().map(|asked| asked.range).collect()
}

fn root() -> Answer {
    Answer::whole(&Build::first().root)
}

fn message(task: &Task) -> &str {
    task.error.as_ref().map_or("", |error| &error.message)
}

#[tokio::test]
async fn bytes_are_counted_for_each_file_and_in_total() {
    let (world, build) = (World::new().await, Build::first());
    world.server.serve(ROOT, [root().with(Mode::Gated(16 << 10))]);
    let mut watch = world.watch();
    let task = world.begin().await;
    for chunk in 1..=4_u64 {
        world.server.let_pass();
        if chunk < 4 {
            let now = watch.until_root(&task, chunk << 14).await;
            assert_eq!(now.state, TaskState::Running);
            assert!(now.cancellable);
            assert_eq!(world.shown().await.task, Some(task.id), "lists show who brings it");
        }
    }
    watch.until(&task, "the end", |now| now.state.is_over()).await;
    let downloads: Vec<_> = watch.seen.iter().filter(|progress| progress.phase == "download").collect();
    for pair in downloads.windows(2) {
        assert!(pair[0].done <= pair[1].done, "{pair:?}");
        assert!(
            pair[0].parts.iter().zip(&pair[1].parts).all(|(before, after)| before.done <= after.done),
            "{pair:?}"
        );
    }
    for progress in downloads {
        assert_eq!((progress.unit.as_str(), progress.total), ("bytes", Some(build.size())));
        assert_eq!(progress.done, progress.parts.iter().map(|part| part.done).sum::<u64>());
        let totals: Vec<_> = progress.parts.iter().map(|part| (part.name.as_str(), part.total)).collect();
        assert_eq!(totals, [("meta.tar.xz", Some(700)), ("root.squashfs", Some(64 << 10))]);
    }
    assert_eq!(world.end(&task).await.state, TaskState::Done);
    assert!(world.is_here().await && world.files().is_empty());
    assert_eq!(world.layers(), [build.fingerprint().parse().unwrap()]);
    assert_eq!(world.shown().await.task, None);
}

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Cut(SOME)), root()]);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Done, "{}", message(&task));
    let asked = world.server.asked(ROOT);
    assert_eq!(ranges(&world), [None, Some(format!("bytes={SOME}-"))]);
    assert_eq!(asked[1].if_range.as_deref(), Some("\"first\""), "the rest must be of the same file");
    assert_eq!(world.server.asked(META).len(), 1);
}

#[tokio::test]
async fn a_new_console_goes_on_with_the_download() {
    let mut world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let task = world.begin().await;
    watch.until_root(&task, SOME as u64).await;
    world.restart().await;
    let task = world.end(&task).await;
    assert_eq!(task.state, TaskState::Done, "{}", message(&task));
    let asked = ranges(&world);
    assert_eq!(asked, [None, Some(format!("bytes={SOME}-"))]);
    assert_eq!(world.server.asked(META).len(), 1, "what was whole is not fetched again");
    assert!(world.is_here().await && world.files().is_empty());
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_its_beginning() {
    let world = World::new().await;
    world
        .server
        .serve(ROOT, [root().with(Mode::Cut(SOME)), root()].map(|answer| answer.ranges(Ranges::Ignored)));
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Done, "{}", message(&task));
    assert_eq!(world.server.asked(ROOT).len(), 2);
    assert_eq!(task.progress.done, task.progress.total.unwrap(), "nothing was counted twice");
}

#[tokio::test]
async fn a_part_that_the_server_cannot_go_on_with_is_dropped() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Cut(SOME)), root().with(Mode::Status(416)), root()]);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Done, "{}", message(&task));
    assert_eq!(ranges(&world), [None, Some(format!("bytes={SOME}-")), None]);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_fetched_from_its_beginning() {
    let old = Answer::whole(&bytes(99, 64 << 10)).etag("\"old\"").with(Mode::Cut(SOME));
    for (careless, requests) in [(Ranges::Understood, 2), (Ranges::Careless, 3)] {
        let world = World::new().await;
        world.server.serve(ROOT, [old.clone(), root().ranges(careless)]);
        let task = world.download().await;
        assert_eq!(task.state, TaskState::Done, "{careless:?}: {}", message(&task));
        assert_eq!(world.server.asked(ROOT)[1].if_range.as_deref(), Some("\"old\""));
        // A server that sends the rest of another file is found out by the hash.
        assert_eq!(world.server.asked(ROOT).len(), requests, "{careless:?}");
    }
}

#[tokio::test]
async fn a_cancelled_download_leaves_nothing() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let task = world.begin().await;
    watch.until_root(&task, SOME as u64).await;
    assert!(!world.files().is_empty());
    world.control.tasks.cancel(&anna(), task.id).await.unwrap();
    assert_eq!(world.end(&task).await.state, TaskState::Cancelled);
    world.assert_nothing_left().await;
    assert_eq!(world.download().await.state, TaskState::Done, "it can be fetched again");
}

#[tokio::test]
async fn a_file_with_another_hash_is_never_listed() {
    for (path, good, bad) in [(META, Build::first().meta, bytes(50, 700)), (ROOT, Build::first().root, bytes(51, 64 << 10))] {
        let world = World::new().await;
        world.server.serve(path, [Answer::whole(&bad)]);
        let task = world.download().await;
        assert_eq!(task.state, TaskState::Failed);
        assert_eq!(task.error.as_ref().unwrap().code, ErrorCode::Upstream);
        assert!(message(&task).contains("not what was announced"), "{path}: {}", message(&task));
        world.assert_nothing_left().await;
        world.server.serve(path, [Answer::whole(&good)]);
        assert_eq!(world.download().await.state, TaskState::Done, "{path}");
        assert!(world.is_here().await);
    }
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_never_listed() {
    let world = World::new().await;
    let wrong = Build {
        fingerprint: Some("ab".repeat(32)),
        ..Build::first()
    };
    wrong.announce(&world.server);
    world.refresh().await;
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(message(&task).contains("do not belong together"), "{}", message(&task));
    world.assert_nothing_left().await;
    Build::first().announce(&world.server);
    world.refresh().await;
    assert_eq!(world.download().await.state, TaskState::Done);
}

#[tokio::test]
async fn who_wants_the_same_at_the_same_time_shares_one_download() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Gated(16 << 10))]);
    let mut watch = world.watch();
    let first = world.begin().await;
    world.server.let_pass();
    watch.until_root(&first, 1 << 14).await;
    let mut other_watch = world.watch();
    let second = world.begin().await;
    assert_ne!(first.id, second.id);
    world.server.let_pass();
    watch.until_root(&first, 2 << 14).await;
    world.server.let_pass();
    other_watch.until_root(&second, 3 << 14).await;
    world.server.let_pass();
    let (first, second) = (world.end(&first).await, world.end(&second).await);
    assert_eq!(
        (first.state, second.state),
        (TaskState::Done, TaskState::Done),
        "{} {}",
        message(&first),
        message(&second)
    );
    assert_eq!((world.server.asked(META).len(), world.server.asked(ROOT).len()), (1, 1));
}

#[tokio::test]
async fn one_of_two_that_share_a_download_can_be_cancelled() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let first = world.begin().await;
    watch.until_root(&first, SOME as u64).await;
    let second = world.begin().await;
    world.control.tasks.cancel(&anna(), second.id).await.unwrap();
    assert_eq!(world.end(&second).await.state, TaskState::Cancelled);
    let third = world.begin().await;
    world.control.tasks.cancel(&anna(), first.id).await.unwrap();
    assert_eq!(world.end(&first).await.state, TaskState::Cancelled);
    let third = world.end(&third).await;
    assert_eq!(third.state, TaskState::Done, "the one that waited fetches it itself: {}", message(&third));
    assert!(world.is_here().await && world.files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drips_is_given_up() {
    let world = World::new().await;
    fine_clock();
    world.server.serve(ROOT, [root().with(Mode::Drip(Duration::from_secs(10)))]);
    let began = tokio::time::Instant::now();
    let task = world.download_late().await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(message(&task).contains("sends almost nothing"), "{}", message(&task));
    assert!(began.elapsed() > Duration::from_secs(5 * 60), "it was given some time");
    world.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn silence_is_said_and_then_ended() {
    let world = World::new().await;
    fine_clock();
    world.server.serve(ROOT, [root().with(Mode::Held(SOME)), root()]);
    let mut watch = world.watch();
    let task = world.begin().await;
    let told = |now: &Task| now.progress.note.as_ref().is_some_and(|note| note.contains("no data for 10 s"));
    watch.until_late(&task, "silence is said", told).await;
    let told = |now: &Task| now.progress.note.as_ref().is_some_and(|note| note.contains("retry 1 of 5"));
    watch.until_late(&task, "a retry is said", told).await;
    let task = late("the task ends", world.control.tasks.wait(task.id)).await.unwrap();
    assert_eq!(task.state, TaskState::Done, "{}", message(&task));
    assert_eq!(ranges(&world), [None, Some(format!("bytes={SOME}-"))]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_length_is_found_out() {
    let world = World::new().await;
    fine_clock();
    for (length, says) in [(1 << 30, "more than the 65536 bytes"), (100, "the connection ended after")] {
        world.server.serve(ROOT, [root().with(Mode::Length(length)).ranges(Ranges::Ignored)]);
        let task = world.download_late().await;
        assert_eq!(task.state, TaskState::Failed);
        assert!(message(&task).contains(says), "{length}: {}", message(&task));
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let world = World::new().await;
    world.server.serve(ROOT, [root().with(Mode::Endless)]);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(message(&task).contains("more than the 65536 bytes"), "{}", message(&task));
    assert_eq!(world.server.asked(ROOT).len(), 1, "that is no accident, it is not tried again");
    world.assert_nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_again_and_then_given_up() {
    let world = World::new().await;
    fine_clock();
    let failing = || root().with(Mode::Status(503));
    for (script, state) in [(vec![failing(), failing(), root()], TaskState::Done), (vec![failing()], TaskState::Failed)] {
        world.server.serve(ROOT, script);
        let task = world.download_late().await;
        assert_eq!(task.state, state, "{}", message(&task));
        if state == TaskState::Done {
            world.control.templates.remove(&anna(), &reference()).await.unwrap();
        } else {
            assert!(message(&task).contains("503"), "{}", message(&task));
        }
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_said_to_be_gone() {
    let world = World::new().await;
    world.server.remove(ROOT);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(message(&task).contains("no longer on the server"), "{}", message(&task));
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_failed_unpacking_leaves_nothing() {
    let world = World::new().await;
    world.engine.fail("unpack", 1);
    let task = world.download().await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(message(&task).contains("made to fail"), "{}", message(&task));
    world.assert_nothing_left().await;
    assert_eq!(world.download().await.state, TaskState::Done);
}
