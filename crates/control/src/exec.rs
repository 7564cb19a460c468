//! Commands inside containers, with and without a terminal, and consoles. A session belongs to whoever opened it and
//! outlives its connections: a reload attaches again and sees what was printed meanwhile. It ends with the last sign-in that
//! used it.
//!
//! Invariant: output is read only as fast as the attached take it; with a terminal nobody is attached to, it goes to the
//! scrollback alone, and a pipe is not read at all before somebody attaches, so that no byte is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::access::Permission;
use model::container::Action;
use model::engine::{ExecExit, ExecRequest};
use model::id::ExecId;
use model::{ContainerId, Timestamp};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::containers::Containers;
use crate::engine::{self, Engine};
use crate::error::{Error, Result};

mod session;
mod stream;
mod window;

pub use window::Window;

use session::{Left, Session};

/// A session that nobody watches ends after this long; an ended one is forgotten after it.
const UNWATCHED: Duration = Duration::from_secs(30 * 60);
/// Sessions at once, of all users.
const MAX_SESSIONS: usize = 512;
/// Terminals that one caller may have open. Commands without one end by themselves and are bounded by the container.
const PER_CALLER: usize = 10;
/// Commands that may run in one container, of all callers.
const PER_CONTAINER: usize = 20;
/// Of the log of a console that has ended, as much as a living one replays.
const HISTORY: u64 = 64 << 10;

/// Pieces of input that may wait for a command, once with its attachment and once with itself: each may be a large paste.
const WAITING: usize = 8;
/// What fits into the one message that carries a command to its container, with room for the rest of it.
const MAX_REQUEST: usize = 96 << 10;

/// What a session sends to whoever is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Stream 1 is output (with a terminal, everything), 2 is errors.
    Bytes { stream: u8, bytes: Vec<u8> },
    /// The end, with the code of `berth exec`; nothing follows.
    Exit { code: i32, reason: String },
}

/// What an attachment types, in its order: it waits while the command reads nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Bytes(Vec<u8>),
    /// No more input.
    Eof,
}

/// What an attachment says beside its input, past whatever waits there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    Resize {
        cols: u16,
        rows: u16,
    },
    /// By name: `INT`, `SIGTERM` ...
    Signal(String),
    /// So many bytes were taken. The first one switches flow control on.
    Ack(u64),
}

/// A connection to a session.
#[derive(Debug)]
pub struct Attachment {
    /// What was printed before.
    pub replay: Vec<u8>,
    pub output: mpsc::Receiver<Output>,
    /// Dropping it detaches.
    pub input: mpsc::Sender<Input>,
    pub asides: mpsc::Sender<Aside>,
    /// Cancelled when the sign-in that opened it has ended: output ends then too.
    pub signed_out: CancellationToken,
}

/// A session as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecInfo {
    pub id: ExecId,
    pub command: Vec<String>,
    pub user: Option<String>,
    pub tty: bool,
    pub started_at: Timestamp,
    /// Absent while it runs.
    pub exit: Option<i32>,
}

/// All sessions of this console.
#[derive(Debug)]
pub struct Execs {
    containers: Arc<Containers>,
    engine: Arc<dyn Engine>,
    access: Arc<Access>,
    clock: Clock,
    sessions: Mutex<HashMap<ExecId, Arc<Session>>>,
}

