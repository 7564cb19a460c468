//! Carries a session of a container between this process's own streams and the console: raw mode, window size, signals,
//! and the key that detaches.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use control::exec::Window;
use futures::stream::SplitStream;
use futures::{SinkExt as _, StreamExt as _};
use rustix::termios::{OptionalActions, Termios};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::exit;
use crate::failure::Failure;

/// Ctrl-]
const DETACH_KEY: u8 = 0x1d;
const STDIN: u8 = 0;
const STDERR: u8 = 2;
/// Read from standard input at once.
const PIECE: usize = 32 << 10;
/// How often the console hears that we live while nothing is typed.
const PING: Duration = Duration::from_secs(10);
/// As a shell shows the end by SIGPIPE.
const BROKEN_PIPE: u8 = 141;
/// 128 + SIGTERM
const TERMINATED: u8 = 143;

/// Text frames in both directions (interface.md, "Terminals").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Control {
    Resize {
        cols: u16,
        rows: u16,
    },
    Eof,
    Signal {
        name: String,
    },
    Ping,
    /// So many bytes of input have found their place.
    Ack {
        bytes: u64,
    },
    Exit {
        code: i32,
        #[serde(default)]
        reason: String,
    },
}

/// How a session ended for this command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command ended, with the code of `berth exec`.
    Exit { code: i32, reason: String },
    /// The person left; what runs inside goes on.
    Detached,
    /// Nobody reads what is printed any more, or this process was asked to end.
    Left { code: u8 },
    /// The console closed the connection without a word.
    Closed,
    /// The console said why it closed the connection.
    Refused(Failure),
}

/// What kind of session it is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Both ends are a terminal.
    pub is_tty: bool,
    /// Ctrl-] leaves.
    pub can_detach: bool,
}

