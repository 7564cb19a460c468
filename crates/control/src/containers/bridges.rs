//! Managed bridges beside the default one: made and forgotten while no container can begin to use them.

use model::access::Permission;
use model::network::{NetworkInfo, NewNetwork};

use super::Containers;
use super::row::{TrashRow, key};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::networks::Unmade;

impl Containers {
    /// Adds a managed bridge. Nothing is forwarded between two of them, but to published ports.
    ///
    /// # Errors
    /// `NotAllowed`, `Invalid` with the field, `Conflict` when the name or the subnet is in use on this host.
    pub async fn add_network(&self, caller: &Caller, new: NewNetwork) -> Result<NetworkInfo> {
        caller.require(Permission::Administer)?;
        let name = new.bridge.clone();
        let _one_at_a_time = self.allocating.lock().await;
        let added = self.parts.networks.add(new).await;
        match &added {
            Ok(info) => {
                let detail = format!("ipv4: {}, ipv6: {}", info.ipv4, info.ipv6);
                self.parts.access.record(caller, "network.add", &name, &detail, true).await;
            }
            Err(error) => self.record(caller, "network.add", &name, error),
        }
        let added = added?;
        // The others forward nothing to it from now on. No container joins it before its own rules are there, which keep the
        // others from it as well as it from them.
        if !self.board.rows().is_empty()
            && let Err(error) = self.apply_network(false).await.and_then(Unmade::none)
        {
            tracing::warn!(network = name, %error, "the other bridges do not know of a new one yet; it is tried again");
        }
        Ok(added)
    }

    /// Removes a managed bridge that no container joins, not even one in the trash.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` with the container that joins it.
    pub async fn remove_network(&self, caller: &Caller, bridge: &str) -> Result<()> {
        caller.require(Permission::Administer)?;
        let removed = self.try_remove_network(bridge).await;
        match &removed {
            Ok(()) => self.parts.access.record(caller, "network.remove", bridge, "", true).await,
            Err(error) => self.record(caller, "network.remove", bridge, error),
        }
        removed
    }

    async fn try_remove_network(&self, bridge: &str) -> Result<()> {
        let _one_at_a_time = self.allocating.lock().await;
        // A container that runs may still have the NIC that its row has lost.
        let mut rows = self.board.rows();
        rows.extend(self.board.rows_on_host());
        let joins = |nics: &[model::engine::NicPlan]| nics.iter().any(|nic| nic.bridge == bridge);
        if let Some(row) = rows.iter().find(|row| joins(&row.nics)) {
            return Err(Error::conflict(format!("the container `{}` joins {bridge}", row.spec.name)).hint("take its NIC off first, or delete the container"));
        }
        let trash = self.parts.facts.list::<TrashRow>(key::TRASH).await?;
        if let Some(fact) = trash.values().find(|fact| joins(&fact.value.row.nics)) {
            let name = &fact.value.row.spec.name;
            return Err(
                Error::conflict(format!("the container `{name}` in the trash joins {bridge}")).hint("purge it first, or restore it and take its NIC off")
            );
        }
        self.parts.networks.forget(bridge).await
    }
}
