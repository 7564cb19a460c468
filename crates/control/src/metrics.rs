//! What containers and the host use, every second and for 30 days back: one sampler, one history, one stream of ticks.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use model::access::Permission;
use model::metrics::{Counters, DiskCounters, HOST, History as Answer, HostCounters, SERIES, Stats};
use model::{ContainerId, Timestamp};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Events;

mod bucket;
mod code;
mod delta;
mod disks;
mod history;
mod journal;
mod open_metrics;
mod rates;
mod sampler;
mod thread;
mod tier;
mod writer;

pub use delta::DeltaEncoder;
use history::History;

/// Everything of one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub rows: Vec<TickRow>,
}

/// One container, or the host (without an id, named [`HOST`]).
#[derive(Clone, Debug, PartialEq)]
pub struct TickRow {
    pub id: Option<ContainerId>,
    pub name: String,
    /// By [`SERIES`].
    pub values: [Option<f64>; SERIES.len()],
    /// Series per NIC and per mount.
    pub extra: Vec<(String, Option<f64>)>,
}

/// Counters as they were last seen.
#[derive(Debug, Default)]
struct Latest {
    at_ms: i64,
    host: HostCounters,
    containers: HashMap<ContainerId, Counters>,
}

#[derive(Debug)]
struct Inner {
    engine: Arc<dyn Engine>,
    clock: Clock,
    names: RwLock<HashMap<ContainerId, String>>,
    ticks: broadcast::Sender<Arc<Tick>>,
    tick: RwLock<Option<Arc<Tick>>>,
    latest: Mutex<Latest>,
    /// What each container's root takes, as it was measured last.
    disks: Mutex<HashMap<ContainerId, DiskCounters>>,
    history: Mutex<History>,
    disk_fails: AtomicBool,
    over: Mutex<bool>,
    over_changed: Condvar,
}

impl Inner {
    fn new(dir: PathBuf, engine: Arc<dyn Engine>, clock: Clock) -> Result<Self> {
        let shown = dir.display().to_string();
        let history = History::open(dir, clock.now().ms).map_err(|error| Error::failed(format!("{shown} cannot be made ({error})")))?;
        let (ticks, _) = broadcast::channel(16);
        Ok(Self {
            engine,
            clock,
            names: RwLock::default(),
            ticks,
            tick: RwLock::default(),
            latest: Mutex::default(),
            disks: Mutex::default(),
            history: Mutex::new(history),
            disk_fails: AtomicBool::new(false),
            over: Mutex::new(false),
            over_changed: Condvar::new(),
        })
    }

    fn names(&self) -> HashMap<ContainerId, String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disks(&self) -> MutexGuard<'_, HashMap<ContainerId, DiskCounters>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; says whether the metrics were shut down meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.over_changed.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn publish(&self, tick: Arc<Tick>) {
        *self.tick.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&tick));
        // No receiver is an ordinary state: nobody looks.
        drop(self.ticks.send(tick));
    }

    /// Says once that history cannot be written, and once that it can again.
    fn tell_disk(&self, kept: std::io::Result<()>) {
        let failed = kept.is_err();
        if failed != self.disk_fails.swap(failed, Ordering::Relaxed) {
            match kept {
                Err(error) => tracing::warn!(%error, "metrics history cannot be written; live values go on"),
                Ok(()) => tracing::info!("metrics history is written again"),
            }
        }
    }
}

