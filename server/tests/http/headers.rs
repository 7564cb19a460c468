//! What stands around the answers: policies, caching, encodings, names, and bounds of bodies.

use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::console::{Console, PASSWORD};

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn page(console: &Console, path: &str) -> (HeaderMap, String) {
    let answer = console.ask("GET", path).send().await.unwrap();
    (answer.headers().clone(), answer.text().await.unwrap())
}

fn nonce(policy: &str) -> &str {
    let (_, rest) = policy.split_once("'nonce-").expect("a nonce");
    rest.split_once('\'').unwrap().0
}

#[tokio::test]
async fn every_answer_has_its_policies() {
    let (console, token) = Console::start_with_token().await;
    for path in [
        "/sign-in",
        "/no/such/page",
        "/healthz",
        "/api/v1/host",
        "/api/v1/nowhere",
        "/static/absent",
        "/metrics",
    ] {
        let answer = console.ask("GET", path).bearer_auth(&token).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(header(headers, "x-content-type-options"), "nosniff", "{path}");
        // `no-referrer` would make browsers send forms with `Origin: null`.
        assert_eq!(header(headers, "referrer-policy"), "same-origin", "{path}");
        assert_eq!(header(headers, "x-frame-options"), "DENY", "{path}");
        assert_eq!(header(headers, "cache-control"), "no-store", "{path}");
        let policy = header(headers, "content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        assert!(answer.headers().get("access-control-allow-origin").is_none(), "{path}");
    }
}

#[tokio::test]
async fn scripts_of_a_page_carry_the_nonce_of_its_answer() {
    let console = Console::start();
    console.set_up().await;
    let (headers, text) = page(&console, "/sign-in").await;
    let policy = header(&headers, "content-security-policy").to_owned();
    let own = nonce(&policy).to_owned();
    assert!(own.len() >= 16, "{own}");
    let scripts: Vec<&str> = text.split("<script").skip(1).map(|rest| rest.split_once('>').unwrap().0).collect();
    // Data is not run.
    for script in scripts.iter().filter(|script| !script.contains("type=\"application/json\"")) {
        assert!(script.contains(&format!("nonce=\"{own}\"")), "{script}");
    }
    assert!(!text.contains(" style=\"") && !text.contains(" onclick="), "nothing inline");
    let (again, _) = page(&console, "/sign-in").await;
    assert_ne!(nonce(header(&again, "content-security-policy")), own, "each answer has its own");
}

/// What a page carries for the browser must be what it was drawn from: a region that is drawn twice fetches twice.
#[tokio::test]
async fn what_a_page_shows_is_fetched_once() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    // The overview: list and host, findings, offers, tasks, curves.
    for (path, fetched) in [("/", 5), ("/containers", 1), ("/tasks", 1), ("/templates", 2), ("/sources", 1), ("/account", 3)] {
        let answer = console.ask("GET", path).header("cookie", &cookie).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let (_, rest) = text.split_once("__PENDING_RESOURCES=[").expect("a page carries what it fetched");
        let ids: Vec<&str> = rest.split_once(']').unwrap().0.split(',').filter(|id| !id.is_empty()).collect();
        assert_eq!(ids.len(), fetched, "{path}: {ids:?}");
    }
}

