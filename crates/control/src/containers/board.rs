//! The picture of every container as it is now: its row, its runs, what the engine saw last and what a task is doing.
//! Lists are answered from here; every change of the picture is announced.
//!
//! Invariant: a container's state is computed in one place ([`Live::state`]) and a mark on a graph is made in one place
//! ([`mark`]), whoever brought the news.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::container::{ContainerDetail, ExitReason, ExitRecord, NicDetail};
use model::engine::{NicPlan, Observed};
use model::event::{ContainerChange, Event};
use model::{ContainerId, ContainerState, ContainerSummary, TaskId, Timestamp};
use tokio::sync::broadcast;

use super::row::{ContainerRow, StatRow};
use crate::events::Events;
use crate::store::Rev;

/// One container outside the trash.
#[derive(Clone, Debug)]
pub struct Live {
    pub row: Arc<ContainerRow>,
    /// Revision of the row: its etag.
    pub rev: Rev,
    pub stat: StatRow,
    pub stat_rev: Rev,
    pub observed: Option<Observed>,
    /// What a task is bringing about.
    pub doing: Option<ContainerState>,
    pub task: Option<TaskId>,
    pub stop_deadline: Option<Timestamp>,
}

impl Live {
    /// A container of which only the row is known.
    #[must_use]
    pub fn new(row: ContainerRow, rev: Rev) -> Self {
        Self {
            row: Arc::new(row),
            rev,
            stat: StatRow::default(),
            stat_rev: 0,
            observed: None,
            doing: None,
            task: None,
            stop_deadline: None,
        }
    }

    /// What the engine saw last; what it does not know of does not run.
    #[must_use]
    pub fn seen(&self) -> ContainerState {
        self.observed.as_ref().map_or(ContainerState::Stopped, |observed| observed.state)
    }

    /// The state of interface.md.
    #[must_use]
    pub fn state(&self) -> ContainerState {
        use ContainerState as S;
        let seen = self.seen();
        match (self.doing, seen) {
            _ if !self.row.made => S::Creating,
            (Some(S::Deleting), _) => S::Deleting,
            (Some(S::Starting), S::Stopped | S::Error) => S::Starting,
            (Some(S::Freezing), S::Running) => S::Freezing,
            (_, S::Running) if self.stat.stopping => S::Stopping,
            _ => seen,
        }
    }

    /// The bridges of its NICs, of those that it runs with too.
    #[must_use]
    pub fn bridges(&self) -> BTreeSet<String> {
        let run = self.stat.run.iter().flat_map(|run| &run.nics);
        self.row.nics.iter().chain(run).map(|nic| nic.bridge.clone()).collect()
    }

    /// A row of `berth list`.
    #[must_use]
    pub fn summary(&self) -> ContainerSummary {
        let (row, observed) = (&self.row, self.observed.as_ref());
        let is_live = self.seen().is_live();
        ContainerSummary {
            id: row.id,
            name: row.spec.name.clone(),
            state: self.state(),
            degraded: observed.is_some_and(|observed| observed.degraded),
            pid: observed.filter(|_| is_live).and_then(|observed| observed.pid),
            template: row.template_use(),
            ipv4: row.nics.iter().filter_map(|nic| Some(nic.ipv4?.0.to_string())).collect(),
            ipv6: row.nics.iter().filter_map(|nic| Some(nic.ipv6?.0.to_string())).collect(),
            unprivileged: true,
            autostart: row.spec.autostart,
            tags: row.spec.tags.clone(),
            created_at: row.created_at,
            started_at: observed.filter(|_| is_live).and_then(|observed| observed.started_at),
            limits: row.spec.limits.clone(),
            last_exit: self.stat.exits.last().filter(|exit| !is_as_asked(exit.reason)).cloned(),
            task: self.task,
            stop_deadline: self.stop_deadline.filter(|_| self.state() == ContainerState::Stopping),
        }
    }

    /// Everything about it.
    #[must_use]
    pub fn detail(&self) -> ContainerDetail {
        ContainerDetail {
            summary: self.summary(),
            spec: self.row.spec.clone(),
            etag: self.rev.to_string(),
            id_range: self.row.id_range(),
            exits: self.stat.exits.clone(),
            nics: self.row.nics.iter().map(nic_detail).collect(),
            pending_restart: self.stat.pending(&self.row),
            restarts: self.stat.restarts,
            next_start_at: self.observed.as_ref().and_then(|observed| observed.next_start_at),
            provenance: self.row.provenance.clone(),
        }
    }
}

