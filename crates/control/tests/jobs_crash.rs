//! The console is killed before and after every step of every job and every change of the host that a job makes; the
//! next start on the same state must finish the job or take it back, rows and host must agree, and a repeat must work.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::{BTreeSet, HashMap};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::Control;
use control::clock::Clock;
use control::store::sqlite::Sqlite;
use control::tasks::FailPoints;
use model::error::ErrorCode;
use model::event::Event;
use model::task::{Task, TaskState};
use tokio::io::AsyncBufReadExt as _;

use self::disk::Disk;
use self::server::{Answer, Mode, Server};
use self::verbs::{anna, perform};

#[path = "jobs_crash/agreement.rs"]
mod agreement;
#[path = "world/console.rs"]
#[expect(dead_code, reason = "its templates come from a server")]
mod console;
#[path = "jobs_crash/disk.rs"]
mod disk;
#[path = "templates/server.rs"]
#[expect(dead_code, reason = "the tests of templates use all of it")]
mod server;
#[path = "jobs_crash/verbs.rs"]
mod verbs;

/// Trust rule F1: after a restart everything is finished or rolled back within this.
const DEADLINE: Duration = Duration::from_secs(30);

/// A verb, what was done before it, and which call of the host fails meanwhile (so that the way back is walked too).
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: &'static str,
    before: &'static [&'static str],
    verb: &'static str,
    failing: &'static str,
}

const fn case(kind: &'static str, before: &'static [&'static str], verb: &'static str, failing: &'static str) -> Case {
    Case { kind, before, verb, failing }
}

const STOPPED: &[&str] = &["add source", "create stopped"];
const RUNNING: &[&str] = &["add source", "create"];
const TRASHED: &[&str] = &["add source", "create", "force delete"];

const CREATING: &[Case] = &[
    case("container.create", &["add source"], "create", ""),
    case("container.create", &["add source"], "create", "start"),
    case("container.create", &["add source"], "create", "apply_network"),
    // The template is here already, which leaves a step out; so does a container that shall not start.
    case("container.create", &["add source", "download"], "create", "start"),
    case("container.create", &["add source", "download"], "create stopped", ""),
];
const RUNS: &[Case] = &[
    case("container.start", STOPPED, "start", ""),
    case("container.start", STOPPED, "start", "start"),
    case("container.stop", RUNNING, "stop", ""),
    case("container.restart", RUNNING, "restart", ""),
    case("container.restart", RUNNING, "restart", "start"),
    case("container.kill", RUNNING, "kill", ""),
    case("container.freeze", RUNNING, "freeze", ""),
    case("container.unfreeze", &["add source", "create", "freeze"], "unfreeze", ""),
];
const DELETING: &[Case] = &[
    case("container.delete", STOPPED, "delete", ""),
    case("container.delete", STOPPED, "delete", "remove_network"),
    case("container.delete", RUNNING, "force delete", ""),
    case("container.delete", STOPPED, "delete for good", ""),
    case("container.delete", STOPPED, "delete for good", "purge"),
];
const TRASH: &[Case] = &[
    case("trash.restore", TRASHED, "restore", ""),
    case("trash.restore", TRASHED, "restore", "apply_network"),
    case("trash.purge", TRASHED, "purge", ""),
    case("trash.purge", TRASHED, "purge", "purge"),
    case("trash.empty", TRASHED, "empty", ""),
];
const TEMPLATES: &[Case] = &[
    case("template.download", &["add source"], "download", ""),
    case("template.download", &["add source"], "download", "unpack"),
    case("template.import", &["add source"], "import", ""),
    case("template.import", &["add source"], "import", "unpack"),
    case("template.import", &["add source"], "upload", ""),
    case("template.import", &["add source"], "upload", "unpack"),
    case("source.refresh", &["add source"], "refresh", ""),
];

async fn open(dir: &Path, failing: &str, hook: impl Fn(&str) + Clone + Send + Sync + 'static) -> (Arc<Control>, Arc<Disk>) {
    let engine = Arc::new(Disk::new(dir.join("world.json"), failing, hook.clone()));
    let store = Arc::new(Sqlite::open(&dir.join("state"), Clock::System).unwrap());
    let config = console::config(dir, console::WIDE);
    let control = Control::open_with_fail_points(config, engine.clone(), store, Clock::System, FailPoints::new(hook));
    (control.await.unwrap(), engine)
}

/// The process that is killed, started by the tests below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_child() {
    let Ok(dir) = std::env::var("BERTH_TEST_CRASH_DIR") else { return };
    let get = |name: &str| std::env::var(name).unwrap();
    let (verb, deadly, failing, url) = (
        get("BERTH_TEST_VERB"),
        get("BERTH_TEST_POINT"),
        get("BERTH_TEST_FAILING"),
        get("BERTH_TEST_URL"),
    );
    let (armed, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(HashMap::<String, u32>::new())));
    let is_armed = Arc::clone(&armed);
    let hook = move |name: &str| {
        if !is_armed.load(Ordering::SeqCst) {
            return;
        }
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        let point = format!("{name}#{count}");
        println!("point {point}");
        if point == deadly {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            // The signal is on its way; nothing may happen until it is here.
            loop {
                std::thread::park();
            }
        }
    };
    let (control, _) = open(Path::new(&dir), &failing, hook).await;
    let mut events = control.events.subscribe();
    armed.store(true, Ordering::SeqCst);
    let task = perform(&control, &verb, &url).await.unwrap();
    println!("acknowledged {}", task.id);
    let progress = async {
        loop {
            if let Event::Task(task) = events.recv().await.unwrap().event.as_ref()
                && let Some(root) = task.progress.parts.get(1)
            {
                println!("root {}", root.done);
            }
        }
    };
    tokio::select! {
        ended = control.tasks.wait(task.id) => println!("ended {:?}", ended.unwrap().state),
        () = progress => {}
    }
}

