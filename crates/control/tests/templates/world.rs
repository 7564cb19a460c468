//! A console on the fake engine with one source, and the build of a template that the source offers.

use std::sync::Arc;
use std::time::Duration;

use control::Control;
use control::clock::Clock;
use control::engine::fake::Fake;
use control::store::memory::Memory;
use model::event::Event;
use model::task::{Progress, Task};
use model::template::{NewSource, Source, SourceKind, Template};
use model::{Digest, TemplateRef, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;

use super::console::{WIDE, config};
pub use super::console::{anna, soon};
use super::server::{Answer, Server};

const LATE: Duration = Duration::from_secs(3600);
pub const META: &str = "images/meta.tar.xz";
pub const ROOT: &str = "images/root.squashfs";
const LIST: &str = "streams/v1/images.json";
pub const INDEX: &str = "streams/v1/index.json";

/// One build of the one template that the source offers.
#[derive(Clone, Debug)]
pub struct Build {
    pub serial: &'static str,
    pub meta: Vec<u8>,
    pub root: Vec<u8>,
    pub end_of_life: Option<&'static str>,
    /// Instead of the hash of both files together.
    pub fingerprint: Option<String>,
    /// Where the root lies.
    pub root_path: &'static str,
}

impl Build {
    pub fn of(serial: &'static str, seed: u32) -> Self {
        Self {
            serial,
            meta: bytes(seed, 700),
            root: bytes(seed + 1, 64 << 10),
            end_of_life: None,
            fingerprint: None,
            root_path: ROOT,
        }
    }

    pub fn first() -> Self {
        Self::of("20261101_06:30", 1)
    }

    pub fn fingerprint(&self) -> String {
        let both = sha256(&[self.meta.as_slice(), self.root.as_slice()].concat());
        self.fingerprint.clone().unwrap_or(both)
    }

    pub fn size(&self) -> u64 {
        (self.meta.len() + self.root.len()) as u64
    }

    fn list(&self) -> String {
        let (meta, root) = (&self.meta, &self.root);
        let product = json!({
            "arch": std::env::consts::ARCH, "os": "Quayos", "release": "2", "release_title": "2", "variant": "default",
            "aliases": "quayos/2/default,quayos/2", "requirements": {}, "support_eol": self.end_of_life,
            "versions": { self.serial: { "items": {
                "incus.tar.xz": { "ftype": "incus.tar.xz", "size": meta.len(), "path": META, "sha256": sha256(meta),
                    "combined_squashfs_sha256": self.fingerprint() },
                "root.squashfs": { "ftype": "squashfs", "size": root.len(), "path": self.root_path, "sha256": sha256(root) },
            } } },
        });
        json!({ "content_id": "images", "datatype": "image-downloads", "format": "products:1.0",
            "products": { "quayos:2:default": product, "broken": 7 } })
        .to_string()
    }

    /// The server offers this build and has its files.
    pub fn publish(&self, server: &Server) {
        self.announce(server);
        server.serve(META, [Answer::whole(&self.meta)]);
        server.serve(self.root_path, [Answer::whole(&self.root)]);
    }

    /// The server offers it, whatever files it has.
    pub fn announce(&self, server: &Server) {
        let index = json!({ "format": "index:1.0", "index": { "images": {
            "datatype": "image-downloads", "path": LIST, "format": "products:1.0", "products": ["quayos:2:default"] } } });
        server.serve(INDEX, [Answer::whole(index.to_string().as_bytes())]);
        server.serve(LIST, [Answer::whole(self.list().as_bytes())]);
    }
}

/// Bytes that no compressor and no accident makes alike.
pub fn bytes(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(next).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn reference() -> TemplateRef {
    "test:quayos/2".parse().unwrap()
}

/// As [`soon`], on a paused clock that may have far to go.
pub async fn late<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LATE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {LATE:?}"))
}

pub struct World {
    pub control: Arc<Control>,
    pub engine: Arc<Fake>,
    store: Arc<Memory>,
    folder: tempfile::TempDir,
    pub clock: Clock,
    pub server: Server,
}

impl World {
    /// With the source `test` added and read; it offers [`Build::first`].
    pub async fn new() -> Self {
        Self::at(Clock::System).await
    }

    pub async fn at(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, store) = (Arc::new(Fake::new()), Arc::new(Memory::new(clock.clone())));
        let control = open(&folder, &engine, &store, &clock).await;
        let server = Server::start().await;
        Build::first().publish(&server);
        let world = Self {
            control,
            engine,
            store,
            folder,
            clock,
            server,
        };
        world.add_source("test", &world.server.url("")).await;
        world
    }

    pub async fn add_source(&self, name: &str, url: &str) {
        let new = NewSource {
            name: name.parse().unwrap(),
            kind: SourceKind::Simplestreams,
            url: url.to_owned(),
        };
        self.control.templates.add_source(&anna(), new).await.unwrap();
        soon("the new source is read", self.control.tasks.settle()).await;
    }

    /// The console ends and another begins on the same state.
    pub async fn restart(&mut self) {
        self.control.shut_down().await;
        self.control = open(&self.folder, &self.engine, &self.store, &self.clock).await;
    }

    pub async fn begin(&self) -> Task {
        self.control.templates.download(&anna(), &reference(), None).await.unwrap()
    }

    pub async fn end(&self, task: &Task) -> Task {
        soon("the task ends", self.control.tasks.wait(task.id)).await.unwrap()
    }

    pub async fn download(&self) -> Task {
        self.end(&self.begin().await).await
    }

    /// As [`World::download`], on a paused clock.
    pub async fn download_late(&self) -> Task {
        late("the task ends", self.control.tasks.wait(self.begin().await.id)).await.unwrap()
    }

    pub async fn refresh(&self) -> Task {
        self.end(&self.control.templates.refresh(&anna(), Some("test"), None).await.unwrap()).await
    }

    pub async fn source(&self) -> Source {
        let sources = self.control.templates.sources(&anna()).await.unwrap();
        sources.into_iter().find(|source| source.name.as_str() == "test").unwrap()
    }

    pub async fn shown(&self) -> Template {
        self.control.templates.show(&anna(), &reference()).await.unwrap()
    }

    pub async fn is_here(&self) -> bool {
        self.shown().await.downloaded
    }

    /// Files of downloads that are there, catalogues aside.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("state/downloads")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "index").collect()
    }

    pub fn layers(&self) -> Vec<Digest> {
        control::engine::Engine::layers(self.engine.as_ref())
    }

    /// Nothing of a download is left: no file, no layer, no row.
    pub async fn assert_nothing_left(&self) {
        assert_eq!(self.files(), Vec::<String>::new());
        assert_eq!(self.layers(), Vec::<Digest>::new());
        assert!(!self.is_here().await);
    }

    pub fn watch(&self) -> Watch {
        Watch {
            events: self.control.events.subscribe(),
            seen: Vec::new(),
        }
    }
}

