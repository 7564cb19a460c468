//! One session: its command's streams, its scrollback and everybody who is attached.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::engine::ExecRequest;
use model::id::ExecId;
use model::{ContainerId, Timestamp};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::stream::{Ends, signal_number};
use super::window::Window;
use super::{Aside, Attachment, ExecInfo, Input, Output, WAITING};
use crate::caller::{Caller, Identity};
use crate::engine::{Engine, ExecStreams};
use crate::error::{Error, Result};

/// Scrollback kept for an attach.
const SCROLLBACK: usize = 2 << 20;
/// How long output may still come after the command's end, from what it left running.
const DRAIN: Duration = Duration::from_secs(1);

/// So long a command has to end by itself once it was hung up.
const MERCY: Duration = Duration::from_secs(5);

/// Whether somebody is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Watched,
    Never,
    /// Time since boot.
    At(Duration),
}

#[derive(Debug)]
pub(super) struct Session {
    pub id: ExecId,
    pub container: ContainerId,
    pub owner: Identity,
    pub started_at: Timestamp,
    command: Vec<String>,
    user: Option<String>,
    tty: bool,
    state: Mutex<State>,
    /// Something changed that a reader may wait for: an attachment or the end.
    changed: Notify,
    input: mpsc::Sender<Input>,
    /// Taken by the writer once the command runs.
    typed: Mutex<Option<mpsc::Receiver<Input>>>,
}

#[derive(Debug)]
struct State {
    scrollback: VecDeque<u8>,
    viewers: Vec<Arc<Viewer>>,
    left: Left,
    /// As the engine told it.
    exit: Option<(i32, String)>,
    /// Streams that are still open.
    open: usize,
    /// The exit was told to everybody.
    is_over: bool,
    /// It was told to end.
    is_ending: bool,
    /// Sign-ins that have used it; with the last of them it ends. None = it was opened by the local socket.
    sign_ins: BTreeSet<String>,
}

/// Somebody who is attached.
#[derive(Debug)]
struct Viewer {
    sender: mpsc::Sender<Output>,
    window: Window,
}

