//! Joining a running container: a command in all its namespaces and cgroups, born through a process that the guest cannot
//! look into. Called by the shim, which stays the command's parent.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::{At, Error, Result};
use crate::init::console::{self, Terminal};
use crate::init::identity;
use crate::shim::protocol::{self, Fields};
use crate::sys::{self, Cloned};

pub mod user;

/// Where a command runs.
#[derive(Debug)]
pub struct Place<'a> {
    /// The container's init.
    pub init: BorrowedFd<'a>,
    /// The group of the unified hierarchy to be born in.
    pub unified: Option<BorrowedFd<'a>>,
    /// Groups of version 1.
    pub v1: Vec<BorrowedFd<'a>>,
}

/// A command that runs, or one that ended before it could.
#[derive(Debug)]
pub struct Spawned {
    pub pid: i32,
    /// Our ends: one terminal, or input, output and errors.
    pub streams: Vec<OwnedFd>,
    /// Why it never ran, with the exit code for it (126, 127).
    pub failure: Option<(i32, String)>,
}

const NAMESPACES: i32 =
    libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWCGROUP;
/// A guest's own file system could make an open hang: the shim must not hang with it.
const PATIENCE_MS: i64 = 10_000;

/// Starts the command of `fields` (`arg`, `tty`, `user`, `cwd`, `env`, `cols`, `rows`).
///
/// # Errors
/// Berth's own failures; what the command itself lacks is in [`Spawned::failure`].
pub fn spawn(place: &Place<'_>, fields: &Fields) -> Result<Spawned> {
    let step = "start a command in the container";
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
    let tasks: Vec<OwnedFd> = place.v1.iter().map(|group| open_tasks(*group)).collect::<Result<_>>()?;
    let (mut streams, inside) = if fields.get("tty") == Some("yes") {
        (Vec::new(), Vec::new())
    } else {
        pipes().at(step, "pipe2()")?
    };
    let (joiner, pidfd) = match sys::clone3(0, place.unified).at(step, "clone3(CLONE_INTO_CGROUP)")? {
        Cloned::Child => join(place.init, &tasks, &theirs, &inside, fields),
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((theirs, inside));
    let mut spawned = Spawned {
        pid: 0,
        streams: Vec::new(),
        failure: None,
    };
    let outcome = follow(&ours, &mut spawned);
    if outcome.is_err() {
        // It may be stuck, frozen even, and would be waited for for ever; gone already, perhaps.
        drop(sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL));
    }
    // The joiner has ended by now, or must.
    if let Some(pid) = rustix::process::Pid::from_raw(joiner) {
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).ok();
    }
    if outcome.is_err() && spawned.pid == 0 {
        // It may have made the command's process in its last moment.
        while protocol::is_readable(&ours, 0).unwrap_or(false)
            && let Ok(Some((message, _))) = protocol::receive(&ours)
        {
            if let Some(pid) = message.number("pid") {
                kill(pid);
            }
        }
    }
    outcome?;
    spawned.streams.append(&mut streams);
    Ok(spawned)
}

fn open_tasks(group: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(group, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).at("join the cgroups", "openat(\"tasks\")")
}

type Ends = Vec<OwnedFd>;

/// Our ends and the command's ends of input, output and errors.
fn pipes() -> io::Result<(Ends, Ends)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((in_read, in_write), (out_read, out_write), (err_read, err_write)) = (pipe()?, pipe()?, pipe()?);
    Ok((vec![in_write, out_read, err_read], vec![in_read, out_write, err_write]))
}

