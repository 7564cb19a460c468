//! The interfaces of a real console process on the in-memory engine: who may do what, and that answers are what the
//! OpenAPI document says.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

/// Who may call what: the least role, or `anybody`. Every route of the document and every server function stands here.
const RIGHTS: &str = "
GET /api/v1/host viewer
GET /api/v1/host/metrics viewer
GET /api/v1/networks viewer
GET /api/v1/stats viewer
GET /api/v1/containers viewer
POST /api/v1/containers operator
GET /api/v1/containers/{name} viewer
PATCH /api/v1/containers/{name} operator
DELETE /api/v1/containers/{name} operator
POST /api/v1/containers/{name}/start operator
POST /api/v1/containers/{name}/stop operator
POST /api/v1/containers/{name}/kill operator
POST /api/v1/containers/{name}/restart operator
POST /api/v1/containers/{name}/freeze operator
POST /api/v1/containers/{name}/unfreeze operator
POST /api/v1/containers/{name}/rename operator
GET /api/v1/containers/{name}/stats viewer
GET /api/v1/containers/{name}/metrics viewer
GET /api/v1/containers/{name}/logs viewer
POST /api/v1/containers/{name}/exec operator
GET /api/v1/sources viewer
POST /api/v1/sources administrator
DELETE /api/v1/sources/{name} administrator
POST /api/v1/sources/refresh operator
POST /api/v1/sources/{name}/refresh operator
GET /api/v1/templates viewer
POST /api/v1/templates operator
GET /api/v1/templates/{ref} viewer
DELETE /api/v1/templates/{ref} operator
POST /api/v1/templates/import operator
POST /api/v1/templates/upload operator
GET /api/v1/tasks viewer
GET /api/v1/tasks/{id} viewer
GET /api/v1/tasks/{id}/log viewer
POST /api/v1/tasks/{id}/cancel operator
GET /api/v1/trash viewer
DELETE /api/v1/trash operator
DELETE /api/v1/trash/{id} operator
POST /api/v1/trash/{id}/restore operator
POST /api/v1/setup anybody
POST /api/v1/setup/link administrator
POST /api/v1/session anybody
GET /api/v1/session viewer
DELETE /api/v1/session viewer
GET /api/v1/sessions viewer
DELETE /api/v1/sessions/{id} viewer
GET /api/v1/users administrator
POST /api/v1/users administrator
DELETE /api/v1/users/{name} administrator
PUT /api/v1/users/{name}/password viewer
GET /api/v1/tokens administrator
POST /api/v1/tokens administrator
DELETE /api/v1/tokens/{name} administrator
GET /api/v1/audit administrator
GET /api/v1/events viewer
POST /api/v1/events/{stream}/topics viewer
GET /metrics viewer
GET /ws/containers/{name}/console operator
GET /ws/containers/{name}/exec/{session} operator
";

/// The first one of a process makes the choice of cryptography, which plain HTTP has no use for.
fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

