//! Terminals over WebSocket: who may open one (before the upgrade), the frames of the interface, and their ends.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::console::Console;

type Socket = WebSocketStream<TcpStream>;

const CONSOLE: &str = "/ws/containers/web/console";

/// Opens a socket with these headers; `Err` = the status of a refusal before the upgrade.
async fn open(console: &Console, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
    let authority = console.url.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{authority}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(authority).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn by_token(console: &Console, path: &str, token: &str) -> Socket {
    open(console, path, &[("authorization", &format!("Bearer {token}"))]).await.expect("an upgrade")
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("a frame comes");
    next.expect("the socket is open").unwrap()
}

/// Everything until the end: bytes by stream, control frames, and the close.
#[derive(Debug, Default)]
struct Heard {
    out: Vec<u8>,
    control: Vec<Value>,
    close: Option<(u16, String)>,
}

async fn to_the_end(socket: &mut Socket) -> Heard {
    let mut heard = Heard::default();
    loop {
        match next(socket).await {
            Message::Binary(frame) if frame[0] == 1 => heard.out.extend(&frame[1..]),
            Message::Text(text) => heard.control.push(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => {
                heard.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                return heard;
            }
            _ => {}
        }
    }
}

/// A command, and its socket's address.
async fn exec(console: &Console, token: &str, body: Value) -> String {
    let request = console.ask("POST", "/api/v1/containers/web/exec").bearer_auth(token);
    let answer = request.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let session = answer.json::<Value>().await.unwrap()["session"].as_str().unwrap().to_owned();
    format!("/ws/containers/web/exec/{session}")
}

fn say(control: Value) -> Message {
    Message::Text(control.to_string().into())
}

fn type_in(text: &str) -> Message {
    Message::Binary([b"\0", text.as_bytes()].concat().into())
}

async fn filled() -> (Console, String) {
    let (console, token) = Console::start_with_token().await;
    console.fill(&token).await;
    (console, token)
}

#[tokio::test]
async fn a_cookie_needs_our_own_origin_before_the_upgrade() {
    let (console, token) = filled().await;
    let cookie = console.cookie().await;
    let own = console.url.clone();
    let refused = [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("{own}.evil.example"),
        format!("{own}0"),
        own.replace("127", "evil.127"),
        own.replace("http:", "ftp:"),
    ];
    for origin in &refused {
        let answer = open(&console, CONSOLE, &[("cookie", &cookie), ("origin", origin)]).await;
        assert_eq!(answer.err(), Some(403), "{origin}");
    }
    assert_eq!(open(&console, CONSOLE, &[("cookie", &cookie)]).await.err(), Some(403), "no origin");
    let cross = [("cookie", cookie.as_str()), ("origin", own.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(open(&console, CONSOLE, &cross).await.err(), Some(403));
    assert_eq!(open(&console, CONSOLE, &[("origin", &own)]).await.err(), Some(401), "nobody");
    let dead = format!("{}x", &cookie[..cookie.len() - 1]);
    assert_eq!(open(&console, CONSOLE, &[("cookie", &dead), ("origin", &own)]).await.err(), Some(401));
    let viewer = console.token(&cookie, "viewer").await;
    assert_eq!(
        open(&console, CONSOLE, &[("authorization", &format!("Bearer {viewer}"))]).await.err(),
        Some(403)
    );
    assert!(open(&console, CONSOLE, &[("cookie", &cookie), ("origin", &own)]).await.is_ok());
    by_token(&console, CONSOLE, &token).await;
}

#[tokio::test]
async fn frames_are_those_of_the_interface() {
    let (console, token) = filled().await;
    let path = exec(&console, &token, json!({ "command": ["cat"] })).await;
    let mut socket = by_token(&console, &path, &token).await;
    assert_eq!(next(&mut socket).await, say(json!({ "type": "replayed" })));
    socket.send(type_in("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Binary(b"\x01hello".as_slice().into()));
    for control in [
        json!({ "type": "ack", "bytes": 5 }),
        json!({ "type": "resize", "cols": 80, "rows": 24 }),
        json!({ "type": "ping" }),
        json!({ "type": "of another version" }),
    ] {
        socket.send(say(control)).await.unwrap();
    }
    socket.send(Message::Binary(b"\x01not input".as_slice().into())).await.unwrap();
    socket.send(type_in(" and goodbye")).await.unwrap();
    socket.send(say(json!({ "type": "eof" }))).await.unwrap();
    let heard = to_the_end(&mut socket).await;
    assert_eq!(heard.out, b" and goodbye");
    assert_eq!((&heard.control[0]["type"], &heard.control[0]["code"]), (&json!("exit"), &json!(0)));
}

#[tokio::test]
async fn a_window_holds_output_back_until_it_is_acknowledged() {
    const WINDOW: usize = 256 << 10;
    let (console, token) = filled().await;
    let path = exec(&console, &token, json!({ "command": ["cat"] })).await;
    let mut socket = by_token(&console, &path, &token).await;
    socket.send(say(json!({ "type": "ack", "bytes": 0 }))).await.unwrap();
    let piece = "x".repeat(64 << 10);
    for _ in 0..16 {
        socket.send(type_in(&piece)).await.unwrap();
    }
    socket.send(say(json!({ "type": "eof" }))).await.unwrap();
    let (mut got, mut unacknowledged) = (0, 0);
    loop {
        match next(&mut socket).await {
            Message::Binary(frame) => {
                got += frame.len() - 1;
                unacknowledged += frame.len() - 1;
                // The piece that fills the window may reach over its edge.
                assert!(unacknowledged < WINDOW + (64 << 10), "{unacknowledged}");
                if unacknowledged >= WINDOW {
                    socket.send(say(json!({ "type": "ack", "bytes": unacknowledged }))).await.unwrap();
                    unacknowledged = 0;
                }
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    assert_eq!(got, 16 * (64 << 10), "nothing is lost");
}

#[tokio::test]
async fn a_signal_ends_a_command_and_its_code_is_told() {
    let (console, token) = filled().await;
    let path = exec(&console, &token, json!({ "command": ["sleep", "9"] })).await;
    let mut socket = by_token(&console, &path, &token).await;
    socket.send(say(json!({ "type": "signal", "name": "TERM" }))).await.unwrap();
    let heard = to_the_end(&mut socket).await;
    let exit = heard.control.iter().find(|control| control["type"] == "exit").unwrap();
    assert_eq!(exit["code"], 143);
}

#[tokio::test]
async fn a_signal_gets_past_input_that_the_command_does_not_read() {
    let (console, token) = filled().await;
    let path = exec(&console, &token, json!({ "command": ["sleep", "90"] })).await;
    let mut socket = by_token(&console, &path, &token).await;
    let piece = "x".repeat(32 << 10);
    // More than pipe and queues hold, and less than makes the console stop reading.
    for _ in 0..48 {
        socket.send(type_in(&piece)).await.unwrap();
    }
    socket.send(say(json!({ "type": "signal", "name": "INT" }))).await.unwrap();
    let heard = to_the_end(&mut socket).await;
    assert_eq!(heard.control.last().unwrap()["code"], 130);
    let acks = heard.control.iter().filter(|control| control["type"] == "ack");
    let taken: u64 = acks.filter_map(|ack| ack["bytes"].as_u64()).sum();
    assert!(taken >= 64 << 10, "what found its place is acknowledged: {taken}");
}

#[tokio::test]
async fn sockets_close_with_the_sign_in_and_say_so() {
    let (console, token) = filled().await;
    let cookie = console.cookie().await;
    let path = exec(&console, &token, json!({ "command": ["cat"], "tty": true })).await;
    let mut by_session = open(&console, CONSOLE, &[("cookie", &cookie), ("origin", &console.url)]).await.unwrap();
    let (mut terminal, mut other) = (by_token(&console, &path, &token).await, by_token(&console, CONSOLE, &token).await);
    let out = console
        .ask("DELETE", "/api/v1/session")
        .header("cookie", &cookie)
        .header("origin", &console.url);
    assert_eq!(out.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let ended = Some((1008, "your sign-in has ended".to_owned()));
    let five = Duration::from_secs(5);
    let heard = tokio::time::timeout(five, to_the_end(&mut by_session)).await.expect("it closes");
    assert_eq!(heard.close, ended);
    let revoke = console.ask("DELETE", "/api/v1/tokens/administrator").bearer_auth(&token).send().await.unwrap();
    assert_eq!(revoke.status(), StatusCode::NO_CONTENT);
    for socket in [&mut terminal, &mut other] {
        let heard = tokio::time::timeout(five, to_the_end(socket)).await.expect("it closes");
        assert_eq!(heard.close, ended);
    }
}

#[tokio::test]
async fn a_page_in_french_hears_why_in_french() {
    let (console, token) = Console::start_with_token().await;
    let cookie = format!("{}; berth_language=fr", console.cookie().await);
    let path = "/ws/containers/absent/console";
    let mut page = open(&console, path, &[("cookie", &cookie), ("origin", &console.url)]).await.unwrap();
    let heard = to_the_end(&mut page).await;
    let french = "le conteneur `absent` n’existe pas (`berth list` nomme tous les conteneurs)";
    assert_eq!(heard.close, Some((4404, french.to_owned())));
    let heard = to_the_end(&mut by_token(&console, path, &token).await).await;
    let english = "there is no container `absent` (`berth list` names all containers)";
    assert_eq!(heard.close, Some((4404, english.to_owned())));
}

#[tokio::test]
async fn what_cannot_be_attached_to_is_told_over_the_socket() {
    let (console, token) = filled().await;
    let mut absent = by_token(&console, "/ws/containers/absent/console", &token).await;
    let (code, reason) = to_the_end(&mut absent).await.close.unwrap();
    assert_eq!(code, 4404);
    assert!(reason.starts_with("there is no container `absent`"), "{reason}");
    let path = exec(&console, &token, json!({ "command": ["sleep"] })).await;
    let other = console.token(&console.cookie().await, "operator").await;
    let mut foreign = by_token(&console, &path, &other).await;
    assert_eq!(to_the_end(&mut foreign).await.close.unwrap().0, 4404, "another caller's terminal");
}

#[tokio::test]
async fn a_console_that_has_ended_shows_what_it_printed() {
    let (console, token) = filled().await;
    let mut living = by_token(&console, CONSOLE, &token).await;
    assert_eq!(next(&mut living).await, Message::Binary(b"\x01fake login: ".as_slice().into()));
    let kill = console.ask("POST", "/api/v1/containers/web/kill").bearer_auth(&token).send().await.unwrap();
    console.end_of(&token, kill).await;
    let heard = to_the_end(&mut living).await;
    assert!(heard.control.iter().any(|control| control["type"] == "exit"), "{heard:?}");
    let heard = to_the_end(&mut by_token(&console, CONSOLE, &token).await).await;
    assert_eq!(heard.out, b"fake login: ");
    let exit = heard.control.last().unwrap();
    assert_eq!((&exit["type"], &exit["reason"]), (&json!("exit"), &json!("the container does not run")));
}

#[tokio::test]
async fn terminals_are_bounded() {
    let (console, token) = filled().await;
    for _ in 0..10 {
        exec(&console, &token, json!({ "command": ["sh"], "tty": true })).await;
    }
    let open = async |token: &str, tty: bool| {
        let request = console.ask("POST", "/api/v1/containers/web/exec").bearer_auth(token);
        request.json(&json!({ "command": ["sh"], "tty": tty })).send().await.unwrap()
    };
    let refused = open(&token, true).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let body: Value = refused.json().await.unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("10"), "{body}");
    let other = console.token(&console.cookie().await, "operator").await;
    for _ in 0..10 {
        assert_eq!(open(&other, false).await.status(), StatusCode::CREATED);
    }
    assert_eq!(open(&other, false).await.status(), StatusCode::TOO_MANY_REQUESTS, "twenty in one container");
}
