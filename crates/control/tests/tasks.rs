//! Tasks: steps forward and back, what excludes what, cancellation, progress, and what is kept of them.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::Error;
use control::caller::Caller;
use control::clock::Clock;
use control::events::Events;
use control::store::memory::Memory;
use control::store::{Entry, Facts, LeaseId, Op, Rev, Store, StoreError, Txn, TxnOut, WatchItem};
use control::tasks::{AfterCrash, Context, Job, NewTask, Tasks};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::event::Event;
use model::task::{Progress, Task, TaskState};
use model::{ErrorCode, Role, TaskId, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const DEADLINE: Duration = Duration::from_secs(20);

type Result<T, E = Error> = std::result::Result<T, E>;

type Act = Arc<dyn Fn(usize, Context) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A job whose steps are given by the test; it notes what it undid.
struct Script {
    act: Act,
    undo: Act,
    after_crash: AfterCrash,
    is_cancellable: bool,
}

impl Job for Script {
    fn steps(&self) -> &'static [&'static str] {
        &["first", "second", "third"]
    }
    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        (self.act)(step, context.clone())
    }
    fn undo<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        (self.undo)(step, context.clone())
    }
    fn after_crash(&self) -> AfterCrash {
        self.after_crash
    }
    fn is_cancellable(&self) -> bool {
        self.is_cancellable
    }
}

fn act<F: Future<Output = Result<()>> + Send + 'static>(work: impl Fn(usize, Context) -> F + Send + Sync + 'static) -> Act {
    Arc::new(move |step, context| work(step, context).boxed())
}

fn nothing() -> Act {
    act(|_, _| async { Ok(()) })
}

struct Rig {
    tasks: Tasks,
    facts: Facts,
    events: Arc<Events>,
    clock: Clock,
    dir: tempfile::TempDir,
    undone: Arc<Mutex<Vec<usize>>>,
}

impl Rig {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_ms(1_800_000_000_000));
        let facts = Facts(Arc::new(Memory::new(clock.clone())));
        Self::over(facts, clock)
    }

    fn over(facts: Facts, clock: Clock) -> Self {
        let (events, dir) = (Arc::new(Events::new("boot".into())), tempfile::tempdir().unwrap());
        let tasks = Tasks::new(facts.clone(), Arc::clone(&events), clock.clone(), dir.path().join("tasks")).unwrap();
        Self {
            tasks,
            facts,
            events,
            clock,
            dir,
            undone: Arc::default(),
        }
    }

    /// Teaches `kind` with this work for its steps.
    fn teach(&self, kind: &'static str, work: Act) {
        self.teach_with(kind, work, AfterCrash::Resume, true);
    }

    fn teach_with(&self, kind: &'static str, work: Act, after_crash: AfterCrash, is_cancellable: bool) {
        let undone = Arc::clone(&self.undone);
        let undo = act(move |step, _| {
            undone.lock().unwrap().push(step);
            async { Ok(()) }
        });
        self.tasks.register(
            kind,
            Arc::new(move |_params| {
                Ok(Arc::new(Script {
                    act: Arc::clone(&work),
                    undo: Arc::clone(&undo),
                    after_crash,
                    is_cancellable,
                }))
            }),
        );
    }

    async fn start(&self, kind: &'static str) -> Task {
        self.tasks.start(&anna(), kind, "web", None, Value::Null, None).await.unwrap()
    }

    async fn end_of(&self, id: TaskId) -> Task {
        tokio::time::timeout(DEADLINE, self.tasks.wait(id))
            .await
            .expect("the task ends in time")
            .unwrap()
    }

    fn undone(&self) -> Vec<usize> {
        self.undone.lock().unwrap().clone()
    }
}

fn anna() -> Caller {
    somebody("anna", Role::Operator)
}

fn somebody(name: &str, role: Role) -> Caller {
    Caller {
        name: name.into(),
        role: Some(role),
        ..Caller::anonymous("192.0.2.1")
    }
}