struct Console {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
    client: Client,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Console {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["serve", "--engine", "fake", "--listen", "127.0.0.1:0", "--subnet", "10.213.0.1/24"])
            .args(["--state-dir", &at("state"), "--run-dir", &at("run")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map(Result::unwrap).find(|line| line.contains("listening on")).expect("it listens");
        let url = line.rsplit(' ').next().unwrap().to_owned();
        Self {
            child,
            url,
            folder,
            client: client(),
        }
    }

    fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse::<Method>().unwrap(), format!("{}{path}", self.url))
    }

    async fn set_up(&self) {
        let token = std::fs::read_to_string(self.folder.path().join("run/setup-token")).unwrap();
        let form = json!({ "token": token.trim(), "name": "anna", "password": PASSWORD });
        let answer = self.ask("POST", "/api/v1/setup").json(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let again = self.ask("POST", "/api/v1/setup").json(&form).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::FORBIDDEN, "a token is used once");
    }

    /// The cookie of a signed-in administrator.
    async fn cookie(&self) -> String {
        let answer = self
            .ask("POST", "/api/v1/session")
            .json(&json!({ "name": "anna", "password": PASSWORD }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers().get("set-cookie").unwrap().to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn token(&self, cookie: &str, role: &str) -> String {
        let form = json!({ "name": role, "role": role });
        let answer = self
            .ask("POST", "/api/v1/tokens")
            .header("cookie", cookie)
            .header("origin", &self.url)
            .json(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
    }

    async fn json(&self, token: &str, path: &str) -> Value {
        let answer = self.ask("GET", path).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    async fn end_of(&self, token: &str, answer: reqwest::Response) -> Value {
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.url());
        let location = answer.headers().get("location").unwrap().to_str().unwrap().to_owned();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let task = self.json(token, &location).await;
            if !matches!(task["state"].as_str(), Some("queued" | "running")) {
                return task;
            }
            assert!(Instant::now() < deadline, "{task}");
        }
    }

    /// A template and a running container `web`, so that lists hold something.
    async fn fill(&self, token: &str) {
        let upload = self
            .ask("POST", "/api/v1/templates/upload?name=tiny")
            .bearer_auth(token)
            .body(tar())
            .send()
            .await
            .unwrap();
        let task = self.end_of(token, upload).await;
        assert_eq!(task["state"], "done", "{task}");
        let create = self
            .ask("POST", "/api/v1/containers")
            .bearer_auth(token)
            .json(&json!({ "name": "web", "template": "local:tiny", "start": true }));
        let task = self.end_of(token, create.send().await.unwrap()).await;
        assert_eq!(task["state"], "done", "{task}");
    }
}

/// The smallest archive that is one.
fn tar() -> Vec<u8> {
    let mut bytes = vec![0; 1536];
    bytes[..9].copy_from_slice(b"etc/empty");
    bytes[100..107].copy_from_slice(b"0000644");
    bytes[108..115].copy_from_slice(b"0000000");
    bytes[116..123].copy_from_slice(b"0000000");
    bytes[124..135].copy_from_slice(b"00000000000");
    bytes[136..147].copy_from_slice(b"00000000000");
    bytes[156] = b'0';
    bytes[257..262].copy_from_slice(b"ustar");
    bytes[148..156].copy_from_slice(b"        ");
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

fn rights() -> BTreeMap<(String, String), String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        ((words.next().unwrap(), words.next().unwrap()), words.next().unwrap())
    };
    RIGHTS.lines().filter(|line| !line.is_empty()).map(row).collect()
}

fn rank(role: &str) -> usize {
    ["nobody", "viewer", "operator", "administrator"]
        .iter()
        .position(|known| *known == role)
        .unwrap()
}

/// Names that exist nowhere: a call that passes the gate then says so and changes nothing.
fn filled(path: &str) -> String {
    let id = "00000000-0000-4000-8000-000000000000";
    path.replace("{name}", "absent")
        .replace("{ref}", "local%3Aabsent")
        .replace("{id}", id)
        .replace("{session}", id)
        .replace("{stream}", "absent")
}

#[tokio::test]
async fn every_route_lets_in_who_may_and_nobody_else() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let document = console.json(&console.token(&cookie, "administrator").await, "/api/v1/openapi.json").await;
    let rights = rights();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let route = (method.to_uppercase(), path.clone());
            assert!(
                rights.contains_key(&route),
                "{} {path} is documented and its right is not tested",
                method.to_uppercase()
            );
        }
    }
    let mut callers = vec![("nobody", None)];
    for role in ["viewer", "operator"] {
        callers.push((role, Some(console.token(&cookie, role).await)));
    }
    for ((method, path), least) in rights.iter().filter(|(_, least)| *least != "anybody") {
        for (role, token) in &callers {
            let mut request = console.ask(method, &filled(path));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let status = request.send().await.unwrap().status();
            let may = rank(role) >= rank(least);
            match (may, *role) {
                (false, "nobody") => assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} as {role}"),
                (false, _) => assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} as {role}"),
                (true, _) => assert!(status != StatusCode::UNAUTHORIZED, "{method} {path} as {role}: {status}"),
            }
            if may && !path.contains("password") {
                assert_ne!(status, StatusCode::FORBIDDEN, "{method} {path} as {role}");
            }
        }
    }
}

