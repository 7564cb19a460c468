//! The client of `<run-dir>/berth.sock`: one HTTP connection per request, errors as the line and the exit code they mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use futures::Stream;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use model::error::ErrorBody;
use model::id::TaskId;
use model::task::Task;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

use super::exit;
use super::news::News;
use crate::failure::Failure;

/// The name that the console answers to on its local socket.
const AUTHORITY: &str = "localhost";
/// The largest answer that is taken: a list of many thousand containers.
const MAX_ANSWER: usize = 256 << 20;
/// Where the console opens no stream of events for us, tasks are asked after first this soon, later less and less often: the
/// wait is at most half as long again as the task.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(250);

/// What the console answers when something went wrong.
#[derive(Debug, Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

/// Speaks to one console.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the console with this run directory.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self {
            socket: run_dir.join("berth.sock"),
        }
    }

    /// `GET`, with a JSON answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Method::GET, path, Body::empty()).await
    }

    /// `POST` with a JSON body and a JSON answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.json(Method::POST, path, json(body)?).await
    }

    /// `PATCH` with a JSON body and a JSON answer.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.json(Method::PATCH, path, json(body)?).await
    }

    /// `DELETE` with a JSON answer.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(Method::DELETE, path, Body::empty()).await
    }

    /// A request whose answer has no content that matters.
    pub async fn tell(&self, method: Method, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.send(method, path, json(body)?).await.map(drop)
    }

    /// `POST` with a body that is no JSON; the answer is.
    pub async fn upload<T: DeserializeOwned>(&self, path: &str, body: Body) -> Result<T, Failure> {
        let request = Request::post(path)
            .header(HOST, AUTHORITY)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body);
        let request = request.map_err(|error| exit::unclear(&error))?;
        decode(self.exchange(request).await?).await
    }

    /// `GET` whose answer is read as it comes.
    pub async fn stream(&self, path: &str) -> Result<impl Stream<Item = Result<axum::body::Bytes, axum::Error>> + use<>, Failure> {
        Ok(self.send(Method::GET, path, Body::empty()).await?.into_body().into_data_stream())
    }

    /// Opens a WebSocket.
    pub async fn socket(&self, path: &str) -> Result<WebSocketStream<UnixStream>, Failure> {
        let stream = self.connect().await?;
        match tokio_tungstenite::client_async(format!("ws://{AUTHORITY}{path}"), stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(answer)) => Err(refusal(answer.status(), answer.body().as_deref().unwrap_or_default())),
            Err(error) => Err(exit::lost(&error)),
        }
    }

    /// Waits until the task is over and its end is in the store; `seen` gets every new picture of it.
    pub async fn follow(&self, id: TaskId, mut seen: impl FnMut(&Task)) -> Result<Task, Failure> {
        let path = format!("/api/v1/tasks/{id}");
        // Opened before the first look, so that nothing falls in between. Many may be open already.
        let mut news = match self.stream("/api/v1/events").await {
            Ok(stream) => News::of(stream).await,
            Err(_) => None,
        };
        let mut pause = FIRST_LOOK;
        loop {
            let task: Task = self.get(&path).await?;
            seen(&task);
            if task.state.is_over() {
                return Ok(task);
            }
            if let Some(told) = &mut news {
                if !told.until_over(id, &mut seen).await {
                    news = None;
                }
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LAST_LOOK);
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, Failure> {
        decode(self.send(method, path, body).await?).await
    }

    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response<Body>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, AUTHORITY)
            .header(CONTENT_TYPE, "application/json");
        self.exchange(request.body(body).map_err(|error| exit::unclear(&error))?).await
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Response<Body>, Failure> {
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|error| exit::lost(&error))?;
        // It ends with the answer; what went wrong shows there.
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(|error| exit::lost(&error))?.map(Body::new);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), MAX_ANSWER)
            .await
            .map_err(|error| exit::lost(&error))?;
        Err(refusal(status, &body))
    }

    async fn connect(&self) -> Result<UnixStream, Failure> {
        UnixStream::connect(&self.socket).await.map_err(|error| exit::unreachable(&self.socket, &error))
    }
}

fn json(body: &impl Serialize) -> Result<Body, Failure> {
    serde_json::to_vec(body).map(Body::from).map_err(|error| exit::unclear(&error))
}

async fn decode<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Failure> {
    let body = axum::body::to_bytes(response.into_body(), MAX_ANSWER)
        .await
        .map_err(|error| exit::lost(&error))?;
    serde_json::from_slice(&body).map_err(|error| exit::unclear(&error))
}

/// The error that an answer carries, or one made of its status.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<ErrorAnswer>(body) {
        Ok(answer) => Failure::from(answer.error),
        Err(_) => Failure::new(
            exit::of_status(status.as_u16()),
            format!("the console refused (HTTP status {status}; see its log)"),
        ),
    }
}

/// One segment of a path: everything but unreserved characters (RFC 3986) is escaped.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// A query of the pairs that have a value; empty when none has.
#[must_use]
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={}", segment(value))));
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(segment("../a b?c"), "..%2Fa%20b%3Fc");
        assert_eq!(segment("images:debian/13"), "images%3Adebian%2F13");
    }

    #[test]
    fn a_query_holds_what_was_given() {
        assert_eq!(query(&[("a", None), ("b", Some("x&y".into())), ("c", Some("1".into()))]), "?b=x%26y&c=1");
        assert_eq!(query(&[("a", None)]), "");
    }

    #[test]
    fn a_refusal_keeps_the_code_of_the_answer() {
        let body = br#"{"error":{"code":"not_found","message":"there is no container `x`","hint":"see `berth list`"}}"#;
        let failure = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!((failure.code, failure.what.as_str()), (3, "there is no container `x` (see `berth list`)"));
        assert_eq!(refusal(StatusCode::CONFLICT, b"no JSON").code, 4);
        assert_eq!(refusal(StatusCode::BAD_GATEWAY, b"").code, 1);
    }
}
