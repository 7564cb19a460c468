//! What starts with the host: once for each boot, in the order that people chose, a few at once. A restart of the console
//! starts nothing but what the console before it had not come to.
//!
//! Invariant: of one boot no container is started twice, and none that has run and ended in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use model::container::{Action, ContainerSpec};
use model::{ContainerId, ContainerName, ContainerState};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::board::Live;
use super::{Containers, is_live};
use crate::caller::Caller;
use crate::error::Result;
use crate::store::Edit;

/// Containers that are brought up at once after the host has booted.
const AT_ONCE: usize = 4;
/// Where the boot of the host is remembered that this was begun for.
const BOOT: &str = "/berth/v1/setting/host-boot";
/// Where it is remembered how far that has come; absent when it is done.
const PROGRESS: &str = "/berth/v1/setting/autostart";

/// When a container's turn comes: the lowest order first, those without one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Turn {
    Order(u32),
    Last,
}

impl Turn {
    fn of(spec: &ContainerSpec) -> Self {
        spec.autostart_order.map_or(Self::Last, Self::Order)
    }
}

/// How far the start with the host has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    boot: String,
    /// How many ends each container that there was had on record when the host had booted: one with more has run since.
    ends: BTreeMap<ContainerId, usize>,
    /// The last turn whose starts are over.
    done: Option<Turn>,
    /// When the next turn may come, by the clock that counts from the boot.
    next_at_ms: u64,
}

/// One whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Starting {
    id: ContainerId,
    name: ContainerName,
    delay: Duration,
    runs: bool,
}

impl Containers {
    /// Starts what is to be started when the host has booted since the last time, or goes on with it where the console
    /// before this one ended. The task that does so is the caller's to end.
    ///
    /// # Errors
    /// The store fails.
    pub async fn autostart(self: &Arc<Self>, boot_id: &str) -> Result<Option<JoinHandle<()>>> {
        let Some(progress) = self.autostart_progress(boot_id).await? else {
            return Ok(None);
        };
        let this = Arc::clone(self);
        Ok(Some(tokio::spawn(async move { this.start_waves(progress).await })))
    }

    /// Where to begin; `None` when nothing is to be started.
    async fn autostart_progress(&self, boot_id: &str) -> Result<Option<Progress>> {
        let last = self.parts.facts.get::<String>(BOOT).await?;
        if last.as_ref().is_some_and(|last| last.value == boot_id) {
            let progress = self.parts.facts.get::<Progress>(PROGRESS).await?;
            return Ok(progress.map(|fact| fact.value));
        }
        let progress = Progress {
            boot: boot_id.to_owned(),
            ends: self.lives().map(|live| (live.row.id, ends(&live))).collect(),
            done: None,
            next_at_ms: 0,
        };
        let edit = self.parts.facts.change().put(BOOT, &boot_id);
        // The first console of all has nothing that a boot could have ended.
        let progress = last.map(|_| progress);
        let edit = progress.iter().fold(edit, |edit, progress| edit.put(PROGRESS, progress));
        edit.commit().await?;
        Ok(progress)
    }

    fn lives(&self) -> impl Iterator<Item = Live> {
        self.board.names().into_iter().filter_map(|(id, _)| self.board.get(id))
    }

    /// One turn after the other, each with the containers that there are when it comes.
    async fn start_waves(&self, mut progress: Progress) {
        loop {
            tokio::time::sleep(Duration::from_millis(progress.next_at_ms).saturating_sub(self.parts.clock.boot())).await;
            let Some((turn, wave)) = wave(self.lives(), &progress) else {
                break;
            };
            let delay = self.start_wave(&progress.boot, wave).await;
            let next_at = self.parts.clock.boot() + delay;
            progress.done = Some(turn);
            progress.next_at_ms = u64::try_from(next_at.as_millis()).unwrap_or(u64::MAX);
            self.remember(|edit| edit.put(PROGRESS, &progress)).await;
        }
        self.remember(|edit| edit.delete(PROGRESS)).await;
    }

    /// What cannot be written down keeps nobody from starting: the next console repeats a turn, which starts nobody twice.
    async fn remember(&self, what: impl FnOnce(Edit) -> Edit) {
        if let Err(error) = what(self.parts.facts.change()).commit().await {
            tracing::error!(%error, "how far the start with the host has come could not be written down");
        }
    }

    /// Starts those of one turn; says how long the most patient of them that came up wants the next ones to wait.
    async fn start_wave(&self, boot: &str, wave: Vec<Starting>) -> Duration {
        let starts = futures::stream::iter(wave).map(|one| async move { (one.runs || self.autostart_one(boot, &one).await).then_some(one.delay) });
        let delays: Vec<Option<Duration>> = starts.buffer_unordered(AT_ONCE).collect().await;
        delays.into_iter().flatten().max().unwrap_or_default()
    }

