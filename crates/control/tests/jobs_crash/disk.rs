//! An engine whose world is a file, so that it is there again after the console was killed: folders, layers, networks
//! and the runs that live on without a console. Before and after each change of it a test may kill the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use control::engine::fake::Fake;
use control::engine::{Engine, ExecStreams};
use model::container::{ExitReason, ExitRecord, RestartPolicy};
use model::engine::{
    BuildRequest, EngineError, EngineEvent, ExecRequest, FirstBoot, HostReport, Listener, Manifest, NetworkPlan, Observed, Removal, Signal, StartRequest,
    Started, UnpackRequest, Unpacked,
};
use model::error::ErrorCode;
use model::id::ExecId;
use model::leftover::Leftover;
use model::metrics::Sample;
use model::network::Publish;
use model::storage::Mount;
use model::{ContainerId, ContainerState, Digest, Limits, Timestamp};
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, EngineError>;
type Hook = Arc<dyn Fn(&str) + Send + Sync>;

/// Everything that a host would keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    pub folders: BTreeMap<ContainerId, Folder>,
    pub layers: BTreeSet<Digest>,
    pub networks: BTreeMap<String, NetworkPlan>,
    seconds: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Folder {
    pub manifest: Manifest,
    pub trashed: bool,
    pub run: Option<Run>,
    pub exits: Vec<ExitRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub started_at: Timestamp,
    pub frozen: bool,
    pub limits: Limits,
}

/// The engine. What a host is and does beside keeping things is the fake's.
pub struct Disk {
    path: PathBuf,
    hook: Hook,
    /// The verb that fails whenever it is called.
    failing: String,
    sink: Mutex<Option<Sender<EngineEvent>>>,
    writing: Mutex<()>,
    rest: Fake,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

fn refuse(code: ErrorCode, step: &str, message: &str) -> EngineError {
    EngineError {
        code,
        step: step.into(),
        message: message.into(),
        hint: None,
    }
}

impl Disk {
    pub fn new(path: PathBuf, failing: &str, hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            path,
            hook: Arc::new(hook),
            failing: failing.into(),
            sink: Mutex::default(),
            writing: Mutex::default(),
            rest: Fake::new(),
        }
    }

    pub fn world(&self) -> World {
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => World::default(),
        }
    }

    /// Changes the world whole or not at all, as the real engine does by renames.
    fn change<T>(&self, verb: &str, change: impl FnOnce(&mut World) -> Outcome<T>) -> Outcome<T> {
        (self.hook)(&format!("engine::{verb}::before"));
        let done = {
            let _one_at_a_time = self.writing.lock().unwrap();
            if self.failing == verb {
                return Err(refuse(ErrorCode::Failed, verb, "made to fail by the test"));
            }
            let mut world = self.world();
            let done = change(&mut world)?;
            let new = self.path.with_extension("new");
            std::fs::write(&new, serde_json::to_vec(&world).unwrap()).unwrap();
            std::fs::rename(new, &self.path).unwrap();
            done
        };
        (self.hook)(&format!("engine::{verb}::after"));
        Ok(done)
    }

    fn tell(&self, id: ContainerId) {
        let seen = self.observe().unwrap().into_iter().find(|seen| seen.id == id);
        if let (Some(seen), Some(sink)) = (seen, self.sink.lock().unwrap().as_ref()) {
            // A console that is gone hears nothing.
            drop(sink.send(EngineEvent::Changed(seen)));
        }
    }

    fn end(&self, verb: &str, id: ContainerId, reason: ExitReason, code: i32) -> Outcome<()> {
        self.change(verb, |world| {
            let at = world.now();
            if let Some(folder) = world.folders.get_mut(&id)
                && folder.run.take().is_some()
            {
                folder.exits.push(ExitRecord {
                    at,
                    reason,
                    code,
                    oom_kills: 0,
                    message: None,
                });
            }
            Ok(())
        })?;
        self.tell(id);
        Ok(())
    }

    fn thaw(&self, verb: &str, id: ContainerId, frozen: bool) -> Outcome<()> {
        self.change(verb, |world| world.running(id).map(|run| run.frozen = frozen))?;
        self.tell(id);
        Ok(())
    }
}