/// Hears from the joiner and the command until the command runs or has failed.
fn follow(socket: &OwnedFd, spawned: &mut Spawned) -> Result<()> {
    let step = "start a command in the container";
    loop {
        if !protocol::is_readable(socket, PATIENCE_MS).at(step, "poll()")? {
            if spawned.pid > 0 {
                kill(spawned.pid);
            }
            return Err(Error::failed(step, "the command was not executed within 10 s").hint("a file system inside the container may hang"));
        }
        let Some((message, mut descriptors)) = protocol::receive(socket).at(step, "recvmsg()")? else {
            return if spawned.pid > 0 {
                Ok(())
            } else {
                Err(Error::failed(step, "the joining process died"))
            };
        };
        match message.get("command") {
            Some("pid") => spawned.pid = message.number("pid").unwrap_or(0),
            Some("terminal") => spawned.streams.extend(descriptors.pop()),
            _ => {
                let code = message.number("exit-code").unwrap_or(125);
                if code == 125 {
                    if spawned.pid > 0 {
                        kill(spawned.pid);
                    }
                    return Err(protocol::told(&message));
                }
                spawned.failure = Some((code, message.get("message").unwrap_or("unknown").to_owned()));
            }
        }
    }
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        // Our own unreaped child: the number cannot mean another process.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}

/// In the joiner: cgroups first, then unseen by the guest, then all namespaces at once, then the command's own process.
fn join(init: BorrowedFd<'_>, tasks: &[OwnedFd], socket: &OwnedFd, inside: &[OwnedFd], fields: &Fields) -> ! {
    identity::ordinary_limits();
    identity::ordinary_oom_score(None);
    let joined = (|| -> Result<()> {
        for file in tasks {
            rustix::io::write(file, b"0").at("join the cgroups", "write(\"tasks\", \"0\")")?;
        }
        let step = "join the container";
        sys::prctl(libc::PR_SET_DUMPABLE, 0).at(step, "prctl(PR_SET_DUMPABLE, 0)")?;
        sys::join_namespaces(init, NAMESPACES).at(step, "setns(pidfd)")?;
        // A sibling of this process: the shim stays the parent of what runs.
        match sys::clone3(libc::CLONE_PARENT as u64, None).at(step, "clone3(CLONE_PARENT)")? {
            Cloned::Child => become_command(socket, inside, fields),
            Cloned::Parent { pid, .. } => protocol::send(socket, &Fields::command("pid").with("pid", pid), &[]).at(step, "sendmsg()"),
        }
    })();
    if let Err(error) = joined {
        tell(socket, 125, &error);
    }
    sys::exit_now(0)
}

/// 125 is a failure of Berth's own; 126 and 127 are the command's.
fn tell(socket: &OwnedFd, exit_code: i32, error: &Error) {
    let message = protocol::failure(error).with("exit-code", exit_code);
    // Who does not hear it sees the socket close.
    drop(protocol::send(socket, &message, &[]));
}

fn become_command(socket: &OwnedFd, inside: &[OwnedFd], fields: &Fields) -> ! {
    let code = match prepare(socket, inside, fields) {
        Ok(command) => {
            let failed = command.execute();
            let code = if failed.raw_os_error() == Some(libc::ENOENT) { 127 } else { 126 };
            tell(socket, code, &Error::io("execute the command", &format!("execve({:?})", command.name), failed));
            code
        }
        Err(error) => {
            tell(socket, 125, &error);
            125
        }
    };
    sys::exit_now(code)
}

/// A command with everything decided.
struct Command {
    name: String,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    path: String,
}

fn prepare(socket: &OwnedFd, inside: &[OwnedFd], fields: &Fields) -> Result<Command> {
    identity::become_root()?;
    let account = user::find(fields.get("user").unwrap_or("root"))?;
    if fields.get("tty") == Some("yes") {
        let step = "open a terminal";
        let pts = openat(
            CWD,
            "/dev/pts",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .at(step, "open(\"/dev/pts\")")?;
        let terminal = Terminal::open(pts.as_fd())?;
        if let (Some(cols), Some(rows)) = (fields.number("cols"), fields.number("rows")) {
            sys::set_terminal_size(terminal.master.as_fd(), cols, rows).at(step, "ioctl(TIOCSWINSZ)")?;
        }
        // So that the user may open it again by its name.
        rustix::fs::fchown(&terminal.slave, Some(rustix::fs::Uid::from_raw(account.uid)), None).at(step, "fchown(terminal)")?;
        console::take(terminal.slave.as_fd())?;
        protocol::send(socket, &Fields::command("terminal"), &[terminal.master.as_fd()]).at(step, "sendmsg()")?;
    } else {
        rustix::process::setsid().at("start a command in the container", "setsid()")?;
        for (number, end) in (0..).zip(inside) {
            sys::duplicate_onto(end.as_fd(), number).at("start a command in the container", "dup2()")?;
        }
    }
    // The shim's own files are nobody else's; the command's are as its user expects.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    identity::own_keyring()?;
    identity::confine()?;
    account.become_it()?;
    let directory = fields.get("cwd").map_or_else(|| account.home.clone(), str::to_owned);
    enter(&directory, fields.get("cwd").is_some())?;
    sys::cloexec_from(3).at("start a command in the container", "close_range()")?;
    sys::reset_signals();
    Ok(command(fields, &account))
}

fn enter(directory: &str, asked_for: bool) -> Result<()> {
    let step = "enter the working directory";
    match rustix::process::chdir(directory) {
        Ok(()) => {}
        // A home that is not there is no reason to fail.
        Err(_) if !asked_for => rustix::process::chdir("/").at(step, "chdir(\"/\")")?,
        Err(errno) => {
            let refused = Error::invalid(step, format!("chdir({directory:?}) = {}", io::Error::from(errno)));
            return Err(refused.hint("name a directory inside the container that the user may enter"));
        }
    }
    let here = rustix::process::getcwd(Vec::new()).at(step, "getcwd()")?;
    if here.to_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Error::failed(step, format!("{directory:?} is not inside the container (CVE-2024-21626)")))
    }
}

