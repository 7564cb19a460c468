//! Containers: what exists, what state it is in, and every verb on it. Verbs that take time are tasks; their jobs stand
//! in the modules below by the verb they carry out.
//!
//! Invariant: a change is written to the store before it is done on the host, and the [`board::Board`] shows it after
//! the store has it.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use model::access::Permission;
use model::container::{Action, ContainerDetail, ContainerSummary, Refusal};
use model::error::ErrorCode;
use model::task::{Progress, Task};
use model::{ContainerId, ContainerName, ContainerState, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::access::Access;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::networks::{self, Networks, Unmade};
use crate::store::Facts;
use crate::tasks::{Context, Job, Tasks};
use crate::templates::Templates;

mod adopt;
mod autostart;
pub mod board;
mod bridges;
mod create;
mod doctor;
pub mod id_pool;
mod lifecycle;
mod mounts;
pub mod policy;
mod ports;
pub mod rescue;
mod revive;
pub mod row;
mod suggest;
mod trash;
mod update;

use board::{Board, Live};
use row::{ContainerRow, StatRow, key};

/// What containers are made with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub facts: Facts,
    pub engine: Arc<dyn Engine>,
    pub events: Arc<Events>,
    pub clock: Clock,
    pub tasks: Arc<Tasks>,
    pub templates: Arc<Templates>,
    pub networks: Arc<Networks>,
    pub metrics: Arc<Metrics>,
    pub access: Arc<Access>,
    pub host: Arc<Host>,
    /// First and last user id that containers may have.
    pub id_pool: (u32, u32),
    /// Folders of the host that may come into containers, with what lies below them.
    pub mount_roots: Vec<String>,
    /// Where subuid, subgid, passwd and group stand: `/etc`.
    pub etc: PathBuf,
}

/// Every container of this console.
#[derive(Debug)]
pub struct Containers {
    parts: Parts,
    board: Arc<Board>,
    /// One at a time chooses ids and addresses, so that transactions rarely collide.
    allocating: Mutex<()>,
    expiry: trash::Expiry,
}

/// The parameters of most jobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Target {
    id: ContainerId,
}

/// A verb asked for once: `tasks.start` with the same key gives the same task.
struct Ask<'a> {
    kind: &'static str,
    action: Action,
    key: Option<&'a str>,
}

impl Containers {
    /// Reads what the store knows and teaches the tasks their jobs. Nothing is done on the host yet.
    ///
    /// # Errors
    /// The store fails or an entry is damaged.
    pub async fn open(parts: Parts) -> Result<Arc<Self>> {
        let board = Arc::new(Board::new(Arc::clone(&parts.events)));
        let this = Arc::new(Self {
            parts,
            board,
            allocating: Mutex::default(),
            expiry: trash::Expiry::default(),
        });
        this.load().await?;
        this.register_jobs();
        this.tell_names();
        Ok(this)
    }

    async fn load(&self) -> Result<()> {
        let entries = self.parts.facts.list::<serde_json::Value>(key::CONTAINERS).await?;
        for (rest, fact) in entries.iter().filter(|(rest, _)| rest.ends_with("/spec")) {
            let row: ContainerRow = read(rest, &fact.value)?;
            let mut live = Live::new(row, fact.rev);
            let stat = rest.replace("/spec", "/stat");
            if let Some(fact) = entries.get(&stat) {
                live.stat = read::<StatRow>(&stat, &fact.value)?;
                live.stat_rev = fact.rev;
            }
            self.board.insert(live);
        }
        Ok(())
    }

    fn register_jobs(self: &Arc<Self>) {
        self.register("container.create", create::job);
        self.register("container.start", lifecycle::start_job);
        self.register("container.stop", lifecycle::stop_job);
        self.register("container.restart", lifecycle::restart_job);
        self.register("container.kill", lifecycle::kill_job);
        self.register("container.freeze", lifecycle::freeze_job);
        self.register("container.unfreeze", lifecycle::unfreeze_job);
        self.register("container.delete", trash::delete_job);
        self.register("trash.restore", trash::restore_job);
        self.register("trash.purge", trash::purge_job);
        self.register("trash.empty", trash::empty_job);
    }

