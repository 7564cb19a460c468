//! Who did what, when, from where: rows that are only ever added, none of them kept longer than a year (as [`Age`]
//! counts). What was done has room for 100,000 rows and what was refused for 20,000, so that a flood of refusals, which
//! anybody can bring about, pushes out nothing that was done.
//!
//! Rows are written by one task in the background, many at once. Whoever did something waits for its row, so that what was
//! answered with success is on the disk; what was refused waits for nobody, so that a flood of it costs few writes. Reading
//! waits until what was recorded before is there.
//!
//! Invariant: a console that is killed has the row of everything it said was done, but for rows that the store did not take:
//! those stand in the program's log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::Timestamp;
use model::access::AuditEntry;
use tokio::sync::{mpsc, oneshot};

use crate::age::Age;
use crate::clock::Clock;
use crate::error::Result;
use crate::store::{Fact, Facts};

const PREFIX: &str = "audit/";
/// Rows kept of what was done.
const KEPT_DONE: usize = 100_000;
/// Rows kept of what was refused or failed.
const KEPT_REFUSED: usize = 20_000;
const KEPT_MS: i64 = 365 * 86_400_000;
/// Rows written between two clean-ups.
const PRUNE_EVERY: usize = 5_000;
/// Rows in one transaction.
const AT_ONCE: usize = 64;
/// A refusal waits so long for other rows.
const LINGER: Duration = Duration::from_millis(100);
/// Longest text of a field, in bytes.
const MAX_TEXT: usize = 2 << 10;

#[derive(Debug)]
enum Message {
    Row(Box<(String, AuditEntry)>),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Audit {
    facts: Facts,
    sender: mpsc::Sender<Message>,
    count: AtomicU64,
}

impl Audit {
    /// Must be called on a tokio runtime: it starts the writer, which ends with this object.
    pub(super) fn new(facts: Facts, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(write_all(facts.clone(), clock, receiver));
        Self {
            facts,
            sender,
            count: AtomicU64::new(0),
        }
    }

    /// Notes a row. One of what was done is in the store when this returns.
    pub(super) async fn record(&self, mut entry: AuditEntry) {
        for text in [&mut entry.user, &mut entry.from, &mut entry.action, &mut entry.target, &mut entry.detail] {
            *text = one_line(text);
        }
        tracing::info!(
            user = entry.user,
            from = entry.from,
            action = entry.action,
            target = entry.target,
            ok = entry.ok,
            "audit"
        );
        let n = self.count.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let key = format!("{PREFIX}{:013}-{n:06}", entry.at.ms.max(0));
        let is_done = entry.ok;
        if self.sender.send(Message::Row(Box::new((key, entry)))).await.is_err() {
            tracing::error!("the audit log has ended before the console");
        }
        if is_done {
            self.flush().await;
        }
    }

    /// Waits until everything recorded so far is in the store.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            // The writer drops the sender only when it ends, and then there is nothing left to wait for.
            drop(written.await);
        }
    }

    pub(super) async fn list(&self, since: Option<Timestamp>) -> Result<Vec<AuditEntry>> {
        self.flush().await;
        let rows = self.facts.list::<AuditEntry>(PREFIX).await?;
        let is_wanted = |entry: &AuditEntry| since.is_none_or(|since| entry.at >= since);
        // Newest first.
        Ok(rows.into_values().rev().map(|row| row.value).filter(is_wanted).collect())
    }
}