fn wait_for(gate: &Arc<Semaphore>) -> Act {
    let gate = Arc::clone(gate);
    act(move |_, context| {
        let gate = Arc::clone(&gate);
        async move {
            tokio::select! {
                _ = gate.acquire() => Ok(()),
                () = context.cancelled() => Err(Error::failed("stopped because it was cancelled")),
            }
        }
    })
}

#[tokio::test]
async fn steps_run_in_order_and_the_row_ends_as_done() {
    let rig = Rig::new();
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    let noted = Arc::clone(&seen);
    rig.teach(
        "test.run",
        act(move |step, context| {
            noted.lock().unwrap().push(step);
            context.log(&format!("step {step}\nforged \u{1b}[2J"));
            async { Ok(()) }
        }),
    );
    let begun = rig.start("test.run").await;
    assert_eq!((begun.state, begun.user.as_str(), begun.target.as_str()), (TaskState::Running, "anna", "web"));
    let ended = rig.end_of(begun.id).await;
    assert_eq!((ended.state, ended.error, ended.cancellable), (TaskState::Done, None, false));
    assert!(ended.ended_at.is_some());
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    assert_eq!(rig.undone(), Vec::<usize>::new());
    let log = rig.tasks.log(&anna(), begun.id).await.unwrap();
    assert!(log.contains("step 2\n") && log.contains("\\u{1b}") && log.ends_with("done\n"), "{log}");
    assert_eq!(rig.tasks.show(&anna(), begun.id).await.unwrap().state, TaskState::Done);
}

#[tokio::test]
async fn a_failing_step_undoes_what_was_begun_newest_first() {
    let rig = Rig::new();
    rig.teach(
        "test.fail",
        act(|step, _| async move {
            if step == 1 {
                Err(Error::failed("no bridge").hint("make one"))
            } else {
                Ok(())
            }
        }),
    );
    let id = rig.start("test.fail").await.id;
    let ended = rig.end_of(id).await;
    assert_eq!(ended.state, TaskState::Failed);
    assert_eq!(rig.undone(), [1, 0]);
    let error = ended.error.unwrap();
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("no bridge", Some("make one")));
    assert_eq!(error.log_id.unwrap().len(), 12);
}

