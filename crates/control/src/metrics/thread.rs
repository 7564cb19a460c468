//! Threads of the metrics: each goes on after a panic, because what it does is not done by anybody else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use crate::error::{Error, Result};

/// Before a second try, so that a fault that comes back fills no log.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts a thread.
///
/// # Errors
/// The host gives none.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = std::thread::Builder::new().name(format!("berth-{name}")).spawn(work);
    spawned.map_err(|error| Error::failed(format!("the thread berth-{name} cannot be started ({error})")))
}

/// Does the work, and again after each panic, until the metrics are shut down or it ends by itself.
pub(super) fn keep_going(what: &str, inner: &Inner, mut work: impl FnMut()) {
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {
        tracing::error!("{what} ended abnormally and begins anew; this is a fault of Berth's own, please report it");
        if inner.pause(PAUSE) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_goes_on() {
        let inner = Inner::for_test();
        let mut times = 0;
        keep_going("a test", &inner, || {
            times += 1;
            assert!(times > 1, "the first time it panics");
        });
        assert_eq!(times, 2);
    }
}
