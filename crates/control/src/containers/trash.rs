//! Deleting, and the trash: a deleted container's name is free at once, its data, ids and addresses wait seven days,
//! of which only those count in which the host is up: neither a clock that is set nor a host that is off empties the trash.
//!
//! Invariant: a purge that fails half way leaves the entry in the trash, marked, and can be repeated.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model::access::Permission;
use model::container::{Action, Refusal};
use model::engine::Removal;
use model::storage::TrashEntry;
use model::task::Task;
use model::{ContainerId, ContainerName};
use serde::{Deserialize, Serialize};

use super::board::Live;
use super::row::{ContainerRow, RangeRow, StatRow, TrashRow, key};
use super::{Ask, Containers, Target, changed_meanwhile, exclusive, is_live, name_taken, not_allowed_now, phase};
use crate::age::Age;
use crate::caller::Caller;
use crate::engine;
use crate::error::{Error, Result};
use crate::store::Facts;
use crate::tasks::{AfterCrash, Context, Job};

mod expiry;

pub(super) use expiry::Expiry;

/// How long a deleted container waits.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Times that a write is repeated because somebody else wrote the entry in between.
const TRIES: usize = 16;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeleteParams {
    id: ContainerId,
    force: bool,
    purge: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RestoreParams {
    id: ContainerId,
    name: ContainerName,
}

/// Emptying takes what was in the trash when it began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EmptyParams {
    ids: Vec<ContainerId>,
}

impl Containers {
    /// Moves a container to the trash, or with `purge` removes it for good. With `force` one that runs is killed first.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` when it runs and `force` is not set or another task works on it.
    pub async fn delete(&self, caller: &Caller, name: &str, force: bool, purge: bool, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let action = if force { Action::ForceDelete } else { Action::Delete };
        let ask = Ask {
            kind: "container.delete",
            action,
            key,
        };
        self.ask(caller, name, ask, |id| DeleteParams { id, force, purge }).await
    }

    /// What is in the trash, the newest first.
    ///
    /// # Errors
    /// `NotAllowed`, or the store fails.
    pub async fn trash(&self, caller: &Caller) -> Result<Vec<TrashEntry>> {
        caller.require(Permission::View)?;
        let age = self.age().await?;
        let rows = self.parts.facts.list::<TrashRow>(key::TRASH).await?;
        let mut entries: Vec<TrashEntry> = rows
            .into_values()
            .filter(|fact| !fact.value.purging || fact.value.problem.is_some())
            .map(|fact| fact.value.entry(age))
            .collect();
        entries.sort_by(|one, other| other.deleted_at.cmp(&one.deleted_at).then_with(|| one.name.cmp(&other.name)));
        Ok(entries)
    }

    /// Brings a container back, under another name if asked.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` when the name is taken, `Invalid` when it is none, or the policy's refusal.
    pub async fn restore(&self, caller: &Caller, id: ContainerId, as_name: Option<&str>, key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let known = as_name
            .map(str::to_owned)
            .or_else(|| self.board.get(id).map(|live| live.row.spec.name.to_string()));
        if let Some(name) = known
            && let Some(task) = self.asked_before(caller, "trash.restore", &name, key).await?
        {
            return Ok(task);
        }
        let trashed = self.in_trash(id).await?;
        let name: ContainerName = match as_name {
            None => trashed.row.spec.name.clone(),
            Some(name) => name.parse().map_err(|error: model::id::IdError| Error::invalid("name", error.to_string()))?,
        };
        let mut spec = trashed.row.spec;
        spec.name = name.clone();
        // What it had when it was deleted was granted then; the start looks whether it still is.
        self.judge(caller, id, &spec, Some(&spec), None).await?;
        if self.board.is_taken(name.as_str()) {
            return Err(name_taken(&name));
        }
        self.begin(
            caller,
            "trash.restore",
            name.as_str(),
            exclusive(id),
            &RestoreParams { id, name: name.clone() },
            key,
        )
        .await
    }

