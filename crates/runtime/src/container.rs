//! The verbs on containers: start, stop, freeze, exec, limits, counters, adoption after a restart of the console.
//!
//! Invariant: tear-down goes on after a failure and returns all of them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use model::engine::{BuildRequest, EngineEvent, ExecRequest, FirstBoot, Manifest, Removal, Signal, StartRequest, Started, UnpackRequest, Unpacked};
use model::id::ExecId;
use model::metrics::Sample;
use model::{ContainerId, Limits, Timestamp};

use crate::cgroup::counters::Reader;
use crate::cgroup::{Group, Layout, limits};
use crate::error::{At, Error, Result};
use crate::init::host_folder;
use crate::net::firewall::Tables;
use crate::net::veth::Nic;
use crate::room;
use crate::rootfs::Folders;
use crate::shim::engine::{self, Connection, ShimSource};
use crate::shim::protocol::Fields;
use crate::{console_log, stop, watch};

mod leftovers;
mod network;
mod observed;
mod opened;

use opened::Opened;

/// Where a runtime lives.
#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    /// Keeps cgroups of several instances apart.
    pub instance: Option<String>,
    pub shim: ShimSource,
    /// Folders of the host that may come into containers, with what lies below them.
    pub mount_roots: Vec<String>,
}

/// The runtime of one instance.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) config: Config,
    pub(crate) folders: Folders,
    pub(crate) layout: Layout,
    program: PathBuf,
    disk: Option<(u32, u32)>,
    running: Mutex<HashMap<ContainerId, Running>>,
    /// CPUs of containers that run or are being started: chosen beside those of the others.
    cpus: Mutex<HashMap<ContainerId, Vec<u32>>>,
    /// Start, kill and removal of one container, one at a time.
    busy: Mutex<HashMap<ContainerId, Arc<Mutex<()>>>>,
    host: Mutex<crate::host::Reader>,
    /// What the last plan of each bridge left of the filter. Held while a plan is carried out.
    firewall: Mutex<HashMap<String, Option<Tables>>>,
    events: Arc<watch::Watch>,
}

/// What is kept of a container that runs.
#[derive(Debug)]
struct Running {
    reader: Reader,
    limits: Limits,
    nics: Vec<(String, String)>,
}

/// The group of the shims: the end of the console's own groups must not be theirs.
const SHIMS: &str = "shims";

impl Runtime {
    /// Opens the folders, finds the cgroups, installs the shim.
    ///
    /// # Errors
    /// `Unsupported` when this host cannot carry containers; it names what is missing.
    pub fn open(config: Config) -> Result<Self> {
        Self::open_on(config, Layout::detect()?)
    }

    /// The same on a layout of the caller's choice: a test uses a part of what this host has.
    ///
    /// # Errors
    /// As [`Runtime::open`].
    pub fn open_on(config: Config, layout: Layout) -> Result<Self> {
        raise_open_files();
        let folders = Folders::make(&config.state_dir)?;
        let step = "make the run directory";
        for folder in [config.run_dir.clone(), config.run_dir.join("shims"), config.run_dir.join("stage")] {
            std::fs::create_dir_all(&folder).at(step, &format!("mkdir({})", folder.display()))?;
        }
        for folder in ["shims", "stage"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(config.run_dir.join(folder), mode).at(step, "chmod(0700)")?;
        }
        crate::host::require(&config.state_dir)?;
        crate::unpack::sweep(&folders);
        let program = engine::install(&config.shim, &config.state_dir)?;
        let disk = crate::cgroup::layout::disk_of(&config.state_dir);
        let events = Arc::new(watch::Watch::new(config.run_dir.join("shims"))?);
        let host = Mutex::new(crate::host::Reader::open(&config.state_dir));
        Ok(Self {
            config,
            folders,
            layout,
            program,
            disk,
            running: Mutex::default(),
            cpus: Mutex::default(),
            busy: Mutex::default(),
            host,
            firewall: Mutex::default(),
            events,
        })
    }

    fn shims(&self) -> PathBuf {
        self.config.run_dir.join("shims")
    }

    fn instance(&self) -> Option<&str> {
        self.config.instance.as_deref()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ContainerId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, id: ContainerId) -> Result<Option<Group>> {
        Group::look(&self.layout, self.instance(), &id.to_string())
    }

