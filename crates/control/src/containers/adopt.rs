//! What the board learns from the engine: everything at the start of the console, then each event. Nothing is guessed:
//! what the engine cannot tell is `unknown`.

use std::sync::Arc;

use model::ContainerId;
use model::ContainerState;
use model::container::{ExitReason, ExitRecord};
use model::engine::{EngineEvent, Observed};
use tokio::sync::mpsc;

use super::board::Live;
use super::update::hears_of_policy;
use super::{Containers, lifecycle, takes_limits};
use crate::clock::Clock;
use crate::engine;
use crate::error::Result;
use crate::exec::Execs;
use crate::networks::Unmade;

/// The exit code of a run whose end nobody saw.
const UNKNOWN_CODE: i32 = 255;

/// How an observation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Looked at just now: it holds, whatever was recorded.
    Fresh,
    /// As an event, which may have been overtaken while it waited.
    Event,
}

impl Containers {
    /// Compares what the store says with what the engine sees, and follows the engine from then on.
    ///
    /// # Errors
    /// The store fails.
    pub async fn adopt(self: &Arc<Self>, execs: Arc<Execs>) -> Result<()> {
        let mut news = watch(self);
        // Followed first, looked at second: nothing falls in between.
        let observed = engine::call(&self.parts.engine, |engine| engine.observe()).await?;
        let known: std::collections::HashSet<ContainerId> = observed.iter().map(|observed| observed.id).collect();
        for seen in observed {
            if self.board.get(seen.id).is_none() {
                tracing::warn!(container.id = %seen.id, "the engine knows a container that the store does not; it is left alone");
            }
            let id = seen.id;
            if self.learn(seen, News::Fresh).await? {
                self.revive(id).await;
            }
        }
        for row in self.board.rows() {
            self.settle_after_absence(row.id, known.contains(&row.id)).await?;
        }
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(event) = news.recv().await {
                let Some(this) = this.upgrade() else { return };
                this.hear(event, &execs).await;
            }
        });
        Ok(())
    }

    /// What an absence of the console left to say: a run that nobody saw end, a policy and limits that were being changed.
    async fn settle_after_absence(&self, id: ContainerId, is_known: bool) -> Result<()> {
        let Some(live) = self.board.get(id) else { return Ok(()) };
        if live.stat.run.is_some() && !is_known {
            // Without a folder nothing of it could be started again.
            return self.learn(lifecycle::gone(id), News::Fresh).await.map(drop);
        }
        let policy = live.row.spec.restart;
        if hears_of_policy(&live)
            && live.stat.run.as_ref().is_some_and(|run| run.restart != policy)
            && let Err(error) = self.tell_policy(id).await
        {
            tracing::warn!(container.id = %id, %error, "the restart policy could not be brought up to date; it holds from the next start");
        }
        let limits = live.row.spec.limits.clone();
        if takes_limits(&live) && live.stat.run.as_ref().is_some_and(|run| run.limits != limits) {
            let asked = limits.clone();
            match engine::call(&self.parts.engine, move |engine| engine.set_limits(id, &asked)).await {
                Ok(()) => {
                    self.board
                        .change(id, |live| live.stat.run.iter_mut().for_each(|run| run.limits.clone_from(&limits)));
                    self.save_stat(id).await?;
                }
                Err(error) => tracing::warn!(container.id = %id, %error, "the limits could not be brought up to date; they hold from the next start"),
            }
        }
        Ok(())
    }

    async fn hear(self: &Arc<Self>, event: EngineEvent, execs: &Execs) {
        match event {
            EngineEvent::Changed(observed) => {
                let (id, is_live) = (observed.id, observed.state.is_live());
                let was_live = self.is_live(id);
                match self.learn(observed, News::Event).await {
                    Ok(true) => self.revive(id).await,
                    Ok(false) => {}
                    Err(error) => tracing::error!(container.id = %id, %error, "what happened to a container could not be recorded"),
                }
                if !is_live {
                    execs.container_ended(id);
                }
                if self.is_live(id) != was_live {
                    // Aside: the next news must not wait for the packet filter.
                    let this = Arc::clone(self);
                    tokio::spawn(async move { this.set_ports(id).await });
                }
            }
            EngineEvent::OomKill { id, total } => {
                tracing::info!(container.id = %id, total, "the kernel killed a process for lack of memory");
                self.board.change_marked(id, |_| ((), Some("oom")));
            }
            EngineEvent::ExecExited(exit) => execs.exited(exit),
        }
    }

    /// Takes in what the engine saw of one container; says whether it has ended by itself without a shim, so that nobody else
    /// follows its restart policy.
    pub(super) async fn learn(&self, observed: Observed, news: News) -> Result<bool> {
        let id = observed.id;
        let mut is_left_alone = false;
        let changed = self.board.change(id, |live| {
            let before = live.stat.clone();
            is_left_alone = take_in(live, observed, news, &self.parts.clock);
            if live.stat.restarts > before.restarts {
                let name = &live.row.spec.name;
                tracing::info!(container.id = %id, container.name = %name, restarts = live.stat.restarts, "it ended by itself and is started again");
            }
            before != live.stat
        });
        if changed == Some(true) {
            self.save_stat(id).await?;
        }
        Ok(is_left_alone)
    }

    /// Makes the network fit what exists, at the start of the console and from time to time: rules that somebody else
    /// flushed come back.
    ///
    /// # Errors
    /// The engine's, naming its step, bridge by bridge.
    pub async fn refresh_network(&self) -> Result<()> {
        Unmade::none(self.refresh_bridges().await?)
    }

    /// As [`Containers::refresh_network`]; tells which bridges could not be made.
    pub(super) async fn refresh_bridges(&self) -> Result<Vec<Unmade>> {
        if self.board.rows().is_empty() {
            Ok(Vec::new())
        } else {
            self.apply_network(true).await
        }
    }
}

