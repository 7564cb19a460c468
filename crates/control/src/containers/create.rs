//! Creating: one transaction claims name, ids and addresses; then the template is made available, the folder made, the
//! network told, and the container started if that was asked for. What fails leaves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use model::access::Permission;
use model::container::CreateRequest;
use model::engine::{FirstBoot, Removal, Signal};
use model::error::ErrorCode;
use model::task::Task;
use model::template::LocalTemplate;
use model::{ContainerId, ContainerSpec, ContainerState};
use serde::{Deserialize, Serialize};

use super::board::Live;
use super::policy::{self, EffectiveConfig};
use super::row::{ContainerRow, RangeRow, StatRow, TrashRow, key};
use super::{Containers, changed_meanwhile, exclusive, id_pool, is_live, name_taken, phase};
use crate::caller::Caller;
use crate::engine;
use crate::error::{Error, Result};
use crate::networks::Assignment;
use crate::tasks::{AfterCrash, Context, Job};
use crate::templates::Templates;

/// Rounds of sha512-crypt: four times the default of crypt(3), still far below a second on small machines.
const HASH_ROUNDS: u32 = 20_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Params {
    id: ContainerId,
    spec: ContainerSpec,
    start: bool,
}

impl Containers {
    /// Creates a container: at once a task, whose first step claims the name.
    ///
    /// # Errors
    /// What [`policy::judge`] refuses; `Conflict` when the name is taken.
    pub async fn create(&self, caller: &Caller, request: CreateRequest, idempotency_key: Option<&str>) -> Result<Task> {
        caller.require(Permission::Containers)?;
        let CreateRequest { spec, password, start } = request;
        let spec = normal(spec);
        let name = spec.name.clone();
        if let Some(task) = self.asked_before(caller, "container.create", name.as_str(), idempotency_key).await? {
            return Ok(task);
        }
        let id = ContainerId(uuid::Uuid::new_v4());
        let judged = self.judge(caller, id, &spec, None, password.as_deref()).await;
        judged.inspect_err(|error| self.record(caller, "container.create", name.as_str(), error))?;
        let hash = hash_password(password).await?;
        if !self.board.promise(name.as_str()) {
            return Err(name_taken(&name));
        }
        let begun = self.begin_create(caller, Params { id, spec, start }, hash, idempotency_key).await;
        if begun.is_err() {
            self.board.fulfil(name.as_str());
        }
        begun
    }

    async fn begin_create(&self, caller: &Caller, params: Params, hash: Option<String>, idempotency_key: Option<&str>) -> Result<Task> {
        let (id, name) = (params.id, params.spec.name.clone());
        // Not among the task's parameters: those are kept for weeks, this only until the folder is made.
        if let Some(hash) = &hash {
            self.parts.facts.change().put(key::first(id), hash).commit().await?;
        }
        let begun = self
            .begin(caller, "container.create", name.as_str(), exclusive(id), &params, idempotency_key)
            .await;
        if begun.is_err() && hash.is_some() {
            self.parts.facts.change().delete(key::first(id)).commit().await?;
        }
        begun
    }

    /// Asks the policy about an effective configuration of a container that had this one so far.
    pub(super) async fn judge(
        &self,
        caller: &Caller,
        id: ContainerId,
        spec: &ContainerSpec,
        held: Option<&ContainerSpec>,
        password: Option<&str>,
    ) -> Result<()> {
        let new_limits = held.map_or_else(|| spec.limits.clone(), |held| policy::new_limits(&spec.limits, &held.limits));
        let held_mounts = held.map(|held| held.mounts.as_slice()).unwrap_or_default();
        let bridges = self.parts.networks.bridges().await?;
        let host = if policy::depends_on_host(&new_limits) {
            Some(self.parts.host.for_limits(&new_limits).await?)
        } else {
            None
        };
        let config = EffectiveConfig {
            id,
            spec,
            new_limits: &new_limits,
            password,
            bridges: &bridges,
            neighbours: &self.board.rows(),
            closed_ports: self.parts.networks.closed_ports(),
            listeners: &self.listeners(id, &spec.publish).await?,
            mount_roots: &self.parts.mount_roots,
            held_mounts,
        };
        policy::judge(&config, host.as_deref(), caller)?;
        self.check_mounts(held_mounts, &spec.mounts).await
    }