/// The metrics of this console.
#[derive(Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Metrics {
    /// Metrics with their history in `dir`. Nothing is sampled before [`Metrics::start`].
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(dir: PathBuf, engine: Arc<dyn Engine>, clock: Clock, _events: Arc<Events>) -> Result<Self> {
        Ok(Self {
            inner: Arc::new(Inner::new(dir, engine, clock)?),
            threads: Mutex::default(),
        })
    }

    /// Starts the sampler, the writer and the measuring of disks, each a thread of its own: the rhythm must depend
    /// neither on what the async threads do nor on the disk. The history of whoever is not among `known` is removed.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(&self, known: &HashSet<ContainerId>) -> Result<()> {
        self.inner.history().keep_only(&known.iter().map(|id| id.0).collect());
        let (sender, ticks) = mpsc::sync_channel(writer::BACKLOG);
        let (sampling, writing, measuring) = (Arc::clone(&self.inner), Arc::clone(&self.inner), Arc::clone(&self.inner));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread::spawn("history", move || writer::run(&writing, &ticks))?);
        threads.push(thread::spawn("sampler", move || sampler::run(&sampling, &sender))?);
        // Nobody waits for its end: a walk may take minutes.
        thread::spawn("disks", move || disks::run(&measuring)).map(drop)
    }

    /// Ends the sampler and makes history durable.
    pub async fn shut_down(&self) {
        *self.inner.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.inner.over_changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let inner = Arc::clone(&self.inner);
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the metrics had panicked");
                }
            }
            inner.history().flush()
        });
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last metrics could not be written");
        }
    }

    /// Which containers there are: ticks carry their names.
    pub fn set_names(&self, names: Vec<(ContainerId, String)>) {
        *self.inner.names.write().unwrap_or_else(PoisonError::into_inner) = names.into_iter().collect();
    }

    /// Forgets the history of a container that is gone for good.
    pub async fn forget(&self, id: ContainerId) {
        self.inner.disks().remove(&id);
        let inner = Arc::clone(&self.inner);
        let forgotten = tokio::task::spawn_blocking(move || inner.history().forget(id.0)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, container.id = %id, "the history of a deleted container could not be removed");
        }
    }

    /// Ticks from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Tick>> {
        self.inner.ticks.subscribe()
    }

    /// The newest tick.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Tick>> {
        self.inner.tick.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counters of the named running containers; of all when none is named.
    ///
    /// # Errors
    /// Nobody is signed in, or a name is not there.
    pub async fn stats(&self, caller: &Caller, names: &[String]) -> Result<Vec<Stats>> {
        caller.require(Permission::View)?;
        let known = self.inner.names();
        if let Some(absent) = names.iter().find(|name| !known.values().any(|known| known == *name)) {
            return Err(Error::not_found("container", absent));
        }
        let latest = self.inner.counters();
        let at = Timestamp::from_ms(latest.at_ms);
        let mut rows: Vec<Stats> = latest
            .containers
            .iter()
            .filter_map(|(id, counters)| Some((known.get(id)?, counters)))
            .filter(|(name, _)| names.is_empty() || names.contains(name))
            .map(|(name, counters)| Stats {
                name: name.clone(),
                at,
                counters: counters.clone(),
            })
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// Counters of the host.
    ///
    /// # Errors
    /// Nobody is signed in.
    pub async fn host_stats(&self, caller: &Caller) -> Result<HostCounters> {
        caller.require(Permission::View)?;
        Ok(self.inner.counters().host.clone())
    }

    /// The past of a container, or of the host ([`HOST`]); the step grows where the tier has no finer one.
    ///
    /// # Errors
    /// Nobody is signed in, there is no such container, `Invalid` for a step that is longer than what is kept, or the
    /// files cannot be read.
    pub async fn history(&self, caller: &Caller, name: &str, from: Timestamp, to: Timestamp, step_ms: Option<u64>) -> Result<Answer> {
        caller.require(Permission::View)?;
        let step_ms = step_ms.map(checked_step).transpose()?;
        let subject = if name == HOST { Uuid::nil() } else { self.subject(name)? };
        let inner = Arc::clone(&self.inner);
        let read = tokio::task::spawn_blocking(move || {
            let view = inner.history().view(subject);
            view.answer(from.ms, to.ms.max(from.ms), inner.clock.now().ms, step_ms)
        });
        let answer = read.await.map_err(|error| Error::failed(format!("the history could not be read ({error})")))?;
        answer.map_err(|error| Error::failed(format!("the history could not be read ({error})")))
    }

    fn subject(&self, name: &str) -> Result<Uuid> {
        let found = self.inner.names().into_iter().find(|(_, known)| known == name);
        found.map(|(id, _)| id.0).ok_or_else(|| Error::not_found("container", name))
    }

    /// All counters in the OpenMetrics text format.
    ///
    /// # Errors
    /// Nobody is signed in.
    pub async fn open_metrics(&self, caller: &Caller) -> Result<String> {
        Ok(open_metrics::exposition(&self.stats(caller, &[]).await?))
    }
}

fn checked_step(step_ms: u64) -> Result<i64> {
    let step = i64::try_from(step_ms).ok().filter(|step| *step <= history::LONGEST_STEP_MS);
    step.ok_or_else(|| {
        let longest = history::LONGEST_STEP_MS;
        Error::invalid("step", format!("`step` is at most {longest} (milliseconds, 30 days)")).hint("leave it out for one that suits the span")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::Fake;

    impl Inner {
        pub(super) fn for_test() -> Self {
            let dir = tempfile::tempdir().expect("a folder can be made");
            Self::new(dir.path().to_owned(), Arc::new(Fake::new()), Clock::System).expect("the folder is there")
        }
    }

    #[tokio::test]
    async fn a_step_longer_than_what_is_kept_is_refused() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::manual(Timestamp::from_ms(1_800_000_000_000)));
        let events = Arc::new(Events::new("boot".into()));
        let metrics = Metrics::new(dir.path().to_owned(), Arc::new(Fake::new()), clock.clone(), events).unwrap();
        let (caller, now) = (Caller::socket("anna"), clock.now());
        for step in [u64::MAX, i64::MAX as u64, 2_592_000_001] {
            let refused = metrics.history(&caller, HOST, now.plus_ms(-1000), now, Some(step)).await.unwrap_err();
            assert_eq!(refused.body.field.as_deref(), Some("step"));
            assert!(refused.body.message.contains("2592000000"), "{refused}");
        }
        for step in [0, 2_592_000_000] {
            metrics.history(&caller, HOST, now.plus_ms(-1000), now, Some(step)).await.unwrap();
        }
    }
}