#[tokio::test]
async fn the_cookie_is_out_of_reach_for_scripts_and_other_sites() {
    let console = Console::start();
    console.set_up().await;
    let form = json!({ "name": "anna", "password": PASSWORD });
    let answer = console.ask("POST", "/api/v1/session").json(&form).send().await.unwrap();
    let cookie = header(answer.headers(), "set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{attribute}: {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn a_form_without_script_passes_and_a_foreign_one_does_not() {
    let console = Console::start();
    console.set_up().await;
    let sign_in = |origin: &str| {
        let request = console.ask("POST", "/fn/session/sign_in").header("origin", origin);
        let request = request
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("name=anna&password={}", PASSWORD.replace(' ', "+"))).send()
    };
    assert!(!sign_in(&console.url).await.unwrap().status().is_client_error());
    assert_eq!(sign_in("null").await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn other_names_and_schemes_are_nobody() {
    let console = Console::start();
    console.set_up().await;
    let rebound = console.ask("GET", "/sign-in").header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    let get = async |path: &str, authorization: &str| console.ask("GET", path).header("authorization", authorization).send().await.unwrap().status();
    assert_eq!(get("/sign-in", "Basic YTpi").await, StatusCode::OK, "a password of a proxy in front");
    assert_eq!(get("/healthz", "Basic YTpi").await, StatusCode::OK);
    assert_eq!(get("/api/v1/host", "Basic YTpi").await, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/api/v1/host", "Bearer bth_wrong").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn it_lives_and_is_ready_and_says_nothing_else() {
    let console = Console::start();
    for path in ["/healthz", "/readyz"] {
        let answer = console.ask("GET", path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.text().await.unwrap(), "ok\n");
    }
}

#[tokio::test]
async fn pages_and_json_are_compressed_and_streams_are_not() {
    let (console, token) = Console::start_with_token().await;
    let get = async |path: &str, accept: &str| {
        let request = console.ask("GET", path).bearer_auth(&token).header("accept-encoding", accept);
        request.send().await.unwrap()
    };
    let encoding = |answer: &Response| header(answer.headers(), "content-encoding").to_owned();
    for (accept, expected) in [("br", "br"), ("zstd", "zstd"), ("gzip", "gzip"), ("gzip, br;q=0", "gzip"), ("identity", "")] {
        assert_eq!(encoding(&get("/api/v1/openapi.json", accept).await), expected, "{accept}");
        assert_eq!(encoding(&get("/sign-in", accept).await), expected, "{accept}");
    }
    let vary = get("/sign-in", "br").await;
    assert!(header(vary.headers(), "vary").contains("accept-encoding"));
    for path in ["/api/v1/events?metrics=all", "/metrics", "/healthz"] {
        assert_eq!(encoding(&get(path, "br, zstd, gzip").await), "", "{path}");
    }
}

#[tokio::test]
async fn long_bodies_are_refused_whoever_reads_them() {
    let (console, token) = Console::start_with_token().await;
    let long = "x".repeat((1 << 20) + 1);
    for path in ["/api/v1/containers", "/fn/containers/list", "/fn/containers/create", "/api/v1/session"] {
        let request = console.ask("POST", path).bearer_auth(&token).header("content-type", "application/json");
        let answer = request.body(long.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "too_large", "{path}");
    }
}

#[tokio::test]
async fn other_sites_are_refused() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let post = |origin: Option<&str>| {
        let request = console.ask("POST", "/api/v1/sources/refresh").header("cookie", &cookie);
        match origin {
            Some(origin) => request.header("origin", origin).send(),
            None => request.send(),
        }
    };
    assert_eq!(post(Some("https://evil.example")).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(post(Some("null")).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(post(None).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_ne!(post(Some(&console.url)).await.unwrap().status(), StatusCode::FORBIDDEN);
    let in_url = console.ask("GET", "/api/v1/host?token=bth_x").send().await.unwrap();
    assert_eq!(in_url.status(), StatusCode::BAD_REQUEST);
    let request = console.ask("GET", "/api/v1/events").header("cookie", &cookie);
    let cross = request.header("sec-fetch-site", "cross-site").send().await.unwrap();
    assert_eq!(cross.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_proxy_may_ask_by_another_name() {
    let console = Console::start_with(&["--public-url", "https://berth.example.org"]);
    console.set_up().await;
    let cookie = console.cookie().await;
    let post = |origin: &str| {
        let request = console.ask("POST", "/api/v1/sources/refresh").header("cookie", &cookie);
        request.header("origin", origin).send()
    };
    assert_eq!(post("https://berth.example.org").await.unwrap().status(), StatusCode::ACCEPTED);
    for origin in ["http://berth.example.org", "https://berth.example.org.evil", "https://evil.example"] {
        assert_eq!(post(origin).await.unwrap().status(), StatusCode::FORBIDDEN, "{origin}");
    }
}

/// Files of the pages are in a build made by `cargo xtask` alone, which the stage `http` is.
#[tokio::test]
async fn files_of_the_build_are_cached_for_ever_and_come_encoded() {
    if option_env!("BERTH_SITE_DIR").is_none() {
        return;
    }
    let console = Console::start();
    let (_, text) = page(&console, "/setup").await;
    let (_, rest) = text.split_once("\"/pkg/").expect("a page names its files");
    let path = format!("/pkg/{}", rest.split_once('"').unwrap().0);
    for (accept, expected) in [("br", "br"), ("zstd", "zstd"), ("gzip", ""), ("br;q=0", "")] {
        let answer = console.ask("GET", &path).header("accept-encoding", accept).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(header(headers, "content-encoding"), expected, "{path} for {accept}");
        assert_eq!(header(headers, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(headers, "vary"), "accept-encoding");
    }
}
