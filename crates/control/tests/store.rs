//! The definition of a store: every rule S1 to S9 on every engine, and a random history compared with the oracle.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use control::clock::Clock;
use control::store::memory::Memory;
use control::store::sqlite::Sqlite;
use control::store::{Change, Compare, Entry, LeaseId, MAX_OPS, MAX_VALUE, Op, Rev, Store, StoreError, Txn, TxnOut, WatchItem};
use futures::StreamExt;
use model::Timestamp;

const DEADLINE: Duration = Duration::from_secs(20);

/// A store under test, with its clock and its folder.
struct Rig {
    store: Arc<dyn Store>,
    clock: Clock,
    _dir: tempfile::TempDir,
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_ms(1_000_000_000))
}

fn memory() -> Rig {
    let clock = clock();
    Rig {
        store: Arc::new(Memory::new(clock.clone())),
        clock,
        _dir: tempfile::tempdir().unwrap(),
    }
}

fn sqlite() -> Rig {
    let (clock, dir) = (clock(), tempfile::tempdir().unwrap());
    Rig {
        store: Arc::new(Sqlite::open(dir.path(), clock.clone()).unwrap()),
        clock,
        _dir: dir,
    }
}

/// Runs each rule on each engine under its own name.
macro_rules! rules {
    ($($name:ident)*) => {
        mod on_memory { $(#[tokio::test] async fn $name() { super::$name(super::memory()).await; })* }
        mod on_sqlite { $(#[tokio::test] async fn $name() { super::$name(super::sqlite()).await; })* }
    };
}

rules! {
    a_writing_transaction_makes_one_revision_and_one_batch
    a_transaction_that_writes_nothing_makes_no_revision
    compares_choose_the_branch
    reads_see_what_the_transaction_wrote_before
    a_key_is_written_once_per_transaction
    limits_hold
    a_range_at_a_revision_shows_what_was_then
    a_watch_resumes_without_gaps
    a_watch_sees_only_its_prefix
    a_watch_from_the_future_waits_for_it
    a_compacted_watch_says_so
    compaction_keeps_what_a_reader_can_see
    a_slow_watch_misses_nothing
    keys_of_a_lease_vanish_in_one_revision
    a_renewed_lease_lives_on
    a_revoked_lease_takes_its_keys
    a_put_without_the_lease_frees_the_key
    an_unknown_lease_is_refused
    a_lease_ends_while_only_a_watch_looks
    old_history_is_forgotten_after_an_hour
    identity_moves_with_the_revision
    a_watch_ends_with_its_store
    concurrent_compares_have_one_winner
}

fn put(key: &str, value: &str) -> Op {
    put_with(key, value, None)
}

fn put_with(key: &str, value: &str, lease: Option<LeaseId>) -> Op {
    Op::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

fn get(key: &str) -> Op {
    Op::Get { key: key.into() }
}

async fn run(rig: &Rig, then: Vec<Op>) -> TxnOut {
    let txn = Txn { then, ..Txn::default() };
    rig.store.txn(txn).await.unwrap()
}

async fn refused(rig: &Rig, then: Vec<Op>) -> StoreError {
    let txn = Txn { then, ..Txn::default() };
    rig.store.txn(txn).await.unwrap_err()
}

async fn texts(rig: &Rig, prefix: &str, at: Option<Rev>) -> Vec<(String, String)> {
    let (_, entries) = rig.store.range(prefix.into(), at).await.unwrap();
    entries.into_iter().map(|entry| (entry.key, String::from_utf8(entry.value).unwrap())).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn change(key: &str, value: Option<&str>) -> Change {
    Change {
        key: key.into(),
        value: value.map(Into::into),
    }
}

type Items = Pin<Box<dyn futures::Stream<Item = WatchItem> + Send>>;

async fn next(watch: &mut Items) -> WatchItem {
    tokio::time::timeout(DEADLINE, watch.next())
        .await
        .expect("a watch item in time")
        .expect("the watch goes on")
}

async fn a_writing_transaction_makes_one_revision_and_one_batch(rig: Rig) {
    let out = run(&rig, vec![put("a", "1"), put("b", "2")]).await;
    assert_eq!((out.rev, out.succeeded), (1, true));
    let out = run(&rig, vec![delete("a"), put("b", "3"), put("c", "4")]).await;
    assert_eq!(out.rev, 2);
    let mut watch = rig.store.watch(String::new(), 1);
    let changes = vec![change("a", Some("1")), change("b", Some("2"))];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 1, changes });
    let changes = vec![change("a", None), change("b", Some("3")), change("c", Some("4"))];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 2, changes });
    let (rev, entries) = rig.store.range("b".into(), None).await.unwrap();
    let expected = Entry {
        key: "b".into(),
        value: "3".into(),
        create_rev: 1,
        mod_rev: 2,
        lease: None,
    };
    assert_eq!((rev, entries), (2, vec![expected]));
}

async fn a_transaction_that_writes_nothing_makes_no_revision(rig: Rig) {
    run(&rig, vec![put("a", "1")]).await;
    assert_eq!(run(&rig, vec![delete("nothing"), get("a")]).await.rev, 1);
    assert_eq!(run(&rig, vec![get("a")]).await.rev, 1);
    assert_eq!(run(&rig, vec![]).await.rev, 1);
    // The same value again is a write.
    assert_eq!(run(&rig, vec![put("a", "1")]).await.rev, 2);
}

async fn compares_choose_the_branch(rig: Rig) {
    let absent = Compare::CreateRev { key: "a".into(), rev: 0 };
    let txn = Txn {
        compares: vec![absent],
        then: vec![put("a", "first")],
        or_else: vec![get("a")],
    };
    assert!(rig.store.txn(txn.clone()).await.unwrap().succeeded);
    let second = rig.store.txn(txn).await.unwrap();
    assert!(!second.succeeded);
    assert_eq!(second.reads[0].as_ref().unwrap().value, b"first");
    run(&rig, vec![put("a", "changed")]).await;
    for (compare, holds) in [
        (Compare::ModRev { key: "a".into(), rev: 1 }, false),
        (Compare::ModRev { key: "a".into(), rev: 2 }, true),
        (Compare::CreateRev { key: "a".into(), rev: 1 }, true),
        (Compare::ModRev { key: "no".into(), rev: 0 }, true),
    ] {
        let txn = Txn {
            compares: vec![compare.clone()],
            ..Txn::default()
        };
        assert_eq!(rig.store.txn(txn).await.unwrap().succeeded, holds, "{compare:?}");
    }
}

async fn reads_see_what_the_transaction_wrote_before(rig: Rig) {
    let out = run(&rig, vec![get("a"), put("a", "1"), get("a"), delete("b"), get("b")]).await;
    assert_eq!(out.reads[0], None);
    assert_eq!(out.reads[1].as_ref().unwrap().mod_rev, 1);
    assert_eq!(out.reads[2], None);
}

async fn a_key_is_written_once_per_transaction(rig: Rig) {
    assert_eq!(
        refused(&rig, vec![put("a", "1"), put("b", "1"), delete("a")]).await,
        StoreError::Twice("a".into())
    );
    assert_eq!(texts(&rig, "", None).await, vec![]);
}

async fn limits_hold(rig: Rig) {
    let many = |count: usize| (0..count).map(|n| put(&format!("k{n:03}"), "v")).collect::<Vec<_>>();
    assert_eq!(run(&rig, many(MAX_OPS)).await.rev, 1);
    assert_eq!(refused(&rig, many(MAX_OPS + 1)).await, StoreError::TooLarge);
    let whole = "x".repeat(MAX_VALUE);
    assert_eq!(run(&rig, vec![put("a", &whole)]).await.rev, 2);
    assert_eq!(refused(&rig, vec![put("a", &format!("{whole}x"))]).await, StoreError::TooLarge);
    let heavy = (0..17).map(|n| put(&format!("h{n}"), &whole)).collect();
    assert_eq!(refused(&rig, heavy).await, StoreError::TooLarge);
    let compares = vec![Compare::ModRev { key: "a".into(), rev: 2 }; MAX_OPS + 1];
    let txn = Txn { compares, ..Txn::default() };
    assert_eq!(rig.store.txn(txn).await.unwrap_err(), StoreError::TooLarge);
    // Empty keys' values are values.
    run(&rig, vec![put("empty", "")]).await;
    assert_eq!(texts(&rig, "empty", None).await, pairs(&[("empty", "")]));
}

async fn a_range_at_a_revision_shows_what_was_then(rig: Rig) {
    run(&rig, vec![put("p/a", "1"), put("q", "x")]).await;
    run(&rig, vec![put("p/a", "2"), put("p/b", "2")]).await;
    run(&rig, vec![delete("p/a")]).await;
    assert_eq!(texts(&rig, "p/", Some(1)).await, pairs(&[("p/a", "1")]));
    assert_eq!(texts(&rig, "p/", Some(2)).await, pairs(&[("p/a", "2"), ("p/b", "2")]));
    assert_eq!(texts(&rig, "p/", Some(3)).await, pairs(&[("p/b", "2")]));
    assert_eq!(texts(&rig, "", None).await, pairs(&[("p/b", "2"), ("q", "x")]));
    assert_eq!(texts(&rig, "p/", Some(0)).await, vec![]);
    assert_eq!(rig.store.range(String::new(), Some(4)).await.unwrap_err(), StoreError::Future(4));
}

async fn a_watch_resumes_without_gaps(rig: Rig) {
    for n in 1..=5 {
        run(&rig, vec![put("k", &n.to_string())]).await;
    }
    let mut watch = rig.store.watch("k".into(), 3);
    for rev in 3..=5 {
        let changes = vec![change("k", Some(&rev.to_string()))];
        assert_eq!(next(&mut watch).await, WatchItem::Batch { rev, changes });
    }
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(5));
    run(&rig, vec![delete("k")]).await;
    let changes = vec![change("k", None)];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 6, changes });
}