fn child(dir: &Path, case: Case, point: &str, url: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash_child", "--nocapture"])
        .env("BERTH_TEST_CRASH_DIR", dir)
        .env("BERTH_TEST_VERB", case.verb)
        .env("BERTH_TEST_POINT", point)
        .env("BERTH_TEST_FAILING", case.failing)
        .env("BERTH_TEST_URL", url)
        .kill_on_drop(true);
    command
}

async fn run_child(dir: &Path, case: Case, point: &str, url: &str) -> std::process::Output {
    tokio::time::timeout(DEADLINE, child(dir, case, point, url).output()).await.unwrap().unwrap()
}

/// Where a case begins, made once and copied for each kill.
async fn prepare(case: Case, url: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for part in ["state", "run"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    let (control, disk) = open(dir.path(), "", |_| ()).await;
    for verb in case.before {
        let task = perform(&control, verb, url).await.unwrap();
        assert_eq!(control.tasks.wait(task.id).await.unwrap().state, TaskState::Done, "{case:?}: {verb}");
    }
    agreement::check(&control, &disk, dir.path(), &format!("{case:?} before anything")).await;
    control.shut_down().await;
    dir
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn fresh(base: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(base, dir.path());
    dir
}

/// Every point that a case comes to when nobody kills it.
async fn points(base: &Path, case: Case, url: &str) -> Vec<String> {
    let out = run_child(fresh(base).path(), case, "", url).await;
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{case:?}: {text}\n{}", String::from_utf8_lossy(&out.stderr));
    let expected = if case.failing.is_empty() { "ended Done" } else { "ended Failed" };
    assert!(text.contains(expected), "{case:?}: {text}");
    let points: Vec<String> = text.lines().filter_map(|line| Some(line.split_once("point ")?.1.to_owned())).collect();
    // A point that the other thread printed into the middle of a line would be lost.
    assert_eq!(points.len(), text.matches("point ").count(), "{text}");
    points
}

/// What the next start makes of it.
async fn check(dir: &Path, case: Case, what: &str, acknowledged: bool, url: &str) {
    let (control, disk) = open(dir, "", |_| ()).await;
    let settled = async {
        loop {
            control.tasks.settle().await;
            // Once a minute, and at the start: what was condemned goes. Either we begin that, or the console is about to.
            control.containers.expire().await.unwrap();
            control.tasks.settle().await;
            if !agreement::is_about_to_purge(&control).await {
                // A purge that the console began meanwhile finds that another task has done it; it is over soon.
                let tasks = control.tasks.list(&anna()).await.unwrap();
                if tasks.iter().all(|task| task.state.is_over()) {
                    return tasks;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let tasks = tokio::time::timeout(DEADLINE, settled)
        .await
        .unwrap_or_else(|_| panic!("{what}: still at work"));
    let ended: Vec<_> = tasks.iter().map(|task| (&task.kind, task.state, &task.error)).collect();
    agreement::check(&control, &disk, dir, &format!("{what}, {ended:?}")).await;
    let new = &tasks[..tasks.len() - case.before.len()];
    let ours: Vec<&Task> = new.iter().filter(|task| task.kind == case.kind).collect();
    assert!(!acknowledged || !ours.is_empty(), "{what}: the task is lost: {tasks:?}");
    let is_done = ours.iter().any(|task| task.state == TaskState::Done);
    let (name, state) = verbs::effect(case.verb);
    let found = verbs::find(&control, name).await;
    if is_done {
        assert_eq!(found, state, "{what}");
    } else if found != state || !verbs::goes_one_way(case.verb) {
        let again = verbs::again(&control, case.verb).await;
        end(&control, again, what, url).await;
        assert_eq!(verbs::find(&control, name).await, state, "{what}: {again} again");
    }
    end(&control, "create another", what, url).await;
    agreement::check(&control, &disk, dir, &format!("{what}, and another")).await;
    control.shut_down().await;
}

/// Does it once more, which must work.
async fn end(control: &Control, verb: &str, what: &str, url: &str) {
    let task = match perform(control, verb, url).await {
        Ok(task) => task,
        // The console is at it by itself, or has just done it.
        Err(error) if verb == "purge" && matches!(error.code(), ErrorCode::Conflict | ErrorCode::NotFound) => {
            return tokio::time::timeout(DEADLINE, control.tasks.settle()).await.unwrap();
        }
        Err(error) => panic!("{what}: {verb}: {error}"),
    };
    let task = tokio::time::timeout(DEADLINE, control.tasks.wait(task.id)).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Done, "{what}: {verb}: {:?}", task.error);
}

/// Kills one case everywhere; gives the steps it went through.
async fn kill_everywhere(case: Case, url: &str) -> BTreeSet<String> {
    let base = prepare(case, url).await;
    let points = points(base.path(), case, url).await;
    let own = format!("{}::", case.kind);
    assert!(points.iter().filter(|point| point.starts_with(&own)).count() >= 6, "{case:?}: {points:?}");
    for point in &points {
        let (dir, what) = (fresh(base.path()), format!("{case:?} killed at {point}"));
        let out = run_child(dir.path(), case, point, url).await;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        // What the console does each minute calls the host too, and not always at the same moment.
        let must_be_killed = point.starts_with(&own);
        assert!(
            !must_be_killed || out.status.signal() == Some(9),
            "{what}: {text}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        check(dir.path(), case, &what, text.contains("acknowledged"), url).await;
    }
    points.iter().filter_map(|point| Some(point.split_once('#')?.0.to_owned())).collect()
}

async fn kill_all(cases: &[Case]) {
    let server = Server::start().await;
    verbs::publish(&server);
    for case in cases {
        let visited = kill_everywhere(*case, &server.url("")).await;
        let acts = visited.iter().filter(|point| point.ends_with("::act::after")).count();
        let undone = visited.iter().filter(|point| point.ends_with("::undo::after")).count();
        assert!(acts > 0, "{case:?}: {visited:?}");
        assert_eq!(undone > 0, !case.failing.is_empty(), "{case:?} went the way back: {visited:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_creates() {
    kill_all(CREATING).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_starts_or_stops() {
    kill_all(RUNS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_deletes() {
    kill_all(DELETING).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_works_in_the_trash() {
    kill_all(TRASH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_fetches_templates() {
    kill_all(TEMPLATES).await;
}

/// A new kind of job must be killed here too; a new step of a known one is found by itself, because the points are
/// those that the job comes to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_job_is_killed_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    for part in ["state", "run"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    let (control, _) = open(dir.path(), "", |_| ()).await;
    let cases = [CREATING, RUNS, DELETING, TRASH, TEMPLATES].concat();
    let killed: BTreeSet<&str> = cases.iter().map(|case| case.kind).collect();
    let known: BTreeSet<&str> = control.tasks.kinds().into_iter().collect();
    assert_eq!(killed, known);
    control.shut_down().await;
}

/// Removing a template is one transaction and what follows from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_removes_a_template() {
    let server = Server::start().await;
    verbs::publish(&server);
    let (url, case) = (server.url(""), case("", &["add source", "download"], "remove template", ""));
    let base = prepare(case, &url).await;
    for point in ["engine::remove_layer::before#1", "engine::remove_layer::after#1"] {
        let dir = fresh(base.path());
        let out = run_child(dir.path(), case, point, &url).await;
        assert_eq!(out.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&out.stdout));
        let (control, disk) = open(dir.path(), "", |_| ()).await;
        agreement::check(&control, &disk, dir.path(), point).await;
        let task = perform(&control, "download", &url).await.unwrap();
        assert_eq!(control.tasks.wait(task.id).await.unwrap().state, TaskState::Done, "{point}");
        agreement::check(&control, &disk, dir.path(), point).await;
        control.shut_down().await;
    }
}

/// The power goes in the middle of a file: the next start fetches the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_file() {
    const SOME: usize = 20_000;
    for (kind, verb) in [("template.download", "download"), ("container.create", "create")] {
        let server = Server::start().await;
        verbs::publish(&server);
        let case = case(kind, &["add source"], verb, "");
        let (url, root) = (server.url(""), Answer::whole(&verbs::root()));
        let base = prepare(case, &url).await;
        server.serve(verbs::ROOT, [root.clone().with(Mode::Held(SOME)), root]);
        let mut child = child(base.path(), case, "", &url).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let is_here = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(&format!("root {SOME}")) {
                    return;
                }
            }
            panic!("{verb}: it has ended");
        };
        tokio::time::timeout(DEADLINE, is_here).await.unwrap();
        child.kill().await.unwrap();
        check(base.path(), case, &format!("{verb} killed in the middle of a file"), true, &url).await;
        let asked: Vec<_> = server.asked(verbs::ROOT).into_iter().map(|asked| asked.range).collect();
        assert_eq!(asked, [None, Some(format!("bytes={SOME}-"))], "{verb}");
    }
}

/// Between a layer and its row nobody else may take it for one that stands under nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_leaves_alone_what_is_being_brought_here() {
    let server = Server::start().await;
    verbs::publish(&server);
    let url = server.url("");
    let dir = tempfile::tempdir().unwrap();
    for part in ["state", "run"] {
        std::fs::create_dir(dir.path().join(part)).unwrap();
    }
    let (here, has_come) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let (gate, mut has_come) = (Arc::new(Mutex::new(gate)), has_come);
    let hook = move |name: &str| {
        if name == "engine::unpack::after" {
            here.send(()).unwrap();
            gate.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
    };
    let (control, disk) = open(dir.path(), "", hook).await;
    let done = async |task: Task| {
        let ended = tokio::time::timeout(DEADLINE, control.tasks.wait(task.id)).await.unwrap().unwrap();
        assert_eq!(ended.state, TaskState::Done, "{:?}", ended.error);
    };
    done(perform(&control, "add source", &url).await.unwrap()).await;
    go_on.send(()).unwrap();
    done(perform(&control, "import", &url).await.unwrap()).await;
    has_come.recv().await.unwrap();
    let download = perform(&control, "download", &url).await.unwrap();
    has_come.recv().await.unwrap();
    control.templates.remove(&anna(), &"local:mine".parse().unwrap()).await.unwrap();
    go_on.send(()).unwrap();
    done(download).await;
    agreement::check(&control, &disk, dir.path(), "removed while another came").await;
    control.shut_down().await;
}
