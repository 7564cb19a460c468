//! What time it is, as a parameter: wall clock for records, boot-time clock for deadlines (trust rule D42).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::Timestamp;

/// A source of time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The host's.
    System,
    /// A test's, moved by hand: milliseconds since the epoch, and what the wall clock is set ahead of them.
    Manual(Arc<AtomicI64>, Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at this moment.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.ms)), Arc::default())
    }

    /// Wall-clock time, for display and records.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(ms, ahead) => Timestamp::from_ms(ms.load(Ordering::SeqCst) + ahead.load(Ordering::SeqCst)),
        }
    }

    /// Time since boot, suspend included, for deadlines and leases.
    #[must_use]
    pub fn boot(&self) -> Duration {
        match self {
            Self::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
            }
            Self::Manual(ms, _) => Duration::from_millis(u64::try_from(ms.load(Ordering::SeqCst)).unwrap_or(0)),
        }
    }

    /// Moves a manual clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(ms, _) = self {
            ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
        }
    }

    /// Sets the wall clock of a manual clock so much further; the boot-time clock does not notice.
    pub fn set_ahead(&self, by: Duration) {
        if let Self::Manual(_, ahead) = self {
            ahead.fetch_add(i64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
        }
    }
}