async fn a_watch_sees_only_its_prefix(rig: Rig) {
    let mut watch = rig.store.watch("a/".into(), 1);
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(0));
    run(&rig, vec![put("b/x", "1")]).await;
    run(&rig, vec![put("a", "1"), put("a/x", "1"), put("a0", "1")]).await;
    let changes = vec![change("a/x", Some("1"))];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 2, changes });
}

async fn a_watch_from_the_future_waits_for_it(rig: Rig) {
    let mut watch = rig.store.watch(String::new(), 3);
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(0));
    for n in 1..=3 {
        run(&rig, vec![put("k", &n.to_string())]).await;
    }
    let changes = vec![change("k", Some("3"))];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 3, changes });
}

async fn a_compacted_watch_says_so(rig: Rig) {
    for n in 1..=5 {
        run(&rig, vec![put("k", &n.to_string())]).await;
    }
    let mut paused = rig.store.watch("k".into(), 2);
    rig.store.compact(4).await.unwrap();
    assert_eq!(next(&mut paused).await, WatchItem::Compacted(4));
    assert_eq!(paused.next().await, None);
    let mut at_the_edge = rig.store.watch("k".into(), 4);
    let changes = vec![change("k", Some("4"))];
    assert_eq!(next(&mut at_the_edge).await, WatchItem::Batch { rev: 4, changes });
    assert_eq!(rig.store.compact(9).await.unwrap_err(), StoreError::Future(9));
    rig.store.compact(1).await.unwrap();
    assert_eq!(texts(&rig, "k", Some(4)).await, pairs(&[("k", "4")]));
}