/// Ends that nobody needs to be told about.
fn is_as_asked(reason: ExitReason) -> bool {
    matches!(reason, ExitReason::PowerOff | ExitReason::Killed | ExitReason::Reboot)
}

fn nic_detail(nic: &NicPlan) -> NicDetail {
    NicDetail {
        name: nic.name.clone(),
        host_name: nic.host_name.clone(),
        bridge: nic.bridge.clone(),
        mac: nic.mac.clone(),
        ipv4: nic.ipv4.map(|(address, prefix)| format!("{address}/{prefix}")),
        ipv6: nic.ipv6.map(|(address, prefix)| format!("{address}/{prefix}")),
    }
}

/// What the difference between two pictures is on a graph.
fn mark(before: &Live, after: &Live, new_exits: &[ExitRecord]) -> Option<&'static str> {
    use ContainerState as S;
    let (was, is) = (before.seen(), after.seen());
    let last = new_exits.last().map(|exit| exit.reason);
    match (was.is_live(), is.is_live()) {
        (false, true) => Some("start"),
        (true, false) if last == Some(ExitReason::OutOfMemory) => Some("oom"),
        (true, false) if before.stat.stopping || matches!(last, Some(ExitReason::Killed | ExitReason::PowerOff)) => Some("stop"),
        (true, false) => Some("exit"),
        (true, true) if last == Some(ExitReason::Reboot) => Some("reboot"),
        // What its policy starts again.
        (true, true) if matches!(last, Some(ExitReason::Exited | ExitReason::PowerOff | ExitReason::Seccomp)) => Some("exit"),
        (true, true) if was == S::Starting && is == S::Running => Some("start"),
        (true, true) if was == S::Running && is == S::Frozen => Some("freeze"),
        (true, true) if was == S::Frozen && is == S::Running => Some("unfreeze"),
        _ if last == Some(ExitReason::OutOfMemory) => Some("oom"),
        _ => None,
    }
}

/// All containers outside the trash.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    events: Arc<Events>,
    changed: broadcast::Sender<ContainerId>,
}

#[derive(Debug, Default)]
struct Inner {
    live: HashMap<ContainerId, Live>,
    names: HashMap<String, ContainerId>,
    /// Names promised to creates and restores that have not written their row yet.
    promised: BTreeSet<String>,
}