    /// Removes one container in the trash for good.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` while another task works on it.
    pub async fn purge(&self, caller: &Caller, id: ContainerId) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let row = self.any_in_trash(id).await?;
        self.begin(caller, "trash.purge", row.row.spec.name.as_str(), exclusive(id), &Target { id }, None)
            .await
    }

    /// Removes everything in the trash for good.
    ///
    /// # Errors
    /// `NotAllowed`, `Conflict` while it is being emptied already.
    pub async fn empty_trash(&self, caller: &Caller) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let ids = self.trashed().await?.into_iter().collect();
        self.begin(caller, "trash.empty", "trash", "trash".into(), &EmptyParams { ids }, None).await
    }

    /// Removes what has waited long enough. Called from time to time; what was missed while the console was down is done at once.
    ///
    /// # Errors
    /// The store fails. A purge that fails is shown in the trash and tried again, each time after a longer pause.
    pub async fn expire(&self) -> Result<Vec<Task>> {
        let boot = self.parts.clock.boot();
        let now = Age::mark(&self.parts.facts, &self.parts.clock).await?.steady();
        let rows = self.parts.facts.list::<TrashRow>(key::TRASH).await?;
        let is_due = |row: &TrashRow| (row.purging || row.expires_at <= now) && self.expiry.may_try(row.row.id, boot);
        let mut begun = Vec::new();
        for trashed in rows.into_values().map(|fact| fact.value).filter(is_due) {
            match self.purge(&Caller::berth(), trashed.row.id).await {
                Ok(task) => begun.push(task),
                // Somebody restores or purges it at this moment.
                Err(error) => tracing::info!(container.id = %trashed.row.id, %error, "an expired container is not purged now"),
            }
        }
        Ok(begun)
    }

    async fn age(&self) -> Result<Age> {
        Age::read(&self.parts.facts, &self.parts.clock).await
    }

    /// Ids of everything that exists, the trash included.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn every_id(&self) -> Result<HashSet<ContainerId>> {
        let here = self.board.rows().into_iter().map(|row| row.id);
        Ok(here.chain(self.trashed().await?).collect())
    }

    async fn any_in_trash(&self, id: ContainerId) -> Result<TrashRow> {
        let fact = self.parts.facts.get::<TrashRow>(&key::trash(id)).await?;
        fact.map(|fact| fact.value).ok_or_else(|| Error::not_found("container in the trash", id))
    }

    async fn in_trash(&self, id: ContainerId) -> Result<TrashRow> {
        let row = self.any_in_trash(id).await?;
        if row.purging {
            return Err(purging(&row));
        }
        Ok(row)
    }

    /// Frees the name and writes the trash entry, in one transaction.
    async fn write_off(&self, params: &DeleteParams, context: &Context) -> Result<()> {
        let id = params.id;
        let Some(live) = self.board.get(id) else { return Ok(()) };
        let begun = self.age().await?.steady();
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let trashed = TrashRow {
            row: ContainerRow::clone(&live.row),
            exits: live.stat.exits.clone(),
            exits_seen: live.stat.exits_seen,
            deleted_at: self.parts.clock.now(),
            deleted_by: context.caller().name.clone(),
            expires_at: if params.purge { begun } else { begun.plus_ms(kept) },
            size_bytes: None,
            purging: params.purge,
            problem: None,
        };
        let (spec, stat) = (key::spec(id), key::stat(id));
        let edit = self.parts.facts.change().unchanged(&spec, live.rev).delete(spec).delete(stat);
        let edit = edit.delete(key::name(&live.row.spec.name)).put(key::trash(id), &trashed);
        edit.commit().await?.ok_or_else(changed_meanwhile)?;
        self.board.remove(id);
        self.tell_names();
        Ok(())
    }

    /// Puts a container that is in the trash back into the list, as `name`, with the addresses it had if they are free.
    async fn write_back(&self, id: ContainerId, name: &ContainerName) -> Result<()> {
        let _one_at_a_time = self.allocating.lock().await;
        for _ in 0..TRIES {
            let Some(fact) = self.parts.facts.get::<TrashRow>(&key::trash(id)).await? else {
                // A crash came right after the transaction: it holds.
                let is_back = self.board.get(id).is_some();
                return if is_back {
                    Ok(())
                } else {
                    Err(Error::not_found("container in the trash", id))
                };
            };
            if fact.value.purging {
                return Err(purging(&fact.value));
            }
            let TrashRow {
                mut row, exits, exits_seen, ..
            } = fact.value;
            let assignment = self.parts.networks.assign(id, &row.spec.nics, &row.nics, &self.trashed().await?).await?;
            row.nics.clone_from(&assignment.nics);
            row.spec.name = name.clone();
            let stat = StatRow {
                exits,
                exits_seen,
                ..StatRow::default()
            };
            let (spec_key, stat_key, name_key, trash_key) = (key::spec(id), key::stat(id), key::name(name), key::trash(id));
            let edit = self.parts.facts.change().absent(&name_key).absent(&spec_key).unchanged(&trash_key, fact.rev);
            let edit = edit.put(name_key.as_str(), &id).put(spec_key, &row).put(stat_key, &stat).delete(trash_key);
            if let Some(rev) = assignment.write(id, edit).commit().await? {
                let mut live = Live::new(row, rev);
                (live.stat, live.stat_rev) = (stat, rev);
                self.board.insert(live);
                self.tell_names();
                return Ok(());
            }
            if self.parts.facts.get::<ContainerId>(&name_key).await?.is_some() {
                return Err(name_taken(name));
            }
        }
        Err(Error::failed("names and addresses change faster than they can be claimed"))
    }

    /// Marks an entry so that it can only go.
    async fn condemn(&self, id: ContainerId) -> Result<()> {
        change_entry(&self.parts.facts, id, |row| row.purging = true).await
    }

    /// Writes into the entry why it is still there, and lets it rest.
    async fn show_problem(&self, id: ContainerId, error: &Error) {
        self.expiry.note_failure(id, self.parts.clock.boot());
        let shown = change_entry(&self.parts.facts, id, |row| row.problem = Some(error.to_string())).await;
        if let Err(other) = shown {
            tracing::warn!(container.id = %id, %error, %other, "a container could not be removed for good, nor could that be shown");
        }
    }

    /// Removes the files, then the entry; ids and addresses are free from then on.
    async fn purge_now(&self, id: ContainerId) -> Result<()> {
        engine::call(&self.parts.engine, move |engine| engine.remove(id, Removal::Purge)).await?;
        self.erase_entry(id).await?;
        self.parts.metrics.forget(id).await;
        Ok(())
    }

    async fn erase_entry(&self, id: ContainerId) -> Result<()> {
        let key = key::trash(id);
        for _ in 0..TRIES {
            let Some(fact) = self.parts.facts.get::<TrashRow>(&key).await? else {
                return Ok(());
            };
            let freed = RangeRow::FreedAt(self.parts.clock.now());
            let edit = self.parts.facts.change().unchanged(&key, fact.rev).delete(&key);
            let edit = edit.put(key::range(fact.value.row.base_id), &freed);
            let edit = self.parts.networks.release(id, &[], edit).await?;
            if edit.commit().await?.is_some() {
                return Ok(());
            }
        }
        Err(changed_meanwhile())
    }

    /// Measures in the background what a trashed container takes: a slow walk that nobody waits for.
    fn measure_later(&self, id: ContainerId) {
        let parts = self.parts.clone();
        tokio::spawn(async move {
            let measured = async {
                let used = engine::call(&parts.engine, move |engine| engine.measure(id)).await?;
                change_entry(&parts.facts, id, |row| row.size_bytes = Some(used.bytes)).await
            };
            let outcome: Result<()> = measured.await;
            if let Err(error) = outcome {
                tracing::info!(container.id = %id, %error, "the size of a deleted container is not known");
            }
        });
    }

    async fn move_folder(&self, id: ContainerId, removal: Removal) -> Result<()> {
        engine::call(&self.parts.engine, move |engine| engine.remove(id, removal)).await
    }
}