    fn group(&self, id: ContainerId) -> Result<Group> {
        self.look(id)?
            .ok_or_else(|| Error::conflict("find the container's cgroups", "the container does not run"))
    }

    fn busy(&self, id: ContainerId) -> Arc<Mutex<()>> {
        let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(id).or_default())
    }

    fn chosen_cpus(&self) -> MutexGuard<'_, HashMap<ContainerId, Vec<u32>>> {
        self.cpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, id: ContainerId) -> Result<Connection> {
        Connection::open(&self.shims(), &id.to_string()).ok_or_else(|| Error::conflict("ask the shim", "the container does not run, or its shim is gone"))
    }

    /// Makes the container's folder.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn create(&self, manifest: &Manifest, first_boot: &FirstBoot) -> Result<()> {
        self.folders.create(manifest, first_boot)
    }

    /// Starts init; on failure nothing is left.
    ///
    /// # Errors
    /// Names the step.
    pub fn start(&self, request: &StartRequest) -> Result<Started> {
        let begun = Instant::now();
        let id = request.id.to_string();
        let busy = self.busy(request.id);
        let _held = busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_running(request.id)?;
        let exits_before = self.folders.exits(request.id).count();
        let opened = self.open_for(request)?;
        let group = Group::create(&self.layout, self.instance(), &id, request.base_id)?;
        let answer = self.start_in(request, &group, &opened);
        let answer = match answer {
            Ok(answer) => answer,
            Err(mut error) => {
                self.name_full_disk(&mut error);
                self.running().remove(&request.id);
                self.chosen_cpus().remove(&request.id);
                // A shim that was killed before it could answer may have left an init running.
                if let Err(left) = group.kill().and_then(|()| group.remove()) {
                    error.message = format!("{} (and then: {left})", error.message);
                }
                return Err(error);
            }
        };
        self.remember_start(request);
        self.events.follow(request.id);
        self.events.follow_memory(request.id, &group);
        let at = Timestamp::from_ms(answer.number("at").unwrap_or(0));
        let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Started {
            pid: answer.number("pid").unwrap_or(0),
            at,
            took_us,
            exits_before,
        })
    }

    /// The shim and init do not know where the state directory is.
    fn name_full_disk(&self, error: &mut Error) {
        let is_full = || host_folder(&self.folders.state).is_ok_and(|state| room::used_up(state).is_some());
        if error.code == model::ErrorCode::NoSpace && is_full() {
            let state = self.folders.state.display();
            error.hint = Some(format!("make room on the file system of {state}: empty the trash or remove templates"));
        }
    }

    /// Init runs by now: what cannot be noted is said and fails nothing.
    fn remember_start(&self, request: &StartRequest) {
        let is_new = self.folders.is_new(request.id);
        let noted = if is_new { self.folders.started(request.id) } else { Ok(()) };
        if let Err(error) = noted.and(self.folders.note_hostname(request.id, &request.hostname)) {
            tracing::error!(container.id = %request.id, %error, "a start could not be noted in the container's folder");
        }
    }

    /// A shim whose container has ended is about to end itself: that is waited for.
    fn refuse_running(&self, id: ContainerId) -> Result<()> {
        let shims = self.shims();
        let Some(shim) = Connection::open(&shims, &id.to_string()) else {
            return Ok(());
        };
        let ends = shim
            .ask_shortly(&Fields::command("hello"))
            .map_or(true, |(status, _)| status.get("state") == Some("ended"));
        drop(shim);
        if ends {
            watch::wait_for_end(&shims, id);
            if Connection::open(&shims, &id.to_string()).is_none() {
                return Ok(());
            }
        }
        Err(Error::conflict("start the container", "it runs already"))
    }

    fn start_in(&self, request: &StartRequest, group: &Group, opened: &Opened) -> Result<Fields> {
        let cpus = self.choose_cpus(request.id, &request.limits)?;
        limits::apply(group, &request.limits, None, &cpus, self.disk)?;
        let message = opened.named_in(self.start_message(request, group));
        let shims = host_folder(&self.shims())?;
        let mut all: Vec<BorrowedFd<'_>> = vec![opened.folder.as_fd(), shims.as_fd()];
        all.extend(opened.layers.iter().map(AsFd::as_fd));
        all.extend(group.birthplace());
        all.extend(group.v1.iter().map(|(_, group)| group.as_fd()));
        all.extend(opened.sources());
        let birthplace = crate::companion::birthplace(&self.layout, self.instance(), SHIMS)?;
        let answer = engine::start(&self.program, &message, &all, &birthplace)?;
        let nics = request.nics.iter().map(|nic| (nic.name.clone(), nic.host_name.clone())).collect();
        let running = Running {
            reader: Reader::open(group, self.disk),
            limits: request.limits.clone(),
            nics,
        };
        self.running().insert(request.id, running);
        Ok(answer)
    }

    fn start_message(&self, request: &StartRequest, group: &Group) -> Fields {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let mut message = Fields::command("start")
            .with("id", request.id)
            .with("uuid", request.id)
            .with("hostname", &request.hostname)
            .with("base", request.base_id)
            .with("stage", self.config.run_dir.join("stage").display())
            .with("layers", request.layers.len())
            .with("nesting", yes(request.nesting))
            .with("cgroup-view", yes(group.birthplace().is_some()))
            .with("unified", yes(group.birthplace().is_some()))
            .with("restart", request.restart.as_str());
        message = group.v1.iter().fold(message, |message, (names, _)| message.with("v1", names));
        message = request
            .env
            .iter()
            .fold(message, |message, (key, value)| message.with("env", format!("{key}={value}")));
        message = request.nics.iter().fold(message, |message, nic| message.with("nic", Nic::from(nic).encode()));
        if let Some(lxcfs) = crate::lxcfs::ensure(&self.config.run_dir, &self.layout, self.instance()) {
            message = message.with("lxcfs", lxcfs.display());
        }
        // Without DHCP nobody tells the container whom to ask for names.
        if request.nics.iter().all(|nic| nic.fixed_ipv4) {
            let servers: std::collections::BTreeSet<_> = request.nics.iter().filter_map(|nic| nic.gateway4).collect();
            message = servers.iter().fold(message, |message, server| message.with("resolver", server));
        }
        if !self.folders.is_new(request.id) {
            let last = self.folders.last_hostname(request.id);
            return last.iter().fold(message, |message, last| message.with("last-hostname", last));
        }
        let first = self.folders.first_boot(request.id).unwrap_or_default();
        message = message.with("first-hostname", &request.hostname);
        message = first
            .root_password_hash
            .iter()
            .fold(message, |message, hash| message.with("first-password", hash));
        first.ssh_keys.iter().fold(message, |message, key| message.with("first-key", key))
    }

    /// Chooses CPUs for a container beside those of the others, and takes them: the next one chooses beside these.
    fn choose_cpus(&self, id: ContainerId, wanted: &Limits) -> Result<Vec<u32>> {
        let text = std::fs::read_to_string("/sys/devices/system/cpu/online").at("find the host's CPUs", "read(\"/sys/devices/system/cpu/online\")")?;
        let online = model::limits::parse_cpu_list(text.trim()).map_err(|error| Error::failed("find the host's CPUs", error.to_string()))?;
        if let Some(cpu) = wanted
            .cpuset
            .as_deref()
            .and_then(|list| model::limits::parse_cpu_list(list).ok())
            .and_then(|list| list.into_iter().find(|cpu| !online.contains(cpu)))
        {
            let error = Error::invalid("give the container CPUs", format!("this host has no CPU {cpu}"));
            return Err(error.hint(format!("its CPUs are {}", text.trim())));
        }
        let mut chosen = self.chosen_cpus();
        let others: Vec<Vec<u32>> = chosen.iter().filter(|(other, _)| **other != id).map(|(_, cpus)| cpus.clone()).collect();
        let cpus = limits::cpus(wanted, &online, &others);
        chosen.insert(id, cpus.clone());
        Ok(cpus)
    }

    /// Changes the limits of a running container, all or none.
    ///
    /// # Errors
    /// The container does not run, or a limit is refused.
    pub fn set_limits(&self, id: ContainerId, wanted: &Limits) -> Result<()> {
        let group = self.group(id)?;
        let cpus_before = self.chosen_cpus().get(&id).cloned();
        let cpus = self.choose_cpus(id, wanted)?;
        let before = self.running().get(&id).map(|running| running.limits.clone());
        if let Err(error) = limits::apply(&group, wanted, before.as_ref(), &cpus, self.disk) {
            let mut chosen = self.chosen_cpus();
            chosen.remove(&id);
            chosen.extend(cpus_before.map(|cpus| (id, cpus)));
            return Err(error);
        }
        if let Some(running) = self.running().get_mut(&id) {
            running.limits = wanted.clone();
        }
        Ok(())
    }

    /// Tells the shim of a running container what to do when init ends by itself. A start that waits for its time is
    /// called off when there shall be none.
    ///
    /// # Errors
    /// The container does not run, or its shim is gone.
    pub fn set_restart(&self, id: ContainerId, policy: model::container::RestartPolicy) -> Result<()> {
        self.tell(id, &Fields::command("restart-policy").with("restart", policy.as_str()))
    }

    /// Asks, kills, freezes or thaws.
    ///
    /// # Errors
    /// Names the step.
    pub fn signal(&self, id: ContainerId, signal: Signal) -> Result<()> {
        match signal {
            Signal::PowerOff => stop::power_off(&self.connection(id)?),
            Signal::Freeze => self.group(id)?.freeze(),
            Signal::Unfreeze => self.group(id)?.thaw(),
            Signal::Kill => self.kill(id),
        }
    }

    fn kill(&self, id: ContainerId) -> Result<()> {
        let connection = Connection::open(&self.shims(), &id.to_string());
        if let Some(connection) = &connection
            && let Err(error) = connection.ask_shortly(&Fields::command("wish-kill"))
        {
            // It reads the wish before it judges the end; a shim that hangs must not keep anybody from killing.
            tracing::warn!(container.id = %id, %error, "its shim does not answer; its processes are killed all the same");
        }
        // Before the lock: a start that hangs ends by this.
        if let Some(group) = self.look(id)? {
            group.kill()?;
        }
        let busy = self.busy(id);
        let _held = busy.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.is_some() {
            watch::wait_for_end(&self.shims(), id);
        }
        self.tidy(id);
        Ok(())
    }

    /// Removes what a container that has ended left in the cgroups, unless somebody works on it, who does it then.
    pub(crate) fn tidy_unless_busy(&self, id: ContainerId) {
        let busy = self.busy(id);
        if let Ok(_held) = busy.try_lock() {
            self.tidy(id);
        }
    }

    fn tidy(&self, id: ContainerId) {
        let Ok(group) = self.look(id) else { return };
        if group.as_ref().is_some_and(|group| group.is_populated() != Some(false)) {
            return;
        }
        let known = self.running().remove(&id);
        self.chosen_cpus().remove(&id);
        self.events.forget_memory(id);
        if group.is_some() && Connection::open(&self.shims(), &id.to_string()).is_none() {
            self.remove_links(id, known);
        }
        if let Some(group) = group
            && let Err(error) = group.remove()
        {
            tracing::warn!(container.id = %id, %error, "the cgroups of an ended container stay for now");
        }
    }

    /// A link goes with its namespace; what limits it on the way out is a device of its own, which only the shim removes,
    /// unless somebody killed it.
    fn remove_links(&self, id: ContainerId, known: Option<Running>) {
        for (_, host_name) in known.map_or_else(|| self.nics_of(id), |known| known.nics) {
            if let Err(error) = crate::net::veth::remove(&host_name) {
                tracing::warn!(container.id = %id, %error, "a link of an ended container stays for now");
            }
        }
    }

    /// With the last container deleted: ends lxcfs and removes the group of the shims, and the instance's own with it. No
    /// container may start meanwhile.
    ///
    /// # Errors
    /// Something lives on, or cannot be removed.
    pub fn retire(&self) -> Result<()> {
        let ended = crate::lxcfs::retire(&self.config.run_dir, &self.layout, self.instance());
        let within = std::time::Duration::from_secs(3);
        let removed = crate::companion::remove_groups(&self.layout, self.instance(), SHIMS, within);
        self.layout.remove_instance(self.instance());
        ended.and(removed)
    }

    /// Runs a command inside.
    ///
    /// # Errors
    /// The container does not run, is frozen, or a step of Berth's own fails.
    pub fn exec(&self, id: ContainerId, exec: ExecId, request: &ExecRequest) -> Result<Vec<OwnedFd>> {
        if self.group(id)?.is_frozen() {
            return Err(Error::conflict("start a command in the container", "the container is frozen").hint("unfreeze it first"));
        }
        let mut message = Fields::command("exec").with("exec", exec).with("tty", if request.tty { "yes" } else { "no" });
        message = request.command.iter().fold(message, |message, argument| message.with("arg", argument));
        message = request
            .env
            .iter()
            .fold(message, |message, (key, value)| message.with("env", format!("{key}={value}")));
        for (key, value) in [
            ("user", request.user.clone()),
            ("cwd", request.cwd.clone()),
            ("cols", request.cols.map(|cols| cols.to_string())),
            ("rows", request.rows.map(|rows| rows.to_string())),
        ] {
            message = value.into_iter().fold(message, |message, value| message.with(key, value));
        }
        Ok(self.connection(id)?.ask(&message)?.1)
    }

    /// Tells a command or the console its size, or sends a command a signal.
    ///
    /// # Errors
    /// The command has ended, or the container does not run.
    pub fn tell(&self, id: ContainerId, request: &Fields) -> Result<()> {
        self.connection(id)?.ask(request).map(drop)
    }

    /// A socket with the console's scrollback and then the console.
    ///
    /// # Errors
    /// The container does not run.
    pub fn console(&self, id: ContainerId) -> Result<OwnedFd> {
        let (_, mut descriptors) = self.connection(id)?.ask(&Fields::command("console"))?;
        descriptors
            .pop()
            .ok_or_else(|| Error::failed("attach to the console", "the shim sent no descriptor"))
    }

    /// The console's log.
    ///
    /// # Errors
    /// The container was never started.
    pub fn console_log(&self, id: ContainerId) -> Result<OwnedFd> {
        console_log::open(&self.folders.container(id)?)
    }

    /// The console's logs, the older one first, each standing where what was printed at or after the moment begins.
    ///
    /// # Errors
    /// As [`Runtime::console_log`], or the disk fails.
    pub fn console_log_since(&self, id: ContainerId, since: Timestamp) -> Result<Vec<OwnedFd>> {
        console_log::since(&self.folders.container(id)?, since)
    }

    /// Moves or removes the container's folder.
    ///
    /// # Errors
    /// The container runs, or the disk fails.
    pub fn remove(&self, id: ContainerId, removal: Removal) -> Result<()> {
        let busy = self.busy(id);
        let _held = busy.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alive = self.look(id)?.is_some_and(|group| group.is_populated() != Some(false));
        if is_alive || Connection::open(&self.shims(), &id.to_string()).is_some() {
            return Err(Error::conflict("remove the container", "it runs").hint("stop or kill it first"));
        }
        self.tidy(id);
        self.folders.remove(id, removal)
    }

    /// Counters of the host and of every running container.
    pub fn sample(&self) -> Sample {
        let links = crate::net::veth::counters().unwrap_or_default();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic_ns = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
        let mut running = self.running();
        let containers = running
            .iter_mut()
            .map(|(id, running)| {
                let mut counters = running.reader.read();
                counters.net = running
                    .nics
                    .iter()
                    .filter_map(|(name, host_name)| Some(links.get(host_name)?.seen_from_inside(name)))
                    .collect();
                (*id, counters)
            })
            .collect();
        drop(running);
        let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).read();
        Sample {
            monotonic_ns,
            host,
            containers,
        }
    }

    /// Where things that happen by themselves are reported.
    pub fn watch(self: &Arc<Self>, sink: Sender<EngineEvent>) {
        self.events.report_to(Arc::downgrade(self), sink);
    }

    /// Unpacks an archive into a layer, confined.
    ///
    /// # Errors
    /// The archive is refused, a cap is reached, or the disk fails; nothing is left then.
    pub fn unpack(&self, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Result<Unpacked> {
        crate::unpack::unpack(&self.folders, request, input, progress)
    }

    /// Builds a root file system from packages, confined.
    ///
    /// # Errors
    /// The build fails or was cancelled; nothing is left then.
    pub fn build(&self, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Result<()> {
        crate::build::build(&self.folders, request, output, log)
    }

    /// The folders, for the helpers that fill them.
    #[must_use]
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.config.run_dir
    }
}

/// A dozen files of each container stay open for its counters; the usual soft limit is made for programs that use
/// select(2). Containers are given the usual one again.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    if let Err(errno) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %std::io::Error::from(errno), "the limit of open files stays low: few containers can be measured");
    }
}
