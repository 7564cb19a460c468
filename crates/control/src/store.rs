//! Durable state through one trait with etcd's semantics: one revision per transaction, compare on revision, list and
//! watch from a revision, leases. Small facts only; metrics, logs and blobs never go here.
//!
//! The engines are [`memory`] (the oracle of the conformance suite) and [`sqlite`] (the embedded default).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

pub mod memory;
pub mod sqlite;

/// A revision of the whole store.
pub type Rev = u64;

/// A key with its value and revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub create_rev: Rev,
    pub mod_rev: Rev,
    pub lease: Option<LeaseId>,
}

/// Names a lease.
pub type LeaseId = u64;

/// What a transaction depends on; revision 0 = the key is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    ModRev { key: String, rev: Rev },
    CreateRev { key: String, rev: Rev },
}

/// One change or read of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Vec<u8>, lease: Option<LeaseId> },
    Delete { key: String },
    Get { key: String },
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOut {
    pub rev: Rev,
    /// Whether all compares held (`then` ran) or not (`or_else` ran).
    pub succeeded: bool,
    /// Answers of the `Get`s in order.
    pub reads: Vec<Option<Entry>>,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub then: Vec<Op>,
    pub or_else: Vec<Op>,
}

/// A change seen by a watch; `value` is absent when the key was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// What a watch delivers: whole revisions in order, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchItem {
    Batch { rev: Rev, changes: Vec<Change> },
    CaughtUp(Rev),
    Compacted(Rev),
    Lost,
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The write may or may not have happened; read before anything is repeated.
    #[error("the store cannot tell whether the write happened ({0})")]
    Unknown(String),
    #[error("the disk under the state directory is full")]
    Full,
    #[error("the store is not available ({0})")]
    Down(String),
    #[error("a store value has at most 64 KiB, a transaction 128 operations and 1 MiB")]
    TooLarge,
    #[error("revision {0} is no longer kept")]
    Compacted(Rev),
    #[error("a transaction writes key `{0}` twice")]
    Twice(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        use model::error::ErrorCode;
        match error {
            StoreError::Full => Self::new(ErrorCode::NoSpace, error.to_string()).hint("free space there; running containers are not affected"),
            StoreError::TooLarge => Self::new(ErrorCode::TooLarge, error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

/// Bounds that every engine enforces alike.
pub const MAX_VALUE: usize = 64 << 10;
pub const MAX_OPS: usize = 128;
pub const MAX_REQUEST: usize = 1 << 20;

type Answer<'a, T> = BoxFuture<'a, std::result::Result<T, StoreError>>;

/// Durable state. The conformance suite in `tests/store.rs` is its definition (S1 to S9 of the design notes).
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// All entries below a prefix in key order at one revision (`None` = the latest), with that revision.
    fn range(&self, prefix: String, at: Option<Rev>) -> Answer<'_, (Rev, Vec<Entry>)>;
    fn txn(&self, txn: Txn) -> Answer<'_, TxnOut>;
    /// Every revision >= `from` that touches the prefix, in order, without gaps.
    fn watch(&self, prefix: String, from: Rev) -> BoxStream<'static, WatchItem>;
    /// A lease of so many milliseconds; its keys vanish in one revision when it is not renewed.
    fn lease_grant(&self, ttl_ms: u64) -> Answer<'_, LeaseId>;
    fn lease_renew(&self, lease: LeaseId) -> Answer<'_, bool>;
    fn lease_revoke(&self, lease: LeaseId) -> Answer<'_, ()>;
    /// Forgets what was before this revision.
    fn compact(&self, rev: Rev) -> Answer<'_, ()>;
    /// (store id, incarnation, latest revision): a caller that sees it change stops writing.
    fn identity(&self) -> Answer<'_, (String, u64, Rev)>;
}

/// The store with values as JSON: what the rest of `control` uses.
#[derive(Clone, Debug)]
pub struct Facts(pub Arc<dyn Store>);

/// A fact with the revision that guards its next change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    pub value: T,
    pub rev: Rev,
}

impl Facts {
    /// One fact.
    ///
    /// # Errors
    /// The store fails, or the value is not what it should be (damaged state is never read as absent).
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Fact<T>>> {
        let txn = Txn {
            then: vec![Op::Get { key: key.to_owned() }],
            ..Txn::default()
        };
        let entry = self.0.txn(txn).await?.reads.into_iter().next().flatten();
        entry.map(|entry| decode(&entry)).transpose()
    }

    /// All facts below a prefix, by the rest of their key.
    ///
    /// # Errors
    /// As [`Facts::get`].
    pub async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<BTreeMap<String, Fact<T>>> {
        let (_, entries) = self.0.range(prefix.to_owned(), None).await?;
        entries.iter().map(|entry| Ok((entry.key[prefix.len()..].to_owned(), decode(entry)?))).collect()
    }

    /// Begins a change.
    #[must_use]
    pub fn change(&self) -> Edit {
        Edit {
            facts: self.clone(),
            txn: Txn::default(),
            broken: None,
        }
    }
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<Fact<T>> {
    let value = serde_json::from_slice(&entry.value).map_err(|error| {
        Error::failed(format!("the store's entry `{}` is damaged ({error})", entry.key)).hint("run `berth rescue` to rebuild it from the containers' manifests")
    })?;
    Ok(Fact { value, rev: entry.mod_rev })
}

/// A transaction in the making: compares first, then puts and deletes, then [`Edit::commit`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Edit {
    facts: Facts,
    txn: Txn,
    broken: Option<String>,
}

impl Edit {
    /// Only if the key is absent.
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.txn.compares.push(Compare::CreateRev { key: key.into(), rev: 0 });
        self
    }

    /// Only if the key is still at this revision.
    pub fn unchanged(mut self, key: impl Into<String>, rev: Rev) -> Self {
        self.txn.compares.push(Compare::ModRev { key: key.into(), rev });
        self
    }

    /// Writes a value.
    pub fn put<T: Serialize>(mut self, key: impl Into<String>, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(value) => self.txn.then.push(Op::Put {
                key: key.into(),
                value,
                lease: None,
            }),
            Err(error) => self.broken = Some(error.to_string()),
        }
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.txn.then.push(Op::Delete { key: key.into() });
        self
    }

    /// Commits; `Ok(None)` when a compare did not hold, else the new revision.
    ///
    /// # Errors
    /// The store fails or a bound is passed.
    pub async fn commit(self) -> Result<Option<Rev>> {
        if let Some(broken) = self.broken {
            return Err(Error::failed(format!("a value cannot be written as JSON ({broken})")));
        }
        let out = self.facts.0.txn(self.txn).await?;
        Ok(out.succeeded.then_some(out.rev))
    }
}
