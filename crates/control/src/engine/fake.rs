//! An engine in memory, for tests of everything above it. It does what the trait says, without a kernel: containers
//! "run" until they are told to end, commands are pipes that a test holds the other ends of; `cat`, `nohup` and `exit CODE` do
//! what their names say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::container::{ExitReason, ExitRecord, RestartPolicy};
use model::engine::{
    BuildRequest, CheckLevel, DiskUse, EngineError, EngineEvent, ExecExit, ExecRequest, FirstBoot, HostCheck, HostReport, Listener, Manifest, NetworkPlan,
    Observed, Removal, Signal, StartRequest, Started, UnpackRequest, Unpacked,
};
use model::error::ErrorCode;
use model::id::ExecId;
use model::leftover::Leftover;
use model::metrics::{Counters, MemoryCounters, Sample};
use model::network::Publish;
use model::storage::Mount;
use model::{ContainerId, ContainerState, Digest, Limits, Timestamp};

use super::{Engine, ExecStreams};

mod hands;

type Outcome<T> = std::result::Result<T, EngineError>;

/// What every console prints when its container starts.
const GREETING: &[u8] = b"fake login: ";

/// Its time begins here.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// What the fake knows.
#[derive(Debug, Default)]
pub struct Fake {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    metadata: Option<String>,
    folders: BTreeMap<ContainerId, Folder>,
    layers: BTreeSet<Digest>,
    networks: BTreeMap<String, NetworkPlan>,
    /// Bridges that cannot be made.
    broken: BTreeSet<String>,
    listeners: Vec<Listener>,
    leftovers: Vec<Leftover>,
    sink: Option<Sender<EngineEvent>>,
    /// Verbs that fail the next time they are called.
    failing: HashMap<&'static str, u32>,
    /// Containers whose init does not listen when it is asked to end.
    deaf: BTreeSet<ContainerId>,
    seconds: i64,
}

#[derive(Debug, Default)]
struct Folder {
    manifest: Option<Manifest>,
    trashed: bool,
    run: Option<Run>,
    exits: Vec<ExitRecord>,
    /// A file in memory; made when the console first prints.
    log: Option<std::fs::File>,
}

#[derive(Debug)]
struct Run {
    started_at: Timestamp,
    policy: RestartPolicy,
    restarts: u32,
    /// Its shim is gone: nobody writes its end down.
    degraded: bool,
    /// Init has ended, and its policy starts it again then.
    next_start_at: Option<Timestamp>,
    frozen: bool,
    limits: Limits,
    mounts: Vec<Mount>,
    execs: HashMap<ExecId, ExecEnds>,
    console: Vec<std::os::unix::net::UnixStream>,
}

/// The other ends of a command's streams.
#[derive(Debug)]
struct ExecEnds {
    stdin: OwnedFd,
    stdout: OwnedFd,
    /// A hang-up does not end it.
    is_nohup: bool,
}

/// What everything that runs uses.
fn counters() -> Counters {
    Counters {
        memory: MemoryCounters {
            used_bytes: Some(64 << 20),
            current_bytes: Some(80 << 20),
            ..MemoryCounters::default()
        },
        ..Counters::default()
    }
}

/// The one program that the fake can run by itself: prints what it reads, and ends with its input.
fn cat(exec: ExecId, ends: ExecEnds, sink: Option<Sender<EngineEvent>>) {
    std::thread::spawn(move || {
        let (mut from, mut to) = (std::fs::File::from(ends.stdin), std::fs::File::from(ends.stdout));
        let code = i32::from(std::io::copy(&mut from, &mut to).is_err());
        if let Some(sink) = sink {
            // A console that is gone hears nothing.
            drop(sink.send(EngineEvent::ExecExited(ExecExit { exec, code, message: None })));
        }
    });
}

fn refuse(code: ErrorCode, step: &str, message: &str) -> EngineError {
    EngineError {
        code,
        step: step.into(),
        message: message.into(),
        hint: None,
    }
}

fn broken(error: impl std::fmt::Display) -> EngineError {
    refuse(ErrorCode::Failed, "fake", &error.to_string())
}

