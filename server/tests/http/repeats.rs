//! Repeated requests: `Idempotency-Key` gives the first task, `If-Match` refuses what was changed meanwhile.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::console::{Console, tar};

#[tokio::test]
async fn a_repeated_post_gives_the_first_task() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let twice = async |path: &str, body: Value, key: &str| {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let request = console.ask("POST", path).bearer_auth(&token).header("idempotency-key", key);
            let answer = request.json(&body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED, "{path}: {}", answer.text().await.unwrap());
            let location = answer.headers().get("location").unwrap().to_str().unwrap().to_owned();
            // The second one comes when the first has ended: its own checks would refuse it.
            console.end_of(&token, answer).await;
            ids.push(location);
        }
        assert_eq!(ids[0], ids[1], "{path}");
    };
    twice("/api/v1/containers", json!({ "name": "db", "template": "local:tiny" }), "k1").await;
    for (verb, key) in [
        ("freeze", "k2"),
        ("unfreeze", "k3"),
        ("restart", "k4"),
        ("kill", "k5"),
        ("start", "k6"),
        ("stop", "k7"),
    ] {
        twice(&format!("/api/v1/containers/web/{verb}"), json!({}), key).await;
    }
    twice("/api/v1/templates/import", json!({ "url": "http://192.0.2.1:1/x.tar", "name": "far" }), "k8").await;
    let delete = console.ask("DELETE", "/api/v1/containers/web").bearer_auth(&token).send().await.unwrap();
    console.end_of(&token, delete).await;
    let trash = console.json(&token, "/api/v1/trash").await;
    let id = trash[0]["id"].as_str().unwrap().to_owned();
    twice(&format!("/api/v1/trash/{id}/restore"), json!({}), "k9").await;
    let delete = console.ask("DELETE", "/api/v1/containers/web").bearer_auth(&token).send().await.unwrap();
    console.end_of(&token, delete).await;
    twice(&format!("/api/v1/trash/{id}/restore"), json!({ "name": "web2" }), "k10").await;
    for (path, key) in [("/api/v1/sources/refresh", "k11"), ("/api/v1/sources/images/refresh", "k12")] {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let request = console.ask("POST", path).bearer_auth(&token).header("idempotency-key", key);
            ids.push(request.send().await.unwrap().json::<Value>().await.unwrap()["id"].clone());
        }
        assert!(ids[0].is_string() && ids[0] == ids[1], "{path}: {ids:?}");
    }
}

#[tokio::test]
async fn a_repeated_upload_gives_the_first_task() {
    let (console, token) = Console::start_with_token().await;
    let send = || {
        let request = console.ask("POST", "/api/v1/templates/upload?name=tiny").bearer_auth(&token);
        request.header("idempotency-key", "upload").body(tar()).send()
    };
    let first = console.end_of(&token, send().await.unwrap()).await;
    assert_eq!(first["state"], "done", "{first}");
    let second = console.end_of(&token, send().await.unwrap()).await;
    assert_eq!(first["id"], second["id"]);
    let incoming = std::fs::read_dir(console.folder.path().join("state/downloads")).unwrap();
    let left: Vec<_> = incoming
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("incoming-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_change_stands_on_what_was_read() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let kill = console.ask("POST", "/api/v1/containers/web/kill").bearer_auth(&token).send().await.unwrap();
    console.end_of(&token, kill).await;
    let change = async |method: &str, path: &str, body: Value, etag: &str| {
        let request = console.ask(method, path).bearer_auth(&token).header("if-match", etag);
        request.json(&body).send().await.unwrap()
    };
    let set = json!({ "set": [["tag", "x"]] });
    let rename = json!({ "name": "web2" });
    let (web, verb) = ("/api/v1/containers/web", "/api/v1/containers/web/rename");
    assert_eq!(change("PATCH", web, set.clone(), "\"0\"").await.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(change("POST", verb, rename.clone(), "\"0\"").await.status(), StatusCode::PRECONDITION_FAILED);
    let shown = console.ask("GET", web).bearer_auth(&token).send().await.unwrap();
    let etag = shown.headers().get("etag").unwrap().to_str().unwrap().to_owned();
    let changed = change("PATCH", web, set, &etag).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_eq!(change("POST", verb, rename.clone(), &etag).await.status(), StatusCode::PRECONDITION_FAILED);
    let etag = changed.headers().get("etag").unwrap().to_str().unwrap().to_owned();
    assert_eq!(change("POST", verb, rename, &etag).await.status(), StatusCode::OK);
}
