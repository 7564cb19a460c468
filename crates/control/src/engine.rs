//! The one door from `control` to the kernel. Calls block: async code goes through [`call`]. Implementations: Linux
//! (`engine/linux.rs`) and an in-memory fake (`engine/fake.rs`).

use std::os::fd::OwnedFd;
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

pub mod fake;
pub mod linux;

/// The ends of a command's streams. With a tty `stdin` and `stdout` are two descriptors of one socket that carries the
/// terminal; `stderr` is absent then. The exit comes as [`EngineEvent::ExecExited`].
#[derive(Debug)]
pub struct ExecStreams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: Option<OwnedFd>,
}

type Outcome<T> = std::result::Result<T, EngineError>;

/// What the root half can do. Objects are named by id; arguments are `model` values or descriptors.
#[expect(clippy::missing_errors_doc, reason = "each fails alike: with the step, the call and the way out")]
pub trait Engine: Send + Sync + std::fmt::Debug + 'static {
    /// What this host is and can do.
    fn host(&self) -> HostReport;
    /// Makes the container's folder with its first own layer and the manifest. Idempotent. O(1): nothing is copied.
    fn create(&self, manifest: &Manifest, first_boot: &FirstBoot) -> Outcome<()>;
    /// Replaces the manifest after a change of the configuration.
    fn write_manifest(&self, manifest: &Manifest) -> Outcome<()>;
    /// Reads every manifest of the containers under the state directory.
    fn manifests(&self) -> Vec<Manifest>;
    /// Starts init; returns when it has been executed. On failure nothing is left behind and the error names the step.
    fn start(&self, request: &StartRequest) -> Outcome<Started>;
    /// Asks, kills, freezes or thaws. Idempotent: killing a stopped container is fine.
    fn signal(&self, id: ContainerId, signal: Signal) -> Outcome<()>;
    /// Changes the limits of a running container at once; all or none.
    fn set_limits(&self, id: ContainerId, limits: &Limits) -> Outcome<()>;
    /// What is done from now on when the init of a running container ends by itself.
    fn set_restart(&self, id: ContainerId, policy: RestartPolicy) -> Outcome<()>;
    /// Runs a command in all namespaces and cgroups of a running container.
    fn exec(&self, id: ContainerId, exec: ExecId, request: &ExecRequest) -> Outcome<ExecStreams>;
    /// Tells a tty command its new size.
    fn resize_exec(&self, id: ContainerId, exec: ExecId, cols: u16, rows: u16) -> Outcome<()>;
    /// Sends a signal by number to a command.
    fn signal_exec(&self, id: ContainerId, exec: ExecId, signal: i32) -> Outcome<()>;
    /// A socket that first replays the scrollback and then carries the console both ways.
    fn console(&self, id: ContainerId) -> Outcome<OwnedFd>;
    /// Tells the console its size.
    fn resize_console(&self, id: ContainerId, cols: u16, rows: u16) -> Outcome<()>;
    /// The console's log file, opened for reading (it may rotate: then a fresh call gives the new one).
    fn console_log(&self, id: ContainerId) -> Outcome<OwnedFd>;
    /// The console's log files, the older one first, each standing where what was printed at or after the moment begins
    /// (to a second). The last one is the file that grows.
    fn console_log_since(&self, id: ContainerId, since: Timestamp) -> Outcome<Vec<OwnedFd>>;
    /// Moves the folder to the trash and back, or removes it for good. Idempotent.
    fn remove(&self, id: ContainerId, removal: Removal) -> Outcome<()>;
    /// What the container's own layers take on disk, by a slow walk.
    fn measure(&self, id: ContainerId) -> Outcome<DiskUse>;
    /// Counters of the host and of every running container, from cached descriptors.
    fn sample(&self) -> Sample;
    /// Every container that the engine knows of, running or with an exit to tell. After a start of the console this adopts shims.
    /// An error is not the same as none.
    fn observe(&self) -> Outcome<Vec<Observed>>;
    /// Where things that happen by themselves are reported; replaces an earlier sink.
    fn watch(&self, sink: std::sync::mpsc::Sender<EngineEvent>);
    /// Unpacks an archive (format by magic) into `layers/<digest>/`, confined. Progress lines go to `progress`; closing its other end cancels.
    fn unpack(&self, request: &UnpackRequest, input: OwnedFd, progress: OwnedFd) -> Outcome<Unpacked>;
    /// Builds a root file system with mmdebstrap, confined; the tar goes to `output`, log lines to `log`. Closing `log`'s other end cancels.
    fn build(&self, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Outcome<()>;
    /// Layers that are complete.
    fn layers(&self) -> Vec<Digest>;
    /// Removes a layer. Idempotent.
    fn remove_layer(&self, digest: &Digest) -> Outcome<()>;
    /// Sockets of the host that wait on the host's side of these ports.
    fn listeners(&self, ports: &[Publish]) -> Outcome<Vec<Listener>>;
    /// Whether the folders of the host that these mounts bring in are released, really lie where their paths say, and are there.
    /// A start looks again.
    fn check_mounts(&self, mounts: &[Mount]) -> Outcome<()>;
    /// Brings one more mount into a running container.
    fn add_mount(&self, id: ContainerId, mount: &Mount) -> Outcome<()>;
    /// Makes bridge, addresses, nft table, dnsmasq match the plan, atomically. Idempotent.
    fn apply_network(&self, plan: &NetworkPlan) -> Outcome<()>;
    /// Removes all of it.
    fn remove_network(&self, bridge: &str) -> Outcome<()>;
    /// What runs of containers have left on the host that nobody uses any more. An error is not the same as nothing.
    fn leftovers(&self) -> Outcome<Vec<Leftover>>;
    /// Removes something that was found. Idempotent; refused when its container runs again.
    fn clear(&self, leftover: &Leftover) -> Outcome<()>;
    /// With the last container deleted: ends lxcfs and whatever else has no user any more.
    fn retire(&self) -> Outcome<()>;
}

/// Runs a blocking call of the engine off the async threads.
///
/// # Errors
/// What the engine answered; a panic inside is reported as a failure, not passed on.
pub async fn call<T: Send + 'static>(engine: &Arc<dyn Engine>, work: impl FnOnce(&dyn Engine) -> Outcome<T> + Send + 'static) -> crate::Result<T> {
    let engine = Arc::clone(engine);
    let joined = tokio::task::spawn_blocking(move || work(engine.as_ref())).await;
    joined
        .map_err(|join| crate::Error::failed(format!("the engine call ended abnormally: {join}")))?
        .map_err(crate::Error::from)
}
