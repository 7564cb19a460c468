//! Flow control of one direction of an attachment: how many bytes may be on the way before the other end says that it took
//! some.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes that an attachment with flow control may have on the way.
const BYTES: u64 = 256 << 10;

/// Open until the other end acknowledges for the first time; from then on as wide as what it has taken.
#[derive(Debug, Default)]
pub struct Window {
    unacknowledged: AtomicU64,
    acknowledges: AtomicBool,
    changed: Notify,
}

impl Window {
    /// So many bytes are on the way.
    pub fn sent(&self, bytes: usize) {
        self.unacknowledged.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    /// So many bytes were taken.
    pub fn taken(&self, bytes: u64) {
        self.acknowledges.store(true, Ordering::SeqCst);
        let less = |left: u64| Some(left.saturating_sub(bytes));
        // Nothing is ever refused.
        let _ = self.unacknowledged.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        self.changed.notify_waiters();
    }

    /// Waits until something may be sent.
    pub async fn opened(&self) {
        loop {
            // Made before the look, so that no news falls in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.acknowledges.load(Ordering::SeqCst) || self.unacknowledged.load(Ordering::SeqCst) < BYTES {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_closes_only_for_whoever_acknowledges() {
        let (window, whole) = (Window::default(), usize::try_from(BYTES).expect("it is small"));
        window.sent(whole);
        assert!(window.opened().now_or_never().is_some(), "no flow control before the first acknowledgement");
        window.taken(0);
        assert!(window.opened().now_or_never().is_none());
        window.taken(1);
        assert!(window.opened().now_or_never().is_some());
        window.taken(u64::MAX);
        window.sent(whole - 1);
        assert!(window.opened().now_or_never().is_some(), "what is taken twice does not count below nothing");
    }
}
