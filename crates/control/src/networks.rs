//! The managed bridges: their addresses, who has which of them, and that the host looks as the rows say. The rows decide;
//! [`plan`] computes what they mean and the engine carries it out.
//!
//! Invariant: an address or MAC is claimed in the transaction that writes the container's row, and never without it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use model::ContainerId;
use model::access::Permission;
use model::engine::{NetworkPlan, NicPlan};
use model::network::{Addressing, Cidr, Lease, NetworkInfo, NicSpec};
use tokio::sync::Mutex;

use crate::caller::Caller;
use crate::containers::row::{ContainerRow, key};
use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::store::{Edit, Facts, Rev};

pub mod address;
mod known;
pub mod plan;

use plan::{Chosen, NetRow};

/// What a person decided about the default bridge.
#[derive(Clone, Debug)]
pub struct Settings {
    pub bridge: String,
    /// The bridge's own address; absent = the first free /22 of 10.213.0.0/16.
    pub subnet: Option<Cidr>,
    /// TCP ports of the console that containers must not reach.
    pub closed_ports: Vec<u16>,
}

/// The managed bridges and everybody's addresses on them.
#[derive(Debug)]
pub struct Networks {
    facts: Facts,
    engine: Arc<dyn Engine>,
    settings: Settings,
    /// What each bridge was last made to look like by this process. Held while they are being made so.
    applied: Mutex<BTreeMap<String, NetworkPlan>>,
}

/// A bridge that could not be made to look as the rows say.
#[derive(Debug)]
pub(crate) struct Unmade {
    pub bridge: String,
    pub error: Error,
}

impl Unmade {
    /// All of them as one failure.
    ///
    /// # Errors
    /// When there is one: what failed, bridge by bridge, with the first one's way out.
    pub fn none(all: Vec<Self>) -> Result<()> {
        let told: Vec<String> = all.iter().map(|one| format!("{}: {}", one.bridge, one.error)).collect();
        let Some(first) = all.into_iter().next() else { return Ok(()) };
        let mut error = first.error;
        error.body.message = told.join("; ");
        Err(error)
    }
}

/// NICs of one container with the claims that make them its own.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub nics: Vec<NicPlan>,
    /// Keys to take: absent, or at this revision a trashed container's.
    claims: Vec<(String, Option<Rev>)>,
    releases: Vec<String>,
}

impl Assignment {
    /// Keeps what the container held so far until its next start.
    pub fn keep_old(&mut self) {
        self.releases.clear();
    }

    /// Adds the claims to the transaction that writes the container's row.
    pub fn write(&self, id: ContainerId, mut edit: Edit) -> Edit {
        for (key, rev) in &self.claims {
            edit = match rev {
                None => edit.absent(key),
                Some(rev) => edit.unchanged(key, *rev),
            };
            edit = edit.put(key, &id);
        }
        for key in &self.releases {
            edit = edit.delete(key);
        }
        edit
    }
}

/// Claims of addresses on a bridge.
type Taken = BTreeMap<IpAddr, (ContainerId, Rev)>;

impl Networks {
    /// The networks of these settings; nothing is made before the first container needs it.
    #[must_use]
    pub fn new(facts: Facts, engine: Arc<dyn Engine>, settings: Settings) -> Self {
        Self {
            facts,
            engine,
            settings,
            applied: Mutex::default(),
        }
    }

