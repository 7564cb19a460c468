//! Start, stop, restart, kill, freeze and unfreeze. Each is a task; the board shows the way there at once, and only what
//! the engine says ends it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model::access::Permission;
use model::container::{Action, ExitReason, ExitRecord};
use model::engine::{Observed, Signal, StartRequest, Started};
use model::task::Task;
use model::{ContainerId, ContainerState, Timestamp};
use serde::{Deserialize, Serialize};

use super::adopt::News;
use super::board::Live;
use super::{Ask, Containers, Target, changed_meanwhile, is_live, phase, refuse};
use crate::caller::Caller;
use crate::engine;
use crate::error::{Error, Result};
use crate::tasks::{AfterCrash, Context, Job};

/// How long the engine's word that everything was killed may take to reach the board before it is asked again.
const NEWS_DEADLINE: Duration = Duration::from_secs(5);
/// The longest that a graceful stop may wait: a day.
const LONGEST_STOP: Duration = Duration::from_secs(24 * 3600);

/// Parameters of stop and restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StopParams {
    id: ContainerId,
    timeout_ms: u64,
    kill: bool,
}

impl Containers {
    /// Starts a stopped container.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` in a wrong state or while another task works on it.
    pub async fn start(&self, caller: &Caller, name: &str, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        self.ask(
            caller,
            name,
            Ask {
                kind: "container.start",
                action: Action::Start,
                key,
            },
            |id| Target { id },
        )
        .await
    }

    /// Asks init to power off and waits so long; kills it then only if `kill` is set.
    ///
    /// # Errors
    /// As [`Containers::start`]. The task fails when the time is over and `kill` is not set; the container is still `stopping` then.
    pub async fn stop(&self, caller: &Caller, name: &str, timeout: Duration, kill: bool, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let ask = Ask {
            kind: "container.stop",
            action: Action::Stop,
            key,
        };
        self.ask(caller, name, ask, |id| StopParams::new(id, timeout, kill)).await
    }

    /// Stops and starts by the rule of [`Containers::stop`].
    ///
    /// # Errors
    /// As [`Containers::stop`].
    pub async fn restart(&self, caller: &Caller, name: &str, timeout: Duration, kill: bool, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let ask = Ask {
            kind: "container.restart",
            action: Action::Restart,
            key,
        };
        self.ask(caller, name, ask, |id| StopParams::new(id, timeout, kill)).await
    }

    /// Kills every process of a container, also while a stop waits for it.
    ///
    /// # Errors
    /// As [`Containers::start`].
    pub async fn kill(&self, caller: &Caller, name: &str, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        self.ask(
            caller,
            name,
            Ask {
                kind: "container.kill",
                action: Action::Kill,
                key,
            },
            |id| Target { id },
        )
        .await
    }

