//! All parts together: opened in the order in which they need each other, and kept going by one loop.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::network::Cidr;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::clock::Clock;
use crate::containers::{self, Containers};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::exec::Execs;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::networks::{self, Networks};
use crate::store::{Facts, Store};
use crate::tasks::{FailPoints, Tasks};
use crate::templates::{Sweep, Templates};

/// How often what has expired is looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How often sources are looked at that are due, or could not be read.
const READ: Duration = Duration::from_secs(3600);

/// What a person decided about the console.
#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    /// Keeps several consoles on one host apart.
    pub instance: Option<String>,
    pub bridge: String,
    /// The bridge's own address; absent = the first free /22 of 10.213.0.0/16.
    pub subnet: Option<Cidr>,
    /// First and last user id that containers may have.
    pub id_pool: (u32, u32),
    /// Folders of the host that may come into containers, with what lies below them; the engine is told the same.
    pub mount_roots: Vec<String>,
    /// TCP ports of the console that containers must not reach.
    pub closed_ports: Vec<u16>,
    pub public_url: Option<String>,
    /// Whether sources are read by themselves: at the start, and again after a day.
    pub reads_sources: bool,
}

/// Everything that the console does.
#[derive(Debug)]
pub struct Control {
    pub access: Arc<Access>,
    pub tasks: Arc<Tasks>,
    pub containers: Arc<Containers>,
    pub exec: Arc<Execs>,
    pub templates: Arc<Templates>,
    pub networks: Arc<Networks>,
    pub metrics: Arc<Metrics>,
    pub events: Arc<Events>,
    pub host: Arc<Host>,
    pub clock: Clock,
    pub facts: Facts,
    pub engine: Arc<dyn Engine>,
    reads_sources: bool,
    loops: Mutex<Vec<JoinHandle<()>>>,
}

impl Control {
    /// Opens everything: reads the store, adopts containers that run, finishes or rolls back what was interrupted, makes
    /// the network fit, samples and sweeps from then on. Needs a tokio runtime.
    ///
    /// # Errors
    /// The store or the state directory fails. A network that cannot be made is logged: containers run on.
    pub async fn open(config: Config, engine: Arc<dyn Engine>, store: Arc<dyn Store>, clock: Clock) -> Result<Arc<Self>> {
        Self::open_with_fail_points(config, engine, store, clock, FailPoints::default()).await
    }

    /// As [`Control::open`], with points at which a test kills the process.
    ///
    /// # Errors
    /// As [`Control::open`].
    pub async fn open_with_fail_points(
        config: Config,
        engine: Arc<dyn Engine>,
        store: Arc<dyn Store>,
        clock: Clock,
        fail_points: FailPoints,
    ) -> Result<Arc<Self>> {
        let facts = Facts(store);
        let events = Arc::new(Events::new(boot_name()?));
        let access = Access::open(facts.clone(), clock.clone(), &config.run_dir).await?;
        let logs = config.state_dir.join("tasks");
        let tasks = Tasks::with_fail_points(facts.clone(), Arc::clone(&events), clock.clone(), logs, fail_points)?;
        let tasks = Arc::new(tasks);
        let metrics = Arc::new(Metrics::new(
            config.state_dir.join("metrics"),
            Arc::clone(&engine),
            clock.clone(),
            Arc::clone(&events),
        )?);
        let networks = Arc::new(Networks::new(facts.clone(), Arc::clone(&engine), network_settings(&config)));
        let templates = Templates::new(
            facts.clone(),
            Arc::clone(&engine),
            Arc::clone(&tasks),
            Arc::clone(&access),
            clock.clone(),
            &config.state_dir,
        )?;
        tasks.tell(Arc::clone(&access));
        let host = Arc::new(Host::new(Arc::clone(&engine)));
        let parts = containers::Parts {
            facts: facts.clone(),
            engine: Arc::clone(&engine),
            events: Arc::clone(&events),
            clock: clock.clone(),
            tasks: Arc::clone(&tasks),
            templates: Arc::clone(&templates),
            networks: Arc::clone(&networks),
            metrics: Arc::clone(&metrics),
            access: Arc::clone(&access),
            host: Arc::clone(&host),
            id_pool: config.id_pool,
            mount_roots: config.mount_roots.clone(),
            etc: PathBuf::from("/etc"),
        };
        let containers = Containers::open(parts).await?;
        let exec = Execs::new(Arc::clone(&containers), Arc::clone(&engine), Arc::clone(&access), clock.clone());
        let this = Arc::new(Self {
            access,
            tasks,
            containers,
            exec,
            templates,
            networks,
            metrics,
            events,
            host,
            clock,
            facts,
            engine,
            reads_sources: config.reads_sources,
            loops: Mutex::default(),
        });
        this.begin().await?;
        Ok(this)
    }

    async fn begin(self: &Arc<Self>) -> Result<()> {
        self.containers.adopt(Arc::clone(&self.exec)).await?;
        // The network first: what is taken up again may start containers.
        if let Err(error) = self.containers.refresh_network().await {
            tracing::error!(%error, "the network could not be made as it shall be; containers that run are left alone");
        }
        self.templates.sweep(Sweep::AtStart).await?;
        // A crash may have come between a template's row and its layer.
        self.templates.sweep_layers().await;
        self.tasks.recover().await?;
        self.metrics.start(&self.containers.every_id().await?)?;
        let boot = tokio::fs::read_to_string("/proc/sys/kernel/random/boot_id").await;
        let boot = boot.map_err(|error| Error::failed(format!("the kernel's boot id cannot be read ({error})")))?;
        let autostart = self.containers.autostart(boot.trim()).await?;
        let weak = Arc::downgrade(self);
        let sweeper = tokio::spawn(async move {
            let mut minutes = tokio::time::interval(SWEEP);
            minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                minutes.tick().await;
                let Some(this) = weak.upgrade() else { return };
                this.sweep().await;
            }
        });
        let mut loops = vec![sweeper, tokio::spawn(Arc::clone(&self.exec).follow(self.access.ended()))];
        loops.extend(autostart);
        if self.reads_sources {
            let templates = Arc::clone(&self.templates);
            templates.read_by_itself();
            loops.push(tokio::spawn(async move {
                let mut hours = tokio::time::interval(READ);
                loop {
                    hours.tick().await;
                    templates.refresh_stale().await;
                }
            }));
        }
        *self.loops.lock().unwrap_or_else(PoisonError::into_inner) = loops;
        Ok(())
    }

    /// What is due each minute. One failure does not keep the rest from happening.
    async fn sweep(&self) {
        let outcomes = [
            ("sign-ins", self.access.sweep().await),
            ("terminals", self.exec.sweep().await),
            ("the trash", self.containers.expire().await.map(drop)),
            ("the network", self.containers.refresh_network().await),
            ("downloads", self.templates.sweep(Sweep::Later).await),
        ];
        for (what, outcome) in outcomes {
            if let Err(error) = outcome {
                tracing::warn!(%error, "{what} could not be looked after; tried again in a minute");
            }
        }
    }

    /// Ends the loops and makes durable what was only in memory. Containers live on.
    pub async fn shut_down(&self) {
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        loops.iter().for_each(JoinHandle::abort);
        self.tasks.shut_down().await;
        self.metrics.shut_down().await;
        self.access.flush().await;
    }
}

fn network_settings(config: &Config) -> networks::Settings {
    networks::Settings {
        bridge: config.bridge.clone(),
        subnet: config.subnet,
        closed_ports: config.closed_ports.clone(),
    }
}

/// The first half of event ids: different at every start of the console.
fn boot_name() -> Result<String> {
    let bytes: [u8; 6] = networks::random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