impl Session {
    pub fn new(id: ExecId, container: ContainerId, caller: &Caller, request: &ExecRequest, now: Timestamp) -> Self {
        let (input, typed) = mpsc::channel(WAITING);
        let state = State {
            scrollback: VecDeque::new(),
            viewers: Vec::new(),
            left: Left::Never,
            exit: None,
            open: usize::MAX,
            is_over: false,
            is_ending: false,
            sign_ins: caller.session.iter().cloned().collect(),
        };
        Self {
            id,
            container,
            owner: caller.identity(),
            started_at: now,
            command: request.command.clone(),
            user: request.user.clone(),
            tty: request.tty,
            state: Mutex::new(state),
            changed: Notify::new(),
            input,
            typed: Mutex::new(Some(typed)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn info(&self) -> ExecInfo {
        let exit = self.state().exit.as_ref().map(|(code, _)| *code);
        ExecInfo {
            id: self.id,
            command: self.command.clone(),
            user: self.user.clone(),
            tty: self.tty,
            started_at: self.started_at,
            exit,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.state().exit.is_some()
    }

    pub fn is_ending(&self) -> bool {
        self.state().is_ending
    }

    /// Forgets sign-ins that are over; whether the last of them was among those.
    pub fn lost_sign_ins(&self, is_over: impl Fn(&str) -> bool) -> bool {
        let mut state = self.state();
        let before = state.sign_ins.len();
        state.sign_ins.retain(|hash| !is_over(hash));
        before > 0 && state.sign_ins.is_empty()
    }

    pub fn left(&self) -> Left {
        self.state().left
    }

    /// Begins to carry bytes.
    pub fn begin(self: &Arc<Self>, streams: ExecStreams) -> Result<()> {
        let ends = Ends::open(streams).map_err(|error| Error::failed(format!("the command's streams cannot be used ({error})")))?;
        let readers = 1 + usize::from(ends.stderr.is_some());
        self.state().open = readers;
        for (number, end) in [(1, Some(ends.stdout)), (2, ends.stderr)] {
            if let Some(end) = end {
                let session = Arc::clone(self);
                tokio::spawn(async move {
                    session.wait_for_attached().await;
                    while let Some(bytes) = end.read().await {
                        session.printed(number, bytes).await;
                    }
                    session.stream_ended();
                });
            }
        }
        let typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(typed) = typed {
            tokio::spawn(Arc::clone(self).write(typed, ends.stdin));
        }
        Ok(())
    }

    /// What a pipe carries is kept nowhere: it is read once somebody takes it.
    async fn wait_for_attached(&self) {
        loop {
            // Made before the look, so that no news falls in between.
            let changed = self.changed.notified();
            if self.tty || self.left() != Left::Never {
                return;
            }
            changed.await;
        }
    }

    async fn printed(&self, stream: u8, bytes: Vec<u8>) {
        let viewers = {
            let mut state = self.state();
            if self.tty {
                state.scrollback.extend(&bytes);
                let excess = state.scrollback.len().saturating_sub(SCROLLBACK);
                state.scrollback.drain(..excess);
            }
            state.viewers.clone()
        };
        for viewer in viewers {
            tokio::select! {
                () = viewer.window.opened() => {}
                () = viewer.sender.closed() => continue,
            }
            viewer.window.sent(bytes.len());
            // Whoever has gone needs nothing.
            drop(viewer.sender.send(Output::Bytes { stream, bytes: bytes.clone() }).await);
        }
    }

    fn stream_ended(self: &Arc<Self>) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 && state.exit.is_some() {
            self.finish(state);
        }
    }

    /// The command ended; what it printed last is still on its way.
    pub fn exited(self: &Arc<Self>, code: i32, reason: String) {
        let mut state = self.state();
        if state.exit.is_some() {
            return;
        }
        state.exit = Some((code, reason));
        if state.open == 0 {
            return self.finish(state);
        }
        drop(state);
        let session = Arc::clone(self);
        tokio::spawn(async move {
            // What the command left running may keep its streams open for ever; a pipe that nobody has attached to waits.
            session.wait_for_attached().await;
            tokio::time::sleep(DRAIN).await;
            let state = session.state();
            session.finish(state);
        });
    }

    fn finish(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        let (code, reason) = state.exit.clone().unwrap_or_default();
        for viewer in std::mem::take(&mut state.viewers) {
            let (sender, exit) = (viewer.sender.clone(), Output::Exit { code, reason: reason.clone() });
            tokio::spawn(async move { drop(sender.send(exit).await) });
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn attach(self: &Arc<Self>, caller: &Caller, engine: &Arc<dyn Engine>, ended: broadcast::Receiver<String>, now: Duration) -> Attachment {
        let (sender, output) = mpsc::channel(64);
        let (input, typed) = mpsc::channel(WAITING);
        let (asides, said) = mpsc::channel(64);
        let viewer = Arc::new(Viewer {
            sender,
            window: Window::default(),
        });
        let signed_out = CancellationToken::new();
        let replay = {
            let mut state = self.state();
            let replay: Vec<u8> = state.scrollback.iter().copied().collect();
            if state.is_over {
                let (code, reason) = state.exit.clone().unwrap_or_default();
                // The channel is new and empty: there is room.
                drop(viewer.sender.try_send(Output::Exit { code, reason }));
            } else {
                state.viewers.push(Arc::clone(&viewer));
            }
            state.left = Left::Watched;
            state.sign_ins.extend(caller.session.clone());
            replay
        };
        self.changed.notify_waiters();
        let watch = SignIn {
            session: caller.session.clone(),
            ended,
            signed_out: signed_out.clone(),
        };
        let (session, engine) = (Arc::clone(self), Arc::clone(engine));
        tokio::spawn(async move { session.carry(&viewer, typed, said, watch, now, &engine).await });
        Attachment {
            replay,
            output,
            input,
            asides,
            signed_out,
        }
    }

    /// Carries what one attachment sends until it or its sign-in ends, whether the command reads its input or not.
    async fn carry(
        &self,
        viewer: &Arc<Viewer>,
        typed: mpsc::Receiver<Input>,
        said: mpsc::Receiver<Aside>,
        mut sign_in: SignIn,
        attached_at: Duration,
        engine: &Arc<dyn Engine>,
    ) {
        let since = std::time::Instant::now();
        tokio::select! {
            () = self.pass_on(typed) => {}
            () = self.obey(said, viewer, engine) => {}
            () = sign_in.ended() => {}
            () = viewer.sender.closed() => {}
        }
        let mut state = self.state();
        state.viewers.retain(|other| !Arc::ptr_eq(other, viewer));
        if state.viewers.is_empty() {
            state.left = Left::At(attached_at + since.elapsed());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    async fn pass_on(&self, mut typed: mpsc::Receiver<Input>) {
        while let Some(input) = typed.recv().await {
            // An ended command takes nothing any more.
            drop(self.input.send(input).await);
        }
    }

    /// Does at once what is said beside the input; never ends, because input may still be on its way.
    async fn obey(&self, mut said: mpsc::Receiver<Aside>, viewer: &Viewer, engine: &Arc<dyn Engine>) {
        let (id, exec) = (self.container, self.id);
        while let Some(aside) = said.recv().await {
            let told = match aside {
                Aside::Ack(bytes) => {
                    viewer.window.taken(bytes);
                    Ok(())
                }
                Aside::Resize { cols, rows } => crate::engine::call(engine, move |engine| engine.resize_exec(id, exec, cols, rows)).await,
                Aside::Signal(name) => match signal_number(&name) {
                    Some(number) => crate::engine::call(engine, move |engine| engine.signal_exec(id, exec, number)).await,
                    None => Ok(()),
                },
            };
            if let Err(error) = told {
                tracing::debug!(exec.id = %exec, %error, "a command could not be told");
            }
        }
        std::future::pending().await
    }

    async fn write(self: Arc<Self>, mut typed: mpsc::Receiver<Input>, stdin: super::stream::End) {
        let mut stdin = Some(stdin);
        while let Some(input) = typed.recv().await {
            match (input, &stdin) {
                (Input::Bytes(bytes), Some(end)) => {
                    if end.write(&bytes).await.is_err() {
                        stdin = None;
                    }
                }
                // VEOF; a terminal that is gone takes nothing.
                (Input::Eof, Some(end)) if self.tty => drop(end.write(&[4]).await),
                (Input::Eof, _) => stdin = None,
                (Input::Bytes(_), None) => {}
            }
            if self.state().is_over {
                return;
            }
        }
    }

    /// Ends it as a terminal that is unplugged, and kills what does not mind.
    pub fn end(self: &Arc<Self>, engine: &Arc<dyn Engine>) {
        const HANG_UP: i32 = 1;
        const KILL: i32 = 9;
        if self.has_ended() || std::mem::replace(&mut self.state().is_ending, true) {
            return;
        }
        let (session, engine) = (Arc::clone(self), Arc::clone(engine));
        tokio::spawn(async move {
            session.send(HANG_UP, &engine).await;
            tokio::time::sleep(MERCY).await;
            if !session.has_ended() {
                session.send(KILL, &engine).await;
            }
        });
    }

    async fn send(&self, signal: i32, engine: &Arc<dyn Engine>) {
        let (id, exec) = (self.container, self.id);
        if let Err(error) = crate::engine::call(engine, move |engine| engine.signal_exec(id, exec, signal)).await {
            tracing::debug!(exec.id = %exec, signal, %error, "a command could not be told to end");
        }
    }
}

/// The sign-in that an attachment stands on.
#[derive(Debug)]
pub(super) struct SignIn {
    pub session: Option<String>,
    pub ended: broadcast::Receiver<String>,
    pub signed_out: CancellationToken,
}

impl SignIn {
    /// Waits until it has ended, and says so.
    pub async fn ended(&mut self) {
        while !is_ours(&self.ended.recv().await, self.session.as_deref()) {}
        self.signed_out.cancel();
    }
}

/// Whether the sign-in that ended is this one. Having missed some means that it may be.
fn is_ours(hash: &std::result::Result<String, broadcast::error::RecvError>, session: Option<&str>) -> bool {
    match hash {
        Ok(hash) => session == Some(hash.as_str()),
        Err(broadcast::error::RecvError::Lagged(_)) => session.is_some(),
        Err(broadcast::error::RecvError::Closed) => true,
    }
}
