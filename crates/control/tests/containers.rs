//! Every verb on containers, through the whole of `control`, on the fake engine.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::time::Duration;

use control::clock::Clock;
use control::engine::Engine as _;
use control::engine::fake::Fake;
use control::exec::{Aside, Input, Output};
use control::store::memory::Memory;
use control::{Caller, Control};
use model::access::Role;
use model::container::{CreateRequest, ExitReason, UpdateRequest};
use model::engine::{ExecRequest, Listener};
use model::error::ErrorCode;
use model::id::ExecId;
use model::network::{NewNetwork, Protocol};
use model::task::{Task, TaskState};
use model::{ContainerId, ContainerState, Timestamp};

#[path = "world/console.rs"]
mod console;

use console::{WIDE, anna, config, soon};

struct World {
    control: Arc<Control>,
    engine: Arc<Fake>,
    store: Arc<Memory>,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, store) = (Arc::new(Fake::new()), Arc::new(Memory::new(Clock::System)));
        let control = open(&folder, &engine, &store).await;
        engine.add_layer(console::digest());
        console::add_template(&control.facts).await;
        Self {
            control,
            engine,
            store,
            folder,
        }
    }

    /// The console ends and another begins on the same state.
    async fn restart(&mut self) {
        self.control.shut_down().await;
        self.control = open(&self.folder, &self.engine, &self.store).await;
    }

    async fn end(&self, task: Task) -> Task {
        soon("the task ends", self.control.tasks.wait(task.id)).await.unwrap()
    }

    async fn create(&self, name: &str, start: bool) -> Task {
        let task = self.control.containers.create(&anna(), request(name, start), None).await.unwrap();
        self.end(task).await
    }

    async fn state(&self, name: &str) -> ContainerState {
        self.control.containers.show(&anna(), name).await.unwrap().summary.state
    }

    /// A shell with a terminal, opened by anna.
    async fn open_shell(&self, name: &str) -> ExecId {
        let request = ExecRequest {
            command: vec!["sh".into()],
            tty: true,
            ..ExecRequest::default()
        };
        self.control.exec.open(&anna(), name, request).await.unwrap()
    }

    async fn id(&self, name: &str) -> ContainerId {
        self.control.containers.show(&anna(), name).await.unwrap().summary.id
    }
}

async fn open(folder: &tempfile::TempDir, engine: &Arc<Fake>, store: &Arc<Memory>) -> Arc<Control> {
    let config = config(folder.path(), WIDE);
    Control::open(config, engine.clone(), store.clone(), Clock::System).await.unwrap()
}

fn request(name: &str, start: bool) -> CreateRequest {
    serde_json::from_value(serde_json::json!({ "name": name, "template": "local:test", "start": start })).unwrap()
}