async fn compaction_keeps_what_a_reader_can_see(rig: Rig) {
    run(&rig, vec![put("old", "1"), put("gone", "1"), put("k", "1")]).await;
    run(&rig, vec![delete("gone"), put("k", "2")]).await;
    run(&rig, vec![put("k", "3"), delete("old")]).await;
    rig.store.compact(2).await.unwrap();
    assert_eq!(rig.store.range(String::new(), Some(1)).await.unwrap_err(), StoreError::Compacted(2));
    assert_eq!(texts(&rig, "", Some(2)).await, pairs(&[("k", "2"), ("old", "1")]));
    assert_eq!(texts(&rig, "", Some(3)).await, pairs(&[("k", "3")]));
    let mut watch = rig.store.watch(String::new(), 2);
    let changes = vec![change("gone", None), change("k", Some("2"))];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 2, changes });
}

async fn a_slow_watch_misses_nothing(rig: Rig) {
    const COUNT: Rev = 3_000;
    let mut watch = rig.store.watch("k".into(), 1);
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(0));
    let writes = (0..COUNT).map(|n| {
        rig.store.txn(Txn {
            then: vec![put("k", &n.to_string())],
            ..Txn::default()
        })
    });
    futures::future::join_all(writes).await.into_iter().for_each(|out| drop(out.unwrap()));
    for rev in 1..=COUNT {
        let WatchItem::Batch { rev: seen, .. } = next(&mut watch).await else {
            panic!("a batch")
        };
        assert_eq!(seen, rev);
    }
}