    /// The tasks outlive no console: they hold us weakly, else neither would ever be freed.
    fn register<P: DeserializeOwned + 'static>(self: &Arc<Self>, kind: &'static str, make: fn(Arc<Self>, P) -> Arc<dyn Job>) {
        let weak: Weak<Self> = Arc::downgrade(self);
        let constructor = move |params: serde_json::Value| {
            let this = weak.upgrade().ok_or_else(|| Error::failed("the console is shutting down"))?;
            let params = serde_json::from_value(params).map_err(|error| Error::failed(format!("the parameters of a task {kind} are damaged ({error})")))?;
            Ok(make(this, params))
        };
        self.parts.tasks.register(kind, Arc::new(constructor));
    }

    /// Every container outside the trash, by name.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<ContainerSummary>> {
        caller.require(Permission::View)?;
        Ok(self.board.summaries())
    }

    /// One container with everything about it.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`.
    pub async fn show(&self, caller: &Caller, name: &str) -> Result<ContainerDetail> {
        caller.require(Permission::View)?;
        Ok(self.find(name)?.detail())
    }

    /// The console's log, for reading and following.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, or the engine cannot open it.
    pub async fn log(&self, caller: &Caller, name: &str) -> Result<tokio::fs::File> {
        caller.require(Permission::View)?;
        let id = self.find(name)?.row.id;
        let log = engine::call(&self.parts.engine, move |engine| engine.console_log(id)).await?;
        Ok(tokio::fs::File::from_std(std::fs::File::from(log)))
    }

    /// What the console printed at or after a moment (to a second), for reading: older files first, each from where it
    /// shall be read; the last one grows.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, or the engine cannot open it.
    pub async fn log_since(&self, caller: &Caller, id: ContainerId, since: Timestamp) -> Result<Vec<tokio::fs::File>> {
        caller.require(Permission::View)?;
        if self.board.get(id).is_none() {
            return Err(Error::not_found("container", id));
        }
        let files = engine::call(&self.parts.engine, move |engine| engine.console_log_since(id, since)).await?;
        Ok(files.into_iter().map(|file| tokio::fs::File::from_std(std::fs::File::from(file))).collect())
    }

    /// A good name that is free.
    ///
    /// # Errors
    /// `NotAllowed`, or the kernel gives no random bytes.
    pub async fn suggest_name(&self, caller: &Caller) -> Result<String> {
        caller.require(Permission::View)?;
        Ok(suggest::name(networks::random()?, |name| self.board.is_taken(name)))
    }

    /// The container's id.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn id_of(&self, name: &str) -> Result<ContainerId> {
        Ok(self.find(name)?.row.id)
    }

    /// The id of a container in which the action is legal now.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` with the state and the reason.
    pub(crate) fn running(&self, name: &str, action: Action) -> Result<ContainerId> {
        Ok(self.find_for(name, action)?.row.id)
    }

    /// Whether the engine sees processes of it.
    pub(crate) fn is_live(&self, id: ContainerId) -> bool {
        self.board.get(id).is_some_and(|live| is_live(&live))
    }

    fn find(&self, name: &str) -> Result<Live> {
        self.board.find(name).ok_or_else(|| Error::not_found("container", name))
    }

    /// Finds a container in which the action is legal now.
    fn find_for(&self, name: &str, action: Action) -> Result<Live> {
        let live = self.find(name)?;
        live.state().allows(action).map_err(|reason| not_allowed_now(&live, action, reason))?;
        Ok(live)
    }

    /// Starts the task of a verb on one container and records who asked.
    async fn ask<P: Serialize>(&self, caller: &Caller, name: &str, ask: Ask<'_>, params: impl FnOnce(ContainerId) -> P) -> Result<Task> {
        if let Some(task) = self.asked_before(caller, ask.kind, name, ask.key).await? {
            return Ok(task);
        }
        let live = self
            .find_for(name, ask.action)
            .inspect_err(|error| self.record(caller, ask.kind, name, error))?;
        let id = live.row.id;
        // A kill must get through while a stop waits.
        let exclusive = if ask.action == Action::Kill {
            format!("container/{id}/kill")
        } else {
            exclusive(id)
        };
        let target = live.row.spec.name.as_str();
        self.begin(caller, ask.kind, target, exclusive, &params(id), ask.key).await
    }

    async fn begin<P: Serialize>(&self, caller: &Caller, kind: &'static str, target: &str, exclusive: String, params: &P, key: Option<&str>) -> Result<Task> {
        let params = serde_json::to_value(params).map_err(|error| Error::failed(format!("the parameters of a task cannot be written ({error})")))?;
        let begun = self.parts.tasks.start(caller, kind, target, Some(exclusive), params, key).await;
        match &begun {
            Ok(task) => self.parts.access.record(caller, kind, target, &format!("task {}", task.id), true).await,
            Err(error) => self.record(caller, kind, target, error),
        }
        begun
    }

    /// The task that this key began earlier.
    async fn asked_before(&self, caller: &Caller, kind: &str, target: &str, key: Option<&str>) -> Result<Option<Task>> {
        self.parts.tasks.earlier(caller, kind, target, key).await
    }

    /// Writes a refusal into the audit log, beside the answer.
    fn record(&self, caller: &Caller, action: &str, target: &str, error: &Error) {
        let access = Arc::clone(&self.parts.access);
        let (caller, action, target, detail) = (caller.clone(), action.to_owned(), target.to_owned(), error.to_string());
        tokio::spawn(async move { access.record(&caller, &action, &target, &detail, false).await });
    }

    /// Shows on the board that a task works on the container, and when it no longer does.
    async fn tracked(&self, id: ContainerId, context: &Context, is_last: bool, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.board.change(id, |live| live.task = Some(context.id()));
        let outcome = work.await;
        if is_last || outcome.is_err() {
            self.let_go(id);
        }
        outcome
    }

    fn let_go(&self, id: ContainerId) {
        self.board.change(id, |live| {
            (live.task, live.doing, live.stop_deadline) = (None, None, None);
        });
    }

    /// Writes a container's runs as the board shows them.
    async fn save_stat(&self, id: ContainerId) -> Result<()> {
        let key = key::stat(id);
        for _ in 0..16 {
            let Some(live) = self.board.get(id) else { return Ok(()) };
            let edit = self.parts.facts.change().unchanged(&key, live.stat_rev).put(&key, &live.stat);
            if let Some(rev) = edit.commit().await? {
                self.board.change(id, |live| live.stat_rev = live.stat_rev.max(rev));
                return Ok(());
            }
            // Somebody else wrote in between, or it was deleted.
            let Some(fact) = self.parts.facts.get::<serde_json::Value>(&key).await? else {
                return Ok(());
            };
            self.board.change(id, |live| live.stat_rev = fact.rev);
        }
        Err(Error::failed("the container's state changes faster than it can be written"))
    }

    /// Replaces a container's row, if nobody else did meanwhile.
    async fn save_row(&self, live: &Live, row: ContainerRow) -> Result<()> {
        let key = key::spec(row.id);
        let edit = self.parts.facts.change().unchanged(&key, live.rev).put(&key, &row);
        let rev = edit.commit().await?.ok_or_else(changed_meanwhile)?;
        self.board.change(row.id, |live| {
            live.row = Arc::new(row);
            live.rev = rev;
        });
        Ok(())
    }

    /// Makes the host's network look as the board says; tells which bridges could not be made so.
    async fn apply_network(&self, force: bool) -> Result<Vec<Unmade>> {
        let board = Arc::clone(&self.board);
        self.parts.networks.apply(move || board.rows_on_host(), force).await
    }

    /// As [`Containers::apply_network`], for what is done with one container: only bridges that this one uses may keep it
    /// from it. What became of the others stands in the log; they are tried again each minute.
    async fn apply_network_for(&self, id: ContainerId) -> Result<()> {
        let used = self.board.get(id).map(|live| live.bridges()).unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = self.apply_network(false).await?.into_iter().partition(|one| used.contains(&one.bridge));
        for Unmade { bridge, error } in others {
            tracing::error!(network = bridge, %error, "a network could not be made as it shall be; it is tried again");
        }
        own.into_iter().next().map_or(Ok(()), |one| Err(one.error))
    }

    fn tell_names(&self) {
        self.parts.metrics.set_names(self.board.names());
    }
}

