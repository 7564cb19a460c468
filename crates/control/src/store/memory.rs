//! The store in memory: the oracle of the conformance suite, and the engine of fast tests. Written for plainness, not
//! for speed, so that what it does can be read off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;

use super::follow::{Backlog, Head, Log, follow};
use super::retention::Retention;
use super::{Answer, Change, Compare, Entry, LeaseId, Op, Rev, Store, StoreError, Txn, TxnOut, WatchItem, check};
use crate::clock::Clock;

/// A store that lives as long as the process.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    head: watch::Sender<Head>,
}

#[derive(Debug)]
struct State {
    id: String,
    rev: Rev,
    compacted: Rev,
    entries: BTreeMap<String, Entry>,
    /// Every version still kept, oldest first; `None` = deleted then.
    log: Vec<(Rev, String, Option<Entry>)>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: LeaseId,
    retention: Retention,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends_at: Duration,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let state = State {
            id: uuid::Uuid::new_v4().to_string(),
            rev: 0,
            compacted: 0,
            entries: BTreeMap::new(),
            log: Vec::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            retention: Retention::new(clock.boot(), 0),
        };
        let shared = Shared {
            clock,
            state: Mutex::new(state),
            head: watch::Sender::new(Head::default()),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.head.send_modify(|head| head.is_closed = true);
    }
}

impl Shared {
    /// The state with leases ended whose time is up.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        state.expire(now);
        let (rev, compacted) = (state.rev, state.compacted);
        if let Some(target) = state.retention.due(now, rev, compacted) {
            state.compact(target);
        }
        self.announce(&state);
        state
    }

    fn announce(&self, state: &State) {
        self.head.send_if_modified(|head| std::mem::replace(&mut head.rev, state.rev) != state.rev);
    }
}

impl State {
    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::ModRev { key, rev } => self.entries.get(key).map_or(0, |entry| entry.mod_rev) == *rev,
            Compare::CreateRev { key, rev } => self.entries.get(key).map_or(0, |entry| entry.create_rev) == *rev,
        }
    }

    fn run(&mut self, txn: Txn) -> Result<TxnOut, StoreError> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { txn.then } else { txn.or_else };
        let unknown = ops.iter().find_map(|op| match op {
            Op::Put { lease: Some(lease), .. } if !self.leases.contains_key(lease) => Some(*lease),
            _ => None,
        });
        if let Some(lease) = unknown {
            return Err(StoreError::NoLease(lease));
        }
        let next = self.rev + 1;
        let mut reads = Vec::new();
        for op in ops {
            match op {
                Op::Put { key, value, lease } => self.put(next, key, value, lease),
                Op::Delete { key } => self.delete(next, &key),
                Op::Get { key } => reads.push(self.entries.get(&key).cloned()),
            }
        }
        Ok(TxnOut {
            rev: self.rev,
            succeeded,
            reads,
        })
    }

    fn put(&mut self, rev: Rev, key: String, value: Vec<u8>, lease: Option<LeaseId>) {
        let create_rev = self.entries.get(&key).map_or(rev, |entry| entry.create_rev);
        let entry = Entry {
            key: key.clone(),
            value,
            create_rev,
            mod_rev: rev,
            lease,
        };
        self.entries.insert(key.clone(), entry.clone());
        self.log.push((rev, key, Some(entry)));
        self.rev = rev;
    }

    fn delete(&mut self, rev: Rev, key: &str) {
        if self.entries.remove(key).is_some() {
            self.log.push((rev, key.to_owned(), None));
            self.rev = rev;
        }
    }

    fn expire(&mut self, now: Duration) {
        while let Some(lease) = self.leases.iter().find(|(_, lease)| lease.ends_at <= now).map(|(id, _)| *id) {
            self.end_lease(lease);
        }
    }

    fn end_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let next = self.rev + 1;
        let keys: Vec<String> = self
            .entries
            .values()
            .filter(|entry| entry.lease == Some(lease))
            .map(|entry| entry.key.clone())
            .collect();
        for key in keys {
            self.delete(next, &key);
        }
    }

    fn compact(&mut self, target: Rev) {
        let newest: BTreeMap<String, Rev> = self
            .log
            .iter()
            .filter(|(rev, ..)| *rev <= target)
            .map(|(rev, key, _)| (key.clone(), *rev))
            .collect();
        self.log
            .retain(|(rev, key, entry)| *rev >= target || (entry.is_some() && newest.get(key) == Some(rev)));
        self.compacted = target;
    }

    fn range(&self, prefix: &str, at: Rev) -> Vec<Entry> {
        let mut found = BTreeMap::new();
        for (_, key, entry) in self.log.iter().filter(|(rev, key, _)| *rev <= at && key.starts_with(prefix)) {
            match entry {
                Some(entry) => found.insert(key.clone(), entry.clone()),
                None => found.remove(key),
            };
        }
        found.into_values().collect()
    }

    fn changes(&self, prefix: &str, from: Rev) -> Result<Backlog, StoreError> {
        if from < self.compacted {
            return Err(StoreError::Compacted(self.compacted));
        }
        let mut batches: Vec<(Rev, Vec<Change>)> = Vec::new();
        for (rev, key, entry) in self.log.iter().filter(|(rev, key, _)| *rev >= from && key.starts_with(prefix)) {
            let change = Change {
                key: key.clone(),
                value: entry.as_ref().map(|entry| entry.value.clone()),
            };
            match batches.last_mut() {
                Some((last, changes)) if last == rev => changes.push(change),
                _ => batches.push((*rev, vec![change])),
            }
        }
        Ok((batches, self.rev))
    }
}