    /// Ids of everything in the trash: what those hold may be taken when nothing else is free.
    pub(super) async fn trashed(&self) -> Result<BTreeSet<ContainerId>> {
        let rows = self.parts.facts.list::<TrashRow>(key::TRASH).await?;
        Ok(rows.into_values().map(|fact| fact.value.row.id).collect())
    }

    /// Claims everything that a new container needs, in one transaction.
    async fn reserve(&self, params: &Params, context: &Context) -> Result<()> {
        let _one_at_a_time = self.allocating.lock().await;
        for _ in 0..16 {
            let assignment = self.parts.networks.assign(params.id, &params.spec.nics, &[], &self.trashed().await?).await?;
            if let Some(live) = self.try_reserve(params, &assignment, context).await? {
                self.board.insert(live);
                self.tell_names();
                return Ok(());
            }
            if self.parts.facts.get::<ContainerId>(&key::name(&params.spec.name)).await?.is_some() {
                return Err(name_taken(&params.spec.name));
            }
        }
        Err(Error::failed("ids and addresses change faster than they can be claimed"))
    }

    async fn try_reserve(&self, params: &Params, assignment: &Assignment, context: &Context) -> Result<Option<Live>> {
        let id = params.id;
        let (base_id, range_rev) = self.choose_range().await?;
        let local = self.parts.templates.local(&params.spec.template).await?;
        let mut row = ContainerRow {
            id,
            spec: params.spec.clone(),
            digest: None,
            layers: Vec::new(),
            base_id,
            nics: assignment.nics.clone(),
            created_at: self.parts.clock.now(),
            created_by: context.caller().name.clone(),
            made: false,
            provenance: None,
        };
        if let Some(local) = &local {
            stand_on(&mut row, local.value.clone());
        }
        let (name, spec, stat, range) = (key::name(&row.spec.name), key::spec(id), key::stat(id), key::range(base_id));
        let edit = self.parts.facts.change().absent(&name).absent(&spec).absent(&stat).unchanged(&range, range_rev);
        let edit = edit
            .put(name, &id)
            .put(spec, &row)
            .put(stat, &StatRow::default())
            .put(range, &RangeRow::Owner(id));
        let edit = assignment.write(id, edit);
        let (edit, next) = match &local {
            Some(local) => (Templates::unchanged(edit, local), MAKE),
            None => (edit, TEMPLATE),
        };
        let rev = context.advance(next, edit).await?;
        Ok(rev.map(|rev| {
            let mut live = Live::new(row, rev);
            live.stat_rev = rev;
            live.task = Some(context.id());
            live
        }))
    }

    async fn choose_range(&self) -> Result<(u32, u64)> {
        let rows = self.parts.facts.list::<RangeRow>(key::RANGES).await?;
        let known: BTreeMap<u32, (RangeRow, u64)> = rows
            .into_iter()
            .filter_map(|(base, fact)| Some((base.parse().ok()?, (fact.value, fact.rev))))
            .collect();
        let etc = self.parts.etc.clone();
        let claims = tokio::task::spawn_blocking(move || id_pool::read_claims(&etc))
            .await
            .map_err(|join| Error::failed(join.to_string()))?;
        let owners = known.iter().map(|(base, (row, _))| (*base, row.clone())).collect();
        let base = id_pool::choose(self.parts.id_pool, &owners, &claims).ok_or_else(|| {
            Error::new(ErrorCode::NoSpace, "every block of user ids is in use, by containers or by the trash").hint("empty the trash, or widen --id-pool")
        })?;
        Ok((base, known.get(&base).map_or(0, |(_, rev)| *rev)))
    }