async fn keys_of_a_lease_vanish_in_one_revision(rig: Rig) {
    let lease = rig.store.lease_grant(10_000).await.unwrap();
    run(&rig, vec![put_with("a", "1", Some(lease)), put("b", "1")]).await;
    run(&rig, vec![put_with("c", "1", Some(lease))]).await;
    rig.clock.advance(Duration::from_millis(9_999));
    assert_eq!(texts(&rig, "", None).await.len(), 3);
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(texts(&rig, "", None).await, pairs(&[("b", "1")]));
    let mut watch = rig.store.watch(String::new(), 3);
    let changes = vec![change("a", None), change("c", None)];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 3, changes });
    assert!(!rig.store.lease_renew(lease).await.unwrap());
}

async fn a_renewed_lease_lives_on(rig: Rig) {
    let lease = rig.store.lease_grant(10_000).await.unwrap();
    run(&rig, vec![put_with("a", "1", Some(lease))]).await;
    for _ in 0..5 {
        rig.clock.advance(Duration::from_millis(9_000));
        assert!(rig.store.lease_renew(lease).await.unwrap());
    }
    assert_eq!(rig.store.identity().await.unwrap().2, 1);
    assert_eq!(texts(&rig, "a", None).await.len(), 1);
}

async fn a_revoked_lease_takes_its_keys(rig: Rig) {
    let lease = rig.store.lease_grant(10_000).await.unwrap();
    run(&rig, vec![put_with("a", "1", Some(lease)), put_with("b", "1", Some(lease))]).await;
    rig.store.lease_revoke(lease).await.unwrap();
    rig.store.lease_revoke(lease).await.unwrap();
    assert_eq!(rig.store.range(String::new(), None).await.unwrap(), (2, vec![]));
}

async fn a_put_without_the_lease_frees_the_key(rig: Rig) {
    let lease = rig.store.lease_grant(10_000).await.unwrap();
    run(&rig, vec![put_with("a", "1", Some(lease))]).await;
    run(&rig, vec![put("a", "2")]).await;
    rig.clock.advance(Duration::from_secs(60));
    assert_eq!(texts(&rig, "a", None).await, pairs(&[("a", "2")]));
}

async fn an_unknown_lease_is_refused(rig: Rig) {
    assert_eq!(refused(&rig, vec![put("b", "1"), put_with("a", "1", Some(77))]).await, StoreError::NoLease(77));
    assert_eq!(texts(&rig, "", None).await, vec![]);
}

async fn a_lease_ends_while_only_a_watch_looks(rig: Rig) {
    let lease = rig.store.lease_grant(1_000).await.unwrap();
    run(&rig, vec![put_with("a", "1", Some(lease))]).await;
    let mut watch = rig.store.watch(String::new(), 2);
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(1));
    rig.clock.advance(Duration::from_secs(2));
    let changes = vec![change("a", None)];
    assert_eq!(next(&mut watch).await, WatchItem::Batch { rev: 2, changes });
}

