//! A whole console over the fake engine, and pages rendered as a person would get them.

use std::sync::Arc;
use std::time::Duration;

use app::api::request::{RequestContext, SessionCookie};
use app::app::{App, Shell};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use control::access::SignedIn;
use control::clock::Clock;
use control::engine::fake::Fake;
use control::store::memory::Memory;
use control::{Caller, Config, Control};
use leptos::prelude::*;
use model::access::WhoAmI;
use model::task::Task;
use model::template::{LocalTemplate, Provenance};
use model::{ContainerState, Digest, Role, Timestamp};

pub const PASSWORD: &str = "a long enough password";

static READY: std::sync::Once = std::sync::Once::new();

pub struct World {
    pub control: Arc<Control>,
    pub engine: Arc<Fake>,
    pub admin: SignedIn,
    /// The state lies in it.
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        // Readies the executor of the renderer. Only once, before anything is drawn: while routes are listed no page of
        // the whole process loads its data, and one that is drawn just then would wait for ever.
        READY.call_once(|| drop(leptos_axum::generate_route_list(App)));
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "run"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let config = Config {
            state_dir: folder.path().join("state"),
            run_dir: folder.path().join("run"),
            instance: None,
            bridge: "berth0".into(),
            subnet: Some("10.213.0.1/24".parse().unwrap()),
            id_pool: (524_288, 1_879_048_191),
            mount_roots: Vec::new(),
            closed_ports: Vec::new(),
            public_url: None,
            reads_sources: false,
        };
        let engine = Arc::new(Fake::new());
        let digest: Digest = "a".repeat(64).parse().unwrap();
        engine.add_layer(digest.clone());
        let control = Control::open(config, engine.clone(), Arc::new(Memory::new(Clock::System)), Clock::System)
            .await
            .unwrap();
        control.facts.change().put("tpl/local:test", &template(digest)).commit().await.unwrap().unwrap();
        let token = control.access.setup_token(&Caller::socket("root")).await.unwrap();
        let admin = control.access.set_up(&token, "anna", PASSWORD, "127.0.0.1", "Firefox/140 Linux").await.unwrap();
        Self {
            control,
            engine,
            admin,
            _folder: folder,
        }
    }

    /// Signs in as a new account of this role.
    pub async fn sign_in(&self, name: &str, role: Role) -> SignedIn {
        let access = &self.control.access;
        access.add_user(&self.admin.caller, name, role, PASSWORD).await.unwrap();
        access.sign_in(name, PASSWORD, "192.0.2.1", "curl/8").await.unwrap()
    }

    pub async fn end(&self, task: Task) -> Task {
        tokio::time::timeout(Duration::from_secs(20), self.control.tasks.wait(task.id))
            .await
            .expect("the task ends")
            .unwrap()
    }

    pub async fn create(&self, name: &str) -> Task {
        self.create_from(name, "local:test").await
    }

    pub async fn start(&self, name: &str) -> Task {
        self.end(self.control.containers.start(&self.admin.caller, name, None).await.unwrap()).await
    }

    /// Its init ends by itself, and its policy waits before it starts it again.
    pub async fn crash(&self, name: &str) {
        let (containers, caller) = (&self.control.containers, &self.admin.caller);
        let mut events = self.control.events.subscribe();
        let id = containers.show(caller, name).await.unwrap().summary.id;
        self.engine.crash(id, 1, Timestamp::from_ms(i64::MAX));
        let waits = async {
            while containers.show(caller, name).await.unwrap().summary.state != ContainerState::Starting {
                events.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("its end is heard of");
    }

    /// Waits until the sampler has seen a container.
    pub async fn sample(&self, name: &str) {
        let mut ticks = self.control.metrics.subscribe();
        let has_value = |tick: &control::metrics::Tick| tick.rows.iter().any(|row| row.name == name && row.values.iter().any(Option::is_some));
        let seen = async { while !has_value(&ticks.recv().await.unwrap()) {} };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("it is sampled");
    }

    pub async fn create_from(&self, name: &str, template: &str) -> Task {
        let request = serde_json::from_value(serde_json::json!({ "name": name, "template": template, "start": false })).unwrap();
        self.end(self.control.containers.create(&self.admin.caller, request, None).await.unwrap()).await
    }

    pub async fn delete(&self, name: &str) -> Task {
        self.end(self.control.containers.delete(&self.admin.caller, name, false, false, None).await.unwrap())
            .await
    }

    /// The page as the server sends it.
    pub async fn page(&self, who: &SignedIn, path: &str, language: &str) -> (StatusCode, String) {
        self.render(who.caller.clone(), Some(who.who.clone()), path, language).await
    }

    /// The page as somebody gets it who is not signed in.
    pub async fn stranger(&self, path: &str, language: &str) -> (StatusCode, String) {
        self.render(Caller::anonymous("192.0.2.1"), None, path, language).await
    }

    /// Where the page sends a person on to.
    pub async fn redirect(&self, who: &SignedIn, path: &str) -> Option<String> {
        let response = self.answer(who.caller.clone(), Some(who.who.clone()), path, "en").await;
        let location = response.headers().get("location").filter(|_| response.status().is_redirection());
        location.and_then(|location| location.to_str().ok()).map(str::to_owned)
    }

    async fn render(&self, caller: Caller, who: Option<WhoAmI>, path: &str, language: &str) -> (StatusCode, String) {
        let response = self.answer(caller, who, path, language).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        // The markers that hydration looks for are no part of what a person reads.
        let html = String::from_utf8(body.to_vec()).unwrap().replace("<!>", "");
        (status, html)
    }

    async fn answer(&self, caller: Caller, who: Option<WhoAmI>, path: &str, language: &str) -> Response {
        let context = RequestContext {
            control: self.control.clone(),
            caller,
            who,
            cookie: SessionCookie { secure: false },
            assets: Arc::default(),
            build: "test".into(),
            zone_minutes: 0,
        };
        let request = Request::builder()
            .uri(path)
            .header("accept-language", language)
            .header("accept", "text/html")
            .body(Body::empty())
            .unwrap();
        let render = leptos_axum::render_app_async_with_context(move || context.clone().provide(), || view! { <Shell/> });
        let deadline = Duration::from_secs(20);
        tokio::time::timeout(deadline, render(request))
            .await
            .unwrap_or_else(|_| panic!("{path} is not drawn within 20 s"))
    }
}

fn template(digest: Digest) -> LocalTemplate {
    LocalTemplate {
        reference: "local:test".parse().unwrap(),
        layers: vec![digest.clone()],
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
            fingerprint: digest,
            verified: "sha256".into(),
            downloaded_at: Timestamp::from_ms(0),
            downloaded_by: "anna".into(),
            berth_version: "0".into(),
            index_sha256: None,
        },
        left_out: Vec::new(),
        wants_nesting: false,
    }
}