#[tokio::test]
async fn errors_of_undo_are_told_and_stop_nothing() {
    let rig = Rig::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    rig.tasks.register(
        "test.stuck",
        Arc::new(move |_| {
            let counted = Arc::clone(&counted);
            Ok(Arc::new(Script {
                act: act(|step, _| async move { if step == 2 { panic!("a fault of ours") } else { Ok(()) } }),
                undo: act(move |_, _| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    async { Err(Error::failed("busy")) }
                }),
                after_crash: AfterCrash::Resume,
                is_cancellable: true,
            }))
        }),
    );
    let ended = rig.end_of(rig.start("test.stuck").await.id).await;
    let message = ended.error.unwrap().message;
    assert!(
        message.contains("a fault of ours") && message.contains("undoing the step first failed too (busy)"),
        "{message}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_a_task_excludes_names_it_and_is_free_afterwards() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    rig.teach("test.wait", wait_for(&gate));
    let key = || Some("container/1".to_owned());
    let first = rig.tasks.start(&anna(), "test.wait", "web", key(), Value::Null, None).await.unwrap();
    let refused = rig.tasks.start(&anna(), "test.wait", "web", key(), Value::Null, None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert!(
        refused.to_string().contains(&first.id.to_string()) && refused.to_string().contains("test.wait"),
        "{refused}"
    );
    rig.tasks
        .start(&anna(), "test.wait", "db", Some("container/2".into()), Value::Null, None)
        .await
        .unwrap();
    gate.add_permits(100);
    rig.end_of(first.id).await;
    rig.tasks.start(&anna(), "test.wait", "web", key(), Value::Null, None).await.unwrap();
    rig.tasks.settle().await;
}

#[tokio::test]
async fn the_same_key_gives_the_first_task_for_a_day() {
    let rig = Rig::new();
    rig.teach("test.run", nothing());
    rig.teach("test.other", nothing());
    let start = async |who: &Caller, kind| rig.tasks.start(who, kind, "web", None, Value::Null, Some("key-1")).await;
    let first = start(&anna(), "test.run").await.unwrap().id;
    assert_eq!(start(&anna(), "test.run").await.unwrap().id, first);
    assert_eq!(rig.tasks.earlier(&anna(), "test.run", "web", Some("key-1")).await.unwrap().unwrap().id, first);
    rig.end_of(first).await;
    assert_eq!(start(&anna(), "test.run").await.unwrap().id, first);
    assert_eq!(start(&anna(), "test.other").await.unwrap_err().code(), ErrorCode::Conflict);
    // Somebody else's key is another key.
    assert_ne!(start(&somebody("bert", Role::Operator), "test.run").await.unwrap().id, first);
    rig.clock.advance(Duration::from_secs(24 * 3_600 + 1));
    assert_ne!(start(&anna(), "test.run").await.unwrap().id, first);
}

#[tokio::test]
async fn requests_at_once_with_one_key_start_one_task() {
    let rig = Rig::new();
    rig.teach("test.run", nothing());
    let caller = anna();
    let starts = (0..20).map(|_| {
        rig.tasks
            .start(&caller, "test.run", "web", Some("container/1".into()), Value::Null, Some("key"))
    });
    let ids: Vec<TaskId> = futures::future::join_all(starts).await.into_iter().map(|task| task.unwrap().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn a_row_is_written_together_with_other_changes_or_not_at_all() {
    let rig = Rig::new();
    rig.teach("test.run", nothing());
    let new = || NewTask {
        kind: "test.run",
        target: "web",
        exclusive: Some("container/1".into()),
        params: Value::Null,
        idempotency_key: None,
    };
    let claim = || rig.facts.change().absent("name/web").put("name/web", &"id");
    let task = rig.tasks.start_with(&anna(), new(), claim()).await.unwrap().unwrap();
    rig.end_of(task.id).await;
    assert_eq!(rig.tasks.start_with(&anna(), new(), claim()).await.unwrap(), None);
    assert_eq!(rig.tasks.list(&anna()).await.unwrap().len(), 1);
    // Nothing stays excluded by what was not begun.
    assert!(rig.tasks.start_with(&anna(), new(), rig.facts.change()).await.unwrap().is_some());
    rig.tasks.settle().await;
}

/// A job whose first step goes on to the third with a change of its own, and what its steps saw.
fn shortcut(rig: &Rig, kind: &'static str, third: Result<(), &'static str>) -> Arc<Mutex<Vec<String>>> {
    let (seen, facts): (Arc<Mutex<Vec<String>>>, _) = (Arc::default(), rig.facts.clone());
    let noted = Arc::clone(&seen);
    rig.teach(
        kind,
        act(move |step, context| {
            let (noted, facts) = (Arc::clone(&noted), facts.clone());
            async move {
                if step == 2 {
                    let claim = facts.get::<String>("name/web").await?.map(|fact| fact.value);
                    noted.lock().unwrap().push(format!("{step} {claim:?}"));
                    return third.map_err(Error::failed);
                }
                let claim = || facts.change().absent("name/web").put("name/web", &"id");
                let written = [context.advance(2, claim()).await?.is_some(), context.advance(2, claim()).await?.is_some()];
                noted.lock().unwrap().push(format!("{step} {written:?}"));
                Ok(())
            }
        }),
    );
    seen
}

#[tokio::test]
async fn the_last_change_of_a_step_is_written_with_the_row_of_the_next() {
    let rig = Rig::new();
    let seen = shortcut(&rig, "test.run", Ok(()));
    let before = rig.facts.change().put("x", &0).commit().await.unwrap().unwrap();
    let id = rig.start("test.run").await.id;
    assert_eq!(rig.end_of(id).await.state, TaskState::Done);
    assert_eq!(*seen.lock().unwrap(), ["0 [true, false]", "2 Some(\"id\")"], "the second step is left out");
    let after = rig.facts.change().put("x", &1).commit().await.unwrap().unwrap();
    assert_eq!(after - before - 1, 3, "the row with its first step, the change with the next, the end");
}

#[tokio::test]
async fn a_step_that_was_left_out_is_undone_as_one_that_was_half_done() {
    let rig = Rig::new();
    shortcut(&rig, "test.run", Err("no bridge"));
    let id = rig.start("test.run").await.id;
    assert_eq!(rig.end_of(id).await.state, TaskState::Failed);
    assert_eq!(rig.undone(), [2, 1, 0]);
}

#[tokio::test]
async fn a_cancelled_task_is_undone() {
    let rig = Rig::new();
    rig.teach("test.wait", wait_for(&Arc::new(Semaphore::new(0))));
    let id = rig.start("test.wait").await.id;
    assert_eq!(
        rig.tasks.cancel(&somebody("eve", Role::Viewer), id).await.unwrap_err().code(),
        ErrorCode::NotAllowed
    );
    rig.tasks.cancel(&anna(), id).await.unwrap();
    let ended = rig.end_of(id).await;
    assert_eq!((ended.state, ended.error), (TaskState::Cancelled, None));
    assert_eq!(rig.undone(), [0]);
    assert_eq!(rig.tasks.cancel(&anna(), id).await.unwrap_err().code(), ErrorCode::Conflict);
}

#[tokio::test]
async fn a_task_that_must_not_be_cancelled_is_not() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    rig.teach_with("test.firm", wait_for(&gate), AfterCrash::Resume, false);
    let begun = rig.start("test.firm").await;
    assert!(!begun.cancellable);
    assert_eq!(rig.tasks.cancel(&anna(), begun.id).await.unwrap_err().code(), ErrorCode::Conflict);
    gate.add_permits(3);
    assert_eq!(rig.end_of(begun.id).await.state, TaskState::Done);
}

#[tokio::test]
async fn long_work_waits_in_its_own_lane_and_can_be_cancelled_there() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    rig.teach("template.download", wait_for(&gate));
    rig.teach("test.run", nothing());
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(rig.start("template.download").await.id);
    }
    let ninth = rig.start("template.download").await;
    assert_eq!(ninth.state, TaskState::Queued);
    assert_eq!(rig.end_of(rig.start("test.run").await.id).await.state, TaskState::Done);
    rig.tasks.cancel(&anna(), ninth.id).await.unwrap();
    assert_eq!(rig.end_of(ninth.id).await.state, TaskState::Cancelled);
    assert_eq!(rig.undone(), [0], "what its asker prepared for the first step is cleared away");
    let tenth = rig.start("template.download").await.id;
    gate.add_permits(1_000);
    for id in ids.into_iter().chain([tenth]) {
        assert_eq!(rig.end_of(id).await.state, TaskState::Done);
    }
}