/// The engine reports on a blocking channel; a thread carries that over.
fn watch(containers: &Containers) -> mpsc::UnboundedReceiver<EngineEvent> {
    let (sink, source) = std::sync::mpsc::channel();
    let (sender, receiver) = mpsc::unbounded_channel();
    containers.parts.engine.watch(sink);
    std::thread::spawn(move || {
        while let Ok(event) = source.recv() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Says whether a run has ended by itself whose shim was gone.
fn take_in(live: &mut Live, mut observed: Observed, news: News, clock: &Clock) -> bool {
    let exits = std::mem::take(&mut observed.exits);
    let known = live.stat.exits_seen.unwrap_or(0);
    let recorded = observed.older_exits + exits.len();
    live.stat.learn(observed.older_exits, &exits);
    if is_stale(live, &observed, recorded, news) {
        return false;
    }
    let mut is_left_alone = false;
    let was_degraded = live.observed.as_ref().is_some_and(|known| known.degraded);
    if (news == News::Fresh || was_degraded)
        && has_ended(&observed)
        && let Some(end) = unrecorded_end(live, clock)
    {
        // What ended with the host is started with it, or not.
        is_left_alone = end.reason == ExitReason::Exited && !live.stat.stopping;
        live.stat.add(end);
    }
    if news == News::Event && is_same_run(live, &observed) {
        // Freezing is never told as an event: one that waited in the queue meanwhile knows less than the task.
        observed.state = live.seen();
    }
    live.stat.restarts = observed.restarts.unwrap_or(live.stat.restarts);
    match observed.state {
        ContainerState::Stopped | ContainerState::Error => {
            (live.stat.run, live.stat.started_at, live.stat.stopping) = (None, None, false);
        }
        // Another run than the one that was asked to stop: a reboot, or a start that a crash hid.
        state if state.is_live() && state != ContainerState::Unknown && observed.started_at.is_some() && observed.started_at != live.stat.started_at => {
            (live.stat.started_at, live.stat.stopping) = (observed.started_at, false);
            // Between two runs one ended. Rather one too few: the newest may be this very run's, read a moment later.
            let ended = usize::from(live.stat.run.is_some());
            live.stat.exits_before = known.max(live.stat.exits_before + ended).min(recorded);
            live.stat.run.get_or_insert_with(|| live.row.start_request());
        }
        _ => {}
    }
    live.observed = Some(observed);
    is_left_alone
}

/// Whether this is news of a run before the present one, overtaken by the answer to a start.
fn is_stale(live: &Live, observed: &Observed, exits: usize, news: News) -> bool {
    let is_overtaken = || live.stat.run.is_some() && exits > 0 && exits <= live.stat.exits_before;
    has_ended(observed) && (live.doing == Some(ContainerState::Starting) || news == News::Event && is_overtaken())
}

/// Whether both know one run, and differ at most in whether it is frozen.
fn is_same_run(live: &Live, observed: &Observed) -> bool {
    let runs = |state| matches!(state, ContainerState::Running | ContainerState::Frozen);
    let known = live.observed.as_ref().filter(|known| runs(known.state) && known.pid == observed.pid);
    runs(observed.state) && known.is_some()
}

fn has_ended(observed: &Observed) -> bool {
    matches!(observed.state, ContainerState::Stopped | ContainerState::Error)
}

/// The end of a run that is over without a word: the host went down, or its shim did not live to write it down.
fn unrecorded_end(live: &Live, clock: &Clock) -> Option<ExitRecord> {
    let started_at = live.stat.started_at.filter(|_| live.stat.run.is_some())?;
    if live.stat.has_recorded_end() {
        return None;
    }
    let now = clock.now();
    let booted_ms = now.ms.saturating_sub(i64::try_from(clock.boot().as_millis()).unwrap_or(i64::MAX));
    let host_went_down = started_at.ms < booted_ms;
    Some(ExitRecord {
        at: now,
        reason: if host_went_down { ExitReason::HostDown } else { ExitReason::Exited },
        code: if host_went_down { 137 } else { UNKNOWN_CODE },
        oom_kills: 0,
        message: (!host_went_down).then(|| "how it ended is not known: its shim was gone before".to_owned()),
    })
}