    /// Managed bridges with who has which address.
    ///
    /// # Errors
    /// `NotAllowed`, or the store fails.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<NetworkInfo>> {
        caller.require(Permission::View)?;
        let rows = self.facts.list::<NetRow>(key::NETWORKS).await?;
        let applied = self.applied.lock().await;
        Ok(rows.into_values().map(|row| info(row.value, &applied)).collect())
    }

    /// TCP ports of the console.
    #[must_use]
    pub fn closed_ports(&self) -> &[u16] {
        &self.settings.closed_ports
    }

    async fn taken(&self, bridge: &str) -> Result<Taken> {
        let claims = self.facts.list::<ContainerId>(&key::addresses(bridge)).await?;
        let parse = |(address, fact): (String, crate::store::Fact<ContainerId>)| Some((address.parse().ok()?, (fact.value, fact.rev)));
        Ok(claims.into_iter().filter_map(parse).collect())
    }

    /// Decides the NICs of a container: what it had before it keeps, what is missing is chosen. What containers in the
    /// trash hold is taken only when it is asked for by name or nothing else is free.
    ///
    /// # Errors
    /// `Conflict` when an address belongs to another container, `NoSpace` when none is left.
    pub(crate) async fn assign(&self, id: ContainerId, specs: &[NicSpec], before: &[NicPlan], trashed: &BTreeSet<ContainerId>) -> Result<Assignment> {
        let bridges = self.bridges().await?;
        let mut taken: BTreeMap<&str, Taken> = BTreeMap::new();
        let (mut nics, mut needed) = (Vec::new(), BTreeMap::new());
        for (index, spec) in specs.iter().enumerate() {
            let network = bridges.of(spec).ok_or_else(|| gone(spec))?;
            if !taken.contains_key(network.bridge.as_str()) {
                taken.insert(&network.bridge, self.taken(&network.bridge).await?);
            }
            let taken = taken.entry(&network.bridge).or_default();
            let old = before.get(index);
            let chosen = Chosen {
                mac: old.map_or_else(|| random().map(address::mac), |old| Ok(old.mac.clone()))?,
                ipv4: (spec.ip == Addressing::Automatic)
                    .then(|| choose_address(network, taken, id, old.filter(|old| old.bridge == network.bridge), trashed))
                    .transpose()?,
            };
            let nic = plan::nic(id, index, spec, network, chosen);
            for address in addresses(&nic) {
                let before = taken.insert(address, (id, 0));
                needed.insert(key::address(&network.bridge, address), before);
            }
            needed.insert(
                key::mac(&nic.mac),
                self.facts.get::<ContainerId>(&key::mac(&nic.mac)).await?.map(|fact| (fact.value, fact.rev)),
            );
            nics.push(nic);
        }
        let releases = if before.is_empty() { Vec::new() } else { self.releases(id, &needed).await? };
        let claims = claims(id, needed, trashed)?;
        Ok(Assignment { nics, claims, releases })
    }

    /// Keys that the container holds and needs no longer.
    async fn releases<T>(&self, id: ContainerId, needed: &BTreeMap<String, T>) -> Result<Vec<String>> {
        let mut held = Vec::new();
        for prefix in [key::ADDRESSES, key::MACS] {
            let claims = self.facts.list::<ContainerId>(prefix).await?;
            held.extend(
                claims
                    .into_iter()
                    .filter(|(_, fact)| fact.value == id)
                    .map(|(rest, _)| format!("{prefix}{rest}")),
            );
        }
        held.retain(|key| !needed.contains_key(key));
        Ok(held)
    }

    /// Adds to a transaction that the container gives back everything that these NICs of it do not need.
    pub(crate) async fn release(&self, id: ContainerId, nics: &[NicPlan], mut edit: Edit) -> Result<Edit> {
        let needed = keys(nics).into_iter().map(|key| (key, ())).collect();
        for key in self.releases(id, &needed).await? {
            edit = edit.delete(key);
        }
        Ok(edit)
    }

    /// Makes the host look as these rows say; with the last container gone, everything of ours goes with it.
    /// Without `force` nothing is done when nothing changed since the last time. One bridge that cannot be made does not
    /// keep the others from it: each keeps away from the rest by its own rules.
    ///
    /// # Errors
    /// The bridges cannot be read, or what is left after the last container cannot be removed.
    pub(crate) async fn apply(&self, rows: impl FnOnce() -> Vec<Arc<ContainerRow>> + Send, force: bool) -> Result<Vec<Unmade>> {
        let mut applied = self.applied.lock().await;
        // Read under the lock, so that an older picture never overwrites a newer one.
        let rows = rows();
        if rows.is_empty() {
            applied.clear();
            return self.remove().await.map(|()| Vec::new());
        }
        let bridges = self.bridges().await?;
        let mut unmade = Vec::new();
        for network in bridges.iter() {
            let plan = plan::network(network, &bridges, rows.iter().map(AsRef::as_ref), &self.settings.closed_ports);
            let is_needed = network.bridge == self.settings.bridge || !plan.nics.is_empty();
            let before = applied.get(&network.bridge);
            let is_as_wanted = if is_needed { before == Some(&plan) } else { before.is_none() };
            if is_as_wanted && !force {
                continue;
            }
            applied.remove(&network.bridge);
            let outcome = if is_needed {
                self.apply_plan(plan, &mut applied).await
            } else {
                self.remove_bridge(&network.bridge).await
            };
            unmade.extend(outcome.err().map(|error| Unmade {
                bridge: network.bridge.clone(),
                error,
            }));
        }
        Ok(unmade)
    }

    async fn apply_plan(&self, plan: NetworkPlan, applied: &mut BTreeMap<String, NetworkPlan>) -> Result<()> {
        let wanted = plan.clone();
        engine::call(&self.engine, move |engine| engine.apply_network(&wanted)).await?;
        applied.insert(plan.bridge.clone(), plan);
        Ok(())
    }

    /// Removes bridges, rules and servers; whatever fails does not keep the rest from going.
    async fn remove(&self) -> Result<()> {
        let mut names: BTreeSet<String> = self.facts.list::<NetRow>(key::NETWORKS).await?.into_keys().collect();
        names.insert(self.settings.bridge.clone());
        let mut first = Ok(());
        for bridge in &names {
            first = first.and(self.remove_bridge(bridge).await);
        }
        let rest = engine::call(&self.engine, |engine| engine.retire()).await;
        first.and(rest)
    }

    async fn remove_bridge(&self, bridge: &str) -> Result<()> {
        let bridge = bridge.to_owned();
        engine::call(&self.engine, move |engine| engine.remove_network(&bridge)).await
    }
}