    /// Whether it has come up. Asked for once for each boot: a console that repeats a turn gets the task of the one before.
    async fn autostart_one(&self, boot: &str, Starting { id, name, .. }: &Starting) -> bool {
        let (name, key) = (name.as_str(), format!("autostart/{boot}/{id}"));
        let outcome = async { self.parts.tasks.wait(self.start(&Caller::berth(), name, Some(&key)).await?.id).await };
        match outcome.await {
            Ok(task) if task.error.is_none() => tracing::info!(container.name = name, "started with the host"),
            Ok(task) => {
                tracing::error!(container.name = name, task.id = %task.id, "could not be started with the host; the task says why");
                return false;
            }
            Err(error) => {
                tracing::error!(container.name = name, %error, "could not be started with the host");
                return false;
            }
        }
        true
    }
}

/// Ends of the container that the engine has counted.
fn ends(live: &Live) -> usize {
    live.stat.exits_seen.unwrap_or(0)
}

/// The next turn and whose it is. Whoever runs already is waited for like the others; whoever has run since the boot was
/// stopped by somebody, or ended, and is left alone, and so is whoever came since.
fn wave(lives: impl Iterator<Item = Live>, progress: &Progress) -> Option<(Turn, Vec<Starting>)> {
    let rests = |live: &Live| progress.ends.get(&live.row.id).is_some_and(|before| ends(live) <= *before);
    let can_start = |live: &Live| live.state() == ContainerState::Starting || live.state().allows(Action::Start).is_ok();
    let mut waves: BTreeMap<Turn, Vec<Starting>> = BTreeMap::new();
    for live in lives.filter(|live| live.row.spec.autostart) {
        let (spec, runs) = (&live.row.spec, is_live(&live));
        let turn = Turn::of(spec);
        let is_due = progress.done.is_none_or(|done| turn > done);
        if is_due && (runs || can_start(&live) && rests(&live)) {
            waves.entry(turn).or_default().push(Starting {
                id: live.row.id,
                name: spec.name.clone(),
                delay: Duration::from_secs(u64::from(spec.autostart_delay_seconds)),
                runs,
            });
        }
    }
    let (turn, mut wave) = waves.pop_first()?;
    wave.sort_by(|one, other| one.name.cmp(&other.name));
    Some((turn, wave))
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::containers::row::ContainerRow;

    fn live(name: &str, order: Option<u32>) -> Live {
        let spec = ContainerSpec {
            autostart: true,
            autostart_order: order,
            ..ContainerSpec::new(name.parse().unwrap(), "local:test".parse().unwrap())
        };
        let row = ContainerRow {
            id: ContainerId(uuid::Uuid::new_v4()),
            spec,
            digest: None,
            layers: Vec::new(),
            base_id: 0,
            nics: Vec::new(),
            created_at: Timestamp::from_ms(0),
            created_by: "anna".into(),
            made: true,
            provenance: None,
        };
        Live::new(row, 1)
    }

    fn booted(lives: &[Live]) -> Progress {
        Progress {
            boot: "this".into(),
            ends: lives.iter().map(|live| (live.row.id, ends(live))).collect(),
            done: None,
            next_at_ms: 0,
        }
    }

    fn names(lives: &[Live], progress: &mut Progress) -> Vec<String> {
        let Some((turn, wave)) = wave(lives.iter().cloned(), progress) else {
            return Vec::new();
        };
        progress.done = Some(turn);
        wave.iter().map(|one| one.name.to_string()).collect()
    }

    #[test]
    fn the_lowest_order_comes_first_and_none_last() {
        let lives = [
            live("web", None),
            live("mail", Some(20)),
            live("db", Some(3)),
            live("cache", Some(3)),
            live("app", None),
        ];
        let mut progress = booted(&lives);
        for wave in [&["cache", "db"][..], &["mail"], &["app", "web"], &[]] {
            assert_eq!(names(&lives, &mut progress), wave);
        }
    }

    #[test]
    fn whoever_has_run_since_the_boot_or_came_since_is_left_alone() {
        let mut lives = vec![live("db", None), live("web", None), live("off", None)];
        lives[0].stat.exits_seen = Some(5);
        let mut progress = booted(&lives);
        lives[1].stat.exits_seen = Some(1);
        let off = std::sync::Arc::make_mut(&mut lives[2].row);
        off.spec.autostart = false;
        lives.push(live("new", None));
        assert_eq!(names(&lives, &mut progress), ["db"]);
    }
}