fn exclusive(id: ContainerId) -> String {
    format!("container/{id}")
}

fn refuse(live: &Live, reason: &str) -> Error {
    Error::conflict(format!("`{}` is {}: {reason}", live.row.spec.name, live.state().as_str()))
}

/// Why an action is not legal now, in a sentence about this container.
fn not_allowed_now(live: &Live, action: Action, reason: Refusal) -> Error {
    let name = format!("`{}`", live.row.spec.name);
    match (reason, action) {
        (Refusal::Stopped, Action::Stop | Action::Kill) => Error::conflict(format!("{name} is stopped already")),
        (Refusal::Stopped, Action::Restart | Action::Freeze | Action::Exec) => Error::conflict(format!("{name} is stopped")).hint("start it first"),
        (Refusal::OtherState, _) => Error::conflict(format!("{name} is {}, which does not allow this", live.state().as_str())).hint("wait until that is over"),
        _ => Error::conflict(reason.as_str().replace("the container", &name)),
    }
}

fn changed_meanwhile() -> Error {
    Error::new(ErrorCode::Stale, "the container changed meanwhile").hint("read it again and repeat the change")
}

fn name_taken(name: &ContainerName) -> Error {
    let mut error = Error::conflict(format!("there is a container `{name}` already")).hint("choose another name");
    error.body.field = Some("name".into());
    error
}

fn read<T: DeserializeOwned>(key: &str, value: &serde_json::Value) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        Error::failed(format!("the store's entry `{}{key}` is damaged ({error})", key::CONTAINERS))
            .hint("run `berth rescue` to rebuild it from the containers' manifests")
    })
}

/// A step of a task, for people.
fn phase(context: &Context, phase: &str, done: usize, total: usize) {
    context.progress(Progress {
        done: done as u64,
        total: Some(total as u64),
        unit: "steps".into(),
        phase: phase.into(),
        ..Progress::default()
    });
}

/// Whether the engine sees processes of the container.
fn is_live(live: &Live) -> bool {
    live.seen().is_live()
}

/// Whether its limits can be changed on the host now.
fn takes_limits(live: &Live) -> bool {
    matches!(live.seen(), ContainerState::Running | ContainerState::Frozen)
}
