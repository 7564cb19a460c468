//! Whether an HTTP/2 connection still has something to do: requests under way, their bodies included.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// Counts requests under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: AtomicUsize,
    changed: Notify,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<State>);

impl Activity {
    pub(super) fn begin(&self) -> UnderWay {
        self.state.under_way.fetch_add(1, Ordering::SeqCst);
        self.state.changed.notify_waiters();
        UnderWay(Arc::clone(&self.state))
    }

    /// Ends once nothing was under way for this long.
    pub(super) async fn idle_for(&self, time: Duration) {
        loop {
            let changed = self.state.changed.notified();
            if self.state.under_way.load(Ordering::SeqCst) > 0 {
                changed.await;
            } else if tokio::time::timeout(time, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl UnderWay {
    /// Keeps the request under way until its answer has been sent or given up.
    pub(super) fn until_the_end_of(self, body: Body) -> Body {
        Body::new(Watched { body, _under_way: self })
    }
}

struct Watched {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_a_request() {
        let activity = Activity::default();
        let under_way = activity.begin();
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(minute * 10, activity.idle_for(minute)).await.is_err());
        drop(under_way);
        assert!(tokio::time::timeout(minute * 2, activity.idle_for(minute)).await.is_ok());
    }
}