fn gone(nic: &NicSpec) -> Error {
    let bridge = nic.bridge.as_deref().unwrap_or_default();
    Error::conflict(format!("there is no network `{bridge}` any more"))
        .hint(format!("make it again with `berth network add {bridge}`, or choose another bridge"))
}

fn info(row: NetRow, applied: &BTreeMap<String, NetworkPlan>) -> NetworkInfo {
    let plan = applied.get(&row.bridge);
    let nics = plan.map(|plan| plan.nics.as_slice()).unwrap_or_default();
    NetworkInfo {
        up: plan.is_some() || Path::new("/sys/class/net").join(&row.bridge).exists(),
        leases: nics
            .iter()
            .map(|nic| Lease {
                container: nic.container.to_string(),
                mac: nic.mac.clone(),
                ipv4: nic.ipv4,
                ipv6: nic.ipv6,
            })
            .collect(),
        bridge: row.bridge,
        ipv4: row.ipv4,
        ipv6: row.ipv6,
    }
}

/// Keeps the old address when it is still the container's, or nobody's; else the first free one, else one from the trash.
fn choose_address(network: &NetRow, taken: &Taken, id: ContainerId, old: Option<&NicPlan>, trashed: &BTreeSet<ContainerId>) -> Result<Ipv4Addr> {
    let kept = old.filter(|old| !old.fixed_ipv4).and_then(|old| old.ipv4).map(|(address, _)| address);
    if let Some(address) = kept.filter(|address| is_free_for(network, taken, id, *address)) {
        return Ok(address);
    }
    let used = taken
        .keys()
        .filter_map(|address| if let IpAddr::V4(v4) = address { Some(*v4) } else { None })
        .collect();
    let from_trash = || address::assignable(network.ipv4).find(|v4| taken.get(&IpAddr::V4(*v4)).is_some_and(|(owner, _)| trashed.contains(owner)));
    address::next_free(network.ipv4, &used).or_else(from_trash).ok_or_else(|| {
        Error::new(
            model::error::ErrorCode::NoSpace,
            format!("every address of {} is in use", network.ipv4.network()),
        )
        .hint("delete containers, or give the bridge a larger --subnet")
    })
}

fn is_free_for(network: &NetRow, taken: &Taken, id: ContainerId, address: Ipv4Addr) -> bool {
    // Revision 0 marks what this very assignment gave to another NIC of the same container.
    let free = taken.get(&IpAddr::V4(address)).is_none_or(|(owner, rev)| *owner == id && *rev != 0);
    free && address::is_assignable(network.ipv4, IpAddr::V4(address))
}

fn claims(id: ContainerId, needed: BTreeMap<String, Option<(ContainerId, Rev)>>, trashed: &BTreeSet<ContainerId>) -> Result<Vec<(String, Option<Rev>)>> {
    let mut claims = Vec::new();
    for (key, holder) in needed {
        match holder {
            None => claims.push((key, None)),
            Some((owner, _)) if owner == id => {}
            Some((owner, rev)) if trashed.contains(&owner) => claims.push((key, Some(rev))),
            Some(_) => {
                let what = key.rsplit('/').next().unwrap_or(&key);
                return Err(Error::conflict(format!("{what} belongs to another container")).hint("choose another one, or leave it out"));
            }
        }
    }
    Ok(claims)
}

pub(crate) fn addresses(nic: &NicPlan) -> impl Iterator<Item = IpAddr> {
    let v4 = nic.ipv4.map(|(address, _)| IpAddr::V4(address));
    v4.into_iter().chain(nic.ipv6.map(|(address, _)| IpAddr::V6(address)))
}

/// Every key that these NICs claim.
pub(crate) fn keys(nics: &[NicPlan]) -> BTreeSet<String> {
    let of_nic = |nic: &NicPlan| -> Vec<String> {
        let mut keys: Vec<String> = addresses(nic).map(|address| key::address(&nic.bridge, address)).collect();
        keys.push(key::mac(&nic.mac));
        keys
    };
    nics.iter().flat_map(of_nic).collect()
}

/// Random bytes of the kernel.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::failed(format!("the kernel gives no random bytes ({error})")))?;
    Ok(bytes)
}