    /// Makes a template available that was not here and writes into the row what the container stands on.
    async fn stand_on_template(&self, params: &Params, context: &Context) -> Result<()> {
        let templates = &self.parts.templates;
        // From here until the row says so, nothing but this shows that the layers are in use.
        let busy = templates.busy().await;
        // A download takes minutes: it must not keep others from being started.
        let template = context.step_aside(templates.ensure(context, &params.spec.template)).await?;
        let live = self.board.get(params.id).ok_or_else(changed_meanwhile)?;
        let mut row = ContainerRow::clone(&live.row);
        stand_on(&mut row, template);
        let saved = self.save_and_advance(&live, row, MAKE, context).await;
        drop(busy);
        templates.sweep_layers().await;
        saved
    }

    /// Writes the container's row at the end of a step: the first boot's secrets are needed no more once it is made.
    async fn save_and_advance(&self, live: &Live, row: ContainerRow, next: usize, context: &Context) -> Result<()> {
        let spec = key::spec(row.id);
        let edit = self.parts.facts.change().unchanged(&spec, live.rev).put(&spec, &row);
        let edit = if row.made { edit.delete(key::first(row.id)) } else { edit };
        let rev = context.advance(next, edit).await?.ok_or_else(changed_meanwhile)?;
        self.board.change(row.id, |live| {
            live.row = Arc::new(row);
            live.rev = rev;
        });
        Ok(())
    }

    /// Makes the folder with the first layer of the container's own.
    async fn make(&self, params: &Params, context: &Context) -> Result<()> {
        let live = self.board.get(params.id).ok_or_else(changed_meanwhile)?;
        let manifest = live.row.manifest().ok_or_else(|| Error::failed("the container's template is not known"))?;
        let hash = self.parts.facts.get::<String>(&key::first(params.id)).await?;
        let first_boot = FirstBoot {
            root_password_hash: hash.map(|fact| fact.value),
            ssh_keys: params.spec.ssh_keys.clone(),
        };
        engine::call(&self.parts.engine, move |engine| engine.create(&manifest, &first_boot)).await?;
        let mut row = ContainerRow::clone(&live.row);
        row.made = true;
        self.save_and_advance(&live, row, NETWORK, context).await
    }

    /// Takes back what [`Containers::reserve`] claimed, if it did.
    async fn give_back(&self, params: &Params) -> Result<()> {
        self.board.fulfil(params.spec.name.as_str());
        let edit = self.parts.facts.change().delete(key::first(params.id));
        edit.commit().await?;
        if let Some(fact) = self.parts.facts.get::<ContainerRow>(&key::spec(params.id)).await? {
            let row = fact.value;
            let freed = RangeRow::FreedAt(self.parts.clock.now());
            let edit = self
                .parts
                .facts
                .change()
                .delete(key::name(&row.spec.name))
                .delete(key::spec(row.id))
                .delete(key::stat(row.id));
            let edit = self.parts.networks.release(row.id, &[], edit.put(key::range(row.base_id), &freed)).await?;
            edit.commit().await?;
        }
        self.board.remove(params.id);
        self.parts.metrics.forget(params.id).await;
        self.tell_names();
        self.apply_network_for(params.id).await
    }
}

fn stand_on(row: &mut ContainerRow, template: LocalTemplate) {
    row.digest = Some(template.provenance.fingerprint.clone());
    row.layers = template.layers;
    row.provenance = Some(template.provenance);
}

/// One way to write what means the same.
pub(super) fn normal(mut spec: ContainerSpec) -> ContainerSpec {
    let mut seen = BTreeSet::new();
    spec.tags.retain(|tag| seen.insert(tag.clone()));
    for nic in &mut spec.nics {
        nic.mac = nic.mac.take().map(|mac| mac.to_ascii_lowercase());
    }
    spec.ssh_keys = spec.ssh_keys.iter().map(|key| key.trim().to_owned()).collect();
    spec.hostname = spec.hostname.filter(|hostname| hostname != spec.name.as_str());
    spec
}