impl World {
    fn now(&mut self) -> Timestamp {
        self.seconds += 1;
        Timestamp::from_ms(1_700_000_000_000 + self.seconds * 1000)
    }

    fn running(&mut self, id: ContainerId) -> Outcome<&mut Run> {
        let run = self.folders.get_mut(&id).and_then(|folder| folder.run.as_mut());
        run.ok_or_else(|| refuse(ErrorCode::Conflict, "find the container", "the container does not run"))
    }

    fn keep(&mut self, manifest: &Manifest) {
        let new = Folder {
            manifest: manifest.clone(),
            trashed: false,
            run: None,
            exits: Vec::new(),
        };
        self.folders.entry(manifest.id).or_insert(new).manifest = manifest.clone();
    }
}

impl Engine for Disk {
    fn host(&self) -> HostReport {
        self.rest.host()
    }

    fn create(&self, manifest: &Manifest, _: &FirstBoot) -> Outcome<()> {
        self.change("create", |world| {
            world.keep(manifest);
            Ok(())
        })
    }

    fn write_manifest(&self, manifest: &Manifest) -> Outcome<()> {
        self.change("write_manifest", |world| {
            world.keep(manifest);
            Ok(())
        })
    }

    fn manifests(&self) -> Vec<Manifest> {
        self.world().folders.into_values().map(|folder| folder.manifest).collect()
    }

    fn start(&self, request: &StartRequest) -> Outcome<Started> {
        let (at, exits_before) = self.change("start", |world| {
            let at = world.now();
            let missing = || refuse(ErrorCode::NotFound, "open the container's folder", "it is not there");
            let folder = world.folders.get_mut(&request.id).filter(|folder| !folder.trashed).ok_or_else(missing)?;
            if folder.run.is_some() {
                return Err(refuse(ErrorCode::Conflict, "start the container", "it runs already"));
            }
            folder.run = Some(Run {
                started_at: at,
                frozen: false,
                limits: request.limits.clone(),
            });
            Ok((at, folder.exits.len()))
        })?;
        self.tell(request.id);
        Ok(Started {
            pid: 4242,
            at,
            took_us: 1000,
            exits_before,
        })
    }

    fn signal(&self, id: ContainerId, signal: Signal) -> Outcome<()> {
        match signal {
            Signal::PowerOff => self.end("power_off", id, ExitReason::PowerOff, 0),
            Signal::Kill => self.end("kill", id, ExitReason::Killed, 137),
            Signal::Freeze => self.thaw("freeze", id, true),
            Signal::Unfreeze => self.thaw("unfreeze", id, false),
        }
    }

    fn set_limits(&self, id: ContainerId, limits: &Limits) -> Outcome<()> {
        self.change("set_limits", |world| world.running(id).map(|run| run.limits = limits.clone()))
    }

    fn set_restart(&self, id: ContainerId, _: RestartPolicy) -> Outcome<()> {
        self.change("set_restart", |world| world.running(id).map(drop))
    }

    fn exec(&self, id: ContainerId, exec: ExecId, request: &ExecRequest) -> Outcome<ExecStreams> {
        self.rest.exec(id, exec, request)
    }

    fn resize_exec(&self, id: ContainerId, exec: ExecId, cols: u16, rows: u16) -> Outcome<()> {
        self.rest.resize_exec(id, exec, cols, rows)
    }

    fn signal_exec(&self, id: ContainerId, exec: ExecId, signal: i32) -> Outcome<()> {
        self.rest.signal_exec(id, exec, signal)
    }

    fn console(&self, id: ContainerId) -> Outcome<OwnedFd> {
        self.rest.console(id)
    }

    fn resize_console(&self, id: ContainerId, cols: u16, rows: u16) -> Outcome<()> {
        self.rest.resize_console(id, cols, rows)
    }

