//! Entries of the trash while several write them: each write is repeated on what the others wrote, and none is lost.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use control::Control;
use control::clock::Clock;
use control::engine::fake::Fake;
use control::store::memory::Memory;
use control::store::{Compare, Entry, LeaseId, Op, Rev, Store, StoreError, Txn, TxnOut, WatchItem};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::container::CreateRequest;
use model::task::{Task, TaskState};

#[path = "world/console.rs"]
mod console;

use console::{WIDE, anna, config, soon};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store in which somebody else always writes an entry of the trash just before the console does, as the one who
/// measures it does at times.
#[derive(Debug)]
struct Meddling {
    inner: Memory,
    /// How many more times it meddles.
    times: AtomicU32,
}

impl Meddling {
    async fn meddle(&self, txn: &Txn) -> Result<(), StoreError> {
        let trashed = txn.compares.iter().find_map(|compare| match compare {
            Compare::ModRev { key, .. } if key.contains("/trash/") => Some(key.clone()),
            _ => None,
        });
        let Some(key) = trashed else { return Ok(()) };
        if self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1))
            .is_err()
        {
            return Ok(());
        }
        let (_, entries) = self.inner.range(key.clone(), None).await?;
        let mut row: serde_json::Value = serde_json::from_slice(&entries[0].value).unwrap();
        row["deleted_by"] = "somebody else".into();
        let put = Op::Put {
            key,
            value: serde_json::to_vec(&row).unwrap(),
            lease: None,
        };
        let other = Txn {
            then: vec![put],
            ..Txn::default()
        };
        self.inner.txn(other).await.map(drop)
    }
}

impl Store for Meddling {
    fn range(&self, prefix: String, at: Option<Rev>) -> Answer<'_, (Rev, Vec<Entry>)> {
        self.inner.range(prefix, at)
    }
    fn txn(&self, txn: Txn) -> Answer<'_, TxnOut> {
        Box::pin(async move {
            self.meddle(&txn).await?;
            self.inner.txn(txn).await
        })
    }
    fn watch(&self, prefix: String, from: Rev) -> BoxStream<'static, WatchItem> {
        self.inner.watch(prefix, from)
    }
    fn lease_grant(&self, ttl_ms: u64) -> Answer<'_, LeaseId> {
        self.inner.lease_grant(ttl_ms)
    }
    fn lease_renew(&self, lease: LeaseId) -> Answer<'_, bool> {
        self.inner.lease_renew(lease)
    }
    fn lease_revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        self.inner.lease_revoke(lease)
    }
    fn compact(&self, rev: Rev) -> Answer<'_, ()> {
        self.inner.compact(rev)
    }
    fn identity(&self) -> Answer<'_, (String, u64, Rev)> {
        self.inner.identity()
    }
    fn verify(&self) -> Answer<'_, Option<String>> {
        self.inner.verify()
    }
}

/// A console on such a store, with a template.
struct World {
    control: Arc<Control>,
    engine: Arc<Fake>,
    store: Arc<Meddling>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, clock) = (Arc::new(Fake::new()), Clock::System);
        let store = Arc::new(Meddling {
            inner: Memory::new(clock.clone()),
            times: AtomicU32::new(0),
        });
        let control = Control::open(config(folder.path(), WIDE), engine.clone(), store.clone(), clock).await.unwrap();
        engine.add_layer(console::digest());
        console::add_template(&control.facts).await;
        Self {
            control,
            engine,
            store,
            _folder: folder,
        }
    }
}

async fn end(control: &Control, task: Result<Task, control::Error>) -> Task {
    soon("the task ends", control.tasks.wait(task.unwrap().id)).await.unwrap()
}

#[tokio::test]
async fn a_purge_goes_through_whoever_writes_the_entry_meanwhile() {
    let world = World::new().await;
    let (control, engine, store) = (&world.control, &world.engine, &world.store);
    // One of each pair of writes (the mark, the erasing), then both several times.
    for times in [1, 2, 5] {
        let request: CreateRequest = serde_json::from_value(serde_json::json!({ "name": "web", "template": "local:test" })).unwrap();
        let made = end(control, control.containers.create(&anna(), request, None).await).await;
        assert_eq!(made.state, TaskState::Done, "{:?}", made.error);
        let id = control.containers.show(&anna(), "web").await.unwrap().summary.id;
        end(control, control.containers.delete(&anna(), "web", false, false, None).await).await;
        store.times.store(times, Ordering::SeqCst);
        let purged = end(control, control.containers.purge(&anna(), id).await).await;
        assert_eq!(purged.state, TaskState::Done, "{times}: {:?}", purged.error);
        assert_eq!(store.times.load(Ordering::SeqCst), 0, "somebody meddled");
        assert!(engine.folders().is_empty() && control.containers.trash(&anna()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn why_a_purge_failed_is_shown_and_so_is_what_others_wrote() {
    let world = World::new().await;
    let (control, engine, store) = (&world.control, &world.engine, &world.store);
    let request: CreateRequest = serde_json::from_value(serde_json::json!({ "name": "web", "template": "local:test" })).unwrap();
    end(control, control.containers.create(&anna(), request, None).await).await;
    let id = control.containers.show(&anna(), "web").await.unwrap().summary.id;
    end(control, control.containers.delete(&anna(), "web", false, false, None).await).await;
    engine.fail("remove", 1);
    // The mark, and then the reason.
    store.times.store(2, Ordering::SeqCst);
    let failed = end(control, control.containers.purge(&anna(), id).await).await;
    assert_eq!(failed.state, TaskState::Failed);
    let shown = control.containers.trash(&anna()).await.unwrap().remove(0);
    assert!(shown.problem.is_some_and(|problem| problem.contains("made to fail")));
    assert_eq!(shown.deleted_by, "somebody else");
}
