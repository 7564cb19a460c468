//! Terminals over WebSocket: binary frames carry a byte for the stream and then bytes, text frames carry JSON control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::any;
use control::Caller;
use control::exec::{Attachment, Input, Output};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use model::access::Permission;
use model::error::{ErrorBody, ErrorCode};
use model::id::ExecId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::table::Table;
use crate::console::Console;
use crate::listen::Held;

/// The largest frame taken from a browser: a large paste.
const MAX_FRAME: usize = 1 << 20;
/// Replay is sent in pieces that a browser draws at once.
const PIECE: usize = 64 << 10;
/// How often a silent peer is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// A browser gets so long to take the last frame.
const FAREWELL: Duration = Duration::from_secs(2);
/// RFC 6455 section 5.5: a control frame has at most 125 bytes, two of them for the code.
const MAX_REASON: usize = 123;
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
    held: Option<Extension<Held>>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attached = console.control.exec.attach(&caller, &name, session).await;
    carry(upgrade, attached, &console, held)
}

async fn console(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    held: Option<Extension<Held>>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attached = console.control.exec.console(&caller, &name).await;
    carry(upgrade, attached, &console, held)
}

/// Who may not come in is refused as any request is. Any other reason is told over the socket: a browser hides from its
/// scripts why an upgrade failed.
fn carry(upgrade: WebSocketUpgrade, attached: control::Result<Attachment>, console: &Console, held: Option<Extension<Held>>) -> Answer<Response> {
    let shutdown = console.shutdown.clone();
    let upgrade = upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME);
    match attached {
        Ok(attachment) => Ok(upgrade.on_upgrade(move |socket| async move {
            let _held = held;
            // Either end may leave at any moment: that is the ordinary end.
            drop(serve(socket, attachment, shutdown).await);
        })),
        Err(error) if matches!(error.code(), ErrorCode::SignInRequired | ErrorCode::NotAllowed) => Err(error.into()),
        Err(error) => Ok(upgrade.on_upgrade(move |mut socket| async move {
            let close = closing(code_of(error.code()), &told(&error.body));
            // A browser that has left needs no reason.
            drop(tokio::time::timeout(FAREWELL, socket.send(close)).await);
        })),
    }
}

/// The codes from 4000 on are an application's own; these are HTTP's with 4000 added.
fn code_of(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::NotFound => 4404,
        ErrorCode::Conflict | ErrorCode::Stale => 4409,
        ErrorCode::SlowDown => 4429,
        ErrorCode::Unsupported => 4501,
        _ => 4500,
    }
}

/// What and, where there is room, what to do.
fn told(body: &ErrorBody) -> String {
    let whole = body.hint.as_ref().map(|hint| format!("{} ({hint})", body.message));
    whole.filter(|whole| whole.len() <= MAX_REASON).unwrap_or_else(|| body.message.clone())
}

fn closing(code: u16, reason: &str) -> Message {
    let end = reason.floor_char_boundary(MAX_REASON);
    Message::Close(Some(CloseFrame {
        code,
        reason: reason[..end].into(),
    }))
}

/// Two halves that never wait for each other: a command that writes before it reads on must not lock itself up.
async fn serve(socket: WebSocket, attachment: Attachment, shutdown: CancellationToken) -> Result<(), axum::Error> {
    let Attachment {
        replay,
        output,
        input,
        signed_out,
    } = attachment;
    let (mut sender, receiver) = socket.split();
    let heard = Arc::new(AtomicBool::new(true));
    let over = CancellationToken::new();
    let taking = tokio::spawn(take(receiver, input, Arc::clone(&heard), over.clone()));
    let end = tokio::select! {
        // A peer that takes nothing must not keep what has ended open.
        biased;
        () = signed_out.cancelled() => Some(closing(close_code::POLICY, "your sign-in has ended")),
        () = shutdown.cancelled() => Some(closing(close_code::AWAY, "the console ends; what runs inside goes on")),
        // The browser has gone.
        () = over.cancelled() => None,
        sent = send(&mut sender, &replay, output, &heard) => match sent? {
            End::Told => Some(Message::Close(None)),
            End::Silent => None,
            End::Cut if signed_out.is_cancelled() => Some(closing(close_code::POLICY, "your sign-in has ended")),
            End::Cut => Some(closing(4500, "the terminal was cut off")),
        },
    };
    if let Some(end) = end {
        // Until the peer has read it: one that still writes would see a broken pipe before the last frames.
        let farewell = async {
            drop(sender.send(end).await);
            over.cancelled().await;
        };
        drop(tokio::time::timeout(FAREWELL, farewell).await);
    }
    taking.abort();
    Ok(())
}

/// Why nothing is sent any more.
enum End {
    /// The command or the console ended, and the browser knows.
    Told,
    /// The browser gives no sign of life.
    Silent,
    /// Output ended without a word.
    Cut,
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

async fn send(sender: &mut SplitSink<WebSocket, Message>, replay: &[u8], mut output: mpsc::Receiver<Output>, heard: &AtomicBool) -> Result<End, axum::Error> {
    for piece in replay.chunks(PIECE) {
        sender.send(frame(STDOUT, piece)).await?;
    }
    sender.send(text(&Control::Replayed)).await?;
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            printed = output.recv() => match printed {
                Some(Output::Bytes { stream, bytes }) => sender.send(frame(stream, &bytes)).await?,
                Some(Output::Exit { code, reason }) => {
                    sender.send(text(&Control::Exit { code, reason })).await?;
                    return Ok(End::Told);
                }
                None => return Ok(End::Cut),
            },
            _ = ping.tick() => {
                if !heard.swap(false, Ordering::Relaxed) {
                    return Ok(End::Silent);
                }
                sender.send(Message::Ping(Bytes::new())).await?;
            }
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
    fn a_reason_fits_its_frame_and_is_no_half_character() {
        let Message::Close(Some(frame)) = closing(4404, &"é".repeat(100)) else {
            panic!("no close");
        };
        assert_eq!((frame.code, frame.reason.len()), (4404, 122));
        let short = ErrorBody::new(ErrorCode::NotFound, "there is none").hint("look");
        assert_eq!(told(&short), "there is none (look)");
        assert_eq!(told(&short.hint("x".repeat(200))), "there is none");
    }

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
