//! Descriptors of a command or a console, read and written without blocking a thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use model::ContainerId;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::session::SignIn;
use super::window::Window;
use super::{Aside, Attachment, Input, Output, WAITING};
use crate::caller::Caller;
use crate::engine::{Engine, ExecStreams};
use crate::error::{Error, Result};

/// Taken at once from a stream.
const CHUNK: usize = 16 << 10;

/// One end of a stream.
#[derive(Debug)]
pub(super) struct End(AsyncFd<OwnedFd>);

impl End {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; what it warns of cannot happen to an OwnedFd, which stays open as long as it is registered"
    )]
    fn open(descriptor: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? | OFlags::NONBLOCK)?;
        AsyncFd::new(descriptor).map(Self)
    }

    /// What comes next; `None` at the end. A terminal whose last user is gone fails with EIO, which is its end.
    pub async fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; CHUNK];
        loop {
            let mut ready = self.0.readable().await.ok()?;
            let read = ready.try_io(|end| rustix::io::read(end.get_ref(), &mut bytes).map_err(io::Error::from));
            match read {
                Ok(Ok(0)) => return None,
                Ok(Ok(got)) => {
                    bytes.truncate(got);
                    return Some(bytes);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return None,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes everything.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|end| rustix::io::write(end.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Ok(written)) => bytes = bytes.get(written..).unwrap_or_default(),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

/// The ends of a command's streams.
#[derive(Debug)]
pub(super) struct Ends {
    pub stdin: End,
    pub stdout: End,
    pub stderr: Option<End>,
}

impl Ends {
    pub fn open(streams: ExecStreams) -> io::Result<Self> {
        Ok(Self {
            stdin: End::open(streams.stdin)?,
            stdout: End::open(streams.stdout)?,
            stderr: streams.stderr.map(End::open).transpose()?,
        })
    }
}

impl End {
    /// What can be read at once.
    fn waiting(&self) -> Vec<u8> {
        let (mut all, mut bytes) = (Vec::new(), vec![0; CHUNK]);
        while let Ok(got) = rustix::io::read(self.0.get_ref(), &mut bytes) {
            if got == 0 {
                break;
            }
            all.extend_from_slice(bytes.get(..got).unwrap_or_default());
        }
        all
    }
}

/// Carries a console both ways. Its scrollback stands in the socket already. Reading waits for the viewer's window and
/// writing for nobody, so that an interrupt gets through a flood.
pub(super) fn console(id: ContainerId, socket: OwnedFd, engine: Arc<dyn Engine>, caller: &Caller, ended: broadcast::Receiver<String>) -> Result<Attachment> {
    let end = End::open(socket).map_err(|error| Error::failed(format!("the console's socket cannot be used ({error})")))?;
    let replay = end.waiting();
    let (sender, output) = mpsc::channel(64);
    let (input, typed) = mpsc::channel(WAITING);
    let (asides, said) = mpsc::channel(64);
    let signed_out = CancellationToken::new();
    let mut sign_in = SignIn {
        session: caller.session.clone(),
        ended,
        signed_out: signed_out.clone(),
    };
    tokio::spawn(async move {
        let window = Window::default();
        tokio::select! {
            () = show(&end, &sender, &window) => {}
            () = type_in(&end, typed) => {}
            () = obey(id, said, &window, &engine) => {}
            () = sign_in.ended() => {}
            () = sender.closed() => {}
        }
    });
    Ok(Attachment {
        replay,
        output,
        input,
        asides,
        signed_out,
    })
}

/// Reads as fast as the viewer takes it: the shim keeps nobody waiting for one that is slow.
async fn show(end: &End, sender: &mpsc::Sender<Output>, window: &Window) {
    loop {
        window.opened().await;
        let Some(bytes) = end.read().await else {
            let reason = "the container ended".into();
            // Whoever has gone needs nothing.
            return drop(sender.send(Output::Exit { code: 0, reason }).await);
        };
        window.sent(bytes.len());
        if sender.send(Output::Bytes { stream: 1, bytes }).await.is_err() {
            return;
        }
    }
}

async fn type_in(end: &End, mut typed: mpsc::Receiver<Input>) {
    while let Some(input) = typed.recv().await {
        // A console has no end of input; one that takes nothing any more has ended, which its reader tells.
        if let Input::Bytes(bytes) = input {
            drop(end.write(&bytes).await);
        }
    }
}

/// Never ends, because input may still be on its way.
async fn obey(id: ContainerId, mut said: mpsc::Receiver<Aside>, window: &Window, engine: &Arc<dyn Engine>) {
    while let Some(aside) = said.recv().await {
        match aside {
            Aside::Ack(bytes) => window.taken(bytes),
            Aside::Resize { cols, rows } => {
                if let Err(error) = crate::engine::call(engine, move |engine| engine.resize_console(id, cols, rows)).await {
                    tracing::debug!(container.id = %id, %error, "the console could not be resized");
                }
            }
            Aside::Signal(_) => {}
        }
    }
    std::future::pending().await
}

/// What a console that has ended showed last; it takes no input.
pub(super) fn history(replay: Vec<u8>) -> Attachment {
    let (sender, output) = mpsc::channel(1);
    let (input, _) = mpsc::channel(1);
    let (asides, _) = mpsc::channel(1);
    let reason = "the container does not run".into();
    // The channel is new and empty: there is room.
    drop(sender.try_send(Output::Exit { code: 0, reason }));
    Attachment {
        replay,
        output,
        input,
        asides,
        signed_out: CancellationToken::new(),
    }
}

/// The number of a signal by its name, with or without `SIG` (signal(7), on x86 and ARM).
pub(super) fn signal_number(name: &str) -> Option<i32> {
    let name = name.to_ascii_uppercase();
    let number = match name.strip_prefix("SIG").unwrap_or(&name) {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => 15,
        "CONT" => 18,
        "STOP" => 19,
        "TSTP" => 20,
        "WINCH" => 28,
        _ => return None,
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_numbers() {
        assert_eq!(signal_number("SIGINT"), Some(2));
        assert_eq!(signal_number("term"), Some(15));
        assert_eq!(signal_number("NOSUCH"), None);
    }

    #[tokio::test]
    async fn a_pipe_carries_bytes_and_ends() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let (reader, writer) = (End::open(reader).expect("an end"), End::open(writer).expect("an end"));
        writer.write(b"hello").await.expect("room");
        assert_eq!(reader.read().await.as_deref(), Some(&b"hello"[..]));
        drop(writer);
        assert_eq!(reader.read().await, None);
    }
}
