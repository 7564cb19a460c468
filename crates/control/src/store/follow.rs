//! The one loop behind every watch: read the log from where the follower stands, then wait for the next revision.
//! Reading instead of buffering means that a slow follower costs no memory and never misses a revision (S5).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::{Change, Rev, StoreError, WatchItem};

/// The newest revision, and whether the store was closed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) rev: Rev,
    pub(super) is_closed: bool,
}

/// Whole revisions in order, and the revision up to which nothing is missing.
pub(super) type Backlog = (Vec<(Rev, Vec<Change>)>, Rev);

/// A log that can be read from a revision on.
pub(super) trait Log: Send + Sync + 'static {
    /// Revisions >= `from` that touch the prefix; it may stop early, at the revision it answers.
    fn read(self: Arc<Self>, prefix: String, from: Rev) -> BoxFuture<'static, Result<Backlog, StoreError>>;
    /// Called now and then while nothing happens: ends leases whose time is up.
    fn tick(&self);
}

/// Longest wait between two ticks.
const TICK: Duration = Duration::from_millis(250);

struct Follower<L> {
    log: Arc<L>,
    head: watch::Receiver<Head>,
    prefix: String,
    next: Rev,
    is_caught_up: bool,
    is_over: bool,
    ready: VecDeque<WatchItem>,
}

/// Follows a log; see [`super::Store::watch`].
pub(super) fn follow<L: Log>(log: Arc<L>, head: watch::Receiver<Head>, prefix: String, from: Rev) -> BoxStream<'static, WatchItem> {
    let follower = Follower {
        log,
        head,
        prefix,
        next: from,
        is_caught_up: false,
        is_over: false,
        ready: VecDeque::new(),
    };
    stream::unfold(follower, |mut follower| async move {
        let item = follower.next_item().await?;
        Some((item, follower))
    })
    .boxed()
}

impl<L: Log> Follower<L> {
    async fn next_item(&mut self) -> Option<WatchItem> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.is_over {
                return None;
            }
            let head = *self.head.borrow_and_update();
            if self.next <= head.rev || !self.is_caught_up {
                self.read(head).await;
            } else if head.is_closed {
                self.end(WatchItem::Lost);
            } else {
                self.wait().await;
            }
        }
    }

    async fn read(&mut self, head: Head) {
        match Arc::clone(&self.log).read(self.prefix.clone(), self.next).await {
            Ok((batches, upto)) => {
                self.ready.extend(batches.into_iter().map(|(rev, changes)| WatchItem::Batch { rev, changes }));
                self.next = self.next.max(upto + 1);
                if !self.is_caught_up && upto >= head.rev {
                    self.is_caught_up = true;
                    self.ready.push_back(WatchItem::CaughtUp(upto));
                }
            }
            Err(StoreError::Compacted(rev)) => self.end(WatchItem::Compacted(rev)),
            Err(_) => self.end(WatchItem::Lost),
        }
    }

    async fn wait(&mut self) {
        match tokio::time::timeout(TICK, self.head.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => self.end(WatchItem::Lost),
            Err(_elapsed) => self.log.tick(),
        }
    }

    fn end(&mut self, item: WatchItem) {
        self.ready.push_back(item);
        self.is_over = true;
    }
}
