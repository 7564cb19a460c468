//! The engine's connections: one request, one reply; a connection that watches is told of what happens by itself.
//!
//! Invariant: a client that does not read is dropped; it never blocks the loop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runtime::error::{Error, Result};
use runtime::exec::{self, Place};
use runtime::mount;
use runtime::shim::protocol::{self, Fields};
use runtime::sys;

use crate::delegated;
use crate::exit::Wish;
use crate::given;
use crate::serve::{Exec, Shim};

/// Connections at most; an engine has two.
const MAX_CLIENTS: usize = 64;

/// All connections.
#[derive(Debug, Default)]
pub struct Clients {
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    is_watching: bool,
}

/// An answer with its descriptors.
type Reply = (Fields, Vec<OwnedFd>);

impl Clients {
    /// Takes a connection whose other end is root: the folder is root's alone, and the kernel says who connected.
    pub fn add(&mut self, socket: OwnedFd) {
        let is_root = rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid.is_root());
        if is_root && self.clients.len() < MAX_CLIENTS {
            self.clients.push(Client { socket, is_watching: false });
        }
    }

    /// Takes over the connections of another set.
    pub fn absorb(&mut self, other: Self) {
        self.clients.extend(other.clients);
    }

    /// Sockets to poll.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.clients.iter().map(|client| client.socket.as_fd()).collect()
    }

    /// Tells every watcher.
    pub fn tell(&mut self, event: &Fields) {
        self.clients
            .retain(|client| !client.is_watching || protocol::send(&client.socket, event, &[]).is_ok());
    }

    /// Answers what has come in.
    pub fn serve(&mut self, shim: &mut Shim) {
        self.clients.retain_mut(|client| {
            loop {
                match protocol::receive(&client.socket) {
                    Ok(Some((request, sent))) => {
                        client.is_watching |= request.get("command") == Some("watch");
                        let (reply, descriptors) = answer(shim, &request, sent).unwrap_or_else(|error| (protocol::failure(&error), Vec::new()));
                        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                        if protocol::send(&client.socket, &reply, &borrowed).is_err() {
                            return false;
                        }
                    }
                    Ok(None) => return false,
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
        });
    }
}

fn answer(shim: &mut Shim, request: &Fields, sent: Vec<OwnedFd>) -> Result<Reply> {
    let ok = || Fields::command("ok");
    match request.get("command").unwrap_or_default() {
        "hello" | "watch" => Ok((Fields(shim.status().0).with("command", "ok"), Vec::new())),
        "console" => Ok((ok(), vec![shim.console.attach()?])),
        "resize" => {
            if let (Some(init), Some(cols), Some(rows)) = (&shim.init, request.number("cols"), request.number("rows")) {
                resize(init.master.as_fd(), cols, rows)?;
            }
            Ok((ok(), Vec::new()))
        }
        "signal" => signal(shim, request).map(|()| (ok(), Vec::new())),
        "wish-power-off" => {
            shim.ask_for(Wish::PowerOff);
            Ok((Fields(shim.status().0).with("command", "ok"), Vec::new()))
        }
        "wish-kill" => {
            shim.ask_for(Wish::Kill);
            Ok((ok(), Vec::new()))
        }
        "exec" => start_exec(shim, request),
        "exec-resize" => {
            let exec = find(shim, request)?.1;
            if let (Some(master), Some(cols), Some(rows)) = (&exec.master, request.number("cols"), request.number("rows")) {
                resize(master.as_fd(), cols, rows)?;
            }
            Ok((ok(), Vec::new()))
        }
        "exec-signal" => {
            let pid = find(shim, request)?.0;
            let number = request.number("number").unwrap_or(libc::SIGTERM);
            // Our own unreaped child: the number cannot mean another process.
            let sent = rustix::process::Pid::from_raw(pid).zip(rustix::process::Signal::from_named_raw(number));
            if let Some((pid, signal)) = sent {
                rustix::process::kill_process(pid, signal).ok();
            }
            Ok((ok(), Vec::new()))
        }
        "mount-add" => add_mount(shim, request, sent).map(|()| (ok(), Vec::new())),
        "restart-policy" => {
            let policy = request.get("restart").unwrap_or("no").to_owned();
            if policy == "no" {
                shim.call_off();
            }
            shim.start.fields.0.retain(|(key, _)| key != "restart");
            shim.start.fields.0.push(("restart".into(), policy));
            Ok((ok(), Vec::new()))
        }
        other => Err(Error::unsupported(
            "answer the engine",
            format!("this shim does not know the command `{other}`"),
        )),
    }
}

fn resize(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> Result<()> {
    sys::set_terminal_size(terminal, cols, rows).map_err(|error| Error::io("resize the terminal", "ioctl(TIOCSWINSZ)", error))
}

fn signal(shim: &mut Shim, request: &Fields) -> Result<()> {
    let step = "signal init";
    let init = shim.init.as_ref().ok_or_else(|| Error::conflict(step, "no init runs"))?;
    let number = request.number("number").ok_or_else(|| Error::invalid(step, "the request has no number"))?;
    sys::pidfd_signal(init.pidfd.as_fd(), number).map_err(|error| Error::io(step, &format!("pidfd_send_signal({number})"), error))?;
    if request.get("wish") == Some("power-off") {
        shim.ask_for(Wish::PowerOff);
    }
    Ok(())
}

fn add_mount(shim: &mut Shim, request: &Fields, mut sent: Vec<OwnedFd>) -> Result<()> {
    let step = "add a mount to the container";
    let init = shim.init.as_ref().ok_or_else(|| Error::conflict(step, "the container does not run"))?;
    let mount = request.get("mount").and_then(mount::decode);
    let mount = mount.ok_or_else(|| Error::invalid(step, "the request has no mount"))?;
    given::add(&mut shim.start, init, mount, sent.pop())
}

fn find<'a>(shim: &'a Shim, request: &Fields) -> Result<(i32, &'a Exec)> {
    let wanted = request.get("exec").unwrap_or_default();
    let found = shim.execs.iter().find(|(_, exec)| exec.id == wanted).map(|(pid, exec)| (*pid, exec));
    found.ok_or_else(|| Error::not_found("find the command", "it has ended"))
}

fn start_exec(shim: &mut Shim, request: &Fields) -> Result<Reply> {
    let step = "start a command in the container";
    let init = shim.init.as_ref().ok_or_else(|| Error::conflict(step, "the container does not run"))?;
    let leaf = match &shim.start.unified {
        Some(delegated) => delegated::exec_group(delegated)?,
        None => None,
    };
    let unified = leaf.as_ref().or(shim.start.unified.as_ref()).map(AsFd::as_fd);
    let place = Place {
        init: init.pidfd.as_fd(),
        unified,
        v1: shim.start.v1.iter().map(|(_, group)| group.as_fd()).collect(),
    };
    let spawned = exec::spawn(&place, request)?;
    let mut reply = Fields::command("ok").with("pid", spawned.pid);
    if let Some((code, message)) = &spawned.failure {
        reply = reply.with("code", code).with("message", message);
    }
    let id = request.get("exec").unwrap_or_default().to_owned();
    let is_tty = request.get("tty") == Some("yes");
    let master = if is_tty {
        spawned.streams.first().and_then(|master| master.try_clone().ok())
    } else {
        None
    };
    let failure = spawned.failure.map(|(code, message)| format!("{message} (exit code {code})"));
    shim.execs.insert(spawned.pid, Exec { id, master, failure });
    Ok((reply, spawned.streams))
}
