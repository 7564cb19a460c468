//! The event stream, and logs that are followed: greeting, resuming, bounds, and their end with the sign-in.

use std::time::Duration;

use reqwest::{Response, StatusCode};

use crate::console::Console;

/// The numbers of the events in a piece of a stream.
fn ids(text: &str) -> Vec<u64> {
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: ")?.rsplit_once('-'));
    ids.map(|(_, n)| n.parse().unwrap()).collect()
}

/// Reads until the text has what is wanted.
async fn until(stream: &mut Response, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let Some(piece) = stream.chunk().await.unwrap() else {
                panic!("it ended without `{wanted}`: {text}")
            };
            text += &String::from_utf8_lossy(&piece);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("it comes");
    text
}

/// Reads until the stream ends.
async fn to_the_end(mut stream: Response) {
    let read = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("it ends");
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
    assert!(!ids(&text).contains(&0), "what a fetch shows is not told again: {text}");
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

#[tokio::test]
async fn a_stream_that_breaks_before_any_event_resumes_where_it_began() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let mut stream = console.ask("GET", "/api/v1/events").bearer_auth(&token).send().await.unwrap();
    let hello = until(&mut stream, "data: ").await;
    let id = hello.lines().find_map(|line| line.strip_prefix("id: ")).expect("hello has an id").to_owned();
    let first = ids(&hello)[0];
    assert!(first > 0, "much has happened since the start");
    let request = console.ask("GET", "/api/v1/events?metrics=all").bearer_auth(&token);
    let mut resumed = request.header("last-event-id", id).send().await.unwrap();
    let text = until(&mut resumed, "event: metrics").await;
    assert!(!text.contains("event: resync") && ids(&text).iter().all(|n| *n >= first), "{text}");
}

#[tokio::test]
async fn a_visitor_has_sixteen_streams() {
    let (console, token) = Console::start_with_token().await;
    let open = || console.ask("GET", "/api/v1/events").bearer_auth(&token).send();
    let mut held = Vec::new();
    for _ in 0..16 {
        let stream = open().await.unwrap();
        assert_eq!(stream.status(), StatusCode::OK);
        held.push(stream);
    }
    assert_eq!(open().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    let cookie = console.cookie().await;
    let other = console.ask("GET", "/api/v1/events").header("cookie", cookie).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK, "another visitor has room");
}

#[tokio::test]
async fn streams_end_with_the_sign_in() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let cookie = console.cookie().await;
    let get = |path: &str| console.ask("GET", path).header("cookie", &cookie).send();
    let mut log = get("/api/v1/containers/web/logs?follow=true").await.unwrap();
    let mut events = get("/api/v1/events").await.unwrap();
    until(&mut log, "fake login: ").await;
    until(&mut events, "event: hello").await;
    let out = console
        .ask("DELETE", "/api/v1/session")
        .header("cookie", &cookie)
        .header("origin", &console.url);
    assert_eq!(out.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    tokio::join!(to_the_end(log), to_the_end(events));
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let request = console.ask("GET", "/api/v1/containers/web/logs?follow=true").bearer_auth(&token);
    let mut log = request.send().await.unwrap();
    until(&mut log, "fake login: ").await;
    let delete = console.ask("DELETE", "/api/v1/containers/web?force=true&purge=true").bearer_auth(&token);
    console.end_of(&token, delete.send().await.unwrap()).await;
    to_the_end(log).await;
}

#[tokio::test]
async fn a_log_begins_where_it_is_asked_to() {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    let text = async |query: &str| {
        let request = console.ask("GET", &format!("/api/v1/containers/web/logs{query}")).bearer_auth(&token);
        request.send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(text("").await, "fake login: ");
    assert_eq!(text("?since=2023-11-14T22:13:20Z").await, "fake login: ");
    assert_eq!(text("?since=2023-11-14T22:14:00Z").await, "");
    let bad = console
        .ask("GET", "/api/v1/containers/web/logs?since=yesterday")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
}
