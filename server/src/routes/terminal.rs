//! Terminals over WebSocket: binary frames carry a byte for the stream and then bytes, text frames carry JSON control.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use control::Caller;
use control::exec::{Attachment, Input, Output};
use model::access::Permission;
use model::id::ExecId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::answer::Answer;
use super::table::Table;
use crate::console::Console;

/// The largest frame taken from a browser: a large paste.
const MAX_FRAME: usize = 1 << 20;
/// Replay is sent in pieces that a browser draws at once.
const PIECE: usize = 64 << 10;
/// How often a silent peer is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
const STDIN: u8 = 0;
const STDOUT: u8 = 1;

/// What a text frame says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Control {
    Resize { cols: u16, rows: u16 },
    Ack { bytes: u64 },
    Eof,
    Signal { name: String },
    Ping,
    Exit { code: i32, reason: String },
}

/// Adds the sockets.
#[must_use]
pub fn add_to(table: Table) -> Table {
    let table = table.add_plain("GET", "/ws/containers/{name}/exec/{session}", Some(Permission::Terminal), any(exec));
    table.add_plain("GET", "/ws/containers/{name}/console", Some(Permission::Terminal), any(console))
}

async fn exec(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path((name, session)): Path<(String, ExecId)>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attachment = console.control.exec.attach(&caller, &name, session).await?;
    Ok(carry(upgrade, attachment, &console))
}

async fn console(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, upgrade: WebSocketUpgrade) -> Answer<Response> {
    let attachment = console.control.exec.console(&caller, &name).await?;
    Ok(carry(upgrade, attachment, &console))
}

fn carry(upgrade: WebSocketUpgrade, attachment: Attachment, console: &Console) -> Response {
    let shutdown = console.shutdown.clone();
    upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).on_upgrade(move |socket| async move {
        // Either end may leave at any moment: that is the ordinary end.
        drop(serve(socket, attachment, shutdown).await);
    })
}

async fn serve(mut socket: WebSocket, mut attachment: Attachment, shutdown: tokio_util::sync::CancellationToken) -> Result<(), axum::Error> {
    for piece in attachment.replay.chunks(PIECE) {
        socket.send(frame(STDOUT, piece)).await?;
    }
    let mut ping = tokio::time::interval(PING);
    let mut is_alive = true;
    loop {
        tokio::select! {
            output = attachment.output.recv() => match output {
                Some(Output::Bytes { stream, bytes }) => socket.send(frame(stream, &bytes)).await?,
                Some(Output::Exit { code, reason }) => {
                    socket.send(text(&Control::Exit { code, reason })).await?;
                    return socket.send(Message::Close(None)).await;
                }
                // The sign-in ended.
                None => return socket.send(Message::Close(None)).await,
            },
            message = socket.recv() => {
                is_alive = true;
                let input = match message {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                    Some(Ok(Message::Binary(bytes))) => input_of(&bytes),
                    Some(Ok(Message::Text(text))) => control_of(&text),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                };
                if let Some(input) = input && attachment.input.send(input).await.is_err() {
                    // Nobody takes input any more; what is left of the output still comes.
                }
            }
            _ = ping.tick() => {
                if !is_alive {
                    return Ok(());
                }
                is_alive = false;
                socket.send(Message::Ping(Bytes::new())).await?;
            }
            () = shutdown.cancelled() => return socket.send(Message::Close(None)).await,
        }
    }
}

fn frame(stream: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[stream], bytes].concat().into())
}

fn text(control: &Control) -> Message {
    Message::Text(serde_json::to_string(control).unwrap_or_default().into())
}

fn input_of(bytes: &[u8]) -> Option<Input> {
    let (stream, bytes) = bytes.split_first()?;
    (*stream == STDIN).then(|| Input::Bytes(bytes.to_vec()))
}

/// What is not understood is left out: an old console and a new page understand each other.
fn control_of(text: &str) -> Option<Input> {
    match serde_json::from_str(text).ok()? {
        Control::Resize { cols, rows } => Some(Input::Resize { cols, rows }),
        Control::Ack { bytes } => Some(Input::Ack(bytes)),
        Control::Eof => Some(Input::Eof),
        Control::Signal { name } => Some(Input::Signal(name)),
        Control::Ping | Control::Exit { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_interface() {
        assert_eq!(input_of(b"\0ls\n"), Some(Input::Bytes(b"ls\n".to_vec())));
        assert_eq!(input_of(b"\x01x"), None);
        assert_eq!(control_of(r#"{"type":"resize","cols":80,"rows":24}"#), Some(Input::Resize { cols: 80, rows: 24 }));
        assert_eq!(control_of(r#"{"type":"ack","bytes":7}"#), Some(Input::Ack(7)));
        assert_eq!(control_of("nonsense"), None);
    }
}