async fn old_history_is_forgotten_after_an_hour(rig: Rig) {
    run(&rig, vec![put("a", "1")]).await;
    run(&rig, vec![put("a", "2")]).await;
    rig.clock.advance(Duration::from_secs(60));
    run(&rig, vec![put("a", "3")]).await;
    rig.clock.advance(Duration::from_secs(3_600));
    run(&rig, vec![put("a", "4")]).await;
    run(&rig, vec![put("a", "5")]).await;
    // Revision 2 was the newest one an hour ago.
    assert_eq!(rig.store.range(String::new(), Some(1)).await.unwrap_err(), StoreError::Compacted(2));
    assert_eq!(texts(&rig, "a", Some(2)).await, pairs(&[("a", "2")]));
}

async fn identity_moves_with_the_revision(rig: Rig) {
    let (id, incarnation, rev) = rig.store.identity().await.unwrap();
    assert_eq!((incarnation, rev), (1, 0));
    run(&rig, vec![put("a", "1")]).await;
    assert_eq!(rig.store.identity().await.unwrap(), (id, 1, 1));
}

async fn a_watch_ends_with_its_store(rig: Rig) {
    let mut watch = rig.store.watch(String::new(), 1);
    assert_eq!(next(&mut watch).await, WatchItem::CaughtUp(0));
    drop(rig);
    assert_eq!(next(&mut watch).await, WatchItem::Lost);
    assert_eq!(watch.next().await, None);
}

async fn concurrent_compares_have_one_winner(rig: Rig) {
    let claims = (0..50).map(|n| {
        let store = Arc::clone(&rig.store);
        let txn = Txn {
            compares: vec![Compare::CreateRev { key: "claim".into(), rev: 0 }],
            then: vec![put("claim", &n.to_string())],
            ..Txn::default()
        };
        tokio::spawn(async move { store.txn(txn).await.unwrap().succeeded })
    });
    let won = futures::future::join_all(claims).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

/// A small generator (xorshift64*), so that a failing history can be run again by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn key(&mut self) -> String {
        format!("{}/{}", ["a", "b", "a/c"][usize::try_from(self.roll(3)).unwrap()], self.roll(4))
    }

    fn op(&mut self, leases: u64) -> Op {
        let key = self.key();
        match self.roll(6) {
            0 => Op::Get { key },
            1 => Op::Delete { key },
            _ => Op::Put {
                key,
                value: vec![b'v'; usize::try_from(self.roll(40)).unwrap()],
                lease: (self.roll(5) == 0).then(|| self.roll(leases + 2)),
            },
        }
    }

    fn txn(&mut self, rev: Rev, leases: u64) -> Txn {
        let compares = (0..self.roll(3))
            .map(|_| {
                let (key, rev) = (self.key(), if self.roll(2) == 0 { 0 } else { rev.saturating_sub(self.roll(12)) });
                if self.roll(2) == 0 {
                    Compare::ModRev { key, rev }
                } else {
                    Compare::CreateRev { key, rev }
                }
            })
            .collect();
        let then = (0..=self.roll(4)).map(|_| self.op(leases)).collect();
        let or_else = (0..self.roll(3)).map(|_| self.op(leases)).collect();
        Txn { compares, then, or_else }
    }
}

/// One random step on both; whatever they answer must be the same.
async fn step(dice: &mut Dice, oracle: &Rig, tested: &Rig, leases: &mut u64, rev: &mut Rev) {
    match dice.roll(40) {
        0 => {
            let ttl = 1_000 + dice.roll(60_000);
            let id = oracle.store.lease_grant(ttl).await;
            assert_eq!(id, tested.store.lease_grant(ttl).await);
            *leases = id.unwrap();
        }
        1 => {
            let lease = dice.roll(*leases + 2);
            assert_eq!(oracle.store.lease_renew(lease).await, tested.store.lease_renew(lease).await);
        }
        2 => {
            let lease = dice.roll(*leases + 2);
            assert_eq!(oracle.store.lease_revoke(lease).await, tested.store.lease_revoke(lease).await);
        }
        3 => {
            let by = Duration::from_millis(dice.roll(20_000));
            oracle.clock.advance(by);
            tested.clock.advance(by);
        }
        4 => {
            let target = rev.saturating_sub(dice.roll(200));
            assert_eq!(oracle.store.compact(target).await, tested.store.compact(target).await);
        }
        5..8 => {
            let at = (dice.roll(2) == 0).then(|| rev.saturating_sub(dice.roll(100)));
            let prefix = ["", "a/", "a/c", "b"][usize::try_from(dice.roll(4)).unwrap()];
            assert_eq!(oracle.store.range(prefix.into(), at).await, tested.store.range(prefix.into(), at).await);
        }
        _ => {
            let txn = dice.txn(*rev, *leases);
            let expected = oracle.store.txn(txn.clone()).await;
            assert_eq!(expected, tested.store.txn(txn).await);
            *rev = expected.map_or(*rev, |out| out.rev);
        }
    }
}