    /// Freezes every process of a running container.
    ///
    /// # Errors
    /// As [`Containers::start`].
    pub async fn freeze(&self, caller: &Caller, name: &str, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        self.ask(
            caller,
            name,
            Ask {
                kind: "container.freeze",
                action: Action::Freeze,
                key,
            },
            |id| Target { id },
        )
        .await
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// As [`Containers::start`].
    pub async fn unfreeze(&self, caller: &Caller, name: &str, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        self.ask(
            caller,
            name,
            Ask {
                kind: "container.unfreeze",
                action: Action::Unfreeze,
                key,
            },
            |id| Target { id },
        )
        .await
    }

    /// Starts a container now. One that runs already, because a crash came after its start, is left alone.
    pub(super) async fn start_now(&self, id: ContainerId, context: &Context) -> Result<()> {
        let live = self.board.get(id).ok_or_else(changed_meanwhile)?;
        if is_live(&live) {
            return Ok(());
        }
        self.board.change(id, |live| live.doing = Some(ContainerState::Starting));
        let request = live.row.start_request();
        let asked = request.clone();
        let start = async {
            // Its ports lead to it from here on, also where a crash came after the step before.
            self.apply_network_for(id).await?;
            engine::call(&self.parts.engine, move |engine| engine.start(&asked)).await
        };
        match start.await {
            Ok(started) => {
                context.log(&format!("init runs as process {} after {} us", started.pid, started.took_us));
                self.board.change(id, |live| has_started(live, request, started));
                self.save_stat(id).await?;
                // It may have ended already.
                self.set_ports(id).await;
                Ok(())
            }
            Err(error) => {
                let failed = start_failed(self.parts.clock.now(), &error);
                self.board.change(id, |live| {
                    live.doing = None;
                    live.stat.add(failed);
                });
                self.save_stat(id).await?;
                self.set_ports(id).await;
                Err(error)
            }
        }
    }

    /// Takes the published ports of a container off the host, or puts them back, as it lives or not.
    pub(super) async fn set_ports(&self, id: ContainerId) {
        let publishes = self.board.get(id).is_some_and(|live| !live.row.spec.publish.is_empty());
        if publishes && let Err(error) = self.apply_network_for(id).await {
            tracing::warn!(container.id = %id, %error, "published ports could not be brought up to date; it is tried again");
        }
    }

    /// Gives back what NICs held before they were changed while the container ran, looks whether published ports are still
    /// free, and makes the network fit.
    pub(super) async fn prepare_network(&self, id: ContainerId) -> Result<()> {
        let live = self.board.get(id).ok_or_else(changed_meanwhile)?;
        if live.stat.nics_changed && !is_live(&live) {
            let edit = self.parts.networks.release(id, &live.row.nics, self.parts.facts.change()).await?;
            edit.commit().await?;
            self.board.change(id, |live| live.stat.nics_changed = false);
            self.save_stat(id).await?;
        }
        self.check_ports(id).await?;
        self.apply_network_for(id).await
    }

    /// Asks init to power off. From here on the container is `stopping` until it ends, also across a restart of the console.
    async fn ask_to_stop(&self, params: &StopParams) -> Result<()> {
        let id = params.id;
        let Some(live) = self.board.get(id).filter(is_live) else { return Ok(()) };
        let deadline = self.parts.clock.now().plus_ms(i64::try_from(params.timeout_ms).unwrap_or(i64::MAX));
        self.board.change(id, |live| {
            live.stat.stopping = true;
            live.stop_deadline.get_or_insert(deadline);
        });
        self.save_stat(id).await?;
        if !matches!(live.seen(), ContainerState::Running | ContainerState::Starting) {
            self.board.change(id, |live| live.stat.stopping = false);
            return Err(refuse(&live, "it can be asked only while it runs"));
        }
        if let Err(error) = engine::call(&self.parts.engine, move |engine| engine.signal(id, Signal::PowerOff)).await {
            let observed = engine::call(&self.parts.engine, |engine| engine.observe()).await?;
            if !observed.iter().any(|seen| seen.id == id && seen.state.is_live()) {
                // It ended by itself in this very moment, which is what was wanted.
                return Ok(());
            }
            self.board.change(id, |live| live.stat.stopping = false);
            self.save_stat(id).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Waits for the end; at the time-out kills or gives up, as was said before.
    async fn wait_for_stop(&self, params: &StopParams) -> Result<()> {
        let id = params.id;
        let Some(before) = self.board.get(id) else { return Ok(()) };
        let timeout = Duration::from_millis(params.timeout_ms);
        if let Ok(ended) = tokio::time::timeout(timeout, self.end_of(params)).await {
            return ended;
        }
        if params.kill {
            return self.kill_now(id).await;
        }
        let seconds = params.timeout_ms.div_ceil(1000);
        Err(Error::failed(format!(
            "`{}` has not stopped within {seconds} s and is still stopping; nothing was killed",
            before.row.spec.name
        ))
        .hint("wait for it, or kill it"))
    }

    /// Waits until the container has ended. A run that began meanwhile, because what was asked rebooted, is asked as well.
    async fn end_of(&self, params: &StopParams) -> Result<()> {
        loop {
            let seen = self.board.wait(params.id, |live| !is_live(live) || !live.stat.stopping).await;
            if !seen.is_some_and(|live| is_live(&live)) {
                return Ok(());
            }
            self.ask_to_stop(params).await?;
        }
    }

    /// Kills everything in the container; returns when the board knows that nothing lives there, and no port of the host
    /// leads there any more.
    pub(super) async fn kill_now(&self, id: ContainerId) -> Result<()> {
        // On record first: of a container without its shim nobody else knows afterwards that its end was asked for.
        let is_first = self.board.change(id, |live| is_live(live) && !std::mem::replace(&mut live.stat.stopping, true));
        if is_first == Some(true) {
            self.save_stat(id).await?;
        }
        if let Err(error) = engine::call(&self.parts.engine, move |engine| engine.signal(id, Signal::Kill)).await {
            if is_first == Some(true) {
                self.board.change(id, |live| live.stat.stopping = false);
                self.save_stat(id).await?;
            }
            return Err(error);
        }
        self.settle(id).await?;
        self.set_ports(id).await;
        Ok(())
    }

    /// Waits until the board has heard that the container ended; when the news is late, asks.
    pub(super) async fn settle(&self, id: ContainerId) -> Result<()> {
        let ended = self.board.wait(id, |live| !is_live(live));
        if tokio::time::timeout(NEWS_DEADLINE, ended).await.is_ok() {
            return Ok(());
        }
        let observed = engine::call(&self.parts.engine, |engine| engine.observe()).await?;
        let seen = observed.into_iter().find(|observed| observed.id == id).unwrap_or_else(|| gone(id));
        self.learn(seen, News::Fresh).await?;
        match self.board.get(id).filter(is_live) {
            None => Ok(()),
            Some(live) => Err(refuse(&live, "it was killed, but processes are left")),
        }
    }

    async fn freeze_now(&self, id: ContainerId) -> Result<()> {
        self.board.change(id, |live| live.doing = Some(ContainerState::Freezing));
        engine::call(&self.parts.engine, move |engine| engine.signal(id, Signal::Freeze)).await?;
        self.see(id, ContainerState::Running, ContainerState::Frozen);
        Ok(())
    }

    async fn unfreeze_now(&self, id: ContainerId) -> Result<()> {
        engine::call(&self.parts.engine, move |engine| engine.signal(id, Signal::Unfreeze)).await?;
        self.see(id, ContainerState::Frozen, ContainerState::Running);
        Ok(())
    }

    /// The engine returned: the state is known without waiting for its event.
    fn see(&self, id: ContainerId, from: ContainerState, to: ContainerState) {
        self.board.change(id, |live| {
            live.doing = None;
            if let Some(observed) = live.observed.as_mut().filter(|observed| observed.state == from) {
                observed.state = to;
            }
        });
    }
}

impl StopParams {
    fn new(id: ContainerId, timeout: Duration, kill: bool) -> Self {
        let timeout_ms = u64::try_from(timeout.min(LONGEST_STOP).as_millis()).unwrap_or(u64::MAX);
        Self { id, timeout_ms, kill }
    }
}

fn has_started(live: &mut Live, request: StartRequest, started: Started) {
    live.doing = None;
    live.stat.exits_before = started.exits_before;
    if live.stat.has_recorded_end() {
        // The news of its end came before the answer to its start.
        live.observed = Some(gone(live.row.id));
        return;
    }
    live.stat.run = Some(request);
    live.stat.started_at = Some(started.at);
    live.stat.stopping = false;
    live.stat.restarts = 0;
    // An event of this very run may have come first and knows more.
    let is_known = live
        .observed
        .as_ref()
        .is_some_and(|observed| observed.pid == Some(started.pid) && observed.state.is_live());
    if !is_known {
        live.observed = Some(Observed {
            id: live.row.id,
            state: ContainerState::Running,
            degraded: false,
            pid: Some(started.pid),
            started_at: Some(started.at),
            exits: Vec::new(),
            older_exits: 0,
            restarts: None,
            next_start_at: None,
        });
    }
}

/// What a container looks like that the engine knows nothing of.
pub(super) fn gone(id: ContainerId) -> Observed {
    Observed {
        id,
        state: ContainerState::Stopped,
        degraded: false,
        pid: None,
        started_at: None,
        exits: Vec::new(),
        older_exits: 0,
        restarts: None,
        next_start_at: None,
    }
}

fn start_failed(at: Timestamp, error: &Error) -> ExitRecord {
    ExitRecord {
        at,
        reason: ExitReason::StartFailed,
        code: 125,
        oom_kills: 0,
        message: Some(error.to_string()),
    }
}

/// Verbs that are all alike: a few steps on one container that end by themselves.
struct Verb<P> {
    containers: Arc<Containers>,
    id: ContainerId,
    params: P,
    /// Names of the steps, which are also the phases that people see.
    steps: &'static [&'static str],
    act: for<'a> fn(&'a Containers, &'a P, usize, &'a Context) -> BoxFuture<'a, Result<()>>,
    undo: for<'a> fn(&'a Containers, ContainerId, usize) -> BoxFuture<'a, Result<()>>,
}

