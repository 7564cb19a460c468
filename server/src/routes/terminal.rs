//! Terminals over WebSocket: binary frames carry a byte for the stream and then bytes, text frames carry JSON control.

use std::collections::VecDeque;
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
use control::exec::{Aside, Attachment, Input, Output};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use model::access::Permission;
use model::error::{ErrorBody, ErrorCode};
use model::id::ExecId;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::table::Table;
use crate::console::Console;
use crate::listen::Held;
use crate::middleware::language::Reader;

/// The largest frame taken from a browser: a large paste.
const MAX_FRAME: usize = 1 << 20;
/// Replay is sent in pieces that a browser draws at once.
const PIECE: usize = 64 << 10;
/// How often a silent peer is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// So much input may wait here while the command reads nothing; whoever minds acknowledgements never sends as much.
const MAX_WAITING: usize = 2 << 20;
/// What a piece of input weighs beside its bytes.
const PIECE_WEIGHT: usize = 64;
/// Input is acknowledged when this much has found its place.
const ACK_EVERY: u64 = 64 << 10;
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

/// What a frame from the browser carries.
#[derive(Debug, PartialEq)]
enum Said {
    Input(Input),
    Aside(Aside),
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
    Extension(reader): Extension<Reader>,
    Path((name, session)): Path<(String, ExecId)>,
    held: Option<Extension<Held>>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attached = console.control.exec.attach(&caller, &name, session).await;
    carry(upgrade, attached, &console, reader, held)
}

async fn console(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Extension(reader): Extension<Reader>,
    Path(name): Path<String>,
    held: Option<Extension<Held>>,
    upgrade: WebSocketUpgrade,
) -> Answer<Response> {
    let attached = console.control.exec.console(&caller, &name).await;
    carry(upgrade, attached, &console, reader, held)
}