/// BERTH_STORE_STEPS makes the history longer: 100000 for a release.
#[tokio::test]
async fn random_history_equals_the_oracle() {
    let steps: u64 = std::env::var("BERTH_STORE_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(2_000);
    let seed = std::env::var("BERTH_STORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5EED_u64);
    println!("seed {seed}, {steps} steps");
    let (oracle, tested, mut dice) = (memory(), sqlite(), Dice(seed));
    let (mut leases, mut rev) = (0, 0);
    for _ in 0..steps {
        step(&mut dice, &oracle, &tested, &mut leases, &mut rev).await;
    }
    assert_eq!(oracle.store.range(String::new(), None).await, tested.store.range(String::new(), None).await);
    let kept = rev.saturating_sub(50);
    let (one, two) = (oracle.store.watch(String::new(), kept), tested.store.watch(String::new(), kept));
    let until_now = |item: &WatchItem| std::future::ready(!matches!(item, WatchItem::CaughtUp(_) | WatchItem::Compacted(_)));
    let (one, two): (Vec<_>, Vec<_>) = futures::join!(one.take_while(until_now).collect(), two.take_while(until_now).collect());
    assert_eq!(one, two);
}

fn open(dir: &Path) -> Result<Sqlite, control::Error> {
    Sqlite::open(dir, clock())
}

async fn write(store: &dyn Store, key: &str) -> Result<TxnOut, StoreError> {
    store
        .txn(Txn {
            then: vec![put(key, &"v".repeat(4_096))],
            ..Txn::default()
        })
        .await
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_new_start() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = (clock(), open(dir.path()).unwrap());
    let lease = store.lease_grant(5_000).await.unwrap();
    store
        .txn(Txn {
            then: vec![put_with("a", "1", Some(lease))],
            ..Txn::default()
        })
        .await
        .unwrap();
    write(&store, "b").await.unwrap();
    let before = (store.identity().await.unwrap(), store.range(String::new(), None).await.unwrap());
    drop(store);
    clock.advance(Duration::from_secs(3_600));
    let store = Sqlite::open(dir.path(), clock.clone()).unwrap();
    assert_eq!((store.identity().await.unwrap(), store.range(String::new(), None).await.unwrap()), before);
    // A start gives every lease its whole time again.
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(store.range("a".into(), None).await.unwrap().1.len(), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.range("a".into(), None).await.unwrap().1.len(), 0);
}

fn message_of(dir: &Path) -> String {
    open(dir).map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_missing_store_beside_containers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("containers/some-id")).unwrap();
    assert!(message_of(dir.path()).contains("berth.db is missing"));
    assert!(!dir.path().join("berth.db").exists());
    std::fs::write(dir.path().join("berth.db"), "").unwrap();
    assert!(message_of(dir.path()).contains("berth.db is missing"));
    // What a start made before it was refused counts as nothing, too.
    assert!(message_of(dir.path()).contains("berth.db is missing"));
    let fresh = tempfile::tempdir_in(dir.path()).unwrap();
    write(&open(fresh.path()).unwrap(), "a").await.unwrap();
    Sqlite::replace(dir.path(), fresh.path(), Timestamp::from_ms(7)).unwrap();
    assert!(dir.path().join("berth.db.damaged-7").exists(), "what was there is kept");
    let replaced = open(dir.path()).unwrap();
    assert_eq!(replaced.range("a".into(), None).await.unwrap().1.len(), 1);
}

#[tokio::test]
async fn a_store_without_its_log_is_not_taken_for_an_empty_one() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path()).unwrap();
    write(&store, "a").await.unwrap();
    // As after a kill, with the write-ahead log lost.
    std::fs::copy(dir.path().join("berth.db"), copy.path().join("berth.db")).unwrap();
    std::fs::create_dir_all(copy.path().join("containers/some-id")).unwrap();
    assert!(message_of(copy.path()).contains("missing or empty"));
    assert!(message_of(copy.path()).contains("missing or empty"));
}