impl Execs {
    /// No session yet.
    #[must_use]
    pub fn new(containers: Arc<Containers>, engine: Arc<dyn Engine>, access: Arc<Access>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            containers,
            engine,
            access,
            clock,
            sessions: Mutex::default(),
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ExecId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command inside a running container.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` when the container does not run, or the engine's, naming its step.
    pub async fn open(&self, caller: &Caller, container: &str, request: ExecRequest) -> Result<ExecId> {
        caller.require(Permission::Terminal)?;
        let id = self.containers.running(container, Action::Exec)?;
        self.check_room(caller, id, request.tty)?;
        check_request(&request)?;
        let exec = ExecId(uuid::Uuid::new_v4());
        let session = Arc::new(Session::new(exec, id, caller, &request, self.clock.now()));
        // Known before it runs: its end may be told before the call returns.
        self.all().insert(exec, Arc::clone(&session));
        let asked = request.clone();
        let streams = engine::call(&self.engine, move |engine| engine.exec(id, exec, &asked)).await;
        let begun = match streams {
            Ok(streams) => session.begin(streams),
            Err(error) => Err(error),
        };
        self.access.record(caller, "container.exec", container, &told(&request), begun.is_ok()).await;
        if let Err(error) = begun {
            self.all().remove(&exec);
            return Err(error);
        }
        Ok(exec)
    }

    fn check_room(&self, caller: &Caller, id: ContainerId, tty: bool) -> Result<()> {
        let all = self.all();
        let living = |wanted: &dyn Fn(&Session) -> bool| all.values().filter(|session| !session.has_ended() && wanted(session)).count();
        let own = living(&|session| session.owner == caller.identity() && session.info().tty);
        let full = |what: String| Err(Error::new(model::ErrorCode::SlowDown, what).hint("end some of them"));
        if tty && own >= PER_CALLER {
            return full(format!("you have {own} terminals open, and {PER_CALLER} is the most"));
        }
        let inside = living(&|session| session.container == id);
        if inside >= PER_CONTAINER {
            return full(format!("{inside} commands run in this container, and {PER_CONTAINER} is the most"));
        }
        if all.len() >= MAX_SESSIONS {
            return full(format!("{MAX_SESSIONS} terminals are open"));
        }
        Ok(())
    }

    /// Attaches to a session, again and again if need be.
    ///
    /// # Errors
    /// `NotAllowed`, or `NotFound` when there is none that is the caller's.
    pub async fn attach(&self, caller: &Caller, container: &str, exec: ExecId) -> Result<Attachment> {
        caller.require(Permission::Terminal)?;
        let id = self.containers.id_of(container)?;
        let found = self
            .all()
            .get(&exec)
            .filter(|session| session.container == id && session.owner == caller.identity() && !session.is_ending())
            .map(Arc::clone);
        // Whose tab has seen the console end is told what became of the shell.
        let gone = || Error::new(model::ErrorCode::NotFound, "the shell is gone: it ended, or the console was started anew");
        let session = found.ok_or_else(gone)?;
        Ok(session.attach(caller, &self.engine, self.access.ended(), self.clock.boot()))
    }

    /// Attaches to the container's console. One that does not run shows what it printed last, and ends.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Conflict` while the container is made or deleted.
    pub async fn console(&self, caller: &Caller, container: &str) -> Result<Attachment> {
        caller.require(Permission::Terminal)?;
        let id = self.containers.running(container, Action::Console)?;
        let socket = match engine::call(&self.engine, move |engine| engine.console(id)).await {
            Ok(socket) => socket,
            // It may have ended at this very moment.
            Err(_) if !self.containers.is_live(id) => return self.history(id).await,
            Err(error) => return Err(error),
        };
        self.access.record(caller, "container.console", container, "", true).await;
        stream::console(id, socket, Arc::clone(&self.engine), caller, self.access.ended())
    }

    async fn history(&self, id: ContainerId) -> Result<Attachment> {
        let log = match engine::call(&self.engine, move |engine| engine.console_log(id)).await {
            Ok(log) => log,
            // It was never started.
            Err(error) if error.code() == model::ErrorCode::NotFound => return Ok(stream::history(Vec::new())),
            Err(error) => return Err(error),
        };
        let mut log = tokio::fs::File::from_std(std::fs::File::from(log));
        let read = async {
            let skipped = log.metadata().await?.len().saturating_sub(HISTORY);
            log.seek(std::io::SeekFrom::Start(skipped)).await?;
            let mut bytes = Vec::new();
            log.take(HISTORY).read_to_end(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = read
            .await
            .map_err(|error| Error::failed(format!("the console's log cannot be read ({error})")))?;
        Ok(stream::history(bytes))
    }

    /// The caller's sessions in a container, oldest first.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`.
    pub async fn list(&self, caller: &Caller, container: &str) -> Result<Vec<ExecInfo>> {
        caller.require(Permission::Terminal)?;
        let id = self.containers.id_of(container)?;
        let mut all: Vec<ExecInfo> = self
            .all()
            .values()
            .filter(|session| session.container == id && session.owner == caller.identity() && !session.is_ending())
            .map(|session| session.info())
            .collect();
        all.sort_by_key(|info| info.started_at);
        Ok(all)
    }

    /// The engine says how a command ended.
    pub fn exited(&self, exit: ExecExit) {
        let session = self.all().get(&exit.exec).map(Arc::clone);
        if let Some(session) = session {
            self.ended(&session, exit.code, exit.message.unwrap_or_default());
        }
    }

    /// One that was told to end counts until here, and nobody asks for it any more.
    fn ended(&self, session: &Arc<Session>, code: i32, reason: String) {
        session.exited(code, reason);
        if session.is_ending() {
            self.all().remove(&session.id);
        }
    }

    /// A container ended, and every command in it.
    pub fn container_ended(&self, id: ContainerId) {
        let ended: Vec<Arc<Session>> = self.all().values().filter(|session| session.container == id).map(Arc::clone).collect();
        for session in ended {
            self.ended(&session, 137, "the container ended".into());
        }
    }

    /// Ends what nobody has watched for half an hour and what no sign-in stands behind any more. Called from time to time.
    ///
    /// # Errors
    /// The store cannot say which sign-ins live.
    pub async fn sweep(&self) -> Result<()> {
        let sessions: Vec<Arc<Session>> = self.all().values().map(Arc::clone).collect();
        for session in sessions.iter().filter(|session| self.is_forgotten(session)) {
            if session.has_ended() {
                self.all().remove(&session.id);
            } else {
                session.end(&self.engine);
            }
        }
        self.end_orphans().await
    }

    fn is_forgotten(&self, session: &Session) -> bool {
        match session.left() {
            Left::Watched => false,
            Left::Never => self.clock.now().ms - session.started_at.ms >= i64::try_from(UNWATCHED.as_millis()).unwrap_or(i64::MAX),
            Left::At(at) => self.clock.boot().saturating_sub(at) >= UNWATCHED,
        }
    }

    /// Ends sessions with the last sign-in that used them (trust rule D34), as long as this is polled.
    pub async fn follow(self: Arc<Self>, mut ended: broadcast::Receiver<String>) {
        loop {
            match ended.recv().await {
                Ok(hash) => self.end_with(|other| other == hash),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if let Err(error) = self.end_orphans().await {
                        tracing::warn!(%error, "terminals whose sign-in has ended could not be found; tried again in a minute");
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// One that was opened at the very moment its sign-in ended has missed the news.
    async fn end_orphans(&self) -> Result<()> {
        // Before the sign-ins are read: whoever comes later stands on a newer one.
        let sessions: Vec<Arc<Session>> = self.all().values().map(Arc::clone).collect();
        if sessions.is_empty() {
            return Ok(());
        }
        let living = self.access.living().await?;
        self.end_those(sessions, |hash| !living.contains(hash));
        Ok(())
    }

    fn end_with(&self, is_over: impl Fn(&str) -> bool) {
        let sessions = self.all().values().map(Arc::clone).collect();
        self.end_those(sessions, is_over);
    }

    fn end_those(&self, sessions: Vec<Arc<Session>>, is_over: impl Fn(&str) -> bool) {
        for session in sessions {
            if session.lost_sign_ins(&is_over) {
                session.end(&self.engine);
            }
        }
    }
}

/// A command that would arrive cut must never run.
fn check_request(request: &ExecRequest) -> Result<()> {
    let env = request.env.iter().flat_map(|(key, value)| [key, value]);
    let parts: Vec<&String> = request.command.iter().chain(env).chain(&request.user).chain(&request.cwd).collect();
    if parts.iter().any(|part| part.contains('\0')) {
        return Err(Error::invalid(
            "command",
            "a part of the command holds a NUL byte, which no program can be given",
        ));
    }
    // Each part travels with its name.
    let bytes: usize = parts.iter().map(|part| part.len() + 8).sum();
    if bytes > MAX_REQUEST {
        let error = Error::invalid(
            "command",
            format!("the command and its environment are {bytes} bytes long, and {MAX_REQUEST} is the most"),
        );
        return Err(error.hint("put what is long into a file inside the container, or send it as input"));
    }
    Ok(())
}

/// A command as the audit log tells it: its arguments are often secrets.
fn told(request: &ExecRequest) -> String {
    let user = request.user.as_deref().unwrap_or("root");
    match request.command.as_slice() {
        [] => format!("nothing as {user}"),
        [program] => format!("{program} as {user}"),
        [program, _] => format!("{program} with 1 argument as {user}"),
        [program, arguments @ ..] => format!("{program} with {} arguments as {user}", arguments.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_is_told_no_argument() {
        let asked =
            |command: &[&str], user: Option<&str>| serde_json::from_value(serde_json::json!({ "command": command, "tty": false, "user": user })).unwrap();
        assert_eq!(
            told(&asked(&["mysql", "-u", "root", "-psecret"], Some("anna"))),
            "mysql with 3 arguments as anna"
        );
        assert_eq!(told(&asked(&["passwd", "anna"], None)), "passwd with 1 argument as root");
        assert_eq!(told(&asked(&["sh"], None)), "sh as root");
    }
}