#[tokio::test]
async fn every_server_function_lets_in_who_may_and_nobody_else() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let viewer = console.token(&cookie, "viewer").await;
    for (path, permission) in app::api::PERMISSIONS {
        let nobody = console.ask("POST", path).body("").send().await.unwrap().status();
        let is_public = permission.is_none();
        assert_eq!(
            nobody == StatusCode::UNAUTHORIZED && !path.ends_with("sign_in"),
            !is_public,
            "{path} as nobody: {nobody}"
        );
        let as_viewer = console.ask("POST", path).bearer_auth(&viewer).body("").send().await.unwrap().status();
        let may = permission.is_none_or(|permission| model::Role::Viewer.permits(permission));
        if !is_public {
            assert_eq!(as_viewer != StatusCode::FORBIDDEN, may, "{path} as viewer: {as_viewer}");
        }
        let get = console.ask("GET", path).bearer_auth(&viewer).send().await.unwrap().status();
        assert_ne!(get, StatusCode::OK, "{path} answers GET");
    }
    let unknown = console.ask("POST", "/fn/no/such").bearer_auth(&viewer).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let token = console.token(&cookie, "administrator").await;
    console.fill(&token).await;
    let document = console.json(&token, "/api/v1/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() || path.contains("{ref}") || path.contains("{id}") {
            continue;
        }
        let mut whole = document.clone();
        whole.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        let validator = jsonschema::validator_for(&whole).unwrap();
        // A token has no session and no account of its own.
        let request = console.ask("GET", &path.replace("{name}", "web"));
        let answer = request.header("cookie", &cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let value: Value = answer.json().await.unwrap();
        let problems: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path)).collect();
        assert!(problems.is_empty(), "{path}: {problems:?}\n{value}");
        checked += 1;
    }
    assert!(checked >= 12, "only {checked} answers were compared");
}

#[tokio::test]
async fn other_sites_are_refused() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let post = |origin: Option<&str>| {
        let request = console.ask("POST", "/api/v1/sources/refresh").header("cookie", &cookie);
        origin.map_or_else(
            || console.ask("POST", "/api/v1/sources/refresh").header("cookie", &cookie),
            |origin| request.header("origin", origin),
        )
    };
    assert_eq!(post(Some("https://evil.example")).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(post(None).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_ne!(post(Some(&console.url)).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let host = console.ask("GET", "/api/v1/host").header("host", "evil.example").send().await.unwrap();
    assert_eq!(host.status(), StatusCode::MISDIRECTED_REQUEST);
    let in_url = console.ask("GET", "/api/v1/host?token=bth_x").send().await.unwrap();
    assert_eq!(in_url.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn errors_have_one_shape_and_name_the_field() {
    let console = Console::start();
    console.set_up().await;
    let token = console.token(&console.cookie().await, "administrator").await;
    let refused = |body: Value| console.ask("POST", "/api/v1/containers").bearer_auth(&token).json(&body).send();
    let answer = refused(json!({ "name": "1234", "template": "local:x" })).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["field"], "name", "{body}");
    let absent = console.ask("GET", "/api/v1/containers/absent").bearer_auth(&token).send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(absent.json::<Value>().await.unwrap()["error"]["code"], "not_found");
    let nowhere = console.ask("GET", "/api/v1/nowhere").bearer_auth(&token).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    assert!(nowhere.json::<Value>().await.unwrap()["error"]["message"].is_string());
}

#[tokio::test]
async fn the_event_stream_greets_and_tells_changes() {
    let console = Console::start();
    console.set_up().await;
    let token = console.token(&console.cookie().await, "administrator").await;
    let mut stream = console.ask("GET", "/api/v1/events?metrics=all").bearer_auth(&token).send().await.unwrap();
    let mut heard = String::new();
    let hello = async {
        while !heard.contains("event: hello") || !heard.contains("event: metrics") {
            heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), hello).await.expect("hello and metrics");
    console.fill(&token).await;
    let change = async {
        while !heard.contains("event: container") || !heard.contains("event: task") {
            heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), change).await.expect("container and task");
    let id = heard.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    let stale = console
        .ask("GET", "/api/v1/events")
        .bearer_auth(&token)
        .header("last-event-id", "other-7")
        .send()
        .await
        .unwrap();
    let first = |mut stream: reqwest::Response| async move {
        let mut text = String::new();
        while text.matches("event: ").count() < 2 {
            text += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
        text
    };
    let text = tokio::time::timeout(Duration::from_secs(10), first(stale)).await.unwrap();
    assert!(text.contains("event: resync"), "{text}");
    let boot = id.rsplit_once('-').unwrap().0;
    let resumed = console
        .ask("GET", "/api/v1/events")
        .bearer_auth(&token)
        .header("last-event-id", format!("{boot}-0"))
        .send()
        .await
        .unwrap();
    let text = tokio::time::timeout(Duration::from_secs(10), first(resumed)).await.unwrap();
    assert!(!text.contains("event: resync"), "{text}");
}
