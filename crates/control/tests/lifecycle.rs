//! What happens to containers in time: stops that init does not hear, kills beside them, the trash after seven days, and
//! ids that come back.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::time::Duration;

use control::Control;
use control::clock::Clock;
use control::containers::row::RangeRow;
use control::engine::fake::Fake;
use control::store::memory::Memory;
use model::container::{CreateRequest, ExitReason};
use model::error::ErrorCode;
use model::task::{Task, TaskState};
use model::{ContainerId, ContainerState, Timestamp};

#[path = "world/console.rs"]
mod console;

use console::{BLOCK, WIDE, anna, soon};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Room for one.
const NARROW: (u32, u32) = (BLOCK, BLOCK + 65_535);
/// A time-out that a test sees the end of.
const SHORT: Duration = Duration::from_millis(50);
/// One that it does not.
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    control: Arc<Control>,
    engine: Arc<Fake>,
    store: Arc<Memory>,
    clock: Clock,
    pool: (u32, u32),
    folder: tempfile::TempDir,
}

impl World {
    async fn new(pool: (u32, u32)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_ms(1_795_132_800_000));
        let (engine, store) = (Arc::new(Fake::new()), Arc::new(Memory::new(clock.clone())));
        let control = open(&folder, pool, &engine, &store, &clock).await;
        engine.add_layer(console::digest());
        console::add_template(&control.facts).await;
        Self {
            control,
            engine,
            store,
            clock,
            pool,
            folder,
        }
    }

    async fn restart(&mut self) {
        self.control.shut_down().await;
        self.control = open(&self.folder, self.pool, &self.engine, &self.store, &self.clock).await;
    }

    async fn end(&self, task: Result<Task, control::Error>) -> Task {
        soon("the task ends", self.control.tasks.wait(task.unwrap().id)).await.unwrap()
    }

    async fn create(&self, name: &str, start: bool) -> Task {
        self.create_as(name, start, &[]).await
    }

    async fn create_as(&self, name: &str, start: bool, more: &[(&str, serde_json::Value)]) -> Task {
        let mut request = serde_json::json!({ "name": name, "template": "local:test", "start": start });
        more.iter().for_each(|(key, value)| request[*key] = value.clone());
        let request: CreateRequest = serde_json::from_value(request).unwrap();
        self.end(self.control.containers.create(&anna(), request, None).await).await
    }

    async fn stop(&self, name: &str, timeout: Duration, kill: bool) -> Task {
        self.end(self.control.containers.stop(&anna(), name, timeout, kill, None).await).await
    }

    async fn restart_it(&self, name: &str, timeout: Duration, kill: bool) -> Task {
        self.end(self.control.containers.restart(&anna(), name, timeout, kill, None).await).await
    }

    async fn delete(&self, name: &str) -> ContainerId {
        let id = self.show(name).await.summary.id;
        let task = self.end(self.control.containers.delete(&anna(), name, true, false, None).await).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        id
    }

    async fn show(&self, name: &str) -> model::container::ContainerDetail {
        self.control.containers.show(&anna(), name).await.unwrap()
    }

    async fn state(&self, name: &str) -> ContainerState {
        self.show(name).await.summary.state
    }

    async fn until(&self, name: &str, state: ContainerState) {
        let mut events = self.control.events.subscribe();
        soon("the container changes", async {
            while self.state(name).await != state {
                events.recv().await.unwrap();
            }
        })
        .await;
    }

    async fn deaf(&self, name: &str) -> ContainerId {
        let task = self.create(name, true).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        let id = self.show(name).await.summary.id;
        self.engine.make_deaf(id);
        id
    }

    fn runs(&self, id: ContainerId) -> bool {
        self.engine.limits(id).is_some()
    }

    async fn range(&self) -> RangeRow {
        self.control.facts.get(&format!("range/{BLOCK:010}")).await.unwrap().unwrap().value
    }

    async fn claims(&self) -> usize {
        let mut claims = 0;
        for prefix in ["name/", "ip/berth0/", "mac/", "ct/", "trash/"] {
            claims += self.control.facts.list::<serde_json::Value>(prefix).await.unwrap().len();
        }
        claims
    }
}

async fn open(folder: &tempfile::TempDir, id_pool: (u32, u32), engine: &Arc<Fake>, store: &Arc<Memory>, clock: &Clock) -> Arc<Control> {
    let config = console::config(folder.path(), id_pool);
    Control::open(config, engine.clone(), store.clone(), clock.clone()).await.unwrap()
}

