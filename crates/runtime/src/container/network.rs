//! The bridges that containers join.

use std::sync::PoisonError;

use model::engine::NetworkPlan;

use super::Runtime;
use crate::error::Result;

impl Runtime {
    /// Makes bridge, addresses, rules and servers fit the plan.
    ///
    /// # Errors
    /// Names the step.
    pub fn apply_network(&self, plan: &NetworkPlan) -> Result<()> {
        let mut firewall = self.firewall.lock().unwrap_or_else(PoisonError::into_inner);
        crate::net::apply::apply(
            &self.config.run_dir,
            self.instance(),
            &self.layout,
            plan,
            firewall.entry(plan.bridge.clone()).or_default(),
        )
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// Everything that could not be removed.
    pub fn remove_network(&self, bridge: &str) -> Result<()> {
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner).remove(bridge);
        crate::net::apply::remove(&self.config.run_dir, self.instance(), &self.layout, bridge)
    }
}