#[tokio::test]
async fn damaged_foreign_and_newer_stores_are_refused_untouched() {
    let make = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let path = dir.path().join("berth.db");
        change(&path);
        let before = std::fs::read(&path).unwrap();
        let message = message_of(dir.path());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        message
    };
    let pragma = |text: &'static str| move |path: &Path| rusqlite::Connection::open(path).unwrap().execute_batch(text).unwrap();
    assert!(make(&pragma("PRAGMA user_version = 99")).contains("newer Berth"));
    assert!(make(&pragma("PRAGMA application_id = 7")).contains("another program"));
    assert!(make(&foreign).contains("another program"));
    assert!(make(&|path| std::fs::write(path, "not a database at all").unwrap()).contains("damaged"));
    assert!(make(&|path| truncate(path)).contains("damaged"));
}

/// A database without any number that says whose it is, as most are.
fn foreign(path: &Path) {
    std::fs::remove_file(path).unwrap();
    rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
}

fn truncate(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless_but_never_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..40 {
        write(&store, &format!("k{n}")).await.unwrap();
    }
    drop(store);
    let path = dir.path().join("berth.db");
    let (whole, mut dice) = (std::fs::read(&path).unwrap(), Dice(7));
    for _ in 0..200 {
        let mut bytes = whole.clone();
        let at = usize::try_from(dice.roll(u64::try_from(bytes.len()).unwrap())).unwrap();
        bytes[at] ^= 1 << dice.roll(8);
        std::fs::write(&path, &bytes).unwrap();
        for side in ["berth.db-wal", "berth.db-shm"] {
            drop(std::fs::remove_file(dir.path().join(side)));
        }
        if let Ok(store) = open(dir.path()) {
            let entries = store.range(String::new(), None).await.map(|(_, entries)| entries.len());
            assert!(entries.is_err() || entries == Ok(40), "bit {at}: {entries:?}");
        }
    }
}

/// Runs in a mount namespace of its own with a small disk, started by the test below.
#[tokio::test]
async fn small_disk_child() {
    let Ok(dir) = std::env::var("BERTH_TEST_SMALL_DISK") else { return };
    let store = open(Path::new(&dir)).unwrap();
    let mut written = 0;
    let full = loop {
        match write(&store, &format!("k{written}")).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk never fills");
    };
    assert_eq!(full, StoreError::Full);
    assert_eq!(store.range(String::new(), None).await.unwrap().1.len(), written);
    for n in 0..20 {
        let txn = Txn {
            then: vec![delete(&format!("k{n}"))],
            ..Txn::default()
        };
        assert!(store.txn(txn).await.unwrap().succeeded);
    }
    assert_eq!(store.range(String::new(), None).await.unwrap().1.len(), written - 20);
    drop(store);
    assert_eq!(open(Path::new(&dir)).unwrap().range(String::new(), None).await.unwrap().1.len(), written - 20);
    println!("small disk: {written} written");
}

#[test]
fn on_a_full_disk_reads_and_deletes_still_work() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=16m,mode=700 berth-test "$BERTH_TEST_SMALL_DISK" && exec "$0" --exact small_disk_child --nocapture"#;
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("BERTH_TEST_SMALL_DISK", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("small disk:"),
        "{text}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// The engines are one type to everybody above.
#[test]
fn both_engines_are_the_same_trait() {
    fn is_store<S: Store>() {}
    is_store::<Memory>();
    is_store::<Sqlite>();
    fn is_send<F: Future + Send>(_: F) {}
    is_send(memory().store.identity());
}
