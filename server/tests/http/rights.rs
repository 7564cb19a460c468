//! Who may call what: every route, server function, stream and socket, as everybody, by token and by session.
//!
//! `rights.txt` names the least role of each; a unit test of the server compares it with the table of routes, so that a
//! route without a row fails.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{RequestBuilder, StatusCode};

use crate::console::Console;

const RIGHTS: &str = include_str!("rights.txt");

fn rights() -> BTreeMap<(String, String), String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        ((words.next().unwrap(), words.next().unwrap()), words.next().unwrap())
    };
    RIGHTS.lines().map(row).collect()
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
        .replace("{*name}", "absent")
        .replace("{*path}", "absent")
        .replace("{ref}", "local%3Aabsent")
        .replace("{id}", id)
        .replace("{session}", id)
        .replace("{stream}", "absent")
}

/// How somebody shows who they are.
enum Proof {
    Nothing,
    Token(String),
    /// The name of an account.
    Session(&'static str),
}

/// Signing out ends the session it is asked with.
fn ends_session(path: &str) -> bool {
    matches!(path, "/api/v1/session" | "/fn/session/sign_out")
}

async fn prove(console: &Console, request: RequestBuilder, path: &str, proof: &Proof, cookies: &BTreeMap<&'static str, String>) -> RequestBuilder {
    match proof {
        Proof::Nothing => request,
        Proof::Token(token) => request.bearer_auth(token),
        Proof::Session(name) => {
            let cookie = if ends_session(path) {
                console.sign_in(name).await
            } else {
                cookies[name].clone()
            };
            request.header("cookie", cookie).header("origin", &console.url)
        }
    }
}

#[tokio::test]
async fn every_address_lets_in_who_may_and_nobody_else() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let mut callers = vec![("nobody", Proof::Nothing), ("administrator", Proof::Session("anna"))];
    let mut cookies = BTreeMap::from([("anna", cookie.clone())]);
    for (role, name) in [("viewer", "vera"), ("operator", "otto")] {
        console.add_user(&cookie, name, role).await;
        cookies.insert(name, console.sign_in(name).await);
        callers.push((role, Proof::Session(name)));
    }
    for role in ["viewer", "operator", "administrator"] {
        callers.push((role, Proof::Token(console.token(&cookie, role).await)));
    }
    let rights = rights();
    for ((method, path), least) in rights.iter().filter(|(_, least)| *least != "anybody") {
        for (role, proof) in &callers {
            let request = console.ask(method, &filled(path));
            let request = prove(&console, request, path, proof, &cookies).await;
            let status = request.send().await.unwrap().status();
            let may = rank(role) >= rank(least);
            let way = match proof {
                Proof::Nothing => "without proof",
                Proof::Token(_) => "by token",
                Proof::Session(_) => "by session",
            };
            let what = format!("{method} {path} as {role} {way}: {status}");
            match (may, *role) {
                (false, "nobody") => assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}"),
                (false, _) => assert_eq!(status, StatusCode::FORBIDDEN, "{what}"),
                (true, _) => assert_ne!(status, StatusCode::UNAUTHORIZED, "{what}"),
            }
            // Another's password is an administrator's to set, which the operation itself judges.
            if may && path != "/api/v1/users/{name}/password" {
                assert_ne!(status, StatusCode::FORBIDDEN, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_for_anybody_needs_nothing() {
    let console = Console::start();
    for ((method, path), _) in rights().iter().filter(|(_, least)| *least == "anybody") {
        let status = console.ask(method, &filled(path)).send().await.unwrap().status();
        // A sign-in without a name is refused as any wrong one is.
        if !path.ends_with("/session") && !path.ends_with("sign_in") && !path.contains("setup") {
            assert!(
                status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN,
                "{method} {path}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn every_documented_route_has_a_right() {
    let (console, token) = Console::start_with_token().await;
    let document = console.json(&token, "/api/v1/openapi.json").await;
    let rights = rights();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let route = (method.to_uppercase(), path.clone());
            assert!(rights.contains_key(&route), "{route:?} is documented and its right is not tested");
        }
    }
}

#[tokio::test]
async fn every_server_function_is_declared_and_answers_no_get() {
    let declared: BTreeSet<&str> = app::api::PERMISSIONS.iter().map(|(path, _)| *path).collect();
    let compiled: BTreeSet<&str> = server_fn::axum::server_fn_paths().map(|(path, _)| path).collect();
    assert!(!compiled.is_empty(), "the pages' functions are not linked here");
    assert_eq!(compiled, declared);
    let (console, token) = Console::start_with_token().await;
    for path in declared {
        let get = console.ask("GET", path).bearer_auth(&token).send().await.unwrap().status();
        assert_ne!(get, StatusCode::OK, "{path} answers GET");
    }
    let unknown = console.ask("POST", "/fn/no/such").bearer_auth(&token).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}