/// The terminal of this process while every key goes inside; dropped, it is as it was.
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` where standard input is no terminal.
    fn enter() -> std::io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !rustix::termios::isatty(stdin) {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin, OptionalActions::Flush, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may have gone together with the person.
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Columns and rows of this process's terminal.
#[must_use]
pub fn window() -> Option<(u16, u16)> {
    let sizes = [
        rustix::termios::tcgetwinsize(rustix::stdio::stdin()),
        rustix::termios::tcgetwinsize(rustix::stdio::stdout()),
    ];
    sizes
        .into_iter()
        .flatten()
        .map(|size| (size.ws_col, size.ws_row))
        .find(|(cols, rows)| *cols > 0 && *rows > 0)
}

/// Carries everything until one end has enough; the greeting is printed once somebody answers.
///
/// # Errors
/// The connection broke, or the terminal refuses raw mode.
pub async fn carry(socket: WebSocketStream<UnixStream>, manner: Manner, greeting: Option<String>) -> Result<Ending, Failure> {
    let raw = if manner.is_tty {
        RawMode::enter().map_err(|error| exit::local("the terminal refuses raw mode", &error))?
    } else {
        None
    };
    let (mut sink, stream) = socket.split();
    let (sender, mut queue) = mpsc::channel::<Message>(16);
    // On its own, so that output is read while a command that reads no input holds up what is typed.
    tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    });
    let (detach, detached) = oneshot::channel();
    let watch = tokio::spawn(watch(sender.clone(), manner));
    let window = Arc::new(Window::default());
    tokio::spawn(type_in(sender, manner, detach, Arc::clone(&window)));
    let ending = tokio::select! {
        ending = take(stream, greeting, &window) => ending,
        Ok(()) = detached => Ok(Ending::Detached),
        Ok(code) = watch => Ok(Ending::Left { code }),
    };
    drop(raw);
    ending
}

/// Prints what comes until the end of the session.
async fn take(mut stream: SplitStream<WebSocketStream<UnixStream>>, mut greeting: Option<String>, typed: &Window) -> Result<Ending, Failure> {
    let (printer, printed) = mpsc::channel::<(u8, Bytes)>(16);
    // On a thread of its own, because a pipe that nobody reads blocks.
    let thread = tokio::task::spawn_blocking(move || print(printed));
    let mut ending = Ending::Closed;
    while let Some(message) = stream.next().await {
        let message = message.map_err(|error| exit::lost(&error))?;
        if let Some(greeting) = greeting.take_if(|_| !message.is_close()) {
            // The terminal is raw by now.
            eprint!("{greeting}\r\n");
        }
        match message {
            Message::Binary(frame) if frame.is_empty() => {}
            Message::Binary(frame) => {
                let printed = printer.send((frame[0], frame.slice(1..))).await;
                if printed.is_err() {
                    ending = Ending::Left { code: BROKEN_PIPE };
                    break;
                }
            }
            Message::Text(text) => {
                match serde_json::from_str(&text) {
                    Ok(Control::Exit { code, reason }) => {
                        ending = Ending::Exit { code, reason };
                        break;
                    }
                    Ok(Control::Ack { bytes }) => typed.taken(bytes),
                    // What this version does not know is left out.
                    _ => {}
                }
            }
            Message::Close(frame) => {
                if let Some(frame) = frame.filter(|frame| !frame.reason.is_empty()) {
                    ending = Ending::Refused(Failure::new(exit::of_close(frame.code.into()), frame.reason.to_string()));
                }
                break;
            }
            _ => {}
        }
    }
    drop(printer);
    match thread.await {
        Ok(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(exit::local("standard output cannot be written", &error)),
        _ => Ok(ending),
    }
}

fn print(mut pieces: mpsc::Receiver<(u8, Bytes)>) -> std::io::Result<()> {
    while let Some((stream, bytes)) = pieces.blocking_recv() {
        if stream == STDERR {
            std::io::stderr().lock().write_all(&bytes)?;
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Sends what is typed until its end or the key that detaches, no more of it than the console has room for: signals and
/// signs of life must not queue behind what a command does not read yet.
async fn type_in(sender: mpsc::Sender<Message>, manner: Manner, detach: oneshot::Sender<()>, window: Arc<Window>) {
    let (reader, mut typed) = mpsc::channel::<Vec<u8>>(4);
    // Never joined: a read of a terminal cannot be taken back.
    std::thread::spawn(move || {
        let mut bytes = vec![0; PIECE];
        while let Ok(got) = std::io::stdin().lock().read(&mut bytes) {
            if got == 0 || reader.blocking_send(bytes[..got].to_vec()).is_err() {
                return;
            }
        }
    });
    while let Some(bytes) = typed.recv().await {
        let (kept, is_detached) = if manner.can_detach { up_to_detach(&bytes) } else { (bytes.as_slice(), false) };
        tokio::select! {
            () = window.opened() => {}
            () = sender.closed() => return,
        }
        window.sent(kept.len());
        if !kept.is_empty() && sender.send(frame(kept)).await.is_err() {
            return;
        }
        if is_detached {
            // The other end is gone only when the session has ended anyway.
            let _ = detach.send(());
            return;
        }
    }
    if !manner.can_detach {
        drop(sender.send(text(&Control::Eof)).await);
    }
    // Held until the session ends: an end of input is no wish to leave.
    sender.closed().await;
    drop(detach);
}

/// Tells window sizes, signs of life and, without a terminal, signals. Ends with an exit code when this process shall.
async fn watch(sender: mpsc::Sender<Message>, manner: Manner) -> u8 {
    let kinds = [
        SignalKind::window_change(),
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut resized), Ok(mut interrupted), Ok(mut terminated), Ok(mut hung_up)] = kinds.map(signal) else {
        // Signals do then what they do to every process.
        return std::future::pending().await;
    };
    let mut ping = tokio::time::interval(PING);
    let size = || window().filter(|_| manner.is_tty).map(|(cols, rows)| text(&Control::Resize { cols, rows }));
    let pass = |name: &str| (!manner.is_tty).then(|| text(&Control::Signal { name: name.to_owned() }));
    let mut message = size();
    loop {
        if let Some(message) = message.take() {
            // A session that has ended needs nothing.
            drop(sender.send(message).await);
        }
        message = tokio::select! {
            _ = resized.recv() => size(),
            _ = interrupted.recv() => pass("INT"),
            _ = terminated.recv() => match pass("TERM") {
                None => return TERMINATED,
                passed => passed,
            },
            _ = hung_up.recv() => return TERMINATED,
            _ = ping.tick() => Some(text(&Control::Ping)),
        };
    }
}

fn up_to_detach(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == DETACH_KEY) {
        Some(at) => (&bytes[..at], true),
        None => (bytes, false),
    }
}

fn frame(bytes: &[u8]) -> Message {
    Message::Binary([&[STDIN], bytes].concat().into())
}

fn text(control: &Control) -> Message {
    Message::Text(serde_json::to_string(control).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_interface() {
        assert_eq!(frame(b"ls\n"), Message::Binary(Bytes::from_static(b"\0ls\n")));
        assert_eq!(
            text(&Control::Resize { cols: 80, rows: 24 }),
            Message::Text(r#"{"type":"resize","cols":80,"rows":24}"#.into())
        );
        assert_eq!(text(&Control::Eof), Message::Text(r#"{"type":"eof"}"#.into()));
        let exit: Control = serde_json::from_str(r#"{"type":"exit","code":3}"#).expect("an exit");
        assert_eq!(
            exit,
            Control::Exit {
                code: 3,
                reason: String::new()
            }
        );
    }

    #[test]
    fn what_was_typed_before_the_key_still_goes_inside() {
        assert_eq!(up_to_detach(b"ab\x1dcd"), (&b"ab"[..], true));
        assert_eq!(up_to_detach(b"abcd"), (&b"abcd"[..], false));
    }
}