fn message(task: &Task) -> &str {
    assert_eq!(task.state, TaskState::Failed);
    &task.error.as_ref().unwrap().message
}

#[tokio::test]
async fn the_trash_is_kept_for_seven_days_to_the_millisecond() {
    let world = World::new(WIDE).await;
    world.create("web", false).await;
    let id = world.delete("web").await;
    let entry = world.control.containers.trash(&anna()).await.unwrap().remove(0);
    assert_eq!((entry.id, entry.name.as_str(), entry.deleted_by.as_str()), (id, "web", "anna"));
    assert_eq!(entry.expires_at.ms - entry.deleted_at.ms, 604_800_000);
    world.clock.advance(WEEK - Duration::from_millis(1));
    assert!(world.control.containers.expire().await.unwrap().is_empty());
    assert_eq!(world.engine.folders(), [(id, true)]);
    assert_eq!(world.range().await, RangeRow::Owner(id));
    world.clock.advance(Duration::from_millis(1));
    let begun = world.control.containers.expire().await.unwrap();
    assert_eq!(begun.len(), 1);
    assert_eq!(
        (begun[0].kind.as_str(), begun[0].target.as_str(), begun[0].user.as_str()),
        ("trash.purge", "web", "berth")
    );
    let task = world.end(Ok(begun[0].clone())).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert!(world.engine.folders().is_empty());
    assert_eq!(world.range().await, RangeRow::FreedAt(world.clock.now()));
    assert_eq!(world.claims().await, 0, "no name, no address, no row");
    assert!(world.control.containers.trash(&anna()).await.unwrap().is_empty());
    let gone = world.control.containers.restore(&anna(), id, None, None).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn a_name_that_is_taken_is_what_a_restore_is_refused_for() {
    let world = World::new(WIDE).await;
    for name in ["web", "db"] {
        world.create(name, false).await;
    }
    let id = world.delete("web").await;
    world.create("web", false).await;
    for as_name in [None, Some("web"), Some("db")] {
        let refused = world.control.containers.restore(&anna(), id, as_name, None).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.body.field.as_deref()),
            (ErrorCode::Conflict, Some("name")),
            "{as_name:?}"
        );
    }
}

#[tokio::test]
async fn what_expired_while_the_console_was_down_goes_at_the_next_start() {
    let mut world = World::new(WIDE).await;
    world.create("old", false).await;
    world.delete("old").await;
    world.clock.advance(Duration::from_secs(86_400));
    world.create("new", false).await;
    let new = world.delete("new").await;
    world.control.shut_down().await;
    world.clock.advance(WEEK - Duration::from_secs(86_400));
    world.restart().await;
    let mut events = world.control.events.subscribe();
    soon("the old one goes", async {
        while world.engine.folders().len() > 1 {
            events.recv().await.unwrap();
        }
    })
    .await;
    soon("the purge ends", world.control.tasks.settle()).await;
    assert_eq!(world.engine.folders(), [(new, true)]);
    let names: Vec<String> = world
        .control
        .containers
        .trash(&anna())
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["new"]);
}

