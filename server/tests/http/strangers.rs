//! What strangers are told about the first account: the same before it is made and after, to the last byte.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use crate::console::{Console, PASSWORD};

/// Status, headers and body of an answer without what differs between any two: the nonce and the moment.
async fn timeless(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let mut headers = BTreeMap::new();
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "date") {
        headers.insert(name.to_string(), until("'nonce-", '\'', value.to_str().unwrap()));
    }
    let text = answer.text().await.unwrap();
    let body = until("\"now_ms\":", ',', &until("nonce=\"", '"', &text));
    format!("{status} {headers:?}\n{body}")
}

/// Cuts out what stands between each `start` and the next `end`.
fn until(start: &str, end: char, text: &str) -> String {
    let mut parts = text.split(start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + start + part.split_once(end).map_or("", |(_, rest)| rest))
}

/// Everything that has to do with accounts, asked by somebody who has none.
async fn answers(console: &Console) -> Vec<(String, String)> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = |method: Method, path: &str| client.request(method, format!("{}{path}", console.url));
    let mut answers = Vec::new();
    for path in [
        "/",
        "/setup",
        "/setup?token=x",
        "/sign-in",
        "/sign-in?next=/tasks",
        "/containers",
        "/no/such/page",
        "/healthz",
        "/readyz",
        "/api/v1/setup",
        "/api/v1/session",
        "/api/v1/users",
        "/api/v1/openapi.json",
    ] {
        for language in ["en", "fr"] {
            let request = ask(Method::GET, path).header("accept-language", language);
            answers.push((format!("GET {path} {language}"), timeless(request).await));
        }
    }
    let whole = json!({ "token": "x", "name": "eve", "password": PASSWORD });
    let empty = json!({ "token": "", "name": "", "password": "" });
    for path in ["/api/v1/setup", "/api/v1/setup/link", "/api/v1/session"] {
        for (kind, form) in [("whole", &whole), ("empty", &empty), ("lacking", &json!({}))] {
            answers.push((format!("POST {path} {kind}"), timeless(ask(Method::POST, path).json(form)).await));
        }
    }
    for path in ["/fn/setup/set_up", "/fn/session/sign_in"] {
        for form in [
            format!("token=x&name=eve&password={PASSWORD}"),
            "token=&name=&password=".to_owned(),
            String::new(),
        ] {
            let request = ask(Method::POST, path).header("origin", &console.url);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            answers.push((format!("POST {path} {} bytes", form.len()), timeless(request.body(form)).await));
        }
    }
    answers
}

#[tokio::test]
async fn nobody_learns_whether_the_first_account_is_made() {
    let console = Console::start();
    let before = answers(&console).await;
    console.set_up().await;
    let after = answers(&console).await;
    assert!(before.iter().any(|(_, answer)| answer.contains("berth setup-link")), "the pages tell the way");
    for ((question, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before, after, "{question}");
    }
}
