//! `berth-shim`: the parent of one container's init. One thread, one poll loop, static; it outlives the console and holds
//! what must survive it: the console's terminal and scrollback, the exit record, reboot handling, the restart policy.
//!
//! Started by the engine with one socket as descriptor 3; everything else comes through it (`runtime::shim::protocol`).

mod child;
mod clients;
mod console;
mod delegated;
mod exit;
mod given;
mod record;
mod serve;
mod start;

use std::os::fd::OwnedFd;

use runtime::error::{Error, Result};
use runtime::init::silence;
use runtime::shim::protocol::{self, Fields};
use runtime::sys;

use start::Start;

fn main() {
    let Ok(socket) = sys::inherited(3) else {
        eprintln!("berth-shim is started by berth, not by hand");
        std::process::exit(2);
    };
    if let Err(error) = run(&socket) {
        // The engine that does not hear it sees the socket close.
        drop(protocol::send(&socket, &protocol::failure(&error), &[]));
        std::process::exit(1);
    }
}

fn run(socket: &OwnedFd) -> Result<()> {
    let step = "start the shim";
    let io = |call: &str, error: std::io::Error| Error::io(step, call, error);
    let signals = sys::signal_descriptor(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGHUP, libc::SIGINT]).map_err(|error| io("signalfd()", error))?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0).map_err(|error| io("prctl(PR_SET_DUMPABLE)", error))?;
    silence()?;
    let (fields, descriptors) = protocol::receive(socket)
        .map_err(|error| io("recvmsg()", error))?
        .ok_or_else(|| Error::failed(step, "the engine is gone"))?;
    let start = Start::new(fields, descriptors)?;
    let lock = start.lock()?;
    let mut shim = serve::Shim::new(start, signals, lock)?;
    shim.launch()?;
    let answer = Fields::command("started").with("pid", shim.init_pid()).with("at", record::now_ms());
    // The engine may be gone by now; the container runs all the same.
    drop(protocol::send(socket, &answer, &[]));
    shim.serve()
}
