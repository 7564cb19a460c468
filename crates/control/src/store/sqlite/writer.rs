//! The one thread that writes: takes what waits, runs it in one SQLite transaction, commits, then answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::retention::Retention;
use super::super::{LeaseId, Rev, StoreError, Txn, TxnOut};
use super::Shared;
use super::reserve::Reserve;
use super::rows::{self, Trouble};

/// Requests that share one commit.
const AT_ONCE: usize = 64;
/// Longest pause without a look at leases and history.
const TICK: Duration = Duration::from_millis(250);

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    Txn(Txn),
    Grant(u64),
    Renew(LeaseId),
    Revoke(LeaseId),
    Compact(Rev),
    /// Ends leases whose time is up and forgets old history. Done before every batch anyway.
    Tidy,
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Done {
    Txn(TxnOut),
    Lease(LeaseId),
    Renewed(bool),
    Nothing,
}

/// A request and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Result<Done, StoreError>>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    ttl: Duration,
    ends_at: Duration,
}

/// What the database is after the last commit. Changed on a copy, which replaces it when the commit is on the disk.
#[derive(Clone, Debug)]
struct Live {
    rev: Rev,
    compacted: Rev,
    leases: BTreeMap<LeaseId, Lease>,
    /// Whether the transaction has something to commit.
    is_changed: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    requests: mpsc::Receiver<Waiting>,
    shared: Arc<Shared>,
    live: Live,
    retention: Retention,
    reserve: Reserve,
}

type Answers = Vec<Result<Done, StoreError>>;

impl Writer {
    /// Leases begin anew with their whole time, as after the election of an etcd leader: nobody could renew meanwhile.
    pub(super) fn new(connection: Connection, requests: mpsc::Receiver<Waiting>, shared: Arc<Shared>, state_dir: &Path) -> rusqlite::Result<Self> {
        let (meta, now) = (rows::meta(&connection)?, shared.clock.boot());
        let whole = |(id, ttl_ms)| {
            let ttl = Duration::from_millis(ttl_ms);
            (id, Lease { ttl, ends_at: now + ttl })
        };
        let writer = Self {
            live: Live {
                rev: meta.rev,
                compacted: meta.compacted,
                leases: rows::leases(&connection)?.into_iter().map(whole).collect(),
                is_changed: false,
            },
            retention: Retention::new(now, meta.rev),
            reserve: Reserve::new(state_dir),
            connection,
            requests,
            shared,
        };
        writer.publish();
        Ok(writer)
    }