#[tokio::test]
async fn stops_that_wait_keep_neither_a_start_nor_a_kill_from_running() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    for kind in ["container.stop", "container.create", "container.kill", "container.start"] {
        rig.teach(kind, wait_for(&gate));
    }
    for _ in 0..64 {
        assert_eq!(rig.start("container.stop").await.state, TaskState::Running);
    }
    while rig.start("container.create").await.state == TaskState::Running {}
    assert_eq!(rig.start("container.start").await.state, TaskState::Queued);
    assert_eq!(rig.start("container.kill").await.state, TaskState::Running);
    gate.add_permits(1000);
    tokio::time::timeout(DEADLINE, rig.tasks.settle()).await.expect("all end");
}

#[tokio::test]
async fn a_full_queue_still_takes_a_kill() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    for kind in ["container.start", "container.kill"] {
        rig.teach(kind, wait_for(&gate));
    }
    while rig.tasks.start(&anna(), "container.start", "web", None, Value::Null, None).await.is_ok() {}
    assert_eq!(rig.start("container.kill").await.state, TaskState::Running);
    rig.tasks.shut_down().await;
}

#[tokio::test]
async fn a_task_that_steps_aside_lets_others_work() {
    let rig = Rig::new();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (held, reached) = (Arc::clone(&gate), Arc::clone(&begun));
    let aside = act(move |step, context| {
        let (gate, begun) = (Arc::clone(&held), Arc::clone(&reached));
        async move {
            if step == 0 {
                let download = async {
                    begun.add_permits(1);
                    drop(gate.acquire().await);
                };
                context.step_aside(download).await;
            }
            Ok(())
        }
    });
    rig.teach("container.create", aside);
    rig.teach("container.start", nothing());
    for _ in 0..100 {
        rig.start("container.create").await;
    }
    tokio::time::timeout(DEADLINE, begun.acquire_many(100))
        .await
        .expect("all hundred download")
        .unwrap()
        .forget();
    let start = rig.start("container.start").await;
    assert_eq!(rig.end_of(start.id).await.state, TaskState::Done);
    gate.add_permits(100);
    tokio::time::timeout(DEADLINE, rig.tasks.settle()).await.expect("all end");
}

