//! The store's rows as SQL. `kv` holds what is, `log` every version still kept (a row without a value is a deletion).

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::follow::Backlog;
use super::super::{Change, Compare, Entry, LeaseId, Op, Rev, StoreError, Txn, TxnOut};

/// Revisions read at once for a watch: bounds the memory of one step.
const STEP: Rev = 1_024;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// By our own rules; nothing was written.
    Refused(StoreError),
    /// By SQLite.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Trouble {
    pub(super) fn into_refusal(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => refusal(error),
        }
    }
}

/// An error of SQLite for a request of which nothing is left in the database.
pub(super) fn refusal(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Down(error.to_string()),
    }
}

/// SQLite's integers are signed; revisions and leases never come near the bound.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) id: String,
    pub(super) incarnation: u64,
    pub(super) rev: Rev,
    pub(super) compacted: Rev,
}

pub(super) fn meta(connection: &Connection) -> rusqlite::Result<Meta> {
    connection
        .prepare_cached("SELECT id, incarnation, rev, compacted FROM meta")?
        .query_row([], |row| {
            Ok(Meta {
                id: row.get(0)?,
                incarnation: unsigned(row.get(1)?),
                rev: unsigned(row.get(2)?),
                compacted: unsigned(row.get(3)?),
            })
        })
}

pub(super) fn write_meta(connection: &Connection, rev: Rev, compacted: Rev) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE meta SET rev = ?1, compacted = ?2")?
        .execute([signed(rev), signed(compacted)])?;
    Ok(())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        value: row.get(1)?,
        create_rev: unsigned(row.get(2)?),
        mod_rev: unsigned(row.get(3)?),
        lease: row.get::<_, Option<i64>>(4)?.map(unsigned),
    })
}

fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached("SELECT key, value, create_rev, mod_rev, lease FROM kv WHERE key = ?1")?;
    statement.query_row([key], entry).optional()
}

fn holds(connection: &Connection, compare: &Compare) -> rusqlite::Result<bool> {
    let (key, wanted, is_mod) = match compare {
        Compare::ModRev { key, rev } => (key, *rev, true),
        Compare::CreateRev { key, rev } => (key, *rev, false),
    };
    let found = connection
        .prepare_cached("SELECT mod_rev, create_rev FROM kv WHERE key = ?1")?
        .query_row([key], |row| row.get(if is_mod { 0 } else { 1 }))
        .optional()?;
    Ok(found.map_or(0, unsigned) == wanted)
}

fn choose<'a>(connection: &Connection, txn: &'a Txn) -> rusqlite::Result<(bool, &'a [Op])> {
    for compare in &txn.compares {
        if !holds(connection, compare)? {
            return Ok((false, &txn.or_else));
        }
    }
    Ok((true, &txn.then))
}

/// A transaction that cannot write, on a snapshot.
pub(super) fn read_only(connection: &Connection, txn: &Txn) -> Result<TxnOut, Trouble> {
    let rev = meta(connection)?.rev;
    run(connection, txn, rev, &BTreeMap::<LeaseId, ()>::new())
}

/// Runs a transaction at the revision after `rev`; the answer has the revision reached.
pub(super) fn run<T>(connection: &Connection, txn: &Txn, rev: Rev, leases: &BTreeMap<LeaseId, T>) -> Result<TxnOut, Trouble> {
    let (succeeded, ops) = choose(connection, txn)?;
    for op in ops {
        if let Op::Put { lease: Some(lease), .. } = op
            && !leases.contains_key(lease)
        {
            return Err(Trouble::Refused(StoreError::NoLease(*lease)));
        }
    }
    let mut changes = Changes::new(rev + 1);
    let mut reads = Vec::new();
    for op in ops {
        match op {
            Op::Put { key, value, lease } => changes.put(connection, key, value, *lease)?,
            Op::Delete { key } => changes.delete(connection, key)?,
            Op::Get { key } => reads.push(get(connection, key)?),
        }
    }
    Ok(TxnOut {
        rev: if changes.count == 0 { rev } else { changes.rev },
        succeeded,
        reads,
    })
}

/// The changes of one revision.
struct Changes {
    rev: Rev,
    count: i64,
}

impl Changes {
    fn new(rev: Rev) -> Self {
        Self { rev, count: 0 }
    }