    /// Serves until nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            let first = match self.requests.recv_timeout(TICK) {
                Ok(waiting) => Some(waiting),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let batch: Vec<Waiting> = first.into_iter().chain(self.requests.try_iter().take(AT_ONCE - 1)).collect();
            self.tidy();
            if !batch.is_empty() {
                self.serve(batch);
            }
        }
    }

    /// Shows what is committed to readers and watches.
    fn publish(&self) {
        let next = self.live.leases.values().map(|lease| lease.ends_at).min();
        let next = next.map_or(u64::MAX, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        self.shared.next_expiry.store(next, Ordering::SeqCst);
        self.shared
            .head
            .send_if_modified(|head| std::mem::replace(&mut head.rev, self.live.rev) != self.live.rev);
    }

    fn tidy(&mut self) {
        let now = self.shared.clock.boot();
        self.reserve.refill(now);
        let mut work: Vec<Request> = self
            .live
            .leases
            .iter()
            .filter(|(_, lease)| lease.ends_at <= now)
            .map(|(id, _)| Request::Revoke(*id))
            .collect();
        work.extend(self.retention.due(now, self.live.rev, self.live.compacted).map(Request::Compact));
        if work.is_empty() {
            return;
        }
        if let Err(error) = self.attempt_hard(&work) {
            tracing::warn!(%error, "the store could not end leases or forget old history; it tries again");
        }
    }

    fn serve(&mut self, batch: Vec<Waiting>) {
        let (requests, replies): (Vec<Request>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.request, waiting.reply)).unzip();
        let answers = match self.attempt(&requests) {
            Ok(answers) => answers,
            Err(error @ StoreError::Unknown(_)) => requests.iter().map(|_| Err(error.clone())).collect(),
            // Nothing of the batch happened, so each can be tried alone: one that does not fit must not fail the others.
            Err(_) => requests
                .iter()
                .map(|request| self.attempt_hard(std::slice::from_ref(request)).and_then(only))
                .collect(),
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // Who asked may have gone; the write stands.
            drop(reply.send(answer));
        }
    }

    /// On a full disk, gives up the reserve and tries again.
    fn attempt_hard(&mut self, requests: &[Request]) -> Result<Answers, StoreError> {
        loop {
            match self.attempt(requests) {
                Err(StoreError::Full) => {
                    let only_removes = requests.iter().all(Request::only_removes);
                    if !self.reserve.release(only_removes, self.shared.clock.boot()) {
                        return Err(StoreError::Full);
                    }
                }
                other => return other,
            }
        }
    }

    /// Runs the requests in one transaction. An error other than `Unknown` means that nothing of them happened.
    fn attempt(&mut self, requests: &[Request]) -> Result<Answers, StoreError> {
        let mut live = self.live.clone();
        live.is_changed = false;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(rows::refusal)?;
        let done: Result<Answers, rusqlite::Error> = requests
            .iter()
            .map(|request| match self.one(request, &mut live) {
                Ok(done) => Ok(Ok(done)),
                Err(Trouble::Refused(error)) => Ok(Err(error)),
                Err(Trouble::Sql(error)) => Err(error),
            })
            .collect();
        let done = done.and_then(|answers| {
            if live.is_changed {
                rows::write_meta(&self.connection, live.rev, live.compacted)?;
            }
            Ok(answers)
        });
        let answers = match done {
            Ok(answers) => answers,
            Err(error) => {
                self.roll_back();
                return Err(rows::refusal(end_on_lost_sync(error)));
            }
        };
        self.commit(&live)?;
        self.live = live;
        self.publish();
        Ok(answers)
    }

    fn commit(&self, live: &Live) -> Result<(), StoreError> {
        if !live.is_changed {
            self.roll_back();
            return Ok(());
        }
        let Err(error) = self.connection.execute_batch("COMMIT") else { return Ok(()) };
        let error = end_on_lost_sync(error);
        self.roll_back();
        match rows::refusal(error) {
            StoreError::Full => Err(StoreError::Full),
            other => Err(StoreError::Unknown(other.to_string())),
        }
    }

    fn roll_back(&self) {
        // After some errors SQLite has rolled back by itself.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction of the store could not be rolled back");
        }
    }

    fn one(&self, request: &Request, live: &mut Live) -> Result<Done, Trouble> {
        match request {
            Request::Txn(txn) => {
                let out = rows::run(&self.connection, txn, live.rev, &live.leases)?;
                live.reach(out.rev);
                Ok(Done::Txn(out))
            }
            Request::Grant(ttl_ms) => {
                let ttl = Duration::from_millis(*ttl_ms);
                let id = rows::new_lease(&self.connection, *ttl_ms)?;
                let ends_at = self.shared.clock.boot() + ttl;
                live.leases.insert(id, Lease { ttl, ends_at });
                live.is_changed = true;
                Ok(Done::Lease(id))
            }
            Request::Renew(id) => Ok(Done::Renewed(live.renew(*id, self.shared.clock.boot()))),
            Request::Revoke(id) => {
                let rev = rows::end_lease(&self.connection, *id, live.rev)?;
                live.is_changed |= live.leases.remove(id).is_some();
                live.reach(rev);
                Ok(Done::Nothing)
            }
            Request::Compact(target) => self.compact(*target, live),
            Request::Tidy => Ok(Done::Nothing),
        }
    }

    fn compact(&self, target: Rev, live: &mut Live) -> Result<Done, Trouble> {
        if target > live.rev {
            return Err(Trouble::Refused(StoreError::Future(target)));
        }
        if target > live.compacted {
            rows::compact(&self.connection, target)?;
            live.compacted = target;
            live.is_changed = true;
        }
        Ok(Done::Nothing)
    }
}

impl Live {
    fn reach(&mut self, rev: Rev) {
        self.is_changed |= rev != self.rev;
        self.rev = rev;
    }

    /// Needs no disk: after a restart every lease has its whole time anyway.
    fn renew(&mut self, id: LeaseId, now: Duration) -> bool {
        let found = self.leases.get_mut(&id);
        found.map(|lease| lease.ends_at = now + lease.ttl).is_some()
    }
}

impl Request {
    fn only_removes(&self) -> bool {
        match self {
            Self::Txn(txn) => txn.only_removes(),
            Self::Grant(_) => false,
            Self::Renew(_) | Self::Revoke(_) | Self::Compact(_) | Self::Tidy => true,
        }
    }
}

fn only(mut answers: Answers) -> Result<Done, StoreError> {
    answers.pop().unwrap_or_else(|| Err(StoreError::Down("no answer was made".into())))
}

/// When fsync fails the kernel may have dropped the pages: what is on the disk is unknown, and a second fsync would
/// lie (trust rule D8). The process ends; the next start reads what is really there.
fn end_on_lost_sync(error: rusqlite::Error) -> rusqlite::Error {
    let lost = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    if error.sqlite_extended_error_code().is_some_and(|code| lost.contains(&code)) {
        tracing::error!(%error, "the disk lost a write of the store; Berth ends here and has to be started again");
        std::process::abort();
    }
    error
}
