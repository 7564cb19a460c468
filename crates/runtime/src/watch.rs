//! Hearing of what happens by itself: one thread polls a connection to every shim.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use model::ContainerId;
use model::engine::{EngineEvent, ExecExit};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::cgroup::Group;
use crate::cgroup::oom::OomWatch;
use crate::container::Runtime;
use crate::error::{At, Result};
use crate::shim::engine::Connection;
use crate::shim::protocol::{self, Fields};

/// How long a shim may take to end after its container.
const END: Duration = Duration::from_secs(10);
/// A kill is counted at most this long after the limit was hit.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Followed shims, and where events go.
#[derive(Debug)]
pub struct Watch {
    shims: PathBuf,
    wake: OwnedFd,
    followed: Mutex<HashMap<ContainerId, Arc<Connection>>>,
    memory: Mutex<HashMap<ContainerId, Memory>>,
    /// `cgroup.events` of containers whose shim is gone: nobody else tells of their end.
    orphans: Mutex<HashMap<ContainerId, Arc<File>>>,
}

/// Where kills for lack of memory in a container are heard of.
#[derive(Debug)]
struct Memory {
    watch: Arc<OomWatch>,
    /// Kills that were told, or had happened before.
    told: u64,
    /// Version 1 says that the limit was hit, and counts a moment later.
    look_until: Option<Instant>,
}

