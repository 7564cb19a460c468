//! Durable state through one trait with etcd's semantics: one revision per transaction, compare on revision, list and
//! watch from a revision, leases. Small facts only; metrics, logs and blobs never go here.
//!
//! The engines are [`memory`] (the oracle of the conformance suite) and [`sqlite`] (the embedded default).

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::error::Error;

mod facts;
mod follow;
mod lock;
pub mod memory;
mod retention;
pub mod sqlite;

pub use facts::{Edit, Fact, Facts, PREFIX};
pub use lock::{Lock, lock_state_dir};

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
    #[error("revision {0} does not exist yet")]
    Future(Rev),
    #[error("there is no lease {0}")]
    NoLease(LeaseId),
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
    /// Reads all of it and says what is damaged; `None` = nothing.
    fn verify(&self) -> Answer<'_, Option<String>>;
}

/// What an engine refuses before it looks at its state (S3, S4).
///
/// # Errors
/// `TooLarge` or `Twice`.
pub fn check(txn: &Txn) -> std::result::Result<(), StoreError> {
    let branches = [&txn.then, &txn.or_else];
    if txn.compares.len() > MAX_OPS || branches.iter().any(|ops| ops.len() > MAX_OPS) || size(txn) > MAX_REQUEST {
        return Err(StoreError::TooLarge);
    }
    branches.into_iter().try_for_each(|ops| check_branch(ops))
}

fn check_branch(ops: &[Op]) -> std::result::Result<(), StoreError> {
    let mut written = BTreeSet::new();
    for op in ops {
        if matches!(op, Op::Put { value, .. } if value.len() > MAX_VALUE) {
            return Err(StoreError::TooLarge);
        }
        if let Op::Put { key, .. } | Op::Delete { key } = op
            && !written.insert(key)
        {
            return Err(StoreError::Twice(key.clone()));
        }
    }
    Ok(())
}

fn size(txn: &Txn) -> usize {
    let compares = txn.compares.iter().map(|compare| match compare {
        Compare::ModRev { key, .. } | Compare::CreateRev { key, .. } => key.len(),
    });
    let ops = txn.then.iter().chain(&txn.or_else).map(|op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { key } | Op::Get { key } => key.len(),
    });
    compares.chain(ops).sum()
}

impl Txn {
    /// Whether neither branch can change anything.
    fn is_read_only(&self) -> bool {
        self.then.iter().chain(&self.or_else).all(|op| matches!(op, Op::Get { .. }))
    }

    /// Whether it can only remove: that works on a full disk too (S8).
    fn only_removes(&self) -> bool {
        !self.then.iter().chain(&self.or_else).any(|op| matches!(op, Op::Put { .. }))
    }
}
