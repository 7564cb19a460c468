//! What this host is and can do, asked of the engine now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
