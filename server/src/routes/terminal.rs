//! Terminals over WebSocket: binary frames carry a byte for the stream and then bytes, text frames carry JSON control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use control::Caller;
use control::exec::{Attachment, Input, Output};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use model::access::Permission;
use model::id::ExecId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
    Resize {
        cols: u16,
        rows: u16,
    },
    Ack {
        bytes: u64,
    },
    Eof,
    Signal {
        name: String,
    },
    Ping,
    /// What was printed before has been sent; live output follows.
    Replayed,
    Exit {
        code: i32,
        reason: String,
    },
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

async fn console(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attachment = console.control.exec.console(&caller, &name).await?;
    Ok(carry(upgrade, attachment, &console))
}

fn carry(upgrade: WebSocketUpgrade, attachment: Attachment, console: &Console) -> Response {
    let shutdown = console.shutdown.clone();
    upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| async move {
            // Either end may leave at any moment: that is the ordinary end.
            drop(serve(socket, attachment, shutdown).await);
        })
}

/// Two halves that never wait for each other: a command that writes before it reads on must not lock itself up.
async fn serve(socket: WebSocket, attachment: Attachment, shutdown: CancellationToken) -> Result<(), axum::Error> {
    let Attachment { replay, output, input } = attachment;
    let (sender, receiver) = socket.split();
    let heard = Arc::new(AtomicBool::new(true));
    let over = CancellationToken::new();
    let taking = tokio::spawn(take(receiver, input, Arc::clone(&heard), over.clone()));
    let sent = tokio::select! {
        sent = send(sender, &replay, output, &heard, shutdown) => sent,
        // The browser has gone.
        () = over.cancelled() => Ok(()),
    };
    taking.abort();
    sent
}

/// Takes what the browser sends, until it leaves.
async fn take(mut receiver: SplitStream<WebSocket>, input: mpsc::Sender<Input>, heard: Arc<AtomicBool>, over: CancellationToken) {
    while let Some(Ok(message)) = receiver.next().await {
        heard.store(true, Ordering::Relaxed);
        let taken = match message {
            Message::Close(_) => break,
            Message::Binary(bytes) => input_of(&bytes),
            Message::Text(text) => control_of(&text),
            Message::Ping(_) | Message::Pong(_) => None,
        };
        if let Some(taken) = taken
            && input.send(taken).await.is_err()
        {
            // Nobody takes input any more; what is left of the output still goes out, and pongs still come in.
            tracing::trace!("a terminal takes no input any more");
        }
    }
    over.cancel();
}

async fn send(
    mut sender: SplitSink<WebSocket, Message>,
    replay: &[u8],
    mut output: mpsc::Receiver<Output>,
    heard: &AtomicBool,
    shutdown: CancellationToken,
) -> Result<(), axum::Error> {
    for piece in replay.chunks(PIECE) {
        sender.send(frame(STDOUT, piece)).await?;
    }
    sender.send(text(&Control::Replayed)).await?;
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            printed = output.recv() => match printed {
                Some(Output::Bytes { stream, bytes }) => sender.send(frame(stream, &bytes)).await?,
                Some(Output::Exit { code, reason }) => {
                    sender.send(text(&Control::Exit { code, reason })).await?;
                    return sender.send(Message::Close(None)).await;
                }
                // The sign-in ended.
                None => return sender.send(Message::Close(None)).await,
            },
            _ = ping.tick() => {
                if !heard.swap(false, Ordering::Relaxed) {
                    return Ok(());
                }
                sender.send(Message::Ping(Bytes::new())).await?;
            }
            () = shutdown.cancelled() => return sender.send(Message::Close(None)).await,
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
        Control::Ping | Control::Replayed | Control::Exit { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_interface() {
        assert_eq!(input_of(b"\0ls\n"), Some(Input::Bytes(b"ls\n".to_vec())));
        assert_eq!(input_of(b"\x01x"), None);
        assert_eq!(
            control_of(r#"{"type":"resize","cols":80,"rows":24}"#),
            Some(Input::Resize { cols: 80, rows: 24 })
        );
        assert_eq!(control_of(r#"{"type":"ack","bytes":7}"#), Some(Input::Ack(7)));
        assert_eq!(control_of("nonsense"), None);
    }
}