/// Who may not come in is refused as any request is. Any other reason is told over the socket: a browser hides from its
/// scripts why an upgrade failed.
fn carry(
    upgrade: WebSocketUpgrade,
    attached: control::Result<Attachment>,
    console: &Console,
    reader: Reader,
    held: Option<Extension<Held>>,
) -> Answer<Response> {
    let shutdown = console.shutdown.clone();
    let upgrade = upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME);
    match attached {
        Ok(attachment) => Ok(upgrade.on_upgrade(move |socket| async move {
            let _held = held;
            serve(socket, attachment, reader, shutdown).await;
        })),
        Err(error) if matches!(error.code(), ErrorCode::SignInRequired | ErrorCode::NotAllowed) => Err(error.into()),
        Err(error) => Ok(upgrade.on_upgrade(move |mut socket| async move {
            let close = closing(code_of(error.code()), &told(reader, &error.body));
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
fn told(reader: Reader, body: &ErrorBody) -> String {
    let message = reader.said(&body.message);
    let whole = body.hint.as_ref().map(|hint| format!("{message} ({})", reader.said(hint)));
    whole.filter(|whole| whole.len() <= MAX_REASON).unwrap_or(message)
}

fn closing(code: u16, reason: &str) -> Message {
    let end = reason.floor_char_boundary(MAX_REASON);
    Message::Close(Some(CloseFrame {
        code,
        reason: reason[..end].into(),
    }))
}

/// Two halves that never wait for each other: a command that writes before it reads on must not lock itself up.
async fn serve(socket: WebSocket, attachment: Attachment, reader: Reader, shutdown: CancellationToken) {
    let Attachment {
        replay,
        output,
        input,
        asides,
        signed_out,
    } = attachment;
    let (mut sender, receiver) = socket.split();
    let (signs, over) = (Arc::new(Signs::new()), CancellationToken::new());
    let taking = tokio::spawn(take(receiver, Typed::new(input, Arc::clone(&signs)), asides, over.clone()));
    let end = tokio::select! {
        // A peer that takes nothing must not keep what has ended open.
        biased;
        () = signed_out.cancelled() => Some(closing(close_code::POLICY, &reader.said("your sign-in has ended"))),
        () = shutdown.cancelled() => Some(closing(close_code::AWAY, &reader.said("the console ends; what runs inside goes on"))),
        // The browser has gone.
        () = over.cancelled() => None,
        sent = send(&mut sender, &replay, output, &signs, reader) => match sent {
            Ok(End::Told) => Some(Message::Close(None)),
            Ok(End::Cut) if signed_out.is_cancelled() => Some(closing(close_code::POLICY, &reader.said("your sign-in has ended"))),
            Ok(End::Cut) => Some(closing(4500, &reader.said("the terminal was cut off"))),
            // Either end may leave at any moment: that is the ordinary end.
            Ok(End::Silent) | Err(_) => None,
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

/// What the half that takes tells the half that sends.
#[derive(Debug)]
struct Signs {
    /// Something came since this was asked last.
    heard: AtomicBool,
    /// Nothing is read because too much input waits: then silence says nothing, and the kernel notices a peer that is gone
    /// by the pings that it does not take.
    is_full: AtomicBool,
    /// Bytes of input that have found their place.
    placed: watch::Sender<u64>,
}

impl Signs {
    fn new() -> Self {
        Self {
            // It has just asked for the upgrade.
            heard: AtomicBool::new(true),
            is_full: AtomicBool::new(false),
            placed: watch::Sender::default(),
        }
    }

    fn of_life(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed) || self.is_full.load(Ordering::Relaxed)
    }
}

/// Input on its way to the command. What is said beside it and pongs are read on while some waits, up to a bound.
struct Typed {
    input: mpsc::Sender<Input>,
    waiting: VecDeque<Input>,
    bytes: usize,
    signs: Arc<Signs>,
}

impl Typed {
    fn new(input: mpsc::Sender<Input>, signs: Arc<Signs>) -> Self {
        Self {
            input,
            waiting: VecDeque::new(),
            bytes: 0,
            signs,
        }
    }

    /// Many small pieces weigh as much as a few large ones.
    fn weight(input: &Input) -> usize {
        PIECE_WEIGHT + length(input)
    }

    fn push(&mut self, input: Input) {
        self.bytes += Self::weight(&input);
        self.waiting.push_back(input);
    }

    fn has_room(&self) -> bool {
        let has_room = self.bytes < MAX_WAITING;
        self.signs.is_full.store(!has_room, Ordering::Relaxed);
        has_room
    }

    /// Passes the first one on. Nothing is lost when this is dropped before it ends.
    async fn pass_on(&mut self) {
        let permit = self.input.reserve().await;
        let Some(first) = self.waiting.pop_front() else { return };
        self.bytes -= Self::weight(&first);
        let length = length(&first) as u64;
        match permit {
            Ok(permit) => permit.send(first),
            // Nobody takes input any more; what is left of the output still goes out, and pongs still come in.
            Err(_) => tracing::trace!("a terminal takes no input any more"),
        }
        self.signs.placed.send_modify(|placed| *placed += length);
    }
}

fn length(input: &Input) -> usize {
    match input {
        Input::Bytes(bytes) => bytes.len(),
        Input::Eof => 0,
    }
}

/// Takes what the browser sends, until it leaves.
async fn take(mut receiver: SplitStream<WebSocket>, mut typed: Typed, asides: mpsc::Sender<Aside>, over: CancellationToken) {
    loop {
        let message = tokio::select! {
            message = receiver.next(), if typed.has_room() => message,
            () = typed.pass_on(), if !typed.waiting.is_empty() => continue,
        };
        let Some(Ok(message)) = message else { break };
        typed.signs.heard.store(true, Ordering::Relaxed);
        let said = match message {
            Message::Close(_) => break,
            Message::Binary(bytes) => input_of(&bytes).map(Said::Input),
            Message::Text(text) => control_of(&text),
            Message::Ping(_) | Message::Pong(_) => None,
        };
        match said {
            Some(Said::Input(input)) => typed.push(input),
            // An attachment that has ended needs no word any more.
            Some(Said::Aside(aside)) => drop(asides.send(aside).await),
            None => {}
        }
    }
    over.cancel();
}

async fn send(
    sender: &mut SplitSink<WebSocket, Message>,
    replay: &[u8],
    mut output: mpsc::Receiver<Output>,
    signs: &Signs,
    reader: Reader,
) -> Result<End, axum::Error> {
    for piece in replay.chunks(PIECE) {
        sender.send(frame(STDOUT, piece)).await?;
    }
    sender.send(text(&Control::Replayed)).await?;
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut placed, mut acknowledged) = (signs.placed.subscribe(), 0);
    loop {
        tokio::select! {
            printed = output.recv() => match printed {
                Some(Output::Bytes { stream, bytes }) => sender.send(frame(stream, &bytes)).await?,
                Some(Output::Exit { code, reason }) => {
                    let reason = reader.said(&reason);
                    sender.send(text(&Control::Exit { code, reason })).await?;
                    return Ok(End::Told);
                }
                None => return Ok(End::Cut),
            },
            Ok(()) = placed.changed() => {
                let bytes = *placed.borrow_and_update() - acknowledged;
                // Keys that are typed one by one are acknowledged in one word.
                if bytes >= ACK_EVERY {
                    acknowledged += bytes;
                    sender.send(text(&Control::Ack { bytes })).await?;
                }
            }
            _ = ping.tick() => {
                if !signs.of_life() {
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
fn control_of(text: &str) -> Option<Said> {
    match serde_json::from_str(text).ok()? {
        Control::Resize { cols, rows } => Some(Said::Aside(Aside::Resize { cols, rows })),
        Control::Ack { bytes } => Some(Said::Aside(Aside::Ack(bytes))),
        Control::Eof => Some(Said::Input(Input::Eof)),
        Control::Signal { name } => Some(Said::Aside(Aside::Signal(name))),
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
        assert_eq!(told(Reader::Program, &short), "there is none (look)");
        assert_eq!(told(Reader::Program, &short.hint("x".repeat(200))), "there is none");
    }

    #[test]
    fn frames_are_those_of_the_interface() {
        assert_eq!(input_of(b"\0ls\n"), Some(Input::Bytes(b"ls\n".to_vec())));
        assert_eq!(input_of(b"\x01x"), None);
        assert_eq!(
            control_of(r#"{"type":"resize","cols":80,"rows":24}"#),
            Some(Said::Aside(Aside::Resize { cols: 80, rows: 24 }))
        );
        assert_eq!(control_of(r#"{"type":"ack","bytes":7}"#), Some(Said::Aside(Aside::Ack(7))));
        assert_eq!(control_of("nonsense"), None);
    }
}
