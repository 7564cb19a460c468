//! The engine of this host: [`runtime::Runtime`] in this process.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use model::container::RestartPolicy;
use model::engine::{
    BuildRequest, DiskUse, EngineError, EngineEvent, ExecRequest, FirstBoot, HostReport, Listener, Manifest, NetworkPlan, Observed, Removal, Signal,
    StartRequest, Started, UnpackRequest, Unpacked,
};
use model::id::ExecId;
use model::leftover::Leftover;
use model::metrics::Sample;
use model::network::Publish;
use model::storage::Mount;
use model::{ContainerId, Digest, Limits, Timestamp};
use runtime::Runtime;
use runtime::shim::protocol::Fields;

use super::{Engine, ExecStreams};

type Outcome<T> = std::result::Result<T, EngineError>;

/// Carries out on this host what the trait says.
#[derive(Debug)]
pub struct Linux {
    runtime: Arc<Runtime>,
    state_dir: PathBuf,
}

impl Linux {
    /// Opens the runtime; it is used by nobody else.
    ///
    /// # Errors
    /// `Unsupported` names what this host or the state directory lacks.
    pub fn open(config: runtime::Config) -> Outcome<Self> {
        let state_dir = config.state_dir.clone();
        let runtime = Runtime::open(config).map_err(EngineError::from)?;
        Ok(Self {
            runtime: Arc::new(runtime),
            state_dir,
        })
    }
}

impl Engine for Linux {
    fn host(&self) -> HostReport {
        runtime::host::report(&self.state_dir)
    }

    fn create(&self, manifest: &Manifest, first_boot: &FirstBoot) -> Outcome<()> {
        Ok(self.runtime.create(manifest, first_boot)?)
    }

    fn write_manifest(&self, manifest: &Manifest) -> Outcome<()> {
        Ok(self.runtime.folders().write_manifest(manifest)?)
    }

    fn manifests(&self) -> Vec<Manifest> {
        self.runtime.folders().manifests()
    }

    fn start(&self, request: &StartRequest) -> Outcome<Started> {
        Ok(self.runtime.start(request)?)
    }

    fn signal(&self, id: ContainerId, signal: Signal) -> Outcome<()> {
        Ok(self.runtime.signal(id, signal)?)
    }

    fn set_limits(&self, id: ContainerId, limits: &Limits) -> Outcome<()> {
        Ok(self.runtime.set_limits(id, limits)?)
    }

    fn set_restart(&self, id: ContainerId, policy: RestartPolicy) -> Outcome<()> {
        Ok(self.runtime.set_restart(id, policy)?)
    }

    fn exec(&self, id: ContainerId, exec: ExecId, request: &ExecRequest) -> Outcome<ExecStreams> {
        let mut streams = self.runtime.exec(id, exec, request)?.into_iter();
        let (first, second, third) = (streams.next(), streams.next(), streams.next());
        let missing = || runtime::error::Error::failed("start a command in the container", "the shim sent too few descriptors");
        let stdin = first.ok_or_else(missing)?;
        let stdout = match second {
            Some(stdout) => stdout,
            // A terminal is one descriptor for both ways.
            None if request.tty => stdin
                .try_clone()
                .map_err(|error| runtime::error::Error::io("start a command in the container", "dup()", error))?,
            None => return Err(missing().into()),
        };
        Ok(ExecStreams { stdin, stdout, stderr: third })
    }

    fn resize_exec(&self, id: ContainerId, exec: ExecId, cols: u16, rows: u16) -> Outcome<()> {
        let request = Fields::command("exec-resize").with("exec", exec).with("cols", cols).with("rows", rows);
        Ok(self.runtime.tell(id, &request)?)
    }

    fn signal_exec(&self, id: ContainerId, exec: ExecId, signal: i32) -> Outcome<()> {
        Ok(self
            .runtime
            .tell(id, &Fields::command("exec-signal").with("exec", exec).with("number", signal))?)
    }

    fn console(&self, id: ContainerId) -> Outcome<OwnedFd> {
        Ok(self.runtime.console(id)?)
    }

    fn resize_console(&self, id: ContainerId, cols: u16, rows: u16) -> Outcome<()> {
        Ok(self.runtime.tell(id, &Fields::command("resize").with("cols", cols).with("rows", rows))?)
    }

    fn console_log(&self, id: ContainerId) -> Outcome<OwnedFd> {
        Ok(self.runtime.console_log(id)?)
    }

    fn console_log_since(&self, id: ContainerId, since: Timestamp) -> Outcome<Vec<OwnedFd>> {
        Ok(self.runtime.console_log_since(id, since)?)
    }

    fn remove(&self, id: ContainerId, removal: Removal) -> Outcome<()> {
        Ok(self.runtime.remove(id, removal)?)
    }

    fn measure(&self, id: ContainerId) -> Outcome<DiskUse> {
        Ok(self.runtime.folders().measure(id)?)
    }

    fn sample(&self) -> Sample {
        self.runtime.sample()
    }

    fn observe(&self) -> Outcome<Vec<Observed>> {
        Ok(self.runtime.observe()?)
    }

    fn watch(&self, sink: std::sync::mpsc::Sender<EngineEvent>) {
        self.runtime.watch(sink);
    }

    fn unpack(&self, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Outcome<Unpacked> {
        Ok(self.runtime.unpack(request, input, progress)?)
    }

    fn build(&self, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Outcome<()> {
        Ok(self.runtime.build(request, output, log)?)
    }

    fn layers(&self) -> Vec<Digest> {
        self.runtime.folders().layers()
    }

    fn remove_layer(&self, digest: &Digest) -> Outcome<()> {
        Ok(self.runtime.folders().remove_layer(digest)?)
    }

    fn listeners(&self, ports: &[Publish]) -> Outcome<Vec<Listener>> {
        Ok(runtime::net::listeners::on(ports)?)
    }

    fn check_mounts(&self, mounts: &[Mount]) -> Outcome<()> {
        Ok(self.runtime.check_mounts(mounts)?)
    }

    fn add_mount(&self, id: ContainerId, mount: &Mount) -> Outcome<()> {
        Ok(self.runtime.add_mount(id, mount)?)
    }

    fn apply_network(&self, plan: &NetworkPlan) -> Outcome<()> {
        Ok(self.runtime.apply_network(plan)?)
    }

    fn remove_network(&self, bridge: &str) -> Outcome<()> {
        Ok(self.runtime.remove_network(bridge)?)
    }

    fn leftovers(&self) -> Outcome<Vec<Leftover>> {
        Ok(self.runtime.leftovers()?)
    }

    fn clear(&self, leftover: &Leftover) -> Outcome<()> {
        Ok(self.runtime.clear(leftover)?)
    }

    fn retire(&self) -> Outcome<()> {
        Ok(self.runtime.retire()?)
    }
}