fn command(fields: &Fields, account: &user::Account) -> Command {
    let mut environment: Vec<(String, String)> = vec![
        ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME".into(), account.home.clone()),
        ("USER".into(), account.name.clone()),
        ("LOGNAME".into(), account.name.clone()),
        ("container".into(), "berth".into()),
    ];
    if fields.get("tty") == Some("yes") {
        environment.push(("TERM".into(), "xterm-256color".into()));
    }
    for (key, value) in fields.all("env").filter_map(|pair| pair.split_once('=')) {
        environment.retain(|(other, _)| other != key);
        environment.push((key.to_owned(), value.to_owned()));
    }
    let mut arguments: Vec<String> = fields.all("arg").map(str::to_owned).collect();
    let mut name = arguments.first().cloned().unwrap_or_default();
    if arguments.is_empty() {
        name = account.login_shell();
        // A leading dash makes it a login shell.
        arguments.push(format!("-{}", name.rsplit('/').next().unwrap_or("sh")));
        environment.push(("SHELL".into(), name.clone()));
    }
    let path = environment
        .iter()
        .find(|(key, _)| key == "PATH")
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    let c_strings = |texts: Vec<String>| texts.into_iter().filter_map(|text| CString::new(text).ok()).collect();
    Command {
        name,
        arguments: c_strings(arguments),
        environment: c_strings(environment.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
        path,
    }
}

impl Command {
    /// Becomes the command; returns why not.
    fn execute(&self) -> io::Error {
        let candidates: Vec<String> = if self.name.contains('/') {
            vec![self.name.clone()]
        } else {
            self.path.split(':').map(|folder| format!("{folder}/{}", self.name)).collect()
        };
        let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in candidates.into_iter().filter_map(|path| CString::new(path).ok()) {
            let failed = sys::execve(&candidate, &self.arguments, &self.environment);
            // As execvp(3): what may not be executed here may be found further on, but is remembered.
            if !matches!(failed.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
                refused = failed;
            }
        }
        refused
    }
}