/// Changes an entry of the trash, also while others (the one who measures, the one who purges) change it; one that was
/// restored or purged meanwhile has nothing to be changed.
async fn change_entry(facts: &Facts, id: ContainerId, change: impl Fn(&mut TrashRow)) -> Result<()> {
    let key = key::trash(id);
    for _ in 0..TRIES {
        let Some(mut fact) = facts.get::<TrashRow>(&key).await? else {
            return Ok(());
        };
        change(&mut fact.value);
        if facts.change().unchanged(&key, fact.rev).put(&key, &fact.value).commit().await?.is_some() {
            return Ok(());
        }
    }
    Err(changed_meanwhile())
}

fn purging(trashed: &TrashRow) -> Error {
    Error::conflict(format!("`{}` is being removed for good", trashed.row.spec.name))
}

struct Delete {
    containers: Arc<Containers>,
    params: DeleteParams,
}

pub(super) fn delete_job(containers: Arc<Containers>, params: DeleteParams) -> Arc<dyn Job> {
    Arc::new(Delete { containers, params })
}

const DELETE_STEPS: [&str; 4] = ["kill", "rows", "folder", "network"];

impl Delete {
    async fn step(&self, step: usize, context: &Context) -> Result<()> {
        let (containers, id) = (&self.containers, self.params.id);
        phase(context, "delete", step, DELETE_STEPS.len());
        match step {
            0 => self.end_it().await,
            1 => containers.write_off(&self.params, context).await,
            2 if self.params.purge => containers.purge_now(id).await,
            2 => containers.move_folder(id, Removal::ToTrash).await,
            _ => {
                if !self.params.purge {
                    containers.measure_later(id);
                }
                containers.apply_network_for(id).await
            }
        }
    }

    async fn end_it(&self) -> Result<()> {
        let (containers, id) = (&self.containers, self.params.id);
        let Some(live) = containers.board.get(id) else { return Ok(()) };
        if is_live(&live) && !self.params.force {
            return Err(not_allowed_now(&live, Action::Delete, Refusal::RunsCannotDelete));
        }
        containers.board.change(id, |live| live.doing = Some(model::ContainerState::Deleting));
        if is_live(&live) { containers.kill_now(id).await } else { Ok(()) }
    }

