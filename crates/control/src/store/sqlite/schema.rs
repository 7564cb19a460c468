//! Opening the database file: what is ours, what is refused, and how an older one is brought up to date.
//!
//! Invariant: a file that is damaged, foreign or newer is left exactly as it is, and a fresh one is made only where there
//! is nothing of ours (trust rules D22, D29).

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::super::lock::refuse_network;
use crate::error::{Error, Result};

/// "BRTH": says whose database it is.
const OURS: i32 = 0x4252_5448;

/// One script per schema version. Forward only; a script is never changed once it was released.
const STEPS: [&str; 1] = ["
    CREATE TABLE meta (id TEXT NOT NULL, incarnation INTEGER NOT NULL, rev INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
    CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, create_rev INTEGER NOT NULL, mod_rev INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER) STRICT;
    CREATE INDEX kv_lease ON kv (lease) WHERE lease IS NOT NULL;
    CREATE TABLE log (rev INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, create_rev INTEGER NOT NULL,
        lease INTEGER, PRIMARY KEY (rev, seq)) STRICT;
    CREATE INDEX log_key ON log (key, rev);
    CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_ms INTEGER NOT NULL) STRICT;
    INSERT INTO meta VALUES (lower(hex(randomblob(16))), 1, 0, 0);
"];

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("berth.db")
}

/// An error of SQLite while the store is opened.
pub(super) fn unusable(error: rusqlite::Error) -> Error {
    Error::failed(format!("the store cannot be used ({error})")).hint("nothing was changed; restore berth.db from a backup, or run `berth rescue`")
}

pub(super) fn open(state_dir: &Path) -> Result<Connection> {
    refuse_network(state_dir)?;
    let path = path(state_dir);
    if is_absent(&path)? {
        refuse_to_start_empty(state_dir)?;
        create_file(&path)?;
    } else {
        examine(state_dir, &path)?;
    }
    let connection = prepare(&path, &STEPS).map_err(unusable)?;
    // A store that was never written to beside containers has lost its write-ahead log.
    if super::rows::meta(&connection).map_err(unusable)?.rev == 0 {
        refuse_to_start_empty(state_dir)?;
    }
    Ok(connection)
}

/// A crash in between leaves no store, which is refused beside containers, and never half of one.
pub(super) fn replace(state_dir: &Path, fresh: &Path, now: Timestamp) -> Result<PathBuf> {
    let (old, new) = (path(state_dir), path(fresh));
    let kept = with_suffix(&old, &format!(".damaged-{}", now.ms));
    let moved = |from: PathBuf, to: PathBuf| match std::fs::rename(&from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::failed(format!("{} cannot be renamed ({error})", from.display()))),
        _ => Ok(()),
    };
    for suffix in ["", "-wal", "-shm"] {
        moved(with_suffix(&old, suffix), with_suffix(&kept, suffix))?;
    }
    for suffix in ["-wal", ""] {
        moved(with_suffix(&new, suffix), with_suffix(&old, suffix))?;
    }
    Ok(kept)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// No file, or one that a crash left empty before anything was in it.
fn is_absent(path: &Path) -> Result<bool> {
    let wal = with_suffix(path, "-wal");
    match std::fs::metadata(path) {
        Ok(facts) => Ok(facts.len() == 0 && !wal.exists()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !wal.exists() => Ok(true),
        Err(error) => Err(Error::failed(format!("{} cannot be opened ({error})", path.display())).hint("restore it from a backup, or run `berth rescue`")),
    }
}

fn refuse_to_start_empty(state_dir: &Path) -> Result<()> {
    for folder in ["containers", "trash", "layers"] {
        let has_some = std::fs::read_dir(state_dir.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
        if has_some {
            return Err(
                Error::failed(format!("{} has {folder}, but its store berth.db is missing or empty", state_dir.display()))
                    .hint("nothing was changed; restore berth.db from a backup, or run `berth rescue`"),
            );
        }
    }
    Ok(())
}

fn create_file(path: &Path) -> Result<()> {
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map(drop)
        .map_err(|error| Error::failed(format!("{} cannot be made ({error})", path.display())))
}

/// Looks at a file without writing to it.
fn examine(state_dir: &Path, path: &Path) -> Result<()> {
    let mut start = [0_u8; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    if read.is_err() || &start != b"SQLite format 3\0" {
        return Err(damaged(path, "it does not begin like a database"));
    }
    let broken = |error: rusqlite::Error| {
        if is_damage(&error) {
            damaged(path, &error.to_string())
        } else {
            unusable(error)
        }
    };
    let connection = reader(path).map_err(broken)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(broken);
    let (owner, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(broken)?;
    let is_blank = (owner, version, tables) == (0, 0, 0);
    if is_blank {
        refuse_to_start_empty(state_dir)?;
    }
    if owner != OURS && !is_blank {
        return Err(Error::failed(format!("{} is the database of another program", path.display())).hint("nothing was changed; move it away"));
    }
    if usize::try_from(version).is_ok_and(|version| version > STEPS.len()) {
        return Err(Error::failed(format!(
            "{} was made by a newer Berth (schema {version}, this one knows {})",
            path.display(),
            STEPS.len()
        ))
        .hint("nothing was changed; install that version again"));
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(broken)?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(path, &verdict)) }
}

/// What is damaged in a database that is in use, its indexes included; `None` = nothing.
pub(super) fn verdict(path: &Path) -> rusqlite::Result<Option<String>> {
    let judged = reader(path).and_then(|connection| connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)));
    match judged {
        Ok(verdict) => Ok(Some(verdict).filter(|verdict| verdict != "ok")),
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::failed(format!("{} is damaged ({why})", path.display())).hint("nothing was changed; restore it from a backup, or run `berth rescue`")
}

pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn prepare(path: &Path, steps: &[&str]) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&connection, path, steps)?;
    Ok(connection)
}

/// Brings the schema up to date, one step at a time, each after a backup.
fn migrate(connection: &Connection, path: &Path, steps: &[&str]) -> rusqlite::Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize;
    for (number, step) in steps.iter().enumerate().skip(version) {
        if number > 0 {
            connection.backup("main", with_suffix(path, &format!(".schema-{number}")), None::<fn(rusqlite::backup::Progress)>)?;
        }
        let next = number + 1;
        // The version is in the same transaction as what it stands for.
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step}; PRAGMA application_id = {OURS}; PRAGMA user_version = {next}; COMMIT;"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_step_keeps_a_backup_of_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        create_file(&path).unwrap();
        let first = prepare(&path, &STEPS).unwrap();
        first.execute("INSERT INTO kv VALUES ('a', x'01', 1, 1, 1, NULL)", []).unwrap();
        drop(first);
        let steps = [STEPS[0], "ALTER TABLE kv ADD COLUMN note TEXT"];
        let second = prepare(&path, &steps).unwrap();
        assert_eq!(
            second.query_row("SELECT count(note IS NULL) FROM kv", [], |row| row.get::<_, i64>(0)).unwrap(),
            1
        );
        let old = reader(&with_suffix(&path, ".schema-1")).unwrap();
        assert_eq!(old.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap(), 1);
        assert_eq!(old.query_row("SELECT count(*) FROM kv", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        prepare(&path, &steps).unwrap();
    }
}
