//! Hearing of what happens by itself: one thread polls a connection to every shim.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::ContainerId;
use model::engine::{EngineEvent, ExecExit};
use model::id::ExecId;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::container::Runtime;
use crate::error::{At, Result};
use crate::shim::engine::Connection;
use crate::shim::protocol::{self, Fields};

/// How long a shim may take to end after its container.
const END: Duration = Duration::from_secs(10);

/// Followed shims, and where events go.
#[derive(Debug)]
pub struct Watch {
    shims: PathBuf,
    wake: OwnedFd,
    followed: Mutex<HashMap<ContainerId, Arc<Connection>>>,
    failures: Mutex<HashMap<ExecId, String>>,
}

impl Watch {
    /// Follows nothing yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(shims: PathBuf) -> Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).at("watch the shims", "eventfd()")?;
        Ok(Self {
            shims,
            wake,
            followed: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<Connection>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a shim that has just been started: from its return on no event is missed.
    pub fn follow(&self, id: ContainerId) {
        let Some(connection) = Connection::open(&self.shims, &id.to_string()) else {
            return;
        };
        if connection.ask(&Fields::command("watch")).is_ok() {
            self.followed().insert(id, Arc::new(connection));
            // A full counter is a wake-up already.
            rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).ok();
        }
    }

    /// Follows a shim that was found, unless it is followed already.
    pub fn follow_found(&self, id: ContainerId) {
        let is_known = self.followed().contains_key(&id);
        if !is_known {
            self.follow(id);
        }
    }

    /// Why a command never ran, to be told with its exit.
    pub fn note_failure(&self, exec: ExecId, code: i32, message: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(exec, format!("{message} (exit code {code})"));
    }

    /// Starts the thread that reports to `sink` for as long as the runtime lives.
    pub fn report_to(self: &Arc<Self>, runtime: Weak<Runtime>, sink: Sender<EngineEvent>) {
        let watch = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("berth-watch".into()).spawn(move || watch.run(&runtime, &sink));
        if let Err(error) = spawned {
            tracing::error!(%error, "ends of containers will not be heard of");
        }
    }

    fn run(&self, runtime: &Weak<Runtime>, sink: &Sender<EngineEvent>) {
        loop {
            let ready = self.wait();
            let Some(runtime) = runtime.upgrade() else { return };
            for (id, connection) in ready {
                let event = connection.event();
                if event.is_none() {
                    let mut followed = self.followed();
                    // Unless its successor is followed already.
                    if followed.get(&id).is_some_and(|known| Arc::ptr_eq(known, &connection)) {
                        followed.remove(&id);
                    }
                }
                if !self.report(&runtime, sink, id, event.as_ref()) {
                    return;
                }
            }
        }
    }

    fn wait(&self) -> Vec<(ContainerId, Arc<Connection>)> {
        let all: Vec<(ContainerId, Arc<Connection>)> = self.followed().iter().map(|(id, connection)| (*id, Arc::clone(connection))).collect();
        let mut ready = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        ready.extend(all.iter().map(|(_, connection)| PollFd::from_borrowed_fd(connection.socket(), PollFlags::IN)));
        // An interrupted wait finds nothing ready and begins anew.
        if poll(&mut ready, None).is_err() {
            return Vec::new();
        }
        rustix::io::read(&self.wake, &mut [0; 8]).ok();
        let heard: Vec<bool> = ready.iter().skip(1).map(|entry| !entry.revents().is_empty()).collect();
        all.into_iter().zip(heard).filter(|(_, heard)| *heard).map(|(found, _)| found).collect()
    }

    /// Passes an event on; false when nobody listens any more.
    fn report(&self, runtime: &Runtime, sink: &Sender<EngineEvent>, id: ContainerId, event: Option<&Fields>) -> bool {
        if let Some(event) = event.filter(|event| event.get("command") == Some("exec-exited")) {
            let Some(exec) = event.get("exec").and_then(|exec| exec.parse().ok()) else {
                return true;
            };
            let message = self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&exec);
            return sink
                .send(EngineEvent::ExecExited(ExecExit {
                    exec,
                    code: event.number("code").unwrap_or(1),
                    message,
                }))
                .is_ok();
        }
        if event.is_none() {
            runtime.tidy(id);
        }
        sink.send(EngineEvent::Changed(runtime.observe_one(id))).is_ok()
    }
}

/// Waits until the shim of a container that was killed has written its record and ended.
pub fn wait_for_end(shims: &Path, id: ContainerId) {
    let deadline = Instant::now() + END;
    while let Some(connection) = Connection::open(shims, &id.to_string()) {
        if Instant::now() > deadline {
            tracing::warn!(container.id = %id, "its shim has not ended yet");
            return;
        }
        // The other end closes when the shim ends: the wait is for that.
        drop(protocol::is_readable(connection.socket(), 200));
    }
}