/// Follows what is announced about tasks.
pub struct Watch {
    events: broadcast::Receiver<control::events::Numbered>,
    pub seen: Vec<Progress>,
}

impl Watch {
    /// Waits until the task looks as wanted.
    pub async fn until(&mut self, task: &Task, what: &str, wanted: impl Fn(&Task) -> bool) -> Task {
        soon(what, self.follow(task, what, wanted)).await
    }

    /// As [`Watch::until`], on a paused clock that may have far to go.
    pub async fn until_late(&mut self, task: &Task, what: &str, wanted: impl Fn(&Task) -> bool) -> Task {
        late(what, self.follow(task, what, wanted)).await
    }

    async fn follow(&mut self, task: &Task, what: &str, wanted: impl Fn(&Task) -> bool) -> Task {
        loop {
            let event = self.events.recv().await.unwrap().event;
            let Event::Task(now) = event.as_ref() else { continue };
            if now.id != task.id {
                continue;
            }
            self.seen.push(now.progress.clone());
            if wanted(now) {
                return Task::clone(now);
            }
            assert!(!now.state.is_over(), "{what}: the task has ended: {now:?}");
        }
    }

    /// Waits until so many bytes of the second file are here.
    pub async fn until_root(&mut self, task: &Task, bytes: u64) -> Task {
        let has = |now: &Task| now.progress.parts.get(1).is_some_and(|part| part.done == bytes);
        self.until(task, &format!("{bytes} bytes of the root are here"), has).await
    }
}

async fn open(folder: &tempfile::TempDir, engine: &Arc<Fake>, store: &Arc<Memory>, clock: &Clock) -> Arc<Control> {
    let config = config(folder.path(), WIDE);
    Control::open(config, engine.clone(), store.clone(), clock.clone()).await.unwrap()
}

/// 2026-11-20, by hand.
pub fn manual() -> Clock {
    Clock::manual(Timestamp::from_ms(1_795_132_800_000))
}

/// Lets a paused clock go in small steps only, so that time-outs do not overtake the answers of the server.
pub fn fine_clock() {
    tokio::spawn(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
        }
    });
}