    fn console_log(&self, id: ContainerId) -> Outcome<OwnedFd> {
        self.rest.console_log(id)
    }

    fn console_log_since(&self, id: ContainerId, since: Timestamp) -> Outcome<Vec<OwnedFd>> {
        self.rest.console_log_since(id, since)
    }

    fn remove(&self, id: ContainerId, removal: Removal) -> Outcome<()> {
        let verb = match removal {
            Removal::Purge => "purge",
            Removal::ToTrash => "to_trash",
            Removal::Restore => "restore",
        };
        self.change(verb, |world| {
            match removal {
                Removal::Purge => drop(world.folders.remove(&id)),
                Removal::ToTrash => world.folders.get_mut(&id).into_iter().for_each(|folder| folder.trashed = true),
                Removal::Restore => world.folders.get_mut(&id).into_iter().for_each(|folder| folder.trashed = false),
            }
            Ok(())
        })
    }

    fn measure(&self, id: ContainerId) -> Outcome<model::engine::DiskUse> {
        self.rest.measure(id)
    }

    fn sample(&self) -> Sample {
        self.rest.sample()
    }

    fn observe(&self) -> Outcome<Vec<Observed>> {
        let folders = self.world().folders.into_iter().filter(|(_, folder)| !folder.trashed);
        let observed = |(id, folder): (ContainerId, Folder)| Observed {
            id,
            state: match &folder.run {
                Some(run) if run.frozen => ContainerState::Frozen,
                Some(_) => ContainerState::Running,
                None => ContainerState::Stopped,
            },
            degraded: false,
            pid: folder.run.as_ref().map(|_| 4242),
            started_at: folder.run.as_ref().map(|run| run.started_at),
            exits: folder.exits,
            older_exits: 0,
            restarts: None,
            next_start_at: None,
        };
        Ok(folders.map(observed).collect())
    }

    fn watch(&self, sink: Sender<EngineEvent>) {
        *self.sink.lock().unwrap() = Some(sink);
    }

    fn unpack(&self, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Outcome<Unpacked> {
        let mut bytes = Vec::new();
        std::fs::File::from(input).read_to_end(&mut bytes).unwrap();
        drop(progress);
        self.change("unpack", |world| {
            world.layers.insert(request.digest.clone());
            Ok(Unpacked {
                bytes: bytes.len() as u64,
                entries: 1,
                ..Unpacked::default()
            })
        })
    }

    fn build(&self, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Outcome<()> {
        self.rest.build(request, output, log)
    }

    fn layers(&self) -> Vec<Digest> {
        self.world().layers.into_iter().collect()
    }

    fn remove_layer(&self, digest: &Digest) -> Outcome<()> {
        self.change("remove_layer", |world| {
            world.layers.remove(digest);
            Ok(())
        })
    }

    fn listeners(&self, _: &[Publish]) -> Outcome<Vec<Listener>> {
        Ok(Vec::new())
    }

    fn check_mounts(&self, mounts: &[Mount]) -> Outcome<()> {
        self.rest.check_mounts(mounts)
    }

    fn add_mount(&self, id: ContainerId, mount: &Mount) -> Outcome<()> {
        self.rest.add_mount(id, mount)
    }

    fn apply_network(&self, plan: &NetworkPlan) -> Outcome<()> {
        self.change("apply_network", |world| {
            world.networks.insert(plan.bridge.clone(), plan.clone());
            Ok(())
        })
    }

    fn remove_network(&self, bridge: &str) -> Outcome<()> {
        self.change("remove_network", |world| {
            world.networks.remove(bridge);
            Ok(())
        })
    }

    fn leftovers(&self) -> Outcome<Vec<Leftover>> {
        self.rest.leftovers()
    }

    fn clear(&self, leftover: &Leftover) -> Outcome<()> {
        self.rest.clear(leftover)
    }

    fn retire(&self) -> Outcome<()> {
        Ok(())
    }
}
