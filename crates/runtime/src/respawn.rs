//! Helpers: short-lived processes that do one dangerous thing, confined. The same program is executed again, so that a
//! helper begins with one thread and with no descriptor but those it was given.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::error::{At, Result};
use crate::sys;

/// What a helper finds as its own name.
const NAME: &str = "berth-helper";

/// Becomes a helper when this process was started as one, and ends then. To be called before any thread exists.
pub fn run_helper_if_asked() {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.first().is_none_or(|name| name != NAME) {
        return;
    }
    let request = arguments.get(2).and_then(|request| request.to_str()).unwrap_or_default();
    let code = match arguments.get(1).and_then(|kind| kind.to_str()) {
        Some("unpack") => crate::unpack::child::run(request),
        Some("build") => crate::build::child::run(request),
        _ => 2,
    };
    std::process::exit(code);
}

/// Starts a helper with a request and with these descriptors from 3 on. The environment is empty.
///
/// # Errors
/// No process or descriptor is left.
pub fn spawn(kind: &str, request: &str, descriptors: Vec<OwnedFd>) -> Result<Child> {
    let step = "start a helper";
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(NAME)
        .arg(kind)
        .arg(request)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sys::with_descriptors(&mut command, descriptors).at(step, "execve(\"/proc/self/exe\")")
}
