//! Signed-in sessions: opaque secrets, known to the store by their hash, 24 hours idle and 30 days in all.

use std::collections::BTreeMap;

use model::Timestamp;
use model::access::SessionInfo;
use model::id::{Name, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::secret;
use crate::clock::Clock;
use crate::error::Result;
use crate::store::{Fact, Facts, Rev};

const PREFIX: &str = "sess/";
const IDLE_MS: i64 = 24 * 3_600_000;
const TOTAL_MS: i64 = 30 * 86_400_000;
/// "Last seen" is written at most this often, never on each request.
const SEEN_EVERY_MS: i64 = 5 * 60_000;
/// Sessions of one account; the one longest unused ends.
const PER_USER: usize = 50;
const MAX_AGENT: usize = 256;

/// `sess/<hash>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SessionRow {
    pub(super) user: UserId,
    pub(super) name: Name,
    pub(super) created_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
    pub(super) address: String,
    pub(super) agent: String,
}

impl SessionRow {
    fn expires_at(&self) -> Timestamp {
        self.created_at.plus_ms(TOTAL_MS).min(self.last_seen_at.plus_ms(IDLE_MS))
    }

    fn info(&self, hash: &str, current: Option<&str>) -> SessionInfo {
        SessionInfo {
            id: hash.to_owned(),
            created_at: self.created_at,
            last_seen_at: self.last_seen_at,
            expires_at: self.expires_at(),
            address: self.address.clone(),
            agent: self.agent.clone(),
            current: current == Some(hash),
        }
    }
}

/// All sessions of this console.
#[derive(Debug)]
pub(super) struct Sessions {
    facts: Facts,
    clock: Clock,
    ended: broadcast::Sender<String>,
}

fn key(hash: &str) -> String {
    format!("{PREFIX}{hash}")
}

type Rows = BTreeMap<String, Fact<SessionRow>>;

impl Sessions {
    pub(super) fn new(facts: Facts, clock: Clock) -> Self {
        let ended = broadcast::Sender::new(1024);
        Self { facts, clock, ended }
    }

    pub(super) fn ended(&self) -> broadcast::Receiver<String> {
        self.ended.subscribe()
    }

    /// What was opened with this session or token must close.
    pub(super) fn announce_end(&self, hash: &str) {
        // Nobody listening is fine: then nothing is open.
        drop(self.ended.send(hash.to_owned()));
    }

    pub(super) async fn all(&self) -> Result<Rows> {
        self.facts.list(PREFIX).await
    }

    /// A new session under a secret that has never been seen before. `None` when the account changed meanwhile (another
    /// password, removed): then the sign-in is void.
    pub(super) async fn begin(&self, user: UserId, name: &Name, guard: (String, Rev), from: &str, agent: &str) -> Result<Option<(String, String)>> {
        let secret = secret::random()?;
        let hash = secret::hash(&secret);
        let now = self.clock.now();
        let row = SessionRow {
            user,
            name: name.clone(),
            created_at: now,
            last_seen_at: now,
            address: from.to_owned(),
            agent: agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect(),
        };
        self.make_room(user).await?;
        let begun = self.facts.change().unchanged(guard.0, guard.1).put(key(&hash), &row).commit().await?;
        Ok(begun.map(|_| (secret, hash)))
    }

    async fn make_room(&self, user: UserId) -> Result<()> {
        let rows = self.all().await?;
        let mut own: Vec<(&String, Timestamp)> = rows
            .iter()
            .filter(|(_, row)| row.value.user == user)
            .map(|(hash, row)| (hash, row.value.last_seen_at))
            .collect();
        own.sort_unstable_by_key(|(_, seen)| std::cmp::Reverse(*seen));
        self.end_all(own.iter().skip(PER_USER - 1).map(|(hash, _)| (*hash).clone()).collect()).await
    }

    /// The living session of a secret, with its hash; it counts as seen now.
    pub(super) async fn find(&self, secret: &str) -> Result<Option<(String, SessionRow)>> {
        let hash = secret::hash(secret);
        let Some(Fact { value: mut row, rev }) = self.facts.get::<SessionRow>(&key(&hash)).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        if now >= row.expires_at() {
            self.end_all(vec![hash]).await?;
            return Ok(None);
        }
        if now.ms.saturating_sub(row.last_seen_at.ms) >= SEEN_EVERY_MS {
            row.last_seen_at = now;
            // Another request may have written it at the same moment, which is just as good.
            drop(self.facts.change().unchanged(key(&hash), rev).put(key(&hash), &row).commit().await);
        }
        Ok(Some((hash, row)))
    }

    /// The sessions of an account, newest first.
    pub(super) async fn of(&self, user: UserId, current: Option<&str>) -> Result<Vec<SessionInfo>> {
        let (rows, now) = (self.all().await?, self.clock.now());
        let is_own = |row: &SessionRow| row.user == user && now < row.expires_at();
        let mut own: Vec<SessionInfo> = rows
            .iter()
            .filter(|(_, row)| is_own(&row.value))
            .map(|(hash, row)| row.value.info(hash, current))
            .collect();
        own.sort_unstable_by_key(|session| std::cmp::Reverse(session.last_seen_at));
        Ok(own)
    }

    pub(super) async fn end_all(&self, hashes: Vec<String>) -> Result<()> {
        for some in hashes.chunks(100) {
            some.iter().fold(self.facts.change(), |edit, hash| edit.delete(key(hash))).commit().await?;
            some.iter().for_each(|hash| self.announce_end(hash));
        }
        Ok(())
    }

    /// Ends every session of an account.
    pub(super) async fn end_of(&self, user: UserId) -> Result<()> {
        let rows = self.all().await?;
        self.end_all(rows.into_iter().filter(|(_, row)| row.value.user == user).map(|(hash, _)| hash).collect())
            .await
    }

    /// Hashes of those whose time is not up.
    pub(super) async fn living(&self) -> Result<Vec<String>> {
        let (rows, now) = (self.all().await?, self.clock.now());
        Ok(rows.into_iter().filter(|(_, row)| now < row.value.expires_at()).map(|(hash, _)| hash).collect())
    }

    /// Ends those whose time is up, so that what they opened closes too.
    pub(super) async fn sweep(&self) -> Result<()> {
        let (rows, now) = (self.all().await?, self.clock.now());
        self.end_all(
            rows.into_iter()
                .filter(|(_, row)| now >= row.value.expires_at())
                .map(|(hash, _)| hash)
                .collect(),
        )
        .await
    }
}