impl Fake {
    /// A host without containers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check(&mut self, verb: &'static str) -> Outcome<()> {
        match self.failing.get_mut(verb) {
            Some(times) if *times > 0 => {
                *times -= 1;
                Err(refuse(ErrorCode::Failed, verb, "made to fail by the test"))
            }
            _ => Ok(()),
        }
    }

    fn tell(&self, event: EngineEvent) {
        if let Some(sink) = &self.sink {
            // A console that is gone hears nothing.
            drop(sink.send(event));
        }
    }

    fn now(&mut self) -> Timestamp {
        self.seconds += 1;
        Timestamp::from_ms(EPOCH_MS + self.seconds * 1000)
    }

    fn running(&mut self, id: ContainerId) -> Outcome<&mut Run> {
        let run = self.folders.get_mut(&id).and_then(|folder| folder.run.as_mut());
        run.ok_or_else(|| refuse(ErrorCode::Conflict, "find the container", "the container does not run"))
    }

    fn change_run(&mut self, id: ContainerId, change: impl FnOnce(&mut Folder)) {
        let Some(folder) = self.folders.get_mut(&id) else { return };
        change(folder);
        let seen = observed(id, folder);
        self.tell(EngineEvent::Changed(seen));
    }

    fn end(&mut self, id: ContainerId, reason: ExitReason, code: i32) {
        let at = self.now();
        let Some(folder) = self.folders.get_mut(&id) else { return };
        if let Some(run) = folder.run.take() {
            // Between two runs there is nothing that could end.
            if run.next_start_at.is_none() && !run.degraded {
                folder.exits.push(exit(at, reason, code));
            }
            let seen = observed(id, folder);
            self.tell(EngineEvent::Changed(seen));
        }
    }
}

fn exit(at: Timestamp, reason: ExitReason, code: i32) -> ExitRecord {
    ExitRecord {
        at,
        reason,
        code,
        oom_kills: 0,
        message: None,
    }
}

fn observed(id: ContainerId, folder: &Folder) -> Observed {
    let run = folder.run.as_ref();
    let next_start_at = run.and_then(|run| run.next_start_at);
    let state = match run {
        Some(_) if next_start_at.is_some() => ContainerState::Starting,
        Some(run) if run.frozen => ContainerState::Frozen,
        Some(_) => ContainerState::Running,
        None => ContainerState::Stopped,
    };
    Observed {
        id,
        state,
        degraded: run.is_some_and(|run| run.degraded),
        pid: run.filter(|_| next_start_at.is_none()).map(|_| 4242),
        started_at: run.map(|run| run.started_at),
        exits: folder.exits.clone(),
        older_exits: 0,
        restarts: run.map(|run| run.restarts),
        next_start_at,
    }
}

impl Engine for Fake {
    fn host(&self) -> HostReport {
        let check = |name: &str, found: &str| HostCheck {
            name: name.into(),
            level: CheckLevel::Good,
            found: found.into(),
            fix: None,
        };
        HostReport {
            hostname: "fake".into(),
            kernel: "6.12.0".into(),
            cgroup: "v2".into(),
            arch: "x86_64".into(),
            cpus: 4,
            cpu_list: "0-3".into(),
            memory_bytes: 8 << 30,
            checks: vec![check("kernel", "Linux 6.12.0"), check("overlay", "the kernel has it")],
            disk_limits: false,
        }
    }

