//! The embedded store: SQLite with one writer thread. Several transactions that wait at the same moment share one commit
//! to the disk (an fsync is what a write costs) and keep their own revisions. Reads have their own connections and see
//! everything that was acknowledged before.
//!
//! Invariant: an answer is given after the commit is on the disk, never before.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::Timestamp;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::follow::{Backlog, Head, Log, follow};
use super::{Answer, Entry, LeaseId, Rev, Store, StoreError, Txn, TxnOut, WatchItem, check};
use crate::clock::Clock;
use crate::error::{Error, Result};
use writer::{Done, Request, Waiting, Writer};

mod reserve;
mod rows;
mod schema;
mod writer;

/// The store in `<state-dir>/berth.db`.
#[derive(Debug)]
pub struct Sqlite {
    shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Waiting>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    readers: Readers,
    head: watch::Sender<Head>,
    /// Milliseconds of the boot clock at which the next lease ends.
    next_expiry: AtomicU64,
}

impl Sqlite {
    /// Opens the store of a state directory, or makes it when the directory holds nothing of ours.
    ///
    /// # Errors
    /// The file is missing though containers exist, damaged, foreign, or made by a newer Berth (nothing is changed
    /// then); the directory is on a network file system.
    pub fn open(state_dir: &Path, clock: Clock) -> Result<Self> {
        Self::start(schema::open(state_dir)?, state_dir, clock)
    }

    /// Puts the store of the folder `fresh` in the place of the state directory's, for `berth rescue`. Gives the name
    /// under which what was there is kept.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn replace(state_dir: &Path, fresh: &Path, now: Timestamp) -> Result<PathBuf> {
        schema::replace(state_dir, fresh, now)
    }

    fn start(connection: Connection, state_dir: &Path, clock: Clock) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            clock,
            readers: Readers {
                path: schema::path(state_dir),
                idle: Mutex::default(),
            },
            head: watch::Sender::new(Head::default()),
            next_expiry: AtomicU64::new(u64::MAX),
        });
        let writer = Writer::new(connection, receiver, Arc::clone(&shared), state_dir).map_err(schema::unusable)?;
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run());
        Ok(Self {
            shared,
            requests: Some(sender),
            thread: Some(thread.map_err(|error| Error::failed(format!("the store's thread was not started ({error})")))?),
        })
    }

    async fn ask(&self, request: Request) -> std::result::Result<Done, StoreError> {
        let gone = || StoreError::Down("its thread has ended".into());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(Waiting { request, reply }).map_err(|_ended| gone())?;
        // The thread took the request and ended without an answer: nobody knows what became of it.
        answer.await.map_err(|_ended| StoreError::Unknown("the store's thread has ended".into()))?
    }

    /// Leases whose time is up must not be seen any more, whoever notices first.
    async fn expire(&self) -> std::result::Result<(), StoreError> {
        let now = u64::try_from(self.shared.clock.boot().as_millis()).unwrap_or(u64::MAX);
        if now >= self.shared.next_expiry.load(Ordering::SeqCst) {
            self.ask(Request::Tidy).await?;
        }
        Ok(())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread ended abnormally");
        }
        self.shared.head.send_modify(|head| head.is_closed = true);
    }
}

/// Connections for reading, made when needed and kept for the next.
#[derive(Debug)]
struct Readers {
    path: std::path::PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    const KEPT: usize = 4;

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one read transaction, that is on one revision.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> std::result::Result<T, rows::Trouble>) -> std::result::Result<T, StoreError> {
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| schema::reader(&self.path), Ok).map_err(rows::refusal)?;
        let out = (|| {
            let snapshot = connection.unchecked_transaction()?;
            work(&snapshot)
        })();
        let mut idle = self.idle();
        if idle.len() < Self::KEPT {
            idle.push(connection);
        }
        out.map_err(rows::Trouble::into_refusal)
    }
}

impl Shared {
    async fn on_snapshot<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> std::result::Result<T, rows::Trouble> + Send + 'static,
    ) -> std::result::Result<T, StoreError> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shared.readers.read(work)).await;
        done.map_err(|stopped| StoreError::Down(stopped.to_string()))?
    }
}

impl Log for Shared {
    fn read(self: Arc<Self>, prefix: String, from: Rev) -> BoxFuture<'static, std::result::Result<Backlog, StoreError>> {
        async move { self.on_snapshot(move |connection| rows::changes(connection, &prefix, from)).await }.boxed()
    }

    fn tick(&self) {
        // The writer ends leases by itself.
    }
}

impl Store for Sqlite {
    fn range(&self, prefix: String, at: Option<Rev>) -> Answer<'_, (Rev, Vec<Entry>)> {
        async move {
            self.expire().await?;
            self.shared.on_snapshot(move |connection| rows::range(connection, &prefix, at)).await
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> Answer<'_, TxnOut> {
        async move {
            check(&txn)?;
            if txn.is_read_only() {
                self.expire().await?;
                return self.shared.on_snapshot(move |connection| rows::read_only(connection, &txn)).await;
            }
            match self.ask(Request::Txn(txn)).await? {
                Done::Txn(out) => Ok(out),
                other => Err(wrong(&other)),
            }
        }
        .boxed()
    }

    fn watch(&self, prefix: String, from: Rev) -> BoxStream<'static, WatchItem> {
        follow(Arc::clone(&self.shared), self.shared.head.subscribe(), prefix, from)
    }

    fn lease_grant(&self, ttl_ms: u64) -> Answer<'_, LeaseId> {
        async move {
            match self.ask(Request::Grant(ttl_ms)).await? {
                Done::Lease(id) => Ok(id),
                other => Err(wrong(&other)),
            }
        }
        .boxed()
    }

    fn lease_renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        async move {
            match self.ask(Request::Renew(lease)).await? {
                Done::Renewed(renewed) => Ok(renewed),
                other => Err(wrong(&other)),
            }
        }
        .boxed()
    }

    fn lease_revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        async move { self.ask(Request::Revoke(lease)).await.map(drop) }.boxed()
    }

    fn compact(&self, rev: Rev) -> Answer<'_, ()> {
        async move { self.ask(Request::Compact(rev)).await.map(drop) }.boxed()
    }

    fn verify(&self) -> Answer<'_, Option<String>> {
        let path = self.shared.readers.path.clone();
        async move {
            // Not one of the readers: those may answer out of their memory.
            let done = tokio::task::spawn_blocking(move || schema::verdict(&path)).await;
            done.map_err(|stopped| StoreError::Down(stopped.to_string()))?.map_err(rows::refusal)
        }
        .boxed()
    }

    fn identity(&self) -> Answer<'_, (String, u64, Rev)> {
        async move {
            self.expire().await?;
            let meta = self.shared.on_snapshot(|connection| Ok(rows::meta(connection)?)).await?;
            Ok((meta.id, meta.incarnation, meta.rev))
        }
        .boxed()
    }
}

fn wrong(done: &Done) -> StoreError {
    StoreError::Down(format!("the store's thread answered something else ({done:?})"))
}
