//! What a test does to the fake, and sees of it: everything that happens on a real host by itself.

use std::io::Write as _;

use model::container::{ExitReason, RestartPolicy};
use model::engine::{EngineEvent, ExecExit, Listener, NetworkPlan};
use model::id::ExecId;
use model::leftover::Leftover;
use model::storage::Mount;
use model::{ContainerId, Digest, Limits, Timestamp};

use super::{EPOCH_MS, Fake, exit};

impl Fake {
    /// What images say about themselves from now on.
    pub fn set_metadata(&self, text: &str) {
        self.lock().metadata = Some(text.to_owned());
    }

    /// The next `times` calls of a verb fail.
    pub fn fail(&self, verb: &'static str, times: u32) {
        self.lock().failing.insert(verb, times);
    }

    /// Whether this bridge cannot be made from now on.
    pub fn break_network(&self, bridge: &str, is_broken: bool) {
        let mut inner = self.lock();
        if is_broken {
            inner.broken.insert(bridge.to_owned());
        } else {
            inner.broken.remove(bridge);
        }
    }

    /// This container's init does not end when it is asked.
    pub fn make_deaf(&self, id: ContainerId) {
        self.lock().deaf.insert(id);
    }

    /// It does again.
    pub fn make_hear(&self, id: ContainerId) {
        self.lock().deaf.remove(&id);
    }

    /// A layer that is there already.
    pub fn add_layer(&self, digest: Digest) {
        self.lock().layers.insert(digest);
    }

    /// The container ends by itself.
    pub fn end(&self, id: ContainerId, reason: ExitReason, code: i32) {
        self.lock().end(id, reason, code);
    }

    /// The container ends by itself, and its policy starts it again at that moment.
    pub fn crash(&self, id: ContainerId, code: i32, next_start_at: Timestamp) {
        let mut inner = self.lock();
        let at = inner.now();
        inner.change_run(id, |folder| {
            folder.exits.push(exit(at, ExitReason::Exited, code));
            folder.run.iter_mut().for_each(|run| {
                run.next_start_at = Some(next_start_at);
                run.restarts += 1;
            });
        });
    }

    /// Somebody kills the shim; the container lives on.
    pub fn lose_shim(&self, id: ContainerId) {
        let change = |run: &mut super::Run| run.degraded = true;
        self.lock().change_run(id, |folder| folder.run.iter_mut().for_each(change));
    }

    /// That moment has come.
    pub fn start_again(&self, id: ContainerId) {
        let mut inner = self.lock();
        let at = inner.now();
        inner.change_run(id, |folder| {
            folder.run.iter_mut().for_each(|run| {
                (run.started_at, run.next_start_at) = (at, None);
            });
        });
    }

    /// What happens when a running container ends by itself.
    #[must_use]
    pub fn policy(&self, id: ContainerId) -> Option<RestartPolicy> {
        self.lock().folders.get(&id)?.run.as_ref().map(|run| run.policy)
    }

    /// The container ends and nobody writes down how, nor tells: its shim or the host was gone.
    pub fn lose(&self, id: ContainerId) {
        if let Some(folder) = self.lock().folders.get_mut(&id) {
            folder.run = None;
        }
    }

    /// What time it is for what is started from now on.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().seconds = (now.ms - EPOCH_MS) / 1000;
    }

    /// A command prints and ends.
    pub fn finish_exec(&self, id: ContainerId, exec: ExecId, printed: &[u8], code: i32) {
        let mut inner = self.lock();
        let ends = inner
            .folders
            .get_mut(&id)
            .and_then(|folder| folder.run.as_mut())
            .and_then(|run| run.execs.remove(&exec));
        if let Some(ends) = ends {
            let mut file = std::fs::File::from(ends.stdout);
            // Nobody reads any more: an ordinary end.
            drop(file.write_all(printed));
        }
        inner.tell(EngineEvent::ExecExited(ExecExit { exec, code, message: None }));
    }

    /// The container's ends of everybody's console.
    #[must_use]
    pub fn consoles(&self, id: ContainerId) -> Vec<std::os::unix::net::UnixStream> {
        let inner = self.lock();
        let run = inner.folders.get(&id).and_then(|folder| folder.run.as_ref());
        run.map_or_else(Vec::new, |run| run.console.iter().filter_map(|end| end.try_clone().ok()).collect())
    }

    /// Networks as they were last applied.
    #[must_use]
    pub fn networks(&self) -> Vec<NetworkPlan> {
        self.lock().networks.values().cloned().collect()
    }

    /// What listens on the host from now on.
    pub fn set_listeners(&self, listeners: Vec<Listener>) {
        self.lock().listeners = listeners;
    }

    /// Something that nobody uses any more.
    pub fn leave(&self, leftover: Leftover) {
        self.lock().leftovers.push(leftover);
    }

    /// Ids whose folder exists, the trash included.
    #[must_use]
    pub fn folders(&self) -> Vec<(ContainerId, bool)> {
        self.lock().folders.iter().map(|(id, folder)| (*id, folder.trashed)).collect()
    }

    /// Mounts of a running container.
    #[must_use]
    pub fn mounts(&self, id: ContainerId) -> Option<Vec<Mount>> {
        self.lock().folders.get(&id)?.run.as_ref().map(|run| run.mounts.clone())
    }

    /// Limits of a running container.
    #[must_use]
    pub fn limits(&self, id: ContainerId) -> Option<Limits> {
        self.lock().folders.get(&id)?.run.as_ref().map(|run| run.limits.clone())
    }
}