#[tokio::test]
async fn a_container_lives_from_create_to_purge() {
    let world = World::new().await;
    let (containers, anna) = (&world.control.containers, anna());
    let task = world.create("web", true).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.state("web").await, ContainerState::Running);
    let id = world.id("web").await;
    assert_eq!(world.engine.networks().len(), 1);
    world.end(containers.freeze(&anna, "web", None).await.unwrap()).await;
    assert_eq!(world.state("web").await, ContainerState::Frozen);
    world.end(containers.unfreeze(&anna, "web", None).await.unwrap()).await;
    assert_eq!(world.state("web").await, ContainerState::Running);
    let stop = world
        .end(containers.stop(&anna, "web", Duration::from_secs(5), false, None).await.unwrap())
        .await;
    assert_eq!(stop.state, TaskState::Done, "{:?}", stop.error);
    assert_eq!(world.state("web").await, ContainerState::Stopped);
    world.end(containers.delete(&anna, "web", false, false, None).await.unwrap()).await;
    assert!(containers.list(&anna).await.unwrap().is_empty());
    assert_eq!(world.engine.folders(), [(id, true)]);
    assert!(world.engine.networks().is_empty(), "the network goes with its last user");
    let restored = world.end(containers.restore(&anna, id, Some("web2"), None).await.unwrap()).await;
    assert_eq!(restored.state, TaskState::Done, "{:?}", restored.error);
    assert_eq!(world.state("web2").await, ContainerState::Stopped);
    world.end(containers.delete(&anna, "web2", false, true, None).await.unwrap()).await;
    assert!(world.engine.folders().is_empty());
    assert!(containers.trash(&anna).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_second_bridge_is_there_while_containers_join_it() {
    let world = World::new().await;
    let (containers, anna) = (&world.control.containers, anna());
    let add = |text: serde_json::Value| containers.add_network(&anna, serde_json::from_value(text).unwrap());
    let lan = add(serde_json::json!({ "bridge": "bt-lan1" })).await.unwrap();
    assert!(!lan.up && lan.leases.is_empty());
    assert!(world.engine.networks().is_empty(), "nothing is made before a container needs it");
    for (bad, code) in [
        (serde_json::json!({ "bridge": "bt-lan1" }), ErrorCode::Conflict),
        (serde_json::json!({ "bridge": "lo" }), ErrorCode::Conflict),
        (serde_json::json!({ "bridge": "bt-lan2", "subnet": lan.ipv4 }), ErrorCode::Conflict),
        (serde_json::json!({ "bridge": "bt-lan2", "subnet": "10.213.4.0/22" }), ErrorCode::Invalid),
        (serde_json::json!({ "bridge": "../x" }), ErrorCode::Invalid),
    ] {
        assert_eq!(add(bad.clone()).await.unwrap_err().code(), code, "{bad}");
    }
    let mut asked = request("web", false);
    asked.spec.nics = vec!["".parse().unwrap(), "bridge=bt-lan1".parse().unwrap()];
    let task = world.end(containers.create(&anna, asked, None).await.unwrap()).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let nics = containers.show(&anna, "web").await.unwrap().nics;
    let default = nics[0].bridge.clone();
    assert_eq!(nics[1].bridge, "bt-lan1");
    assert!(lan.ipv4.contains(nics[1].ipv4.as_ref().unwrap().split('/').next().unwrap().parse().unwrap()));
    let plans = world.engine.networks();
    let apart: Vec<_> = plans.iter().map(|plan| (plan.bridge.clone(), plan.nics.len(), plan.apart.clone())).collect();
    assert!(apart.contains(&(default.clone(), 1, vec!["bt-lan1".into()])), "{apart:?}");
    assert!(apart.contains(&("bt-lan1".into(), 1, vec![default.clone()])), "{apart:?}");
    let refused = containers.remove_network(&anna, "bt-lan1").await.unwrap_err();
    assert!(refused.to_string().starts_with("the container `web` joins bt-lan1"), "{refused}");
    let set = |nic: &str| UpdateRequest {
        set: vec![("nic".to_owned(), nic.to_owned())],
    };
    // The MAC is the NIC's, whichever bridge it joins.
    containers.update(&anna, "web", set("bridge=bt-lan1"), None).await.unwrap();
    let moved = containers.show(&anna, "web").await.unwrap().nics;
    assert_eq!((moved.len(), &moved[0].mac, moved[0].bridge.as_str()), (1, &nics[0].mac, "bt-lan1"));
    containers.update(&anna, "web", set(""), None).await.unwrap();
    assert_eq!(world.engine.networks().len(), 1, "a bridge goes with its last NIC");
    containers.remove_network(&anna, "bt-lan1").await.unwrap();
    assert_eq!(containers.remove_network(&anna, "bt-lan1").await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(containers.remove_network(&anna, &default).await.unwrap_err().code(), ErrorCode::Conflict);
    world.control.shut_down().await;
}

#[tokio::test]
async fn a_bridge_that_cannot_be_made_keeps_only_those_who_join_it_from_starting() {
    let world = World::new().await;
    let (containers, anna) = (&world.control.containers, anna());
    let lan: NewNetwork = serde_json::from_value(serde_json::json!({ "bridge": "bt-lan1" })).unwrap();
    containers.add_network(&anna, lan).await.unwrap();
    for (name, nic) in [("web", ""), ("db", "bridge=bt-lan1"), ("old", "bridge=bt-lan1")] {
        let mut asked = request(name, false);
        asked.spec.nics = vec![nic.parse().unwrap()];
        let task = world.end(containers.create(&anna, asked, None).await.unwrap()).await;
        assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    }
    let default = containers.show(&anna, "web").await.unwrap().nics[0].bridge.clone();
    for (broken, others, joins) in [("bt-lan1", "web", "db"), (default.as_str(), "db", "web")] {
        world.engine.break_network(broken, true);
        // As the minute's look at the host finds it.
        let told = containers.refresh_network().await.unwrap_err();
        assert!(told.to_string().starts_with(&format!("{broken}: make the bridge: ")), "{told}");
        let refused = world.end(containers.start(&anna, joins, None).await.unwrap()).await;
        assert!(refused.error.unwrap().message.contains("broken by the test"), "{joins}");
        let started = world.end(containers.start(&anna, others, None).await.unwrap()).await;
        assert_eq!(started.state, TaskState::Done, "{others}: {:?}", started.error);
        world.end(containers.kill(&anna, others, None).await.unwrap()).await;
        world.engine.break_network(broken, false);
        let started = world.end(containers.start(&anna, joins, None).await.unwrap()).await;
        assert_eq!(started.state, TaskState::Done, "{joins}: {:?}", started.error);
        world.end(containers.kill(&anna, joins, None).await.unwrap()).await;
    }
    // Nobody is kept here by a bridge that is broken.
    world.engine.break_network("bt-lan1", true);
    let deleted = world.end(containers.delete(&anna, "old", false, false, None).await.unwrap()).await;
    assert_eq!(deleted.state, TaskState::Done, "{:?}", deleted.error);
    world.control.shut_down().await;
}

#[tokio::test]
async fn a_container_of_a_template_that_is_here_takes_four_durable_writes_and_the_audit_logs() {
    let world = World::new().await;
    let write = || async { world.control.facts.change().put("x", &0).commit().await.unwrap().unwrap() };
    world.create("first", false).await;
    world.control.access.flush().await;
    let before = write().await;
    world.create("web", false).await;
    let after = write().await;
    // The task with its first step; what the container claims with the next one; that it is made, likewise; the end. Beside
    // them, and waited for by the answer alone, who asked for it.
    assert_eq!(after - before - 1, 4 + 1);
    world.control.shut_down().await;
}

#[tokio::test]
async fn what_a_container_takes_on_disk_is_measured_shown_and_kept() {
    let world = World::new().await;
    let (metrics, anna) = (&world.control.metrics, anna());
    let mut ticks = metrics.subscribe();
    world.create("web", true).await;
    let kept = async {
        loop {
            let at_ms = ticks.recv().await.unwrap().at_ms;
            let (from, to) = (Timestamp::from_ms(at_ms - 60_000), Timestamp::from_ms(at_ms + 1000));
            let mut series = metrics.history(&anna, "web", from, to, Some(1000)).await.unwrap().series;
            if let (Some(used), Some(inodes)) = (series.remove("disk./.used"), series.remove("disk./.inodes")) {
                return (used.max.into_iter().flatten().last(), inodes.max.into_iter().flatten().last());
            }
        }
    };
    let kept = tokio::time::timeout(Duration::from_secs(20), kept).await.expect("it is measured");
    assert_eq!(kept, (Some(12_288.0), Some(3.0)));
    let stats = metrics.stats(&anna, &["web".into()]).await.unwrap().remove(0);
    let disk = stats.counters.disk.first().unwrap();
    assert_eq!((disk.mount.as_str(), disk.used_bytes, disk.used_inodes), ("/", Some(12_288), Some(3)));
    assert!(disk.measured_at.is_some());
    world.control.shut_down().await;
}

#[tokio::test]
async fn a_failed_start_leaves_nothing_of_a_new_container() {
    let world = World::new().await;
    world.engine.fail("start", 1);
    let task = world.create("web", true).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.error.unwrap().message.contains("start: made to fail"));
    assert!(world.engine.folders().is_empty() && world.engine.networks().is_empty());
    assert_eq!(world.create("web", true).await.state, TaskState::Done, "the name and the ids are free again");
}

#[tokio::test]
async fn a_published_port_takes_nothing_from_a_service_of_the_host() {
    let world = World::new().await;
    let containers = &world.control.containers;
    let sshd = Listener {
        protocol: Protocol::Tcp,
        address: "0.0.0.0".parse().unwrap(),
        port: 22,
        program: Some("sshd".into()),
    };
    let told = "port 22/tcp of the host is in use: `sshd` listens";
    let mut asked = request("web", true);
    asked.spec.publish = vec!["22:22".parse().unwrap()];
    asked.spec.nics = vec!["".parse().unwrap()];
    world.engine.set_listeners(vec![sshd.clone()]);
    let refused = containers.create(&anna(), asked.clone(), None).await.unwrap_err();
    assert_eq!((refused.code(), refused.body.message.as_str()), (ErrorCode::Conflict, told));
    world.engine.set_listeners(Vec::new());
    let created = world.end(containers.create(&anna(), asked, None).await.unwrap()).await;
    assert_eq!(created.state, TaskState::Done, "{:?}", created.error);
    // The service comes later: what runs goes on, and other settings change, but no start and no further port takes over.
    world.engine.set_listeners(vec![sshd.clone(), Listener { port: 25, ..sshd }]);
    let set = |key: &str, value: &str| UpdateRequest {
        set: vec![(key.to_owned(), value.to_owned())],
    };
    containers.update(&anna(), "web", set("notes", "x"), None).await.unwrap();
    let refused = containers.update(&anna(), "web", set("publish", "22:22,25:25"), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict, "{refused}");
    let restarted = containers.restart(&anna(), "web", Duration::from_secs(5), false, None).await.unwrap();
    let error = world.end(restarted).await.error.unwrap();
    assert_eq!((error.code, error.message), (ErrorCode::Conflict, format!("publish the ports: {told}")));
    assert_eq!(world.state("web").await, ContainerState::Stopped);
    world.engine.set_listeners(Vec::new());
    let started = world.end(containers.start(&anna(), "web", None).await.unwrap()).await;
    assert_eq!(started.state, TaskState::Done, "{:?}", started.error);
    world.control.shut_down().await;
}

#[tokio::test]
async fn ports_of_the_host_lead_to_whoever_runs() {
    let world = World::new().await;
    let (containers, anna) = (&world.control.containers, anna());
    let published = || {
        let plan = world.engine.networks().remove(0);
        plan.nics
            .iter()
            .flat_map(|nic| nic.publish.clone())
            .map(|ports| ports.to_string())
            .collect::<Vec<_>>()
    };
    let closed = async || {
        while !published().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let mut asked = request("web", false);
    asked.spec.publish = vec!["8000-8010:9000-9010".parse().unwrap(), "53:53/udp".parse().unwrap()];
    asked.spec.nics = vec!["".parse().unwrap()];
    world.end(containers.create(&anna, asked, None).await.unwrap()).await;
    assert!(published().is_empty(), "it is stopped");
    let started = world.end(containers.start(&anna, "web", None).await.unwrap()).await;
    assert_eq!(started.state, TaskState::Done, "{:?}", started.error);
    let all = ["8000-8010:9000-9010", "53:53/udp"];
    assert_eq!(published(), all);
    let set = |text: &str| UpdateRequest {
        set: vec![("publish".to_owned(), text.to_owned())],
    };
    containers.update(&anna, "web", set("53:53/udp"), None).await.unwrap();
    assert_eq!(published(), all[1..]);
    // It ends by itself.
    world.engine.end(world.id("web").await, ExitReason::Exited, 0);
    soon("its ports are closed", closed()).await;
    world.engine.fail("start", 1);
    let failed = world.end(containers.start(&anna, "web", None).await.unwrap()).await;
    assert_eq!(failed.state, TaskState::Failed);
    assert!(published().is_empty(), "it did not start");
    world.end(containers.start(&anna, "web", None).await.unwrap()).await;
    assert_eq!(published(), all[1..]);
    world.end(containers.kill(&anna, "web", None).await.unwrap()).await;
    assert!(published().is_empty(), "it was killed");
    world.end(containers.start(&anna, "web", None).await.unwrap()).await;
    let stop = containers.stop(&anna, "web", Duration::from_secs(5), false, None).await.unwrap();
    world.end(stop).await;
    assert!(published().is_empty(), "it was stopped");
    world.control.shut_down().await;
}

#[tokio::test]
async fn rules_of_the_firewall_follow_their_container() {
    let world = World::new().await;
    let (containers, anna) = (&world.control.containers, anna());
    let rules = || {
        let plan = world.engine.networks().remove(0);
        let shown = |nic: &model::engine::NetworkNic| (nic.container.to_string(), nic.firewall.iter().map(ToString::to_string).collect());
        plan.nics.iter().map(shown).collect::<Vec<(String, Vec<String>)>>()
    };
    let asked = serde_json::json!({ "name": "web", "template": "local:test", "nics": [{}, {}], "firewall": ["deny in tcp 22"] });
    world
        .end(containers.create(&anna, serde_json::from_value(asked).unwrap(), None).await.unwrap())
        .await;
    let first = vec!["deny in tcp 22".to_owned()];
    assert_eq!(rules(), [("web".to_owned(), first.clone()), ("web".to_owned(), first.clone())], "on every NIC");
    let set = |texts: &[&str]| UpdateRequest {
        set: texts.iter().map(|text| ("firewall".to_owned(), (*text).to_owned())).collect(),
    };
    let refused = containers.update(&anna, "web", set(&["deny in 22"]), None).await.unwrap_err();
    assert_eq!((refused.code(), refused.body.field.as_deref()), (ErrorCode::Invalid, Some("firewall")));
    let refused = containers.update(&anna, "web", set(&["deny in"; 65]), None).await.unwrap_err();
    assert_eq!((refused.code(), refused.body.field.as_deref()), (ErrorCode::Invalid, Some("firewall")));
    world.end(containers.start(&anna, "web", None).await.unwrap()).await;
    let changed = containers.update(&anna, "web", set(&["allow in tcp 443", "deny in"]), None).await.unwrap();
    assert!(changed.pending_restart.is_empty(), "rules hold at once: {:?}", changed.pending_restart);
    let second = vec!["allow in tcp 443".to_owned(), "deny in".to_owned()];
    assert_eq!(rules()[0].1, second);
    world
        .end(containers.restart(&anna, "web", Duration::from_secs(5), true, None).await.unwrap())
        .await;
    world.end(containers.kill(&anna, "web", None).await.unwrap()).await;
    containers.rename(&anna, "web", "site", None).await.unwrap();
    assert_eq!(rules()[1], ("site".to_owned(), second.clone()));
    let id = world.id("site").await;
    world.end(containers.delete(&anna, "site", false, false, None).await.unwrap()).await;
    assert!(world.engine.networks().is_empty());
    world.end(containers.restore(&anna, id, None, None).await.unwrap()).await;
    assert_eq!(rules()[0].1, second);
    containers.update(&anna, "site", set(&["none"]), None).await.unwrap();
    assert!(rules()[0].1.is_empty());
    world.control.shut_down().await;
}

#[tokio::test]
async fn a_name_is_taken_once_even_at_the_same_moment() {
    let world = World::new().await;
    let caller = anna();
    let create = || world.control.containers.create(&caller, request("web", false), None);
    let (one, other) = tokio::join!(create(), create());
    let refused: Vec<_> = [&one, &other]
        .into_iter()
        .filter_map(|answer| answer.as_ref().err())
        .map(control::Error::code)
        .collect();
    assert_eq!(refused, [ErrorCode::Conflict]);
}

#[tokio::test]
async fn nothing_is_killed_unasked() {
    let world = World::new().await;
    world.create("web", true).await;
    world.engine.make_deaf(world.id("web").await);
    let stop = |kill| world.control.containers.stop(&CALLER, "web", Duration::from_millis(50), kill, None);
    static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(anna);
    let task = world.end(stop(false).await.unwrap()).await;
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(world.state("web").await, ContainerState::Stopping);
    let task = world.end(world.control.containers.kill(&CALLER, "web", None).await.unwrap()).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    assert_eq!(world.state("web").await, ContainerState::Stopped);
}

#[tokio::test]
async fn limits_change_at_once_or_not_at_all() {
    let world = World::new().await;
    world.create("web", true).await;
    let (containers, anna, id) = (&world.control.containers, anna(), world.id("web").await);
    let set = |pairs: &[(&str, &str)]| UpdateRequest {
        set: pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    let detail = containers.update(&anna, "web", set(&[("memory", "256M")]), None).await.unwrap();
    assert_eq!(world.engine.limits(id).unwrap().memory_bytes, Some(256 << 20));
    let stale = containers.update(&anna, "web", set(&[("memory", "128M")]), Some("1")).await.unwrap_err();
    assert_eq!(stale.code(), ErrorCode::Stale);
    world.engine.fail("set_limits", 1);
    let refused = containers.update(&anna, "web", set(&[("memory", "64M")]), Some(&detail.etag)).await;
    assert!(refused.is_err());
    assert_eq!(containers.show(&anna, "web").await.unwrap().spec.limits.memory_bytes, Some(256 << 20));
}

#[tokio::test]
async fn a_new_console_finds_what_ran() {
    let mut world = World::new().await;
    world.create("web", true).await;
    world.create("db", false).await;
    world.restart().await;
    assert_eq!(world.state("web").await, ContainerState::Running);
    assert_eq!(world.state("db").await, ContainerState::Stopped);
    world.engine.end(world.id("web").await, ExitReason::Exited, 3);
    let exits = tokio::time::timeout(Duration::from_secs(5), async {
        let mut events = world.control.events.subscribe();
        while world.state("web").await != ContainerState::Stopped {
            events.recv().await.unwrap();
        }
        world.control.containers.show(&anna(), "web").await.unwrap().exits
    });
    assert_eq!(exits.await.unwrap().last().unwrap().code, 3);
}

#[tokio::test]
async fn a_terminal_is_attached_again_with_its_scrollback() {
    let world = World::new().await;
    world.create("web", true).await;
    let (execs, anna) = (&world.control.exec, anna());
    let exec = world.open_shell("web").await;
    let first = execs.attach(&anna, "web", exec).await.unwrap();
    first.asides.send(Aside::Resize { cols: 80, rows: 24 }).await.unwrap();
    drop(first);
    world.engine.finish_exec(world.id("web").await, exec, b"hello\r\n", 7);
    let mut seen = Vec::new();
    let code = loop {
        let mut again = execs.attach(&anna, "web", exec).await.unwrap();
        seen.clone_from(&again.replay);
        let mut code = None;
        while let Some(output) = again.output.recv().await {
            match output {
                Output::Bytes { bytes, .. } => seen.extend(bytes),
                Output::Exit { code: exit, .. } => {
                    code = Some(exit);
                    break;
                }
            }
        }
        if let Some(code) = code {
            break code;
        }
    };
    assert_eq!((seen.as_slice(), code), (&b"hello\r\n"[..], 7));
    let other = Caller::socket("bert");
    assert_eq!(execs.attach(&other, "web", exec).await.unwrap_err().code(), ErrorCode::NotFound);
}

#[tokio::test]
async fn who_comes_back_to_a_shell_is_told_that_its_container_ended() {
    let world = World::new().await;
    world.create("web", true).await;
    let (execs, anna) = (&world.control.exec, anna());
    let exec = world.open_shell("web").await;
    drop(execs.attach(&anna, "web", exec).await.unwrap());
    let mut events = world.control.events.subscribe();
    world.engine.end(world.id("web").await, ExitReason::Exited, 0);
    while world.state("web").await != ContainerState::Stopped {
        soon("its end is heard of", events.recv()).await.unwrap();
    }
    let mut again = execs.attach(&anna, "web", exec).await.unwrap();
    let told = soon("its end is told", again.output.recv()).await;
    let reason = "the container ended".to_owned();
    assert_eq!(told, Some(Output::Exit { code: 137, reason }));
}

/// An operator who comes in by a token of the name `job`.
async fn job(world: &World) -> Caller {
    let access = &world.control.access;
    let token = access.create_token(&anna(), "job", Role::Operator, None).await.unwrap().token;
    access.caller_of_token(&token, "test").await.unwrap()
}

#[tokio::test]
async fn a_command_that_reads_nothing_is_still_told_and_let_go() {
    let world = World::new().await;
    world.create("web", true).await;
    let (execs, access) = (&world.control.exec, &world.control.access);
    let caller = job(&world).await;
    let stuck = async || {
        let request = ExecRequest {
            command: vec!["sleep".into()],
            ..ExecRequest::default()
        };
        let exec = execs.open(&caller, "web", request).await.unwrap();
        let attached = execs.attach(&caller, "web", exec).await.unwrap();
        // Pipe and queues are full when the next piece finds no room.
        let piece = || Input::Bytes(vec![0; 64 << 10]);
        while let Ok(sent) = tokio::time::timeout(Duration::from_millis(200), attached.input.send(piece())).await {
            sent.unwrap();
        }
        attached
    };
    let mut interrupted = stuck().await;
    interrupted.asides.send(Aside::Signal("INT".into())).await.unwrap();
    let exit = soon("the signal arrives", interrupted.output.recv()).await;
    assert_eq!(
        exit,
        Some(Output::Exit {
            code: 130,
            reason: String::new()
        })
    );
    let mut revoked = stuck().await;
    access.revoke_token(&anna(), "job").await.unwrap();
    soon("the attachment ends", async { while revoked.output.recv().await.is_some() {} }).await;
    assert!(revoked.signed_out.is_cancelled());
}

fn command(words: &[&str]) -> ExecRequest {
    ExecRequest {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        tty: true,
        ..ExecRequest::default()
    }
}

#[tokio::test]
async fn a_terminal_ends_with_the_last_sign_in_that_used_it() {
    const PASSWORD: &str = "correct horse battery";
    let world = World::new().await;
    world.create("web", true).await;
    let (execs, access) = (&world.control.exec, &world.control.access);
    let sign_in = async || access.sign_in("bert", PASSWORD, "192.0.2.7", "test").await.unwrap().caller;
    access.add_user(&anna(), "bert", Role::Operator, PASSWORD).await.unwrap();
    let (laptop, desk) = (sign_in().await, sign_in().await);
    let own = execs.open(&laptop, "web", command(&["sh"])).await.unwrap();
    let shared = execs.open(&laptop, "web", command(&["sh"])).await.unwrap();
    let mut kept = execs.attach(&desk, "web", shared).await.unwrap();
    let of_anna = execs.open(&anna(), "web", command(&["sh"])).await.unwrap();
    access.sign_out(&laptop).await.unwrap();
    let only_the_shared = async {
        while execs.list(&desk, "web").await.unwrap().iter().any(|info| info.id == own) {
            tokio::task::yield_now().await;
        }
    };
    soon("the terminal of the sign-in ends", only_the_shared).await;
    let listed: Vec<_> = execs.list(&desk, "web").await.unwrap().into_iter().map(|info| (info.id, info.exit)).collect();
    assert_eq!(listed, [(shared, None)]);
    access.remove_user(&anna(), "bert").await.unwrap();
    soon("the attachment ends", async { while kept.output.recv().await.is_some() {} }).await;
    access.add_user(&anna(), "bert", Role::Operator, PASSWORD).await.unwrap();
    let namesake = sign_in().await;
    let foreign = execs.attach(&namesake, "web", shared).await.unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::NotFound);
    assert!(foreign.body.message.contains("or the console was started anew"), "{foreign}");
    assert!(execs.list(&namesake, "web").await.unwrap().is_empty());
    assert_eq!(
        execs.list(&anna(), "web").await.unwrap().first().map(|info| (info.id, info.exit)),
        Some((of_anna, None))
    );
}

#[tokio::test]
async fn what_does_not_mind_its_hang_up_is_killed_and_counts_until_then() {
    let world = World::new().await;
    world.create("web", true).await;
    let (execs, access) = (&world.control.exec, &world.control.access);
    let caller = job(&world).await;
    let mut deaf = command(&["nohup", "sleep"]);
    deaf.tty = false;
    for _ in 0..20 {
        execs.open(&caller, "web", deaf.clone()).await.unwrap();
    }
    access.revoke_token(&anna(), "job").await.unwrap();
    tokio::time::pause();
    let (since, deadline) = (tokio::time::Instant::now(), std::time::Instant::now() + console::DEADLINE);
    while let Err(full) = execs.open(&anna(), "web", command(&["sh"])).await {
        assert!(full.body.message.starts_with("20 commands run in this container"), "{full}");
        assert!(std::time::Instant::now() < deadline, "they are not killed");
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert!(since.elapsed() >= Duration::from_secs(5), "they had {:?}", since.elapsed());
}

#[tokio::test]
async fn an_interrupt_gets_through_a_flood_on_the_console() {
    let world = World::new().await;
    world.create("web", true).await;
    let mut console = world.control.exec.console(&anna(), "web").await.unwrap();
    assert_eq!(console.replay, b"fake login: ");
    console.asides.send(Aside::Ack(0)).await.unwrap();
    let mut inside = world.engine.consoles(world.id("web").await).pop().unwrap();
    let mut printing = inside.try_clone().unwrap();
    // As a program that prints without end; it is cut off when the console ends.
    std::thread::spawn(move || while std::io::Write::write_all(&mut printing, &[b'y'; 4096]).is_ok() {});
    let mut got = 0;
    while got < 256 << 10 {
        if let Some(Output::Bytes { bytes, .. }) = console.output.recv().await {
            got += bytes.len();
        }
    }
    console.input.send(Input::Bytes(vec![3])).await.unwrap();
    let typed = tokio::task::spawn_blocking(move || {
        let mut byte = [0];
        inside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::io::Read::read_exact(&mut inside, &mut byte).map(|()| byte)
    });
    assert_eq!(typed.await.unwrap().unwrap(), [3]);
    let more = tokio::time::timeout(Duration::from_millis(300), async {
        let mut more = 0;
        while let Some(Output::Bytes { bytes, .. }) = console.output.recv().await {
            more += bytes.len();
        }
        more
    });
    assert!(more.await.is_err(), "the window is full: nothing ends, and nothing more comes");
    console.asides.send(Aside::Ack(256 << 10)).await.unwrap();
    assert!(matches!(console.output.recv().await, Some(Output::Bytes { .. })));
}

#[tokio::test]
async fn the_console_of_a_stopped_container_shows_its_log_and_ends() {
    let world = World::new().await;
    world.create("web", false).await;
    let mut never = world.control.exec.console(&anna(), "web").await.unwrap();
    assert!(never.replay.is_empty());
    assert!(matches!(never.output.recv().await, Some(Output::Exit { .. })));
    world.end(world.control.containers.start(&anna(), "web", None).await.unwrap()).await;
    world.end(world.control.containers.kill(&anna(), "web", None).await.unwrap()).await;
    let mut console = world.control.exec.console(&anna(), "web").await.unwrap();
    assert_eq!(console.replay, b"fake login: ");
    assert!(matches!(console.output.recv().await, Some(Output::Exit { .. })));
    assert!(console.output.recv().await.is_none());
}

#[tokio::test]
async fn sources_that_are_due_are_read_by_a_task_that_pages_hear_of() {
    let world = World::new().await;
    let mut events = world.control.events.subscribe();
    world.control.templates.refresh_stale().await;
    let tasks = world.control.tasks.list(&anna()).await.unwrap();
    let refresh = tasks.iter().find(|task| task.kind == "source.refresh").expect("a task");
    assert_eq!(refresh.user, "berth");
    let heard = tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap().unwrap();
    assert!(matches!(heard.event.as_ref(), model::event::Event::Task(task) if task.id == refresh.id));
    world.control.tasks.cancel(&anna(), refresh.id).await.ok();
}

#[tokio::test]
async fn a_run_that_went_down_with_the_host_is_told_so_and_can_start_again() {
    let mut world = World::new().await;
    world.create("web", true).await;
    // The fake's time lies before this host's boot.
    world.engine.lose(world.id("web").await);
    world.restart().await;
    let detail = world.control.containers.show(&anna(), "web").await.unwrap();
    assert_eq!(detail.summary.state, ContainerState::Stopped);
    assert_eq!(detail.exits.last().map(|exit| exit.reason), Some(ExitReason::HostDown));
    assert!(detail.pending_restart.is_empty() && detail.summary.started_at.is_none());
    let again = world.control.containers.start(&anna(), "web", None).await.unwrap();
    assert_eq!(world.end(again).await.state, TaskState::Done);
    world.restart().await;
    assert_eq!(world.state("web").await, ContainerState::Running);
    assert_eq!(world.control.containers.show(&anna(), "web").await.unwrap().exits.len(), detail.exits.len());
}

#[tokio::test]
async fn a_run_without_a_record_of_its_end_has_ended_all_the_same() {
    let mut world = World::new().await;
    world.create("web", true).await;
    world.end(world.control.containers.kill(&anna(), "web", None).await.unwrap()).await;
    // An older record than this start: what is looked at now holds all the same.
    world.engine.set_now(Clock::System.now());
    world.end(world.control.containers.start(&anna(), "web", None).await.unwrap()).await;
    world.engine.lose(world.id("web").await);
    world.restart().await;
    let detail = world.control.containers.show(&anna(), "web").await.unwrap();
    assert_eq!(detail.summary.state, ContainerState::Stopped);
    let last = detail.exits.last().unwrap();
    assert_eq!((last.reason, last.code, last.message.is_some()), (ExitReason::Exited, 255, true));
    assert_eq!(detail.exits.len(), 2);
}

#[tokio::test]
async fn a_command_that_would_arrive_cut_is_refused_before_it_runs() {
    let world = World::new().await;
    world.create("web", true).await;
    for argument in ["a\0b".to_owned(), "x".repeat(200_000)] {
        let request = ExecRequest {
            command: vec!["rm".into(), argument],
            ..ExecRequest::default()
        };
        let refused = world.control.exec.open(&anna(), "web", request).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Invalid, "{refused}");
    }
    assert!(world.control.exec.list(&anna(), "web").await.unwrap().is_empty());
}

fn with_mounts(name: &str, mounts: &[&str]) -> CreateRequest {
    let mut request = request(name, true);
    request.spec.mounts = mounts.iter().map(|mount| mount.parse().unwrap()).collect();
    request
}

async fn set_mounts(world: &World, caller: &Caller, mounts: &[&str]) -> Result<(), control::Error> {
    let set = mounts.iter().map(|mount| ("mount".to_owned(), (*mount).to_owned())).collect();
    world.control.containers.update(caller, "web", UpdateRequest { set }, None).await.map(drop)
}

fn operator() -> Caller {
    Caller {
        role: Some(Role::Operator),
        ..Caller::socket("bert")
    }
}

#[tokio::test]
async fn mounts_are_shown_given_to_the_engine_and_kept() {
    let mut world = World::new().await;
    let folder = "/srv/share/web:/data:ro";
    let task = world.control.containers.create(&anna(), with_mounts("web", &[folder]), None).await.unwrap();
    assert_eq!(world.end(task).await.state, TaskState::Done);
    let id = world.id("web").await;
    assert_eq!(world.engine.mounts(id).unwrap(), [folder.parse().unwrap()]);
    for mounts in [&["none"][..], &["/srv/share/web:/data"], &[folder, "tmpfs:/one", "tmpfs:/two"]] {
        let refused = set_mounts(&world, &anna(), mounts).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Conflict, "{mounts:?}");
        assert!(refused.to_string().contains("stop it first"), "{refused}");
    }
    let more = "/srv/share/more:/more";
    world.engine.fail("add_mount", 1);
    set_mounts(&world, &anna(), &[folder, more]).await.unwrap_err();
    assert_eq!(
        world.control.containers.show(&anna(), "web").await.unwrap().spec.mounts,
        [folder.parse().unwrap()]
    );
    assert_eq!(
        set_mounts(&world, &operator(), &[folder, more]).await.unwrap_err().code(),
        ErrorCode::NotAllowed
    );
    set_mounts(&world, &anna(), &[folder, more]).await.unwrap();
    assert_eq!(world.engine.mounts(id).unwrap(), [folder.parse().unwrap(), more.parse().unwrap()]);
    let shown = world.control.containers.show(&anna(), "web").await.unwrap();
    assert_eq!((shown.spec.mounts.len(), shown.pending_restart), (2, Vec::new()));

    world.restart().await;
    let containers = world.control.containers.clone();
    world.end(containers.kill(&anna(), "web", None).await.unwrap()).await;
    // Others than an administrator may keep what was granted, add memory and take away, and no more.
    set_mounts(&world, &operator(), &[folder, "tmpfs:/cache"]).await.unwrap();
    for mounts in [&["/srv/share/web:/data"], &["/srv/share:/all"]] {
        assert_eq!(set_mounts(&world, &operator(), mounts).await.unwrap_err().code(), ErrorCode::NotAllowed);
    }
    world.end(containers.delete(&anna(), "web", false, false, None).await.unwrap()).await;
    world.end(containers.restore(&operator(), id, None, None).await.unwrap()).await;
    world.end(containers.start(&operator(), "web", None).await.unwrap()).await;
    assert_eq!(world.engine.mounts(id).unwrap(), [folder.parse().unwrap(), "tmpfs:/cache".parse().unwrap()]);
    world.end(containers.kill(&anna(), "web", None).await.unwrap()).await;
    set_mounts(&world, &operator(), &["none"]).await.unwrap();
    assert_eq!(containers.show(&anna(), "web").await.unwrap().spec.mounts, []);
    assert_eq!(set_mounts(&world, &operator(), &[folder]).await.unwrap_err().code(), ErrorCode::NotAllowed);
}

#[tokio::test]
async fn a_change_that_fails_at_any_step_leaves_row_and_container_as_they_were() {
    let world = World::new().await;
    let containers = &world.control.containers;
    let mut asked = with_mounts("web", &["/srv/share/web:/data:ro"]);
    asked.spec.nics = vec!["".parse().unwrap()];
    let task = world.end(containers.create(&anna(), asked, None).await.unwrap()).await;
    assert_eq!(task.state, TaskState::Done, "{:?}", task.error);
    let id = world.id("web").await;
    let seen = async || {
        let shown = containers.show(&anna(), "web").await.unwrap();
        assert_eq!(world.engine.manifests()[0].spec, shown.spec);
        assert_eq!(world.engine.mounts(id).unwrap(), shown.spec.mounts);
        assert_eq!(world.engine.policy(id).unwrap(), shown.spec.restart);
        assert_eq!(world.engine.limits(id).unwrap(), shown.spec.limits);
        assert_eq!(world.engine.networks()[0].nics[0].publish, shown.spec.publish);
        assert_eq!(shown.pending_restart, Vec::<String>::new());
        shown.spec
    };
    let before = seen().await;
    let common = [("restart", "always"), ("publish", "8080:80")];
    let mounts = [("mount", "/srv/share/web:/data:ro"), ("mount", "tmpfs:/cache")];
    for (more, verbs) in [
        (&mounts[..], &["set_restart", "apply_network", "write_manifest", "add_mount"][..]),
        (&[("memory", "256M")], &["set_limits", "set_restart", "apply_network", "write_manifest"]),
    ] {
        let set = || UpdateRequest {
            set: [&common, more].concat().into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        };
        for verb in verbs {
            world.engine.fail(verb, 1);
            let refused = containers.update(&anna(), "web", set(), None).await.unwrap_err();
            assert!(refused.to_string().starts_with(verb), "{refused}");
            assert_eq!(seen().await, before, "{verb}");
        }
        containers.update(&anna(), "web", set(), None).await.unwrap();
        assert_ne!(seen().await, before);
        let back = [("restart", "no"), ("publish", "none"), ("memory", "none")];
        let back = back.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        world.end(containers.kill(&anna(), "web", None).await.unwrap()).await;
        let mount = ("mount".to_owned(), "/srv/share/web:/data:ro".to_owned());
        let back = UpdateRequest {
            set: [back, vec![mount]].concat(),
        };
        containers.update(&anna(), "web", back, None).await.unwrap();
        world.end(containers.start(&anna(), "web", None).await.unwrap()).await;
        assert_eq!(seen().await, before);
    }
}

#[tokio::test]
async fn a_folder_that_the_engine_refuses_changes_nothing() {
    let world = World::new().await;
    world.engine.fail("check_mounts", 1);
    let refused = world
        .control
        .containers
        .create(&anna(), with_mounts("web", &["/srv/share/gone:/data"]), None)
        .await
        .unwrap_err();
    assert_eq!(refused.body.field.as_deref(), Some("mount"));
    world.create("web", false).await;
    world.engine.fail("check_mounts", 1);
    set_mounts(&world, &anna(), &["/srv/share/gone:/data"]).await.unwrap_err();
    assert_eq!(world.control.containers.show(&anna(), "web").await.unwrap().spec.mounts, []);
}
