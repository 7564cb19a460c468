//! What this host is and can do, asked of the engine now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::Limits;
use model::access::Permission;
use model::engine::HostReport;

use crate::caller::Caller;
use crate::engine::{self, Engine};
use crate::error::Result;

/// A report is this long good enough: programs get installed, CPUs go offline.
const FRESH: Duration = Duration::from_secs(30);

/// The host, with its newest report.
#[derive(Debug)]
pub struct Host {
    engine: Arc<dyn Engine>,
    latest: Mutex<Option<(Instant, Arc<HostReport>)>>,
}

impl Host {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            latest: Mutex::default(),
        }
    }

    /// What this host is and can do, with a way out for each thing that is missing.
    ///
    /// # Errors
    /// `SignInRequired`, `NotAllowed`.
    pub async fn report(&self, caller: &Caller) -> Result<HostReport> {
        caller.require(Permission::View)?;
        Ok(self.latest().await?.as_ref().clone())
    }

    /// A report to judge limits by. An old one will do for a number of CPUs that the host had.
    pub(crate) async fn for_limits(&self, limits: &Limits) -> Result<Arc<HostReport>> {
        let known = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asks_for_cpus_alone = limits.cpuset.is_none() && limits.disk_bytes.is_none();
        let has = |report: &HostReport| limits.cpus.is_none_or(|cpus| cpus <= f64::from(report.cpus));
        match known {
            Some((_, report)) if asks_for_cpus_alone && has(&report) => Ok(report),
            _ => self.latest().await,
        }
    }

    pub(crate) async fn latest(&self) -> Result<Arc<HostReport>> {
        let known = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, report)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(report);
        }
        let report = Arc::new(engine::call(&self.engine, |engine| Ok(engine.host())).await?);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&report)));
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::Fake;

    #[tokio::test]
    async fn an_old_report_is_enough_for_cpus_that_it_had() {
        let host = Host::new(Arc::new(Fake::new()));
        let mut old = host.latest().await.expect("a report").as_ref().clone();
        let fresh = old.cpus;
        old.cpus = 64;
        let before = Instant::now().checked_sub(FRESH * 2).expect("the host runs longer");
        for (limits, wanted) in [
            (serde_json::json!({ "cpus": 64.0 }), 64),
            (serde_json::json!({ "cpus": 65.0 }), fresh),
            (serde_json::json!({ "cpus": 1.0, "cpuset": "0" }), fresh),
            (serde_json::json!({ "cpus": 1.0, "disk_bytes": 1 }), fresh),
        ] {
            *host.latest.lock().expect("no test has panicked") = Some((before, Arc::new(old.clone())));
            let limits: Limits = serde_json::from_value(limits).expect("limits");
            assert_eq!(host.for_limits(&limits).await.expect("a report").cpus, wanted, "{limits:?}");
        }
    }
}