impl<P: Send + Sync + 'static> Job for Verb<P> {
    fn steps(&self) -> &'static [&'static str] {
        self.steps
    }

    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        phase(context, self.steps[step], step, self.steps.len());
        let work = (self.act)(&self.containers, &self.params, step, context);
        Box::pin(self.containers.tracked(self.id, context, step + 1 == self.steps.len(), work))
    }

    fn undo<'a>(&'a self, step: usize, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        self.containers.let_go(self.id);
        (self.undo)(&self.containers, self.id, step)
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }

    /// Nobody can take back what init was asked for; the rest takes milliseconds.
    fn is_cancellable(&self) -> bool {
        false
    }
}

/// A start that failed has left nothing; what a later step failed on may have left init running.
fn undo_start(containers: &Containers, id: ContainerId, step: usize) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        let runs = containers.board.get(id).is_some_and(|live| is_live(&live));
        if step == 1 && runs { containers.kill_now(id).await } else { Ok(()) }
    })
}

fn undo_nothing(_: &Containers, _: ContainerId, _: usize) -> BoxFuture<'_, Result<()>> {
    Box::pin(async { Ok(()) })
}

/// Whatever went wrong: never leave a container frozen by accident (trust rule D28).
fn undo_freeze(containers: &Containers, id: ContainerId, _: usize) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        match containers.board.get(id).filter(is_live) {
            Some(_) => containers.unfreeze_now(id).await,
            None => Ok(()),
        }
    })
}

