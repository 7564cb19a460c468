//! A process that runs a task is killed at every point around every step; the next start must finish the task or roll
//! it back, and what lies on the disk must be what the row says.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use control::caller::Caller;
use control::clock::Clock;
use control::events::Events;
use control::store::Facts;
use control::store::sqlite::Sqlite;
use control::tasks::{AfterCrash, Context, FailPoints, Job, Tasks};
use control::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Role;
use model::task::{Task, TaskState};
use serde_json::Value;

const STEPS: [&str; 3] = ["first", "second", "third"];
/// Goes on after a crash; is undone after a crash; fails in its last step and is undone without one.
const KINDS: [&str; 3] = ["sample.resume", "sample.back", "sample.fail"];

/// Makes one file per step, in two moves, so that a step can be half done.
struct Sample {
    kind: &'static str,
    dir: PathBuf,
}

impl Sample {
    fn file(&self, step: usize) -> PathBuf {
        self.dir.join("made").join(STEPS[step])
    }

    fn make(&self, step: usize) -> std::io::Result<()> {
        let half = self.file(step).with_extension("half");
        std::fs::write(&half, STEPS[step])?;
        std::fs::rename(half, self.file(step))
    }

    fn unmake(&self, step: usize) -> std::io::Result<()> {
        for path in [self.file(step).with_extension("half"), self.file(step)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Job for Sample {
    fn steps(&self) -> &'static [&'static str] {
        &STEPS
    }
    fn act<'a>(&'a self, step: usize, _context: &'a Context) -> BoxFuture<'a, Result<()>> {
        async move {
            self.make(step).map_err(|error| Error::failed(error.to_string()))?;
            let fails = self.kind == "sample.fail" && step == 2;
            if fails { Err(Error::failed("the sample fails here")) } else { Ok(()) }
        }
        .boxed()
    }
    fn undo<'a>(&'a self, step: usize, _context: &'a Context) -> BoxFuture<'a, Result<()>> {
        async move { self.unmake(step).map_err(|error| Error::failed(error.to_string())) }.boxed()
    }
    fn after_crash(&self) -> AfterCrash {
        if self.kind == "sample.resume" {
            AfterCrash::Resume
        } else {
            AfterCrash::RollBack
        }
    }
}

fn tasks(dir: &Path, fail_points: FailPoints) -> Tasks {
    let store = Sqlite::open(dir, Clock::System).unwrap();
    let events = Arc::new(Events::new("boot".into()));
    let tasks = Tasks::with_fail_points(Facts(Arc::new(store)), events, Clock::System, dir.join("tasks"), fail_points).unwrap();
    for kind in KINDS {
        let dir = dir.to_owned();
        tasks.register(kind, Arc::new(move |_| Ok(Arc::new(Sample { kind, dir: dir.clone() }))));
    }
    tasks
}

fn anna() -> Caller {
    Caller {
        name: "anna".into(),
        role: Some(Role::Operator),
        ..Caller::anonymous("192.0.2.1")
    }
}

async fn start(tasks: &Tasks, kind: &'static str) -> Result<Task> {
    tasks.start(&anna(), kind, "sample", Some("sample/1".into()), Value::Null, None).await
}

/// The process that is killed, started by the tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_child() {
    let Ok(dir) = std::env::var("BERTH_TEST_CRASH_DIR") else { return };
    let (kind, deadly) = (std::env::var("BERTH_TEST_KIND").unwrap(), std::env::var("BERTH_TEST_POINT").unwrap());
    let fail_points = FailPoints::new(move |point| {
        println!("point {point}");
        if point == deadly {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            // The signal is on its way; nothing may happen until it is here.
            loop {
                std::thread::park();
            }
        }
    });
    let tasks = tasks(Path::new(&dir), fail_points);
    tasks.recover().await.unwrap();
    if let Some(kind) = KINDS.into_iter().find(|known| *known == kind) {
        let task = start(&tasks, kind).await.unwrap();
        println!("acknowledged {}", task.id);
    }
    tasks.settle().await;
}

fn run_child(dir: &Path, kind: &str, point: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_child", "--nocapture"])
        .env("BERTH_TEST_CRASH_DIR", dir)
        .env("BERTH_TEST_KIND", kind)
        .env("BERTH_TEST_POINT", point)
        .output()
        .unwrap()
}

fn fresh() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("made")).unwrap();
    dir
}

/// Every point that a kind comes to when nobody kills it.
fn points(kind: &str) -> Vec<String> {
    let out = run_child(fresh().path(), kind, "");
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.split_once("point ")?.1.to_owned())).collect()
}

fn kill_at(dir: &Path, kind: &str, point: &str) -> String {
    let out = run_child(dir, kind, point);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        out.status.signal(),
        Some(9),
        "{kind} at {point}: {text}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

fn made(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir.join("made")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The outcome oracle: acknowledged is there, nothing is half, a repetition works.
async fn check(dir: &Path, kind: &'static str, what: &str, said: &str) {
    let tasks = tasks(dir, FailPoints::default());
    tasks.recover().await.unwrap();
    tasks.settle().await;
    let ended = tasks.list(&anna()).await.unwrap();
    let everything: BTreeSet<String> = STEPS.iter().map(ToString::to_string).collect();
    match ended.as_slice() {
        [] => assert!(!said.contains("acknowledged") && made(dir).is_empty(), "{what}: lost"),
        [task] => match task.state {
            TaskState::Done => {
                assert_ne!(kind, "sample.fail", "{what}");
                assert_eq!(made(dir), everything, "{what}");
            }
            TaskState::Failed => {
                assert_ne!(kind, "sample.resume", "{what}");
                assert!(made(dir).is_empty(), "{what}: {:?}", made(dir));
            }
            state => panic!("{what}: ended as {state:?}"),
        },
        more => panic!("{what}: {more:?}"),
    }
    let again = start(&tasks, "sample.resume").await.unwrap();
    assert_eq!(tasks.wait(again.id).await.unwrap().state, TaskState::Done, "{what}: again");
    assert_eq!(made(dir), everything, "{what}: again");
    tasks.shut_down().await;
}

#[tokio::test]
async fn killed_at_every_point_a_task_is_finished_or_rolled_back() {
    for kind in KINDS {
        let points = points(kind);
        let least = if kind == "sample.fail" { 20 } else { 14 };
        assert!(points.len() >= least, "{kind}: {points:?}");
        for point in points {
            let dir = fresh();
            let said = kill_at(dir.path(), kind, &point);
            check(dir.path(), kind, &format!("{kind} killed at {point}"), &said).await;
        }
    }
}

#[tokio::test]
async fn killed_again_while_it_recovers_a_task_is_still_brought_to_its_end() {
    for (kind, first) in [
        ("sample.back", "sample.back::third::act::after"),
        ("sample.resume", "sample.resume::second::act::before"),
    ] {
        let once = fresh();
        kill_at(once.path(), kind, first);
        let out = run_child(once.path(), "", "");
        let text = String::from_utf8(out.stdout).unwrap();
        let recovery: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("point ")?.1)).collect();
        assert!(recovery.len() >= 6, "{kind}: {recovery:?}");
        for second in recovery {
            let dir = fresh();
            let said = kill_at(dir.path(), kind, first);
            kill_at(dir.path(), "", second);
            check(dir.path(), kind, &format!("{kind} killed at {first} and {second}"), &said).await;
        }
    }
}