#[tokio::test]
async fn a_clock_set_two_years_ahead_destroys_nothing_at_the_next_start() {
    let mut world = World::new(WIDE).await;
    world.create("web", false).await;
    let id = world.delete("web").await;
    assert!(world.control.containers.expire().await.unwrap().is_empty());
    let tasks = world.control.tasks.list(&anna()).await.unwrap().len();
    world.clock.set_ahead(Duration::from_secs(2 * 365 * 86_400));
    world.restart().await;
    // The first row after a start is when old ones are cleared away.
    let access = &world.control.access;
    access.record(&anna(), "test", "clock", "", true).await;
    access.flush().await;
    let actions: Vec<String> = access.audit(&anna(), None).await.unwrap().into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["test", "container.delete", "container.create"]);
    assert_eq!(world.control.tasks.list(&anna()).await.unwrap().len(), tasks);
    assert!(world.control.containers.expire().await.unwrap().is_empty());
    let entry = world.control.containers.trash(&anna()).await.unwrap().remove(0);
    assert_eq!(entry.id, id);
    assert_eq!(entry.expires_at, world.clock.now().plus_ms(604_800_000), "and moves with the clock");
    world.clock.advance(WEEK);
    assert_eq!(world.control.containers.expire().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_purge_that_fails_is_repeated_and_the_entry_can_only_go() {
    let world = World::new(WIDE).await;
    world.create("web", false).await;
    let id = world.delete("web").await;
    world.engine.fail("remove", 1);
    let task = world.end(world.control.containers.purge(&anna(), id).await).await;
    assert!(message(&task).contains("made to fail"));
    let entry = world.control.containers.trash(&anna()).await.unwrap().remove(0);
    assert!(entry.problem.unwrap().contains("made to fail"));
    let refused = world.control.containers.restore(&anna(), id, None, None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    assert_eq!(world.range().await, RangeRow::Owner(id), "its files may still be there");
    assert!(world.control.containers.expire().await.unwrap().is_empty(), "it rests first");
    world.clock.advance(Duration::from_secs(60));
    let begun = world.control.containers.expire().await.unwrap();
    assert_eq!(world.end(Ok(begun[0].clone())).await.state, TaskState::Done);
    assert_eq!((world.claims().await, world.engine.folders().len()), (0, 0));
}

#[tokio::test]
async fn ids_come_back_with_the_purge_and_not_before() {
    let world = World::new(NARROW).await;
    assert_eq!(world.create("web", false).await.state, TaskState::Done);
    assert_eq!(world.show("web").await.id_range, (BLOCK, 65_536));
    let full = world.create("db", false).await;
    assert_eq!(full.error.as_ref().unwrap().code, ErrorCode::NoSpace);
    let id = world.delete("web").await;
    let full = world.create("db", false).await;
    assert_eq!(full.error.as_ref().unwrap().code, ErrorCode::NoSpace, "the trash holds its ids");
    assert!(full.error.unwrap().hint.unwrap().contains("empty the trash"));
    world.end(world.control.containers.purge(&anna(), id).await).await;
    let task = world.create("db", false).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.show("db").await.id_range, (BLOCK, 65_536));
}

#[tokio::test]
async fn a_creation_that_fails_gives_ids_addresses_and_name_back() {
    let world = World::new(NARROW).await;
    for verb in ["create", "apply_network", "start"] {
        world.engine.fail(verb, 1);
        let task = world.create("web", true).await;
        assert!(message(&task).contains("made to fail"), "{verb}");
        assert_eq!((world.claims().await, world.engine.folders().len()), (0, 0), "{verb}");
        assert_eq!(world.range().await, RangeRow::FreedAt(world.clock.now()), "{verb}");
    }
    let task = world.create("web", true).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
}

#[tokio::test]
async fn the_trash_gives_a_container_back_as_it_was() {
    let world = World::new(NARROW).await;
    world.create("web", false).await;
    let before = world.show("web").await;
    let id = world.delete("web").await;
    let task = world.end(world.control.containers.restore(&anna(), id, None, None).await).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let after = world.show("web").await;
    assert_eq!((after.summary.id, after.id_range), (id, before.id_range));
    assert_eq!(after.nics, before.nics, "with the addresses that it had");
    assert_eq!(world.engine.folders(), [(id, false)]);
}

#[tokio::test]
async fn a_restart_is_a_stop_and_a_start() {
    let world = World::new(WIDE).await;
    world.create("web", true).await;
    let before = world.show("web").await.summary.started_at;
    let task = world.restart_it("web", HOUR, false).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let after = world.show("web").await;
    assert_eq!(after.summary.state, ContainerState::Running);
    assert!(after.summary.started_at > before);
    assert_eq!(after.exits.last().unwrap().reason, ExitReason::PowerOff);
    assert_eq!(after.summary.stop_deadline, None);
}

#[tokio::test]
async fn a_restart_that_init_does_not_hear_kills_nothing_and_starts_nothing() {
    let world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let started = world.show("web").await.summary.started_at;
    let task = world.restart_it("web", SHORT, false).await;
    assert!(message(&task).contains("still stopping; nothing was killed"), "{}", message(&task));
    let after = world.show("web").await;
    assert_eq!((after.summary.state, after.summary.started_at), (ContainerState::Stopping, started));
    assert!(after.exits.is_empty() && world.runs(id));
    let again = world.control.containers.restart(&anna(), "web", SHORT, false, None).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::Conflict, "it is stopping");
}

#[tokio::test]
async fn a_restart_may_kill_when_it_was_told_to() {
    let world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let task = world.restart_it("web", SHORT, true).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let after = world.show("web").await;
    assert_eq!(after.summary.state, ContainerState::Running);
    assert_eq!(after.exits.last().unwrap().reason, ExitReason::Killed);
    assert!(world.runs(id));
}