    fn put(&mut self, connection: &Connection, key: &str, value: &[u8], lease: Option<LeaseId>) -> rusqlite::Result<()> {
        let (rev, lease) = (signed(self.rev), lease.map(signed));
        let create_rev: i64 = connection
            .prepare_cached(
                "INSERT INTO kv (key, value, create_rev, mod_rev, version, lease) VALUES (?1, ?2, ?3, ?3, 1, ?4)
                 ON CONFLICT (key) DO UPDATE SET value = ?2, mod_rev = ?3, version = version + 1, lease = ?4 RETURNING create_rev",
            )?
            .query_row(params![key, value, rev, lease], |row| row.get(0))?;
        connection
            .prepare_cached("INSERT INTO log (rev, seq, key, value, create_rev, lease) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![rev, self.count, key, value, create_rev, lease])?;
        self.count += 1;
        Ok(())
    }

    fn delete(&mut self, connection: &Connection, key: &str) -> rusqlite::Result<()> {
        if connection.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key])? == 0 {
            return Ok(());
        }
        connection
            .prepare_cached("INSERT INTO log (rev, seq, key, create_rev) VALUES (?1, ?2, ?3, 0)")?
            .execute(params![signed(self.rev), self.count, key])?;
        self.count += 1;
        Ok(())
    }
}

/// Ends a lease: its keys vanish in one revision. Answers the revision reached.
pub(super) fn end_lease(connection: &Connection, lease: LeaseId, rev: Rev) -> rusqlite::Result<Rev> {
    connection.prepare_cached("DELETE FROM lease WHERE id = ?1")?.execute([signed(lease)])?;
    let mut statement = connection.prepare_cached("SELECT key FROM kv WHERE lease = ?1 ORDER BY key")?;
    let keys = statement
        .query_map([signed(lease)], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let mut changes = Changes::new(rev + 1);
    for key in &keys {
        changes.delete(connection, key)?;
    }
    Ok(if keys.is_empty() { rev } else { changes.rev })
}

pub(super) fn new_lease(connection: &Connection, ttl_ms: u64) -> rusqlite::Result<LeaseId> {
    connection.prepare_cached("INSERT INTO lease (ttl_ms) VALUES (?1)")?.execute([signed(ttl_ms)])?;
    Ok(unsigned(connection.last_insert_rowid()))
}

/// All leases with their time to live in milliseconds.
pub(super) fn leases(connection: &Connection) -> rusqlite::Result<Vec<(LeaseId, u64)>> {
    let mut statement = connection.prepare("SELECT id, ttl_ms FROM lease")?;
    let rows = statement.query_map([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
    rows.collect()
}

/// Forgets versions before `target` that a reader at `target` or later cannot see.
pub(super) fn compact(connection: &Connection, target: Rev) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM log WHERE rev < ?1 AND (value IS NULL
            OR EXISTS (SELECT 1 FROM log AS newer WHERE newer.key = log.key AND newer.rev > log.rev AND newer.rev <= ?1))",
        )?
        .execute([signed(target)])?;
    Ok(())
}

/// No key of ours holds this character, so it ends every prefix.
fn above(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}

pub(super) fn range(connection: &Connection, prefix: &str, at: Option<Rev>) -> Result<(Rev, Vec<Entry>), Trouble> {
    let meta = meta(connection)?;
    let end = above(prefix);
    let Some(at) = at else {
        let mut statement = connection.prepare_cached("SELECT key, value, create_rev, mod_rev, lease FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
        let entries = statement.query_map([prefix, &end], entry)?.collect::<rusqlite::Result<_>>()?;
        return Ok((meta.rev, entries));
    };
    if at < meta.compacted {
        return Err(Trouble::Refused(StoreError::Compacted(meta.compacted)));
    }
    if at > meta.rev {
        return Err(Trouble::Refused(StoreError::Future(at)));
    }
    let mut statement = connection.prepare_cached(
        "SELECT key, value, create_rev, rev, lease FROM log WHERE key >= ?1 AND key < ?2 AND value IS NOT NULL
            AND rev = (SELECT max(rev) FROM log AS other WHERE other.key = log.key AND other.rev <= ?3) ORDER BY key",
    )?;
    let entries = statement.query_map(params![prefix, end, signed(at)], entry)?.collect::<rusqlite::Result<_>>()?;
    Ok((at, entries))
}

pub(super) fn changes(connection: &Connection, prefix: &str, from: Rev) -> Result<Backlog, Trouble> {
    let meta = meta(connection)?;
    if from < meta.compacted {
        return Err(Trouble::Refused(StoreError::Compacted(meta.compacted)));
    }
    let upto = meta.rev.min(from.saturating_add(STEP));
    let mut statement =
        connection.prepare_cached("SELECT rev, key, value FROM log WHERE rev >= ?1 AND rev <= ?2 AND key >= ?3 AND key < ?4 ORDER BY rev, seq")?;
    let mut found = statement.query(params![signed(from), signed(upto), prefix, above(prefix)])?;
    let mut batches: Vec<(Rev, Vec<Change>)> = Vec::new();
    while let Some(row) = found.next()? {
        let rev = unsigned(row.get(0)?);
        let change = Change {
            key: row.get(1)?,
            value: row.get(2)?,
        };
        match batches.last_mut() {
            Some((last, changes)) if *last == rev => changes.push(change),
            _ => batches.push((rev, vec![change])),
        }
    }
    Ok((batches, upto))
}
