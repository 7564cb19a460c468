//! Which managed bridges there are, and their addresses: chosen once, stored, and moved only while nobody has one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::network::{Cidr, NetworkInfo, NewNetwork, check_interface};

use super::plan::{Bridges, NetRow};
use super::{Networks, address, info, random};
use crate::containers::row::key;
use crate::error::{Error, Result};

impl Networks {
    /// Every managed bridge; the default one's addresses are chosen at the first need and stored.
    ///
    /// # Errors
    /// No /22 is free, the configured subnet is not the stored one while containers have addresses, or the store fails.
    pub(crate) async fn bridges(&self) -> Result<Bridges> {
        let (name, subnet) = (&self.settings.bridge, self.settings.subnet);
        let key = key::network(name);
        loop {
            let mut stored = self.facts.list::<NetRow>(key::NETWORKS).await?;
            let own = stored.remove(name);
            let others: BTreeMap<String, NetRow> = stored.into_iter().map(|(name, fact)| (name, fact.value)).collect();
            let edit = match own {
                None => self.facts.change().absent(&key).put(&key, &choose(name, subnet, None, &others)?),
                Some(row) if subnet.is_none_or(|subnet| subnet == row.value.ipv4) => return Ok(Bridges { default: row.value, others }),
                Some(row) if self.taken(name).await?.is_empty() => {
                    let moved = choose(name, subnet, Some(&row.value), &others)?;
                    self.facts.change().unchanged(&key, row.rev).put(&key, &moved)
                }
                Some(row) => return Err(self.moved(&row.value)),
            };
            // Whoever lost the race reads what the winner wrote.
            edit.commit().await?;
        }
    }

    /// Stores another bridge. It is made when the first container joins it.
    ///
    /// # Errors
    /// `Invalid` with the field, `Conflict` when the host has a link of the name or a route to the subnet.
    pub(crate) async fn add(&self, new: NewNetwork) -> Result<NetworkInfo> {
        let bridge = check_interface(&new.bridge).map_err(|why| Error::invalid("bridge", why))?;
        let bridges = self.bridges().await?;
        let others: BTreeMap<String, NetRow> = bridges.iter().map(|network| (network.bridge.clone(), network.clone())).collect();
        if others.contains_key(&bridge) {
            return Err(Error::conflict(format!("there is a network `{bridge}` already")).hint("choose another name"));
        }
        if Path::new("/sys/class/net").join(&bridge).exists() {
            return Err(Error::conflict(format!("`{bridge}` is a link of this host")).hint("choose another name; Berth makes a bridge of its own"));
        }
        let row = choose(&bridge, new.subnet, None, &others)?;
        let overlaps = |other: &&Cidr| other.overlaps(&row.ipv4);
        let mut held = routed()?;
        held.extend(others.values().map(|other| other.ipv4.network()));
        if let Some(other) = held.iter().find(overlaps) {
            return Err(Error::conflict(format!("{} overlaps {other}, which is in use on this host", row.ipv4)).hint("choose another --subnet"));
        }
        let key = key::network(&bridge);
        let added = self.facts.change().absent(&key).put(&key, &row).commit().await?;
        added.ok_or_else(|| Error::conflict(format!("there is a network `{bridge}` already")).hint("choose another name"))?;
        Ok(info(row, &BTreeMap::new()))
    }

    /// Forgets a bridge that no container joins, and removes what is left of it on the host.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when it is the default one, or the engine's.
    pub(crate) async fn forget(&self, bridge: &str) -> Result<()> {
        if bridge == self.settings.bridge {
            return Err(Error::conflict(format!("`{bridge}` is the default bridge")).hint("it goes with the last container"));
        }
        let mut applied = self.applied.lock().await;
        let key = key::network(bridge);
        let stored = self.facts.get::<NetRow>(&key).await?;
        let row = stored.ok_or_else(|| Error::not_found("network", bridge))?;
        self.remove_bridge(bridge).await?;
        applied.remove(bridge);
        self.facts.change().unchanged(&key, row.rev).delete(&key).commit().await?;
        Ok(())
    }

    fn moved(&self, row: &NetRow) -> Error {
        let asked = self.settings.subnet.map(|subnet| subnet.to_string()).unwrap_or_default();
        Error::conflict(format!(
            "the bridge {} has the address {}, and containers have addresses of its network",
            row.bridge, row.ipv4
        ))
        .hint(format!(
            "start `berth serve` with --subnet {}, or delete the containers before it becomes {asked}",
            row.ipv4
        ))
    }
}

/// Decides the addresses of a bridge: the IPv6 network is kept for life.
fn choose(bridge: &str, subnet: Option<Cidr>, before: Option<&NetRow>, others: &BTreeMap<String, NetRow>) -> Result<NetRow> {
    let ipv4 = match subnet {
        Some(subnet) => check_subnet(subnet)?,
        None => free_subnet(others)?,
    };
    Ok(NetRow {
        bridge: bridge.to_owned(),
        ipv4,
        ipv6: match before {
            Some(row) => row.ipv6,
            None => address::unique_local(random()?),
        },
    })
}

fn free_subnet(others: &BTreeMap<String, NetRow>) -> Result<Cidr> {
    let mut held = routed()?;
    held.extend(others.values().map(|other| other.ipv4));
    address::free_subnet(&held).ok_or_else(|| Error::failed("no /22 of 10.213.0.0/16 is free on this host").hint("choose the bridge's address with --subnet"))
}

/// Networks that this host has a route to.
fn routed() -> Result<Vec<Cidr>> {
    let table = std::fs::read_to_string("/proc/net/route")
        .map_err(|error| Error::failed(format!("the routes of this host cannot be read (/proc/net/route: {error})")))?;
    Ok(address::routed(&table))
}

/// The bridge needs an address of its own and room for containers.
fn check_subnet(subnet: Cidr) -> Result<Cidr> {
    if address::next_free(subnet, &BTreeSet::new()).is_none() {
        return Err(Error::invalid("subnet", format!("{subnet} has no room for containers")).hint("use an IPv4 network of /16 to /29, such as 10.213.0.1/22"));
    }
    if subnet.network().addr == subnet.addr {
        return Err(
            Error::invalid("subnet", format!("{subnet} is the network's address, not the bridge's own")).hint("name an address in it, such as 10.213.0.1/22")
        );
    }
    Ok(subnet)
}