impl Board {
    /// Nothing yet.
    #[must_use]
    pub fn new(events: Arc<Events>) -> Self {
        Self {
            inner: Mutex::default(),
            events,
            changed: broadcast::channel(4096).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By id.
    #[must_use]
    pub fn get(&self, id: ContainerId) -> Option<Live> {
        self.lock().live.get(&id).cloned()
    }

    /// By name, or by the whole id.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Live> {
        let inner = self.lock();
        let id = inner.names.get(name).copied().or_else(|| name.parse().ok())?;
        inner.live.get(&id).cloned()
    }

    /// All rows, in no order.
    #[must_use]
    pub fn rows(&self) -> Vec<Arc<ContainerRow>> {
        self.lock().live.values().map(|live| Arc::clone(&live.row)).collect()
    }

    /// All rows as the host must carry them now: whoever runs keeps the NICs it was started with until it ends, and only
    /// to whoever runs, or is about to, do ports of the host lead.
    #[must_use]
    pub fn rows_on_host(&self) -> Vec<Arc<ContainerRow>> {
        self.lock().live.values().map(on_host).collect()
    }

    /// All summaries by name.
    #[must_use]
    pub fn summaries(&self) -> Vec<ContainerSummary> {
        let mut all: Vec<_> = self.lock().live.values().map(Live::summary).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// All ids with their names.
    #[must_use]
    pub fn names(&self) -> Vec<(ContainerId, String)> {
        self.lock().names.iter().map(|(name, id)| (*id, name.clone())).collect()
    }

    /// Whether a container has the name or will have it in a moment.
    #[must_use]
    pub fn is_taken(&self, name: &str) -> bool {
        let inner = self.lock();
        inner.names.contains_key(name) || inner.promised.contains(name)
    }

    /// Promises a free name until [`Board::fulfil`]; false when it is taken.
    #[must_use]
    pub fn promise(&self, name: &str) -> bool {
        let mut inner = self.lock();
        !inner.names.contains_key(name) && inner.promised.insert(name.to_owned())
    }

    /// The promise is kept, or no longer needed.
    pub fn fulfil(&self, name: &str) {
        self.lock().promised.remove(name);
    }

    /// Shows a container that is new here.
    pub fn insert(&self, live: Live) {
        let mut inner = self.lock();
        inner.names.insert(live.row.spec.name.to_string(), live.row.id);
        let (id, change) = (live.row.id, change(&live, None));
        inner.live.insert(id, live);
        self.announce(inner, id, change);
    }

    /// Takes a container off the list.
    pub fn remove(&self, id: ContainerId) {
        let mut inner = self.lock();
        let Some(live) = inner.live.remove(&id) else { return };
        inner.names.remove(live.row.spec.name.as_str());
        let gone = ContainerChange {
            id,
            name: live.row.spec.name.to_string(),
            summary: None,
            mark: None,
            at: None,
        };
        self.announce(inner, id, gone);
    }

    /// Changes a container's picture and announces it when it looks different now; `None` when it is not here.
    pub fn change<T>(&self, id: ContainerId, change: impl FnOnce(&mut Live) -> T) -> Option<T> {
        self.change_marked(id, |live| (change(live), None))
    }

    /// As [`Board::change`], with a mark that the caller knows of.
    pub fn change_marked<T>(&self, id: ContainerId, work: impl FnOnce(&mut Live) -> (T, Option<&'static str>)) -> Option<T> {
        let mut inner = self.lock();
        let live = inner.live.get_mut(&id)?;
        let before = live.clone();
        let (answer, named) = work(live);
        let new_exits = live
            .stat
            .exits
            .iter()
            .filter(|exit| !before.stat.exits.contains(exit))
            .cloned()
            .collect::<Vec<_>>();
        let mark = named.or_else(|| mark(&before, live, &new_exits));
        let (old_name, name) = (before.row.spec.name.to_string(), live.row.spec.name.to_string());
        let looks_alike = mark.is_none() && before.rev == live.rev && before.summary() == live.summary();
        let news = (!looks_alike).then(|| change(live, mark));
        if old_name != name {
            inner.names.remove(&old_name);
            inner.names.insert(name, id);
        }
        if let Some(news) = news {
            self.announce(inner, id, news);
        }
        Some(answer)
    }

    /// The events leave in the order of the changes, because the lock is still held.
    fn announce(&self, inner: MutexGuard<'_, Inner>, id: ContainerId, change: ContainerChange) {
        self.events.announce(Event::Container(change));
        // Nobody waits for a change: an ordinary state.
        drop(self.changed.send(id));
        drop(inner);
    }

    /// Waits until the container is gone or looks as wanted, and gives that picture.
    pub async fn wait(&self, id: ContainerId, wanted: impl Fn(&Live) -> bool) -> Option<Live> {
        let mut changed = self.changed.subscribe();
        loop {
            match self.get(id) {
                Some(live) if !wanted(&live) => {}
                picture => return picture,
            }
            // Having missed some changes is fine: the picture is read again either way.
            while let Ok(other) = changed.recv().await {
                if other == id {
                    break;
                }
            }
        }
    }
}

fn on_host(live: &Live) -> Arc<ContainerRow> {
    let mut row = Arc::clone(&live.row);
    let is_live = live.seen().is_live();
    if let Some(run) = live.stat.run.as_ref().filter(|run| is_live && run.nics != live.row.nics) {
        Arc::make_mut(&mut row).nics.clone_from(&run.nics);
    }
    if !is_live && live.doing != Some(ContainerState::Starting) && !row.spec.publish.is_empty() {
        Arc::make_mut(&mut row).spec.publish.clear();
    }
    row
}

fn change(live: &Live, mark: Option<&'static str>) -> ContainerChange {
    ContainerChange {
        id: live.row.id,
        name: live.row.spec.name.to_string(),
        summary: Some(Box::new(live.summary())),
        mark: mark.map(str::to_owned),
        at: mark.and_then(|mark| moment(live, mark)),
    }
}

/// When what a mark stands for happened, by the records of the run: a stream that comes back hears of it later.
fn moment(live: &Live, mark: &str) -> Option<Timestamp> {
    match mark {
        "start" | "reboot" => live.observed.as_ref().and_then(|observed| observed.started_at),
        "stop" | "exit" | "oom" => live.stat.exits.last().map(|exit| exit.at),
        _ => None,
    }
}