#[tokio::test]
async fn a_stop_may_kill_when_it_was_told_to() {
    let world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let task = world.stop("web", SHORT, true).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let after = world.show("web").await;
    assert_eq!((after.summary.state, world.runs(id)), (ContainerState::Stopped, false));
    assert_eq!(after.exits.last().unwrap().reason, ExitReason::Killed);
    // One that hears is never killed.
    world.create("db", true).await;
    assert_eq!(world.stop("db", HOUR, true).await.state, TaskState::Done);
    assert_eq!(world.show("db").await.exits.last().unwrap().reason, ExitReason::PowerOff);
}

#[tokio::test]
async fn after_a_time_out_it_is_still_stopping_until_it_ends() {
    let mut world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let task = world.stop("web", SHORT, false).await;
    assert!(message(&task).contains("has not stopped within 1 s"), "{}", message(&task));
    assert_eq!(world.state("web").await, ContainerState::Stopping);
    world.restart().await;
    assert_eq!(world.state("web").await, ContainerState::Stopping, "a new console knows it too");
    assert!(world.runs(id), "nothing was killed");
    let refused = world.control.containers.start(&anna(), "web", None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    world.engine.end(id, ExitReason::PowerOff, 0);
    world.until("web", ContainerState::Stopped).await;
    let start = world.end(world.control.containers.start(&anna(), "web", None).await).await;
    assert_eq!(start.state, TaskState::Done, "{:?}", start.error);
    assert_eq!(world.state("web").await, ContainerState::Running);
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_refused_in_one_sentence() {
    let world = World::new(WIDE).await;
    world.create("web", false).await;
    let containers = &world.control.containers;
    let told = |refused: control::Error| (refused.code(), refused.body.message, refused.body.hint);
    let conflict = |message: &str, hint: Option<&str>| (ErrorCode::Conflict, message.to_owned(), hint.map(str::to_owned));
    let stop = containers.stop(&anna(), "web", SHORT, false, None).await.unwrap_err();
    assert_eq!(told(stop), conflict("`web` is stopped already", None));
    let freeze = containers.freeze(&anna(), "web", None).await.unwrap_err();
    assert_eq!(told(freeze), conflict("`web` is stopped", Some("start it first")));
    world.end(containers.start(&anna(), "web", None).await).await;
    let start = containers.start(&anna(), "web", None).await.unwrap_err();
    assert_eq!(told(start), conflict("`web` runs already", None));
}

#[tokio::test]
async fn a_stop_ends_when_somebody_kills_meanwhile() {
    let world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let stop = world.control.containers.stop(&anna(), "web", HOUR, false, None).await;
    world.until("web", ContainerState::Stopping).await;
    let deadline = world.show("web").await.summary.stop_deadline.unwrap();
    assert_eq!(deadline.ms - world.clock.now().ms, 3_600_000);
    let other = world.control.containers.stop(&anna(), "web", HOUR, false, None).await.unwrap_err();
    assert_eq!(other.code(), ErrorCode::Conflict);
    let kill = world.end(world.control.containers.kill(&anna(), "web", None).await).await;
    assert_eq!(kill.state, TaskState::Done, "{:?}", kill.error);
    assert_eq!(world.end(stop).await.state, TaskState::Done, "it wanted it to end, and it has");
    assert_eq!((world.state("web").await, world.runs(id)), (ContainerState::Stopped, false));
}

#[tokio::test]
async fn a_stop_that_waits_goes_on_waiting_after_a_restart_of_the_console() {
    let mut world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let stop = world.control.containers.stop(&anna(), "web", HOUR, false, None).await.unwrap();
    world.until("web", ContainerState::Stopping).await;
    world.restart().await;
    assert_eq!(world.state("web").await, ContainerState::Stopping);
    world.engine.end(id, ExitReason::PowerOff, 0);
    assert_eq!(world.end(Ok(stop)).await.state, TaskState::Done);
    world.until("web", ContainerState::Stopped).await;
}

#[tokio::test]
async fn who_reboots_instead_of_stopping_is_asked_again() {
    let world = World::new(WIDE).await;
    let id = world.deaf("web").await;
    let stop = world.control.containers.stop(&anna(), "web", HOUR, false, None).await;
    world.until("web", ContainerState::Stopping).await;
    world.engine.make_hear(id);
    world.engine.start_again(id);
    assert_eq!(world.end(stop).await.state, TaskState::Done);
    assert_eq!((world.state("web").await, world.runs(id)), (ContainerState::Stopped, false));
}

#[tokio::test]
async fn forty_that_do_not_hear_keep_nobody_waiting() {
    let world = World::new(WIDE).await;
    let (containers, anna) = (&world.control.containers, anna());
    world.create("idle", false).await;
    for n in 0..40 {
        let name = format!("deaf{n}");
        world.deaf(&name).await;
        containers.stop(&anna, &name, HOUR, false, None).await.unwrap();
    }
    let start = world.end(containers.start(&anna, "idle", None).await).await;
    assert_eq!(start.state, TaskState::Done, "{:?}", start.error);
    let kill = world.end(containers.kill(&anna, "deaf39", None).await).await;
    assert_eq!(kill.state, TaskState::Done, "{:?}", kill.error);
    world.until("deaf39", ContainerState::Stopped).await;
    assert_eq!(world.create("another", true).await.state, TaskState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_right_after_a_deletion_does_not_mind_that_its_size_is_measured() {
    let world = World::new(WIDE).await;
    for n in 0..40 {
        let name = format!("web{n}");
        assert_eq!(world.create(&name, false).await.state, TaskState::Done);
        let id = world.delete(&name).await;
        let task = world.end(world.control.containers.purge(&anna(), id).await).await;
        assert_eq!(task.state, TaskState::Done, "{n}: {:?}", task.error);
    }
    assert_eq!((world.claims().await, world.engine.folders().len()), (0, 0));
}

/// The fake's clock is years behind the console's, as if somebody had set the host's back after the first try.
#[tokio::test]
async fn a_start_after_one_that_failed_is_seen_to_run_whatever_the_clock_says() {
    let world = World::new(WIDE).await;
    world.create("web", false).await;
    world.engine.fail("start", 1);
    let task = world.end(world.control.containers.start(&anna(), "web", None).await).await;
    assert!(message(&task).contains("made to fail"));
    let after = world.show("web").await;
    assert_eq!((after.summary.state, after.exits[0].reason), (ContainerState::Stopped, ExitReason::StartFailed));
    let task = world.end(world.control.containers.start(&anna(), "web", None).await).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.state("web").await, ContainerState::Running);
}

#[tokio::test]
async fn ends_are_seen_though_the_hosts_clock_was_set_back() {
    let mut world = World::new(WIDE).await;
    world.create("web", true).await;
    let id = world.show("web").await.summary.id;
    let started = world.show("web").await.summary.started_at.unwrap();
    let back = |hours: i64| Timestamp::from_ms(started.ms - hours * 3_600_000);
    for (hours, code) in [(1, 3), (2, 4), (2, 5)] {
        // The end lies before the start, and the second and third one before the first.
        world.engine.set_now(back(hours));
        world.engine.end(id, ExitReason::Exited, code);
        world.until("web", ContainerState::Stopped).await;
        let codes: Vec<i32> = world.show("web").await.exits.iter().map(|exit| exit.code).collect();
        assert_eq!(codes.last(), Some(&code), "{codes:?}");
        let task = world.end(world.control.containers.start(&anna(), "web", None).await).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        assert_eq!(world.state("web").await, ContainerState::Running);
    }
    // Neither a new console nor a stay in the trash makes old ends new.
    world.restart().await;
    assert_eq!(world.show("web").await.exits.len(), 3);
    world.delete("web").await;
    world.end(world.control.containers.restore(&anna(), id, None, None).await).await;
    world.restart().await;
    let codes: Vec<i32> = world.show("web").await.exits.iter().map(|exit| exit.code).collect();
    assert_eq!(codes[..3], [3, 4, 5]);
    assert_eq!((codes.len(), world.show("web").await.exits[3].reason), (4, ExitReason::Killed));
}

#[tokio::test]
async fn without_its_shim_a_container_is_started_again_by_the_console() {
    let mut world = World::new(WIDE).await;
    for policy in ["always", "on-failure"] {
        let task = world.create_as(policy, true, &[("restart", policy.into())]).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    }
    for name in ["always", "on-failure", "always"] {
        let before = world.show(name).await;
        world.engine.lose_shim(before.summary.id);
        world.engine.end(before.summary.id, ExitReason::Exited, 0);
        let back = world.next_run(name, before.summary.started_at).await;
        assert_eq!(back.exits.len(), before.exits.len() + 1);
        assert!(back.exits.last().unwrap().message.as_ref().unwrap().contains("its shim was gone"));
    }
    // The same while no console looked.
    let before = world.show("always").await.summary;
    world.control.shut_down().await;
    world.engine.lose(before.id);
    world.restart().await;
    world.next_run("always", before.started_at).await;
}

#[tokio::test]
async fn who_was_killed_without_its_shim_or_shall_not_come_back_stays_down() {
    use model::container::UpdateRequest;
    let world = World::new(WIDE).await;
    let killed = world.lasting("killed").await;
    let changed = world.lasting("changed").await;
    let once = world.create("once", true).await;
    assert_eq!(once.state, TaskState::Done, "{:?}", once.error);
    let once = world.show("once").await.summary.id;
    let last = world.lasting("last").await;
    let started = world.show("last").await.summary.started_at;
    for id in [killed, changed, once, last] {
        world.engine.lose_shim(id);
    }
    let kill = world.end(world.control.containers.kill(&anna(), "killed", None).await).await;
    assert_eq!(kill.state, TaskState::Done, "{:?}", kill.error);
    for (name, id) in [("once", once), ("changed", changed)] {
        world.engine.end(id, ExitReason::Exited, 0);
        world.until(name, ContainerState::Stopped).await;
    }
    let no = UpdateRequest {
        set: vec![("restart".into(), "no".into())],
    };
    world.control.containers.update(&anna(), "changed", no, None).await.unwrap();
    // Whose pause begins after that of the others is back when theirs would be over.
    world.engine.end(last, ExitReason::Exited, 0);
    world.next_run("last", started).await;
    let started: Vec<String> = world
        .control
        .tasks
        .list(&anna())
        .await
        .unwrap()
        .into_iter()
        .map(|task| format!("{} {}", task.kind, task.target))
        .collect();
    assert_eq!(
        started.iter().filter(|task| task.starts_with("container.start")).collect::<Vec<_>>(),
        ["container.start last"]
    );
    for name in ["killed", "changed", "once"] {
        assert_eq!(world.state(name).await, ContainerState::Stopped, "{name}");
    }
}

impl World {
    /// The run after the one that began then.
    async fn next_run(&self, name: &str, before: Option<Timestamp>) -> model::container::ContainerDetail {
        let mut events = self.control.events.subscribe();
        soon("it is started again", async {
            loop {
                let seen = self.show(name).await;
                if seen.summary.state == ContainerState::Running && seen.summary.started_at > before {
                    return seen;
                }
                events.recv().await.unwrap();
            }
        })
        .await
    }

    /// A running container that its policy starts again.
    async fn lasting(&self, name: &str) -> ContainerId {
        let task = self.create_as(name, true, &[("restart", "always".into())]).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
        self.show(name).await.summary.id
    }

    /// One that has ended by itself, and whose policy lets it wait before it starts it again.
    async fn waiting(&self, name: &str) {
        let id = self.lasting(name).await;
        self.engine.crash(id, 3, Timestamp::from_ms(1_795_132_803_000));
        self.until(name, ContainerState::Starting).await;
    }
}

#[tokio::test]
async fn who_is_started_again_tells_how_often_and_when() {
    let mut world = World::new(WIDE).await;
    let id = world.lasting("web").await;
    let mut events = world.control.events.subscribe();
    let next = Timestamp::from_ms(1_795_132_803_000);
    for restarts in 1..=2 {
        world.engine.crash(id, 3, next);
        world.until("web", ContainerState::Starting).await;
        let waiting = world.show("web").await;
        assert_eq!((waiting.restarts, waiting.next_start_at, waiting.summary.pid), (restarts, Some(next), None));
        assert_eq!(waiting.exits.len(), restarts as usize);
        world.engine.start_again(id);
        world.until("web", ContainerState::Running).await;
        let back = world.show("web").await;
        assert_eq!((back.restarts, back.next_start_at), (restarts, None));
    }
    let mut marks = Vec::new();
    while let Ok(seen) = events.try_recv() {
        if let model::event::Event::Container(change) = &*seen.event {
            marks.extend(change.mark.clone());
        }
    }
    assert_eq!(marks, ["exit", "start", "exit", "start"]);
    world.restart().await;
    assert_eq!(world.show("web").await.restarts, 2);
    world.restart_it("web", HOUR, false).await;
    assert_eq!(world.show("web").await.restarts, 0, "somebody asked for this start");
}

#[tokio::test]
async fn a_stop_calls_off_the_start_that_waits_for_its_time() {
    let world = World::new(WIDE).await;
    world.waiting("web").await;
    let task = world.stop("web", HOUR, false).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let after = world.show("web").await;
    assert_eq!(
        (after.summary.state, after.next_start_at, after.exits.len()),
        (ContainerState::Stopped, None, 1)
    );
}

#[tokio::test]
async fn limits_that_wait_for_the_next_start_are_named_one_by_one() {
    use model::container::UpdateRequest;
    let world = World::new(WIDE).await;
    world.waiting("web").await;
    let set = vec![("memory".into(), "256M".into()), ("pids".into(), "100".into())];
    let changed = world.control.containers.update(&anna(), "web", UpdateRequest { set }, None).await.unwrap();
    assert_eq!(changed.pending_restart, ["memory", "pids"]);
    world.stop("web", HOUR, false).await;
    assert_eq!(world.show("web").await.pending_restart, Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_restart_policy_holds_for_who_runs() {
    use model::container::{RestartPolicy, UpdateRequest};
    let mut world = World::new(WIDE).await;
    let id = world.lasting("web").await;
    let set = |policy: &str| UpdateRequest {
        set: vec![("restart".into(), policy.into())],
    };
    let changed = world.control.containers.update(&anna(), "web", set("on-failure"), None).await.unwrap();
    assert_eq!(world.engine.policy(id), Some(RestartPolicy::OnFailure));
    assert_eq!(changed.pending_restart, Vec::<String>::new());
    // Neither is true when the shim does not take it.
    world.engine.fail("set_restart", 1);
    world.control.containers.update(&anna(), "web", set("no"), None).await.unwrap_err();
    assert_eq!(world.show("web").await.spec.restart, RestartPolicy::OnFailure);
    // Written down by a console that was killed before it could tell.
    let key = format!("ct/{id}/spec");
    let mut row: serde_json::Value = world.control.facts.get(&key).await.unwrap().unwrap().value;
    row["spec"]["restart"] = "no".into();
    world.control.facts.change().put(&key, &row).commit().await.unwrap().unwrap();
    world.restart().await;
    assert_eq!(world.engine.policy(id), Some(RestartPolicy::No));
}

/// Virtual time: it leaps whenever nothing else is to be done.
#[tokio::test]
async fn with_the_host_starts_one_order_after_the_other_and_none_with_the_console() {
    let mut world = World::new(WIDE).await;
    for (name, order, delay) in [("web", None, 0), ("app", Some(7), 0), ("db", Some(2), 1800), ("cache", Some(2), 20)] {
        let more = [
            ("autostart", true.into()),
            ("autostart_order", order.into()),
            ("autostart_delay_seconds", delay.into()),
        ];
        world.create_as(name, false, &more).await;
    }
    world.create("other", false).await;
    world.restart().await;
    let all = ["cache", "db", "app", "web"];
    for name in all {
        assert_eq!(world.state(name).await, ContainerState::Stopped, "the console alone was started");
    }
    let mut events = world.control.events.subscribe();
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    world.control.containers.autostart("another boot").await.unwrap();
    let mut started = Vec::new();
    while started.len() < all.len() {
        if let model::event::Event::Container(change) = &*events.recv().await.unwrap().event
            && change.mark.as_deref() == Some("start")
        {
            started.push((change.name.clone(), begun.elapsed().as_secs()));
        }
    }
    started[..2].sort();
    let names: Vec<&str> = started.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, all);
    assert!(started[1].1 < 1800 && started[2].1 >= 1800 && started[3].1 < 2 * 1800, "{started:?}");
    tokio::time::resume();
    assert_eq!(world.state("other").await, ContainerState::Stopped);
}

impl World {
    /// Waits until what is written down about the start with the host is as wanted.
    async fn until_progress(&self, wanted: impl Fn(Option<&serde_json::Value>) -> bool) {
        let written = async || {
            self.control
                .facts
                .get::<serde_json::Value>("setting/autostart")
                .await
                .unwrap()
                .map(|fact| fact.value)
        };
        soon("it is written down", async {
            while !wanted(written().await.as_ref()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// The console is ended while the second turn waits; what people did meanwhile holds.
#[tokio::test]
async fn the_next_console_goes_on_with_what_starts_with_the_host() {
    let mut world = World::new(WIDE).await;
    for (name, order, delay) in [
        ("db", Some(1), 1800),
        ("cache", Some(1), 0),
        ("app", Some(2), 0),
        ("mail", Some(2), 0),
        ("wiki", Some(2), 0),
        ("web", None, 0),
    ] {
        let more = [
            ("autostart", true.into()),
            ("autostart_order", order.into()),
            ("autostart_delay_seconds", delay.into()),
        ];
        world.create_as(name, false, &more).await;
    }
    world.control.facts.change().put("setting/host-boot", &"another").commit().await.unwrap();
    world.restart().await;
    for name in ["db", "cache"] {
        world.until(name, ContainerState::Running).await;
    }
    world
        .until_progress(|progress| progress.is_some_and(|progress| !progress["done"].is_null()))
        .await;
    // Of the first turn one is stopped, of the second one came up and was stopped, and one shall no longer start.
    world.stop("cache", HOUR, false).await;
    world.end(world.control.containers.start(&anna(), "mail", None).await).await;
    world.stop("mail", HOUR, false).await;
    let off = model::container::UpdateRequest {
        set: vec![("autostart".into(), "off".into())],
    };
    world.control.containers.update(&anna(), "wiki", off, None).await.unwrap();
    world.clock.advance(Duration::from_secs(600));
    world.restart().await;
    assert_eq!(world.state("app").await, ContainerState::Stopped, "the next turn still waits");
    let begun = tokio::time::Instant::now();
    let mut events = world.control.events.subscribe();
    tokio::time::pause();
    let last = async {
        while world.state("web").await != ContainerState::Running {
            events.recv().await.unwrap();
        }
    };
    tokio::time::timeout(HOUR, last).await.expect("the last turn comes");
    let waited = begun.elapsed().as_secs();
    tokio::time::resume();
    assert!((1100..1800).contains(&waited), "it waited {waited} s more");
    assert_eq!(world.state("app").await, ContainerState::Running);
    for name in ["cache", "mail", "wiki"] {
        assert_eq!(world.state(name).await, ContainerState::Stopped, "{name}");
    }
    // It is over, and no later console begins anew.
    world.until_progress(|progress| progress.is_none()).await;
    world.stop("app", HOUR, false).await;
    world.restart().await;
    soon("nothing is left to do", world.control.tasks.settle()).await;
    assert_eq!(world.state("app").await, ContainerState::Stopped);
}

/// The console before was killed between its first start and what it wrote down of it.
#[tokio::test]
async fn a_turn_that_was_interrupted_is_repeated_without_starting_anybody_twice() {
    let mut world = World::new(WIDE).await;
    for (name, order) in [("db", 1), ("app", 2)] {
        world
            .create_as(name, false, &[("autostart", true.into()), ("autostart_order", order.into())])
            .await;
    }
    let db = world.show("db").await.summary.id;
    world.control.facts.change().put("setting/host-boot", &"another").commit().await.unwrap();
    world.engine.fail("start", 1);
    world.restart().await;
    world.until("app", ContainerState::Running).await;
    world.until_progress(|progress| progress.is_none()).await;
    assert_eq!(world.state("db").await, ContainerState::Stopped, "its start failed");
    let begun = serde_json::json!({
        "boot": std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "ends": { db.to_string(): 0 },
        "done": null,
        "next_at_ms": 0,
    });
    world.control.facts.change().put("setting/autostart", &begun).commit().await.unwrap();
    world.restart().await;
    world.until_progress(|progress| progress.is_none()).await;
    assert_eq!(world.state("db").await, ContainerState::Stopped);
    assert_eq!(world.show("db").await.exits.len(), 1, "it was tried once");
    assert!(!world.runs(db));
}

#[tokio::test]
async fn the_end_of_a_container_without_its_shim_is_on_record_and_it_starts_again() {
    let world = World::new(WIDE).await;
    world.create("web", true).await;
    let id = world.show("web").await.summary.id;
    world.engine.lose_shim(id);
    let mut events = world.control.events.subscribe();
    soon("it is shown", async {
        while !world.show("web").await.summary.degraded {
            events.recv().await.unwrap();
        }
    })
    .await;
    assert_eq!(world.state("web").await, ContainerState::Running);
    world.engine.end(id, ExitReason::Exited, 1);
    world.until("web", ContainerState::Stopped).await;
    let after = world.show("web").await;
    assert_eq!((after.exits.len(), after.summary.degraded), (1, false));
    assert!(after.exits[0].message.as_ref().unwrap().contains("its shim was gone"));
    let task = world.end(world.control.containers.start(&anna(), "web", None).await).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.show("web").await.exits.len(), 1);
}