impl Log for Shared {
    fn read(self: Arc<Self>, prefix: String, from: Rev) -> BoxFuture<'static, Result<Backlog, StoreError>> {
        async move { self.state().changes(&prefix, from) }.boxed()
    }

    fn tick(&self) {
        drop(self.state());
    }
}

impl Store for Memory {
    fn range(&self, prefix: String, at: Option<Rev>) -> Answer<'_, (Rev, Vec<Entry>)> {
        async move {
            let state = self.shared.state();
            let at = at.unwrap_or(state.rev);
            if at < state.compacted {
                return Err(StoreError::Compacted(state.compacted));
            }
            if at > state.rev {
                return Err(StoreError::Future(at));
            }
            Ok((at, state.range(&prefix, at)))
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> Answer<'_, TxnOut> {
        async move {
            check(&txn)?;
            let mut state = self.shared.state();
            let out = state.run(txn);
            self.shared.announce(&state);
            out
        }
        .boxed()
    }

    fn watch(&self, prefix: String, from: Rev) -> BoxStream<'static, WatchItem> {
        follow(Arc::clone(&self.shared), self.shared.head.subscribe(), prefix, from)
    }

    fn lease_grant(&self, ttl_ms: u64) -> Answer<'_, LeaseId> {
        async move {
            let mut state = self.shared.state();
            let ttl = Duration::from_millis(ttl_ms);
            let ends_at = self.shared.clock.boot() + ttl;
            state.last_lease += 1;
            let id = state.last_lease;
            state.leases.insert(id, Lease { ttl, ends_at });
            Ok(id)
        }
        .boxed()
    }

    fn lease_renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        async move {
            let now = self.shared.clock.boot();
            let mut state = self.shared.state();
            let Some(found) = state.leases.get_mut(&lease) else { return Ok(false) };
            found.ends_at = now + found.ttl;
            Ok(true)
        }
        .boxed()
    }

    fn lease_revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        async move {
            let mut state = self.shared.state();
            state.end_lease(lease);
            self.shared.announce(&state);
            Ok(())
        }
        .boxed()
    }

    fn compact(&self, rev: Rev) -> Answer<'_, ()> {
        async move {
            let mut state = self.shared.state();
            if rev > state.rev {
                return Err(StoreError::Future(rev));
            }
            if rev > state.compacted {
                state.compact(rev);
            }
            Ok(())
        }
        .boxed()
    }

    fn verify(&self) -> Answer<'_, Option<String>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn identity(&self) -> Answer<'_, (String, u64, Rev)> {
        async move {
            let state = self.shared.state();
            Ok((state.id.clone(), 1, state.rev))
        }
        .boxed()
    }
}
