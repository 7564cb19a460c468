//! What the console is asked for, by name; what it shall have brought about; and the server that it fetches from.

use std::time::Duration;

use control::{Caller, Control, Result};
use futures::stream;
use model::ContainerState;
use model::task::Task;
use model::template::{NewSource, SourceKind};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use super::console::anna;
use super::server::{Answer, Server};

pub const ROOT: &str = "images/root.squashfs";
const META: &str = "images/meta.tar.xz";
const ARCHIVE: &str = "files/mine.tar.xz";

fn bytes(first: u8, count: usize) -> Vec<u8> {
    (0..count).map(|n| first.wrapping_add(u8::try_from(n * n % 251).unwrap_or(0))).collect()
}

pub fn root() -> Vec<u8> {
    bytes(1, 64 << 10)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A source with one template, and an archive beside it.
pub fn publish(server: &Server) {
    let (meta, root) = (bytes(2, 700), root());
    let both = [meta.as_slice(), root.as_slice()].concat();
    let list = json!({ "content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products": { "quayos:2:default": {
        "arch": std::env::consts::ARCH, "os": "Quayos", "release": "2", "aliases": "quayos/2", "versions": { "20261101_06:30": { "items": {
            "incus.tar.xz": { "ftype": "incus.tar.xz", "size": meta.len(), "path": META, "sha256": sha256(&meta),
                "combined_squashfs_sha256": sha256(&both) },
            "root.squashfs": { "ftype": "squashfs", "size": root.len(), "path": ROOT, "sha256": sha256(&root) } } } } } } });
    let index = json!({ "format": "index:1.0", "index": { "images": {
        "datatype": "image-downloads", "path": "streams/v1/images.json", "format": "products:1.0", "products": ["quayos:2:default"] } } });
    server.serve("streams/v1/index.json", [Answer::whole(index.to_string().as_bytes())]);
    server.serve("streams/v1/images.json", [Answer::whole(list.to_string().as_bytes())]);
    server.serve(META, [Answer::whole(&meta)]);
    server.serve(ROOT, [Answer::whole(&root)]);
    server.serve(ARCHIVE, [Answer::whole(&bytes(3, 30_000))]);
}

/// Does it, or begins to: the answer is the task.
pub async fn perform(control: &Control, verb: &str, url: &str) -> Result<Task> {
    match verb {
        "add source" | "refresh" | "download" | "import" | "upload" | "remove template" => with_templates(control, verb, url).await,
        _ => with_containers(control, verb).await,
    }
}

async fn with_templates(control: &Control, verb: &str, url: &str) -> Result<Task> {
    let (templates, anna) = (&control.templates, anna());
    match verb {
        "add source" => {
            let new = NewSource {
                name: "test".parse().unwrap(),
                kind: SourceKind::Simplestreams,
                url: url.to_owned(),
            };
            templates.add_source(&anna, new).await?;
            control.tasks.settle().await;
            Ok(control.tasks.list(&anna).await?.remove(0))
        }
        "refresh" => templates.refresh(&anna, Some("test"), None).await,
        "download" => templates.download(&anna, &"test:quayos/2".parse().unwrap(), None).await,
        "import" => templates.import_url(&anna, &format!("{url}{ARCHIVE}"), Some("mine"), None, None).await,
        "upload" => {
            let body = stream::iter([Ok::<_, std::io::Error>(bytes(4, 20_000))]);
            templates.upload(&anna, "mine", None, None, body).await
        }
        _ => {
            templates.remove(&anna, &"test:quayos/2".parse().unwrap()).await?;
            Ok(control.tasks.list(&anna).await?.remove(0))
        }
    }
}

async fn with_containers(control: &Control, verb: &str) -> Result<Task> {
    let (containers, anna) = (&control.containers, anna());
    let create = |name: &str, start: bool| {
        let request = json!({ "name": name, "template": "test:quayos/2", "start": start, "password": null });
        containers.create(&CALLER, serde_json::from_value(request).unwrap(), None)
    };
    static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(self::anna);
    let patience = Duration::from_secs(10);
    match verb {
        "create" => create("web", true).await,
        "create stopped" => create("web", false).await,
        "create another" => create("another", true).await,
        "start" => containers.start(&anna, "web", None).await,
        "stop" => containers.stop(&anna, "web", patience, false, None).await,
        "restart" => containers.restart(&anna, "web", patience, false, None).await,
        "kill" => containers.kill(&anna, "web", None).await,
        "freeze" => containers.freeze(&anna, "web", None).await,
        "unfreeze" => containers.unfreeze(&anna, "web", None).await,
        "delete" => containers.delete(&anna, "web", false, false, None).await,
        "force delete" => containers.delete(&anna, "web", true, false, None).await,
        "delete for good" => containers.delete(&anna, "web", false, true, None).await,
        "restore" => containers.restore(&anna, trashed(control).await?, None, None).await,
        "purge" => containers.purge(&anna, trashed(control).await?).await,
        "empty" => containers.empty_trash(&anna).await,
        _ => panic!("nobody knows `{verb}`"),
    }
}

async fn trashed(control: &Control) -> Result<model::ContainerId> {
    let entries = control.facts.list::<control::containers::row::TrashRow>("trash/").await?;
    let first = entries.into_values().next();
    first
        .map(|fact| fact.value.row.id)
        .ok_or_else(|| control::Error::not_found("container in the trash", "any"))
}

/// What [`find`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    State(ContainerState),
    InTrash,
    Template,
}

/// What a verb brings about: of what, and what then.
pub fn effect(verb: &str) -> (&'static str, Found) {
    match verb {
        "create" | "start" | "restart" | "unfreeze" => ("web", Found::State(ContainerState::Running)),
        "stop" | "kill" | "restore" => ("web", Found::State(ContainerState::Stopped)),
        "freeze" => ("web", Found::State(ContainerState::Frozen)),
        "delete" | "force delete" => ("web", Found::InTrash),
        "delete for good" | "purge" | "empty" => ("web", Found::Nothing),
        "download" => ("test:quayos/2", Found::Template),
        "import" | "upload" => ("local:mine", Found::Template),
        _ => ("test:nothing", Found::Nothing),
    }
}

pub async fn find(control: &Control, name: &str) -> Found {
    let anna = anna();
    if let Ok(reference) = name.parse() {
        let template = control.templates.show(&anna, &reference).await;
        return if template.is_ok_and(|template| template.downloaded) {
            Found::Template
        } else {
            Found::Nothing
        };
    }
    if let Ok(detail) = control.containers.show(&anna, name).await {
        return Found::State(detail.summary.state);
    }
    let trash = control.facts.list::<serde_json::Value>("trash/").await.unwrap();
    if trash.is_empty() { Found::Nothing } else { Found::InTrash }
}

/// What is not taken back when it fails: the next start, or the next minute, does the rest.
pub fn goes_one_way(verb: &str) -> bool {
    matches!(verb, "delete for good" | "purge" | "empty")
}

/// The verb that a person would use next to get what was wanted, after what was left of the first try.
pub async fn again(control: &Control, verb: &'static str) -> &'static str {
    match (verb, find(control, "web").await) {
        // What could not be started again is stopped now.
        ("restart", Found::State(ContainerState::Stopped)) => "start",
        // A deletion for good is not taken back: what resisted is in the trash, and goes from there.
        ("delete for good", Found::InTrash) => "purge",
        _ => verb,
    }
}