#[tokio::test(start_paused = true)]
async fn progress_is_announced_at_a_bounded_pace_with_rate_and_time_to_go() {
    let rig = Rig::new();
    let clock = rig.clock.clone();
    rig.teach(
        "test.load",
        act(move |step, context| {
            let clock = clock.clone();
            async move {
                for n in 0..(if step == 0 { 1_000_u64 } else { 0 }) {
                    context.progress(Progress {
                        done: n,
                        total: Some(2_000),
                        unit: "bytes".into(),
                        phase: "download".into(),
                        ..Progress::default()
                    });
                    clock.advance(Duration::from_millis(10));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            }
        }),
    );
    let mut events = rig.events.subscribe();
    rig.end_of(rig.start("test.load").await.id).await;
    let mut pictures = Vec::new();
    while let Ok(numbered) = events.try_recv() {
        if let Event::Task(task) = numbered.event.as_ref() {
            pictures.push(task.progress.clone());
        }
    }
    // Ten seconds of progress at five a second, and a few changes of state.
    assert!((40..=60).contains(&pictures.len()), "{} pictures", pictures.len());
    let late = pictures.iter().rfind(|progress| progress.phase == "download").unwrap();
    assert!((late.rate.unwrap() - 100.0).abs() < 5.0, "{late:?}");
    assert!((9_000..12_000).contains(&late.eta_ms.unwrap()), "{late:?}");
    // Written at most twice a second: 1 row + 2 steps + 1 end + 20.
    assert!(rig.facts.0.identity().await.unwrap().2 <= 26);
}

#[tokio::test]
async fn the_end_leaves_no_secret_in_the_store() {
    let rig = Rig::new();
    rig.teach(
        "test.run",
        act(|_, context| async move { context.remember("made", json!("a secret too")).await }),
    );
    let task = rig
        .tasks
        .start(&anna(), "test.run", "web", None, json!({"password": "open sesame"}), None)
        .await
        .unwrap();
    rig.end_of(task.id).await;
    let (_, entries) = rig.facts.0.range(String::new(), None).await.unwrap();
    let text: String = entries.iter().map(|entry| String::from_utf8_lossy(&entry.value).into_owned()).collect();
    assert!(!text.contains("sesame") && !text.contains("a secret too"), "{text}");
}

#[tokio::test]
async fn an_interrupted_task_is_finished_or_rolled_back_by_the_next_start() {
    let before = Rig::new();
    for (kind, after) in [("test.resume", AfterCrash::Resume), ("test.back", AfterCrash::RollBack)] {
        before.teach_with(kind, wait_for(&Arc::new(Semaphore::new(0))), after, true);
    }
    let (resumed, rolled_back) = (before.start("test.resume").await.id, before.start("test.back").await.id);
    before.tasks.shut_down().await;

    let after = Rig::over(before.facts.clone(), before.clock.clone());
    after.teach_with("test.resume", nothing(), AfterCrash::Resume, true);
    after.teach_with("test.back", nothing(), AfterCrash::RollBack, true);
    after.tasks.recover().await.unwrap();
    assert_eq!(after.end_of(resumed).await.state, TaskState::Done);
    let ended = after.end_of(rolled_back).await;
    assert_eq!(ended.state, TaskState::Failed);
    assert!(ended.error.unwrap().message.contains("the console ended"));
    assert_eq!(after.undone(), [0]);
}

#[tokio::test]
async fn what_a_step_remembered_is_there_after_a_new_start() {
    let before = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    let reached = Arc::clone(&gate);
    before.teach(
        "test.memory",
        act(move |step, context| {
            let reached = Arc::clone(&reached);
            async move {
                if step == 0 {
                    return context.remember("number", json!(42)).await;
                }
                reached.add_permits(1);
                std::future::pending().await
            }
        }),
    );
    let id = before.start("test.memory").await.id;
    drop(gate.acquire().await.unwrap());
    before.tasks.shut_down().await;

    let after = Rig::over(before.facts.clone(), before.clock.clone());
    let recalled: Arc<Mutex<Option<Value>>> = Arc::default();
    let slot = Arc::clone(&recalled);
    after.teach(
        "test.memory",
        act(move |_, context| {
            *slot.lock().unwrap() = context.recall("number");
            async { Ok(()) }
        }),
    );
    after.tasks.recover().await.unwrap();
    assert_eq!(after.end_of(id).await.state, TaskState::Done);
    assert_eq!(*recalled.lock().unwrap(), Some(json!(42)));
}

#[tokio::test]
async fn a_task_that_ends_every_console_is_rolled_back_at_last() {
    let (mut facts, mut clock) = (None, None);
    let mut id = None;
    for _ in 0..6 {
        let rig = match (facts.take(), clock.take()) {
            (Some(facts), Some(clock)) => Rig::over(facts, clock),
            _ => Rig::new(),
        };
        rig.teach("test.deadly", act(|_, _| std::future::pending()));
        match id {
            None => id = Some(rig.start("test.deadly").await.id),
            Some(_) => rig.tasks.recover().await.unwrap(),
        }
        rig.tasks.shut_down().await;
        (facts, clock) = (Some(rig.facts), Some(rig.clock));
    }
    let last = Rig::over(facts.unwrap(), clock.unwrap());
    last.teach("test.deadly", act(|_, _| std::future::pending()));
    last.tasks.recover().await.unwrap();
    assert_eq!(last.end_of(id.unwrap()).await.state, TaskState::Failed);
}

#[tokio::test]
async fn a_kind_that_is_no_longer_known_ends_as_failed() {
    let before = Rig::new();
    before.teach("test.gone", act(|_, _| std::future::pending()));
    let id = before.start("test.gone").await.id;
    before.tasks.shut_down().await;
    let after = Rig::over(before.facts.clone(), before.clock.clone());
    after.tasks.recover().await.unwrap();
    let ended = after.end_of(id).await;
    assert_eq!(ended.state, TaskState::Failed);
    assert!(ended.error.unwrap().message.contains("knows no task of the kind test.gone"));
}

#[tokio::test]
async fn old_tasks_are_cleared_away_with_their_logs() {
    let rig = Rig::new();
    rig.teach(
        "test.run",
        act(|_, context| async move {
            context.log("here");
            Ok(())
        }),
    );
    let old = rig.start("test.run").await.id;
    rig.end_of(old).await;
    let log = rig.dir.path().join(format!("tasks/{old}.log"));
    assert!(log.exists());
    rig.clock.advance(Duration::from_secs(30 * 86_400 + 1));
    let new = rig.start("test.run").await.id;
    rig.end_of(new).await;
    let listed: Vec<TaskId> = rig.tasks.list(&anna()).await.unwrap().into_iter().map(|task| task.id).collect();
    assert_eq!(listed, [new]);
    rig.tasks.recover().await.unwrap();
    assert_eq!(rig.tasks.show(&anna(), old).await.unwrap_err().code(), ErrorCode::NotFound);
    assert!(!log.exists());
}

#[tokio::test]
async fn the_newest_thousand_ended_tasks_are_kept() {
    let rig = Rig::new();
    rig.teach("test.run", nothing());
    let mut row = None;
    let first = rig.start("test.run").await.id;
    rig.end_of(first).await;
    for entry in rig.facts.0.range("/berth/v1/op/".into(), None).await.unwrap().1 {
        row = Some(serde_json::from_slice::<Value>(&entry.value).unwrap());
    }
    let mut row = row.unwrap();
    for n in 0..1_010_i64 {
        let id = uuid::Uuid::from_u128(u128::try_from(n).unwrap());
        row["task"]["id"] = json!(id);
        row["task"]["ended_at"] = json!(rig.clock.now().plus_ms(n + 1));
        let then = vec![Op::Put {
            key: format!("/berth/v1/op/{id}"),
            value: row.to_string().into(),
            lease: None,
        }];
        rig.facts.0.txn(Txn { then, ..Txn::default() }).await.unwrap();
    }
    assert_eq!(rig.tasks.list(&anna()).await.unwrap().len(), 1_000);
    rig.tasks.recover().await.unwrap();
    assert_eq!(rig.facts.0.range("/berth/v1/op/".into(), None).await.unwrap().1.len(), 1_000);
    assert_eq!(rig.tasks.show(&anna(), first).await.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn nobody_sees_nothing() {
    let rig = Rig::new();
    rig.teach("test.run", nothing());
    let nobody = Caller::anonymous("192.0.2.9");
    let id = rig.start("test.run").await.id;
    assert_eq!(rig.tasks.list(&nobody).await.unwrap_err().code(), ErrorCode::SignInRequired);
    assert_eq!(rig.tasks.show(&nobody, id).await.unwrap_err().code(), ErrorCode::SignInRequired);
    assert_eq!(rig.tasks.log(&nobody, id).await.unwrap_err().code(), ErrorCode::SignInRequired);
    assert_eq!(
        rig.tasks.start(&nobody, "test.run", "web", None, Value::Null, None).await.unwrap_err().code(),
        ErrorCode::SignInRequired
    );
    rig.tasks.settle().await;
}

/// A store that does every write and loses the answer of every second one.
#[derive(Debug)]
struct Forgetful {
    inner: Memory,
    writes: AtomicUsize,
}

impl Store for Forgetful {
    fn range(&self, prefix: String, at: Option<Rev>) -> BoxFuture<'_, Result<(Rev, Vec<Entry>), StoreError>> {
        self.inner.range(prefix, at)
    }
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOut, StoreError>> {
        let is_write = txn.then.iter().any(|op| !matches!(op, Op::Get { .. }));
        async move {
            let out = self.inner.txn(txn).await?;
            let is_lost = is_write && self.writes.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            if is_lost {
                Err(StoreError::Unknown("the line broke".into()))
            } else {
                Ok(out)
            }
        }
        .boxed()
    }
    fn watch(&self, prefix: String, from: Rev) -> BoxStream<'static, WatchItem> {
        self.inner.watch(prefix, from)
    }
    fn lease_grant(&self, ttl_ms: u64) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.inner.lease_grant(ttl_ms)
    }
    fn lease_renew(&self, lease: LeaseId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.lease_renew(lease)
    }
    fn lease_revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.lease_revoke(lease)
    }
    fn compact(&self, rev: Rev) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.compact(rev)
    }
    fn identity(&self) -> BoxFuture<'_, Result<(String, u64, Rev), StoreError>> {
        self.inner.identity()
    }
    fn verify(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.inner.verify()
    }
}

#[tokio::test]
async fn a_lost_answer_of_the_store_is_settled_by_reading() {
    let clock = Clock::manual(Timestamp::from_ms(1_800_000_000_000));
    let store = Forgetful {
        inner: Memory::new(clock.clone()),
        writes: AtomicUsize::new(0),
    };
    let rig = Rig::over(Facts(Arc::new(store)), clock);
    rig.teach("test.run", nothing());
    for _ in 0..2 {
        let id = rig.start("test.run").await.id;
        assert_eq!(rig.end_of(id).await.state, TaskState::Done);
    }
    assert_eq!(rig.undone(), Vec::<usize>::new());
}
