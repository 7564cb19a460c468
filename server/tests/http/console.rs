//! A real console process on the in-memory engine, and what tests do with it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

pub const PASSWORD: &str = "correct horse battery";

/// The first one of a process makes the choice of cryptography, which plain HTTP has no use for.
pub fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

pub struct Console {
    child: Child,
    pub url: String,
    pub folder: tempfile::TempDir,
    pub client: Client,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Console {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more flags of `berth serve`.
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, url) = Self::spawn(folder.path(), flags);
        Self {
            child,
            url,
            folder,
            client: client(),
        }
    }

    /// Kills it, which gives it no time to write anything, and starts another one on the same folders.
    pub fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.url) = Self::spawn(self.folder.path(), &[]);
    }

    fn spawn(folder: &Path, flags: &[&str]) -> (Child, String) {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["serve", "--engine", "fake", "--listen", "127.0.0.1:0", "--subnet", "10.213.0.1/24"])
            .args(["--state-dir", &at("state"), "--run-dir", &at("run")])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map(Result::unwrap).find(|line| line.contains("listening on")).expect("it listens");
        let url = line.rsplit(' ').next().unwrap().to_owned();
        (child, url)
    }

    /// An administrator and a token of that role.
    pub async fn start_with_token() -> (Self, String) {
        let console = Self::start();
        console.set_up().await;
        let token = console.token(&console.cookie().await, "administrator").await;
        (console, token)
    }

    pub fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse::<Method>().unwrap(), format!("{}{path}", self.url))
    }

    pub async fn set_up(&self) {
        let token = std::fs::read_to_string(self.folder.path().join("run/setup-token")).unwrap();
        let form = json!({ "token": token.trim(), "name": "anna", "password": PASSWORD });
        let answer = self.ask("POST", "/api/v1/setup").json(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let again = self.ask("POST", "/api/v1/setup").json(&form).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::FORBIDDEN, "a token is used once");
    }

    /// The cookie of a signed-in administrator.
    pub async fn cookie(&self) -> String {
        self.sign_in("anna").await
    }

    /// The cookie of a new session.
    pub async fn sign_in(&self, name: &str) -> String {
        let form = json!({ "name": name, "password": PASSWORD });
        let answer = self.ask("POST", "/api/v1/session").json(&form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers().get("set-cookie").unwrap().to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Another account.
    pub async fn add_user(&self, cookie: &str, name: &str, role: &str) {
        let form = json!({ "name": name, "role": role, "password": PASSWORD });
        let request = self.ask("POST", "/api/v1/users").header("cookie", cookie).header("origin", &self.url);
        assert_eq!(request.json(&form).send().await.unwrap().status(), StatusCode::CREATED);
    }

    pub async fn token(&self, cookie: &str, role: &str) -> String {
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

    pub async fn json(&self, token: &str, path: &str) -> Value {
        let answer = self.ask("GET", path).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    pub async fn end_of(&self, token: &str, answer: reqwest::Response) -> Value {
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
    pub async fn fill(&self, token: &str) {
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
pub fn tar() -> Vec<u8> {
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