    /// A purge is not undone: the entry stays in the trash and can only go.
    async fn take_back(&self, step: usize) -> Result<()> {
        let (containers, id) = (&self.containers, self.params.id);
        match step {
            2 if !self.params.purge => containers.move_folder(id, Removal::Restore).await,
            1 => {
                if !self.params.purge
                    && let Some(fact) = containers.parts.facts.get::<TrashRow>(&key::trash(id)).await?
                {
                    containers.write_back(id, &fact.value.row.spec.name).await?;
                }
                containers.apply_network_for(id).await
            }
            _ => Ok(()),
        }
    }
}

impl Job for Delete {
    fn steps(&self) -> &'static [&'static str] {
        &DELETE_STEPS
    }

    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        let is_last = step + 1 == DELETE_STEPS.len();
        Box::pin(async move {
            let id = self.params.id;
            self.containers.board.change(id, |live| live.task = Some(context.id()));
            let outcome = self.step(step, context).await;
            // Between its steps it stays `deleting`.
            if is_last || outcome.is_err() {
                self.containers.let_go(id);
            }
            outcome
        })
    }

    fn undo<'a>(&'a self, step: usize, _: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let taken_back = self.take_back(step).await;
            self.containers.let_go(self.params.id);
            taken_back
        })
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }

    fn is_cancellable(&self) -> bool {
        false
    }
}

struct Restore {
    containers: Arc<Containers>,
    params: RestoreParams,
}

pub(super) fn restore_job(containers: Arc<Containers>, params: RestoreParams) -> Arc<dyn Job> {
    Arc::new(Restore { containers, params })
}

const RESTORE_STEPS: [&str; 3] = ["folder", "rows", "network"];

impl Job for Restore {
    fn steps(&self) -> &'static [&'static str] {
        &RESTORE_STEPS
    }

    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (containers, id) = (&self.containers, self.params.id);
            phase(context, "restore", step, RESTORE_STEPS.len());
            match step {
                0 => containers.move_folder(id, Removal::Restore).await,
                1 => {
                    containers.write_back(id, &self.params.name).await?;
                    containers.write_manifest(id).await
                }
                _ => containers.apply_network_for(id).await,
            }
        })
    }

    fn undo<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (containers, id) = (&self.containers, self.params.id);
            let again = DeleteParams {
                id,
                force: false,
                purge: false,
            };
            match step {
                0 => containers.move_folder(id, Removal::ToTrash).await,
                1 => {
                    containers.write_off(&again, context).await?;
                    containers.apply_network_for(id).await
                }
                _ => Ok(()),
            }
        })
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }

    fn is_cancellable(&self) -> bool {
        false
    }
}

/// Purges of one or of many: what fails does not keep the others from going.
struct Purge {
    containers: Arc<Containers>,
    ids: Vec<ContainerId>,
}

pub(super) fn purge_job(containers: Arc<Containers>, Target { id }: Target) -> Arc<dyn Job> {
    Arc::new(Purge { containers, ids: vec![id] })
}

pub(super) fn empty_job(containers: Arc<Containers>, EmptyParams { ids }: EmptyParams) -> Arc<dyn Job> {
    Arc::new(Purge { containers, ids })
}

impl Purge {
    async fn one(&self, id: ContainerId, context: &Context) -> Result<()> {
        // Somebody may be bringing it back just now.
        let _claim = context.claim(&exclusive(id))?;
        let outcome = self.remove(id).await;
        match &outcome {
            Ok(()) => self.containers.expiry.forget(id),
            Err(error) => self.containers.show_problem(id, error).await,
        }
        outcome
    }

    async fn remove(&self, id: ContainerId) -> Result<()> {
        self.containers.condemn(id).await?;
        if self.containers.board.get(id).is_some() {
            // It was restored meanwhile: nothing of it is ours to remove.
            return Ok(());
        }
        self.containers.purge_now(id).await
    }

    async fn all(&self, context: &Context) -> Result<()> {
        let mut failures = Vec::new();
        for (done, id) in self.ids.iter().enumerate() {
            phase(context, "purge", done, self.ids.len());
            if let Err(error) = self.one(*id, context).await {
                context.log(&format!("{id}: {error}"));
                failures.push(error);
            }
        }
        let count = failures.len();
        match failures.into_iter().next() {
            None => Ok(()),
            Some(only) if count == 1 => Err(only),
            Some(first) => {
                Err(Error::failed(format!("{count} of {} could not be removed; the first: {first}", self.ids.len()))
                    .hint("the task's log names each; repeat it"))
            }
        }
    }
}

impl Job for Purge {
    fn steps(&self) -> &'static [&'static str] {
        &["purge"]
    }

    fn act<'a>(&'a self, _: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.all(context))
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
