//! The store with values as JSON below Berth's prefix: what the rest of `control` uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Compare, Entry, Op, Rev, Store, Txn};
use crate::error::{Error, Result};

/// Stands before every key, so that a cluster's store can be shared with others and the layout can get a version 2.
pub const PREFIX: &str = "/berth/v1/";

/// The key in the store; one that has the prefix already keeps it.
fn full(key: impl AsRef<str>) -> String {
    let key = key.as_ref();
    if key.starts_with(PREFIX) { key.to_owned() } else { format!("{PREFIX}{key}") }
}

/// The store with values as JSON. Keys may be given with or without [`PREFIX`].
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
            then: vec![Op::Get { key: full(key) }],
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
        let prefix = full(prefix);
        let (_, entries) = self.0.range(prefix.clone(), None).await?;
        entries.iter().map(|entry| Ok((entry.key[prefix.len()..].to_owned(), decode(entry)?))).collect()
    }

    /// Begins a change.
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
        self.txn.compares.push(Compare::CreateRev { key: full(key.into()), rev: 0 });
        self
    }

    /// Only if the key is still at this revision.
    pub fn unchanged(mut self, key: impl Into<String>, rev: Rev) -> Self {
        self.txn.compares.push(Compare::ModRev { key: full(key.into()), rev });
        self
    }

    /// Writes a value.
    pub fn put<T: Serialize>(mut self, key: impl Into<String>, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(value) => self.txn.then.push(Op::Put {
                key: full(key.into()),
                value,
                lease: None,
            }),
            Err(error) => self.broken = Some(error.to_string()),
        }
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.txn.then.push(Op::Delete { key: full(key.into()) });
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