/// Texts come from outside: bounded, and without a way to forge a second line.
fn one_line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= MAX_TEXT {
            out.push_str("...");
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Unless somebody waits for what is there, or there is enough for one transaction.
async fn wait_for_more(receiver: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>) {
    let end = tokio::time::Instant::now() + LINGER;
    while messages.len() < AT_ONCE && !messages.iter().any(|message| matches!(message, Message::Flush(_))) {
        let more = receiver.recv_many(messages, AT_ONCE - messages.len());
        // Nobody is left who could send, or nobody sent any more.
        if tokio::time::timeout_at(end, more).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

async fn write_all(facts: Facts, clock: Clock, mut receiver: mpsc::Receiver<Message>) {
    let mut since_prune = PRUNE_EVERY;
    let mut messages = Vec::new();
    while receiver.recv_many(&mut messages, AT_ONCE).await > 0 {
        wait_for_more(&mut receiver, &mut messages).await;
        let mut edit = facts.change();
        let mut waiting = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Row(row) => {
                    edit = edit.put(row.0, &row.1);
                    since_prune += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        if let Err(error) = edit.commit().await {
            tracing::error!(%error, "rows of the audit log are lost");
        }
        for done in waiting {
            // An error means that whoever asked has gone.
            done.send(()).unwrap_or_default();
        }
        if since_prune > PRUNE_EVERY {
            since_prune = 0;
            // Beside the writing: somebody waits for each row.
            tokio::spawn(clear_away(facts.clone(), clock.clone()));
        }
    }
}

async fn clear_away(facts: Facts, clock: Clock) {
    if let Err(error) = prune(&facts, &clock).await {
        tracing::warn!(%error, "old rows of the audit log were not cleared away");
    }
}

async fn prune(facts: &Facts, clock: &Clock) -> Result<()> {
    let now = Age::read(facts, clock).await?.cautious();
    let gone = surplus(&facts.list::<AuditEntry>(PREFIX).await?, now);
    for some in gone.chunks(100) {
        some.iter()
            .fold(facts.change(), |edit, key| edit.delete(format!("{PREFIX}{key}")))
            .commit()
            .await?;
    }
    Ok(())
}

/// Which rows are no longer kept.
fn surplus(rows: &BTreeMap<String, Fact<AuditEntry>>, now: Timestamp) -> Vec<String> {
    let is_old = |at: Timestamp| now.ms.saturating_sub(at.ms) > KEPT_MS;
    let (mut done, mut refused) = (0, 0);
    let newest_first = rows.iter().rev();
    let gone = newest_first.filter(|(_, row)| {
        let (place, kept) = if row.value.ok { (&mut done, KEPT_DONE) } else { (&mut refused, KEPT_REFUSED) };
        *place += 1;
        *place > kept || is_old(row.value.at)
    });
    gone.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::Memory;

    fn entry(at: i64, action: &str) -> AuditEntry {
        AuditEntry {
            at: Timestamp::from_ms(at),
            user: "anna".into(),
            from: "192.0.2.1".into(),
            action: action.into(),
            target: "web\nforged".into(),
            detail: "x".repeat(10_000),
            ok: true,
        }
    }

    fn refusal(at: i64) -> AuditEntry {
        AuditEntry { ok: false, ..entry(at, "x") }
    }

    #[tokio::test]
    async fn rows_are_newest_first_bounded_and_on_one_line() {
        let clock = Clock::manual(Timestamp::from_ms(KEPT_MS + 10_000));
        let facts = Facts(Arc::new(Memory::new(clock.clone())));
        let audit = Audit::new(facts.clone(), clock.clone());
        for (at, action) in [(5, "old"), (KEPT_MS, "one"), (KEPT_MS + 1, "two")] {
            audit.record(entry(at, action)).await;
        }
        let rows = audit.list(None).await.unwrap();
        assert_eq!(rows[0].action, "two");
        assert_eq!(rows[0].target, "web\\nforged");
        assert!(rows[0].detail.len() < 5_000);
        prune(&facts, &clock).await.unwrap();
        let actions: Vec<String> = audit.list(None).await.unwrap().into_iter().map(|row| row.action).collect();
        assert_eq!(actions, ["two", "one"]);
        assert_eq!(audit.list(Some(Timestamp::from_ms(KEPT_MS + 1))).await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_soon_after_each_other_share_a_write() {
        let clock = Clock::manual(Timestamp::from_ms(10_000));
        let facts = Facts(Arc::new(Memory::new(clock.clone())));
        let audit = Audit::new(facts.clone(), clock);
        let written = || async { facts.list::<AuditEntry>(PREFIX).await.unwrap().len() };
        for n in 0..4 {
            audit.record(refusal(n)).await;
            tokio::time::sleep(LINGER / 4 - Duration::from_millis(1)).await;
            assert_eq!(written().await, 0, "{n}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(written().await, 4);
        audit.record(refusal(9)).await;
        audit.flush().await;
        assert_eq!(written().await, 5, "nobody waits for more when somebody asks");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_done_is_in_the_store_before_it_is_answered() {
        let clock = Clock::manual(Timestamp::from_ms(10_000));
        let facts = Facts(Arc::new(Memory::new(clock.clone())));
        let audit = Audit::new(facts.clone(), clock);
        let before = tokio::time::Instant::now();
        for n in 1..4 {
            audit.record(refusal(n)).await;
            audit.record(entry(n, "x")).await;
            let written = facts.list::<AuditEntry>(PREFIX).await.unwrap().len();
            assert_eq!(written, 2 * usize::try_from(n).unwrap());
        }
        assert_eq!(before.elapsed(), Duration::ZERO, "and nobody lingers meanwhile");
    }

    #[test]
    fn a_flood_of_refusals_pushes_out_nothing_that_was_done() {
        let now = Timestamp::from_ms(1_000_000);
        let row = |n: usize, ok: bool| {
            let value = AuditEntry {
                ok,
                detail: String::new(),
                ..entry(now.ms, "x")
            };
            (format!("{n:06}"), Fact { value, rev: 1 })
        };
        let flooded: BTreeMap<_, _> = (0..=KEPT_DONE).map(|n| row(n, n == 0)).collect();
        let gone = surplus(&flooded, now);
        assert_eq!(gone.len(), KEPT_DONE - KEPT_REFUSED);
        assert!(!gone.contains(&"000000".to_owned()), "what was done stays");
        assert!(gone.contains(&"000001".to_owned()), "the oldest refusal goes");
        let busy: BTreeMap<_, _> = (0..=KEPT_DONE).map(|n| row(n, n != 0)).collect();
        assert_eq!(surplus(&busy, now), [] as [String; 0], "nor does work push out refusals");
        let done: BTreeMap<_, _> = (0..=KEPT_DONE).map(|n| row(n, true)).collect();
        assert_eq!(surplus(&done, now), ["000000"]);
    }
}