/// Who has something to tell.
#[derive(Debug, Default)]
struct Heard {
    shims: Vec<(ContainerId, Arc<Connection>)>,
    memory: Vec<ContainerId>,
    orphans: Vec<(ContainerId, Arc<File>)>,
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
            memory: Mutex::default(),
            orphans: Mutex::default(),
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
        if connection.ask_shortly(&Fields::command("watch")).is_ok() {
            self.followed().insert(id, Arc::new(connection));
            self.wake();
        }
    }

    fn wake(&self) {
        // A full counter is a wake-up already.
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).ok();
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<ContainerId, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for kills for lack of memory in a container's groups, from now on.
    pub fn follow_memory(&self, id: ContainerId, group: &Group) {
        let watch = match (group.v1("memory"), &group.unified) {
            (Some(memory), _) => OomWatch::v1(memory),
            (None, Some(unified)) => OomWatch::v2(unified.as_fd()),
            (None, None) => return,
        };
        match watch.and_then(|watch| Ok((watch.kills()?, watch))) {
            Ok((told, watch)) => {
                let memory = Memory {
                    watch: Arc::new(watch),
                    told: told.unwrap_or(0),
                    look_until: None,
                };
                self.memory().insert(id, memory);
                self.wake();
            }
            Err(error) => tracing::warn!(container.id = %id, %error, "kills for lack of memory in this container will not be told"),
        }
    }

    /// Stops listening: the groups are to be removed.
    pub fn forget_memory(&self, id: ContainerId) {
        if self.memory().remove(&id).is_some() {
            self.wake();
        }
    }

    fn orphans(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<File>>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens for the end of a container that lives without its shim.
    pub fn follow_orphan(&self, id: ContainerId, group: &Group) {
        if self.orphans().contains_key(&id) {
            return;
        }
        match group.events() {
            Some(Ok(events)) => {
                self.orphans().insert(id, Arc::new(events));
                self.wake();
            }
            Some(Err(error)) => tracing::warn!(container.id = %id, %error, "the end of this container, whose shim is gone, will be seen late"),
            // Version 1 alone tells nobody.
            None => {}
        }
    }

    /// Follows a shim that was found, unless it is followed already.
    pub fn follow_found(&self, id: ContainerId) {
        let is_known = self.followed().contains_key(&id);
        if !is_known {
            self.follow(id);
        }
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
            let heard = self.wait();
            let Some(runtime) = runtime.upgrade() else { return };
            for id in heard.memory {
                if !self.report_memory(&runtime, sink, id) {
                    return;
                }
            }
            for (id, events) in heard.orphans {
                if !self.report_orphan(&runtime, sink, id, &events) {
                    return;
                }
            }
            for (id, connection) in heard.shims {
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

    fn wait(&self) -> Heard {
        let all: Vec<(ContainerId, Arc<Connection>)> = self.followed().iter().map(|(id, connection)| (*id, Arc::clone(connection))).collect();
        let memory: Vec<(ContainerId, Arc<OomWatch>, bool)> = self
            .memory()
            .iter()
            .map(|(id, memory)| (*id, Arc::clone(&memory.watch), memory.look_until.is_some()))
            .collect();
        let mut ready = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        ready.extend(all.iter().map(|(_, connection)| PollFd::from_borrowed_fd(connection.socket(), PollFlags::IN)));
        ready.extend(memory.iter().map(|(_, watch, _)| {
            let (descriptor, flags) = watch.poll_on();
            PollFd::from_borrowed_fd(descriptor, flags)
        }));
        let orphans: Vec<(ContainerId, Arc<File>)> = self.orphans().iter().map(|(id, events)| (*id, Arc::clone(events))).collect();
        ready.extend(orphans.iter().map(|(_, events)| PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)));
        let timeout = memory.iter().any(|(_, _, looks)| *looks).then_some(LOOK_AGAIN);
        // An interrupted wait finds nothing ready and begins anew.
        if poll(&mut ready, timeout.as_ref()).is_err() {
            return Heard::default();
        }
        rustix::io::read(&self.wake, &mut [0; 8]).ok();
        let mut heard = ready.iter().skip(1).map(|entry| !entry.revents().is_empty());
        let heard_shims: Vec<bool> = heard.by_ref().take(all.len()).collect();
        let heard_memory: Vec<bool> = heard.by_ref().take(memory.len()).collect();
        let heard_orphans: Vec<bool> = heard.collect();
        let orphans = orphans
            .into_iter()
            .zip(heard_orphans)
            .filter(|(_, heard)| *heard)
            .map(|(found, _)| found)
            .collect();
        let shims = all.into_iter().zip(heard_shims).filter(|(_, heard)| *heard).map(|(found, _)| found);
        let memory = memory.into_iter().zip(heard_memory).filter(|((_, _, looks), heard)| *looks || *heard);
        Heard {
            shims: shims.collect(),
            memory: memory.map(|((id, _, _), _)| id).collect(),
            orphans,
        }
    }

    /// Tells of a kill inside, unless it was init that died: that is told as the container's end. False when nobody listens
    /// any more.
    fn report_memory(&self, runtime: &Runtime, sink: &Sender<EngineEvent>, id: ContainerId) -> bool {
        let total = {
            let mut all = self.memory();
            let Some(memory) = all.get_mut(&id) else { return true };
            let Ok(Some(kills)) = memory.watch.kills() else {
                // The group is gone, or does not count.
                all.remove(&id);
                return true;
            };
            if kills <= memory.told {
                let until = *memory.look_until.get_or_insert_with(|| Instant::now() + COUNTED_WITHIN);
                memory.look_until = Some(until).filter(|until| Instant::now() < *until);
                return true;
            }
            (memory.told, memory.look_until) = (kills, None);
            kills
        };
        !runtime.observe_one(id).state.is_live() || sink.send(EngineEvent::OomKill { id, total }).is_ok()
    }

    /// Tells of the end of a container whose shim was gone before. False when nobody listens any more.
    fn report_orphan(&self, runtime: &Runtime, sink: &Sender<EngineEvent>, id: ContainerId, events: &File) -> bool {
        // Read, so that the next change wakes again; of a group that is gone nothing can be read.
        events.read_at(&mut [0; 64], 0).ok();
        let seen = runtime.observe_one(id);
        if seen.degraded {
            return true;
        }
        self.orphans().remove(&id);
        sink.send(EngineEvent::Changed(seen)).is_ok()
    }

    /// Passes an event on; false when nobody listens any more.
    fn report(&self, runtime: &Runtime, sink: &Sender<EngineEvent>, id: ContainerId, event: Option<&Fields>) -> bool {
        if let Some(event) = event.filter(|event| event.get("command") == Some("exec-exited")) {
            let Some(exec) = event.get("exec").and_then(|exec| exec.parse().ok()) else {
                return true;
            };
            let message = event.get("message").map(str::to_owned);
            return sink
                .send(EngineEvent::ExecExited(ExecExit {
                    exec,
                    code: event.number("code").unwrap_or(1),
                    message,
                }))
                .is_ok();
        }
        if event.is_none() {
            runtime.tidy_unless_busy(id);
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
