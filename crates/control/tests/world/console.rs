//! What every console of these tests is made of: its configuration, the one who uses it, and a template that is here.

use std::path::Path;
use std::time::Duration;

use control::store::Facts;
use control::{Caller, Config};
use model::template::{LocalTemplate, Provenance};
use model::{Digest, Timestamp};

/// Where everything that is waited for must have happened.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The first block of user ids.
pub const BLOCK: u32 = 524_288;
/// Room for any number of containers.
pub const WIDE: (u32, u32) = (BLOCK, 1_879_048_191);

pub fn anna() -> Caller {
    Caller::socket("anna")
}

/// A console whose folders lie below one; they are made.
pub fn config(folder: &Path, id_pool: (u32, u32)) -> Config {
    for part in ["run", "state"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    Config {
        state_dir: folder.join("state"),
        run_dir: folder.join("run"),
        instance: None,
        bridge: "berth0".into(),
        subnet: Some("10.213.0.1/24".parse().unwrap()),
        id_pool,
        mount_roots: vec!["/srv/share".into()],
        closed_ports: vec![8420],
        public_url: None,
        reads_sources: false,
    }
}

/// What must happen happens in time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

pub fn digest() -> Digest {
    "a".repeat(64).parse().unwrap()
}

/// Writes the row of the template `local:test`, whose one layer is [`digest`].
pub async fn add_template(facts: &Facts) {
    let template = LocalTemplate {
        reference: "local:test".parse().unwrap(),
        layers: vec![digest()],
        os: "debian".into(),
        release: "13".into(),
        arch: "amd64".into(),
        variant: "default".into(),
        size_bytes: 1,
        unpacked_bytes: 1,
        created_at: None,
        provenance: Provenance {
            source_kind: "upload".into(),
            source_name: "local".into(),
            url: String::new(),
            product: String::new(),
            serial: String::new(),
            fingerprint: digest(),
            verified: "sha256".into(),
            downloaded_at: Timestamp::from_ms(0),
            downloaded_by: "anna".into(),
            berth_version: "0".into(),
            index_sha256: None,
        },
        left_out: Vec::new(),
        wants_nesting: false,
    };
    facts.change().put("tpl/local:test", &template).commit().await.unwrap().unwrap();
}