    fn create(&self, manifest: &Manifest, _: &FirstBoot) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("create")?;
        inner.folders.entry(manifest.id).or_default().manifest = Some(manifest.clone());
        Ok(())
    }

    fn write_manifest(&self, manifest: &Manifest) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("write_manifest")?;
        inner.folders.entry(manifest.id).or_default().manifest = Some(manifest.clone());
        Ok(())
    }

    fn manifests(&self) -> Vec<Manifest> {
        self.lock().folders.values().filter_map(|folder| folder.manifest.clone()).collect()
    }

    fn start(&self, request: &StartRequest) -> Outcome<Started> {
        let mut inner = self.lock();
        inner.check("start")?;
        let at = inner.now();
        let folder = inner
            .folders
            .get_mut(&request.id)
            .ok_or_else(|| refuse(ErrorCode::NotFound, "open the container's folder", "it is not there"))?;
        if folder.run.is_some() {
            return Err(refuse(ErrorCode::Conflict, "start the container", "it runs already"));
        }
        if folder.log.is_none() {
            let log = rustix::fs::memfd_create("console.log", rustix::fs::MemfdFlags::CLOEXEC).map_err(broken)?;
            let mut log = std::fs::File::from(log);
            log.write_all(GREETING).map_err(broken)?;
            folder.log = Some(log);
        }
        folder.run = Some(Run {
            started_at: at,
            policy: request.restart,
            restarts: 0,
            degraded: false,
            next_start_at: None,
            frozen: false,
            limits: request.limits.clone(),
            mounts: request.mounts.clone(),
            execs: HashMap::new(),
            console: Vec::new(),
        });
        let seen = observed(request.id, folder);
        let exits_before = seen.exits.len();
        inner.tell(EngineEvent::Changed(seen));
        Ok(Started {
            pid: 4242,
            at,
            took_us: 1000,
            exits_before,
        })
    }

    fn signal(&self, id: ContainerId, signal: Signal) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("signal")?;
        match signal {
            Signal::PowerOff if inner.deaf.contains(&id) => inner.running(id).map(drop),
            Signal::PowerOff => {
                inner.running(id)?;
                inner.end(id, ExitReason::PowerOff, 0);
                Ok(())
            }
            Signal::Kill => {
                inner.end(id, ExitReason::Killed, 137);
                Ok(())
            }
            Signal::Freeze => inner.running(id).map(|run| run.frozen = true),
            Signal::Unfreeze => inner.running(id).map(|run| run.frozen = false),
        }
    }

    fn set_limits(&self, id: ContainerId, limits: &Limits) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("set_limits")?;
        inner.running(id)?.limits = limits.clone();
        Ok(())
    }

    fn set_restart(&self, id: ContainerId, policy: RestartPolicy) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("set_restart")?;
        inner.running(id)?.policy = policy;
        Ok(())
    }

    fn exec(&self, id: ContainerId, exec: ExecId, request: &ExecRequest) -> Outcome<ExecStreams> {
        let mut inner = self.lock();
        inner.check("exec")?;
        inner.running(id)?;
        let (in_read, in_write) = rustix::pipe::pipe().map_err(broken)?;
        let (out_read, out_write) = rustix::pipe::pipe().map_err(broken)?;
        let ends = ExecEnds {
            stdin: in_read,
            stdout: out_write,
            is_nohup: request.command.first().is_some_and(|program| program == "nohup"),
        };
        match request.command.first().map(String::as_str) {
            Some("cat") => cat(exec, ends, inner.sink.clone()),
            Some("exit") => inner.tell(EngineEvent::ExecExited(ExecExit {
                exec,
                code: request.command.get(1).and_then(|code| code.parse().ok()).unwrap_or(0),
                message: None,
            })),
            _ => drop(inner.running(id)?.execs.insert(exec, ends)),
        }
        let stderr = if request.tty { None } else { Some(rustix::pipe::pipe().map_err(broken)?.0) };
        Ok(ExecStreams {
            stdin: in_write,
            stdout: out_read,
            stderr,
        })
    }

    fn resize_exec(&self, id: ContainerId, _: ExecId, _: u16, _: u16) -> Outcome<()> {
        self.lock().running(id).map(drop)
    }

    fn signal_exec(&self, id: ContainerId, exec: ExecId, signal: i32) -> Outcome<()> {
        let mut inner = self.lock();
        let execs = &mut inner.running(id)?.execs;
        if signal == 1 && execs.get(&exec).is_some_and(|ends| ends.is_nohup) {
            return Ok(());
        }
        if execs.remove(&exec).is_some() {
            inner.tell(EngineEvent::ExecExited(ExecExit {
                exec,
                code: 128 + signal,
                message: None,
            }));
        }
        Ok(())
    }

    fn console(&self, id: ContainerId) -> Outcome<OwnedFd> {
        let mut inner = self.lock();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
        let mut held = ours;
        held.write_all(GREETING).map_err(broken)?;
        inner.running(id)?.console.push(held);
        Ok(theirs.into())
    }

    fn resize_console(&self, id: ContainerId, _: u16, _: u16) -> Outcome<()> {
        self.lock().running(id).map(drop)
    }

    fn console_log(&self, id: ContainerId) -> Outcome<OwnedFd> {
        let inner = self.lock();
        let log = inner.folders.get(&id).and_then(|folder| folder.log.as_ref());
        let log = log.ok_or_else(|| refuse(ErrorCode::NotFound, "open the console's log", "the console has not printed yet"))?;
        // Opened anew, so that each reader has a place of its own.
        Ok(std::fs::File::open(format!("/proc/self/fd/{}", log.as_raw_fd())).map_err(broken)?.into())
    }

    /// Everything was printed when the fake's clock began, long ago.
    fn console_log_since(&self, id: ContainerId, since: Timestamp) -> Outcome<Vec<OwnedFd>> {
        let mut log = std::fs::File::from(self.console_log(id)?);
        if since.ms > EPOCH_MS {
            log.seek(std::io::SeekFrom::End(0)).map_err(broken)?;
        }
        Ok(vec![log.into()])
    }

    fn remove(&self, id: ContainerId, removal: Removal) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("remove")?;
        match removal {
            Removal::Purge => drop(inner.folders.remove(&id)),
            Removal::ToTrash => inner.folders.entry(id).or_default().trashed = true,
            Removal::Restore => inner.folders.entry(id).or_default().trashed = false,
        }
        Ok(())
    }

    fn measure(&self, _: ContainerId) -> Outcome<DiskUse> {
        Ok(DiskUse { bytes: 12_288, inodes: 3 })
    }

    fn sample(&self) -> Sample {
        let inner = self.lock();
        let running = inner.folders.iter().filter(|(_, folder)| folder.run.is_some());
        Sample {
            containers: running.map(|(id, _)| (*id, counters())).collect(),
            ..Sample::default()
        }
    }

    fn observe(&self) -> Outcome<Vec<Observed>> {
        let mut inner = self.lock();
        inner.check("observe")?;
        let folders = inner.folders.iter().filter(|(_, folder)| !folder.trashed);
        Ok(folders.map(|(id, folder)| observed(*id, folder)).collect())
    }

    fn watch(&self, sink: Sender<EngineEvent>) {
        self.lock().sink = Some(sink);
    }

    fn unpack(&self, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Outcome<Unpacked> {
        let mut bytes = Vec::new();
        std::fs::File::from(input).read_to_end(&mut bytes).map_err(broken)?;
        drop(progress);
        let mut inner = self.lock();
        inner.check("unpack")?;
        inner.layers.insert(request.digest.clone());
        Ok(Unpacked {
            bytes: bytes.len() as u64,
            entries: 1,
            metadata: inner.metadata.clone(),
            ..Unpacked::default()
        })
    }

    fn build(&self, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Outcome<()> {
        self.lock().check("build")?;
        std::fs::File::from(log)
            .write_all(format!("building {}\n", request.suite).as_bytes())
            .map_err(broken)?;
        std::fs::File::from(output).write_all(b"a root file system").map_err(broken)
    }

    fn layers(&self) -> Vec<Digest> {
        self.lock().layers.iter().cloned().collect()
    }

    fn remove_layer(&self, digest: &Digest) -> Outcome<()> {
        self.lock().layers.remove(digest);
        Ok(())
    }

    fn listeners(&self, ports: &[Publish]) -> Outcome<Vec<Listener>> {
        let is_on = |listener: &&Listener| ports.iter().any(|port| port.has(listener.port, listener.protocol));
        Ok(self.lock().listeners.iter().filter(is_on).cloned().collect())
    }

    fn check_mounts(&self, _: &[Mount]) -> Outcome<()> {
        self.lock().check("check_mounts")
    }

    fn add_mount(&self, id: ContainerId, mount: &Mount) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("add_mount")?;
        inner.running(id)?.mounts.push(mount.clone());
        Ok(())
    }

    fn apply_network(&self, plan: &NetworkPlan) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("apply_network")?;
        if inner.broken.contains(&plan.bridge) {
            return Err(refuse(ErrorCode::Failed, "make the bridge", "broken by the test"));
        }
        inner.networks.insert(plan.bridge.clone(), plan.clone());
        Ok(())
    }

    fn remove_network(&self, bridge: &str) -> Outcome<()> {
        self.lock().networks.remove(bridge);
        Ok(())
    }

    fn leftovers(&self) -> Outcome<Vec<Leftover>> {
        let mut inner = self.lock();
        inner.check("leftovers")?;
        Ok(inner.leftovers.clone())
    }

    fn clear(&self, leftover: &Leftover) -> Outcome<()> {
        let mut inner = self.lock();
        inner.check("clear")?;
        inner.leftovers.retain(|other| other != leftover);
        Ok(())
    }

    fn retire(&self) -> Outcome<()> {
        Ok(())
    }
}