pub(super) fn start_job(containers: Arc<Containers>, Target { id }: Target) -> Arc<dyn Job> {
    Arc::new(Verb {
        containers,
        id,
        params: id,
        steps: &["network", "start"],
        act: |containers, id, step, context| {
            Box::pin(async move {
                match step {
                    0 => {
                        containers.board.change(*id, |live| live.doing = Some(ContainerState::Starting));
                        containers.prepare_network(*id).await
                    }
                    _ => containers.start_now(*id, context).await,
                }
            })
        },
        undo: undo_start,
    })
}

pub(super) fn stop_job(containers: Arc<Containers>, params: StopParams) -> Arc<dyn Job> {
    Arc::new(Verb {
        containers,
        id: params.id,
        params,
        steps: &["ask", "stop"],
        act: |containers, params, step, _| {
            Box::pin(async move {
                match step {
                    0 => containers.ask_to_stop(params).await,
                    _ => {
                        containers.wait_for_stop(params).await?;
                        containers.set_ports(params.id).await;
                        Ok(())
                    }
                }
            })
        },
        undo: undo_nothing,
    })
}

pub(super) fn restart_job(containers: Arc<Containers>, params: StopParams) -> Arc<dyn Job> {
    Arc::new(Verb {
        containers,
        id: params.id,
        params,
        steps: &["ask", "stop", "network", "start"],
        act: |containers, params, step, context| {
            Box::pin(async move {
                match step {
                    0 => containers.ask_to_stop(params).await,
                    1 => containers.wait_for_stop(params).await,
                    2 => {
                        containers.board.change(params.id, |live| live.doing = Some(ContainerState::Starting));
                        containers.prepare_network(params.id).await
                    }
                    _ => containers.start_now(params.id, context).await,
                }
            })
        },
        undo: undo_nothing,
    })
}

pub(super) fn kill_job(containers: Arc<Containers>, Target { id }: Target) -> Arc<dyn Job> {
    Arc::new(Kill { containers, id })
}

pub(super) fn freeze_job(containers: Arc<Containers>, Target { id }: Target) -> Arc<dyn Job> {
    Arc::new(Verb {
        containers,
        id,
        params: id,
        steps: &["freeze"],
        act: |containers, id, _, _| Box::pin(containers.freeze_now(*id)),
        undo: undo_freeze,
    })
}

pub(super) fn unfreeze_job(containers: Arc<Containers>, Target { id }: Target) -> Arc<dyn Job> {
    Arc::new(Verb {
        containers,
        id,
        params: id,
        steps: &["unfreeze"],
        act: |containers, id, _, _| Box::pin(containers.unfreeze_now(*id)),
        undo: undo_nothing,
    })
}

/// A kill beside whatever else works on the container: it leaves that task's marks on the board alone.
struct Kill {
    containers: Arc<Containers>,
    id: ContainerId,
}

impl Job for Kill {
    fn steps(&self) -> &'static [&'static str] {
        &["kill"]
    }

    fn act<'a>(&'a self, _: usize, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.containers.kill_now(self.id))
    }

    fn undo<'a>(&'a self, _: usize, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }

    fn is_cancellable(&self) -> bool {
        false
    }
}