/// The password as crypt(3) has it in /etc/shadow.
async fn hash_password(password: Option<String>) -> Result<Option<String>> {
    use sha_crypt::{Algorithm, PasswordHasher as _, ShaCrypt};
    let Some(password) = password else { return Ok(None) };
    let salt: [u8; 12] = crate::networks::random()?;
    let hash = move || -> std::result::Result<String, String> {
        let rounds = sha_crypt::Params::new(HASH_ROUNDS).map_err(|error| error.to_string())?;
        let hash = ShaCrypt::new(Algorithm::Sha512Crypt, rounds).hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.as_str().to_owned()).map_err(|error| error.to_string())
    };
    let hashed = tokio::task::spawn_blocking(hash).await.map_err(|join| Error::failed(join.to_string()))?;
    hashed
        .map(Some)
        .map_err(|error| Error::failed(format!("root's password cannot be hashed ({error})")))
}

struct Create {
    containers: Arc<Containers>,
    params: Params,
}

pub(super) fn job(containers: Arc<Containers>, params: Params) -> Arc<dyn Job> {
    Arc::new(Create { containers, params })
}

const STEPS: [&str; 5] = ["reserve", "template", "make", "network", "start"];
const RESERVE: usize = 0;
/// Left out when the template is here already.
const TEMPLATE: usize = 1;
const MAKE: usize = 2;
const NETWORK: usize = 3;
/// The task has it only if that was asked for.
const START: usize = 4;

impl Create {
    async fn step(&self, step: usize, context: &Context) -> Result<()> {
        let (containers, id) = (&self.containers, self.params.id);
        if step != TEMPLATE {
            // The template's own phases are shown in that step.
            phase(context, ["create", "template", "create", "network", "start"][step], step, self.steps().len());
        }
        match step {
            RESERVE => {
                let reserved = containers.reserve(&self.params, context).await;
                containers.board.fulfil(self.params.spec.name.as_str());
                reserved
            }
            TEMPLATE => containers.stand_on_template(&self.params, context).await,
            MAKE => containers.make(&self.params, context).await,
            NETWORK => {
                if self.params.start {
                    containers.check_ports(id).await?;
                    containers.board.change(id, |live| live.doing = Some(ContainerState::Starting));
                }
                containers.apply_network_for(id).await
            }
            _ => containers.start_now(id, context).await,
        }
    }

    async fn take_back(&self, step: usize, context: &Context) -> Result<()> {
        let (containers, id) = (&self.containers, self.params.id);
        match step {
            START if containers.board.get(id).is_some_and(|live| is_live(&live)) => {
                engine::call(&containers.parts.engine, move |engine| engine.signal(id, Signal::Kill)).await?;
                containers.settle(id).await
            }
            MAKE => engine::call(&containers.parts.engine, move |engine| engine.remove(id, Removal::Purge)).await,
            TEMPLATE if context.is_cancelled() => containers.parts.templates.abandon(context).await,
            RESERVE => containers.give_back(&self.params).await,
            // The template stays for the next one; the network follows the rows when they are gone.
            _ => Ok(()),
        }
    }
}

impl Job for Create {
    fn steps(&self) -> &'static [&'static str] {
        if self.params.start { &STEPS } else { &STEPS[..START] }
    }

    fn act<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        let is_last = step + 1 == self.steps().len();
        Box::pin(self.containers.tracked(self.params.id, context, is_last, self.step(step, context)))
    }

    fn undo<'a>(&'a self, step: usize, context: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.take_back(step, context))
    }

    fn after_crash(&self) -> AfterCrash {
        AfterCrash::Resume
    }
}
