//! How each init is asked to power off. The init is recognised by its program, the name under which that runs and its signal
//! masks together: the blocked SIGRTMIN+3 alone would take openrc-init for systemd, the program alone every script of
//! busybox's shell for busybox's init.

use std::time::{Duration, Instant};

use model::ErrorCode;

use crate::error::{Error, Result};
use crate::shim::engine::Connection;
use crate::shim::protocol::Fields;

/// SIGRTMIN+3 as a number: libc's own SIGRTMIN differs between glibc (34) and musl (35).
const HALT: i32 = 37;

/// What runs as PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Init {
    Systemd,
    OpenRc,
    Busybox,
    SysVinit,
    Unknown,
}

/// How long an init that has just been started may take until it listens.
const PATIENCE: Duration = Duration::from_secs(3);
/// No file tells of a changed signal mask: how often it is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Asks the container's init to power off. The shim is told first, so that it starts no other init from then on, neither
/// after a reboot nor by its policy: one that waits for its time is called off. What PID 1 neither catches nor blocks the
/// kernel drops (pid_namespaces(7)), so that an init that has just been started is waited for until it listens.
///
/// # Errors
/// No init runs, or the shim is gone.
pub fn power_off(shim: &Connection) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    match shim.ask(&Fields::command("wish-power-off")) {
        Ok((status, _)) if status.get("state") != Some("running") => return Ok(()),
        Ok(_) => {}
        // An older shim, which hears of the wish beside the signal.
        Err(error) if error.code == ErrorCode::Unsupported => {}
        Err(error) => return Err(error),
    }
    loop {
        let (status, _) = shim.ask(&Fields::command("hello"))?;
        if status.get("state") == Some("restarting") {
            return shim.ask(&Fields::command("wish-kill")).map(drop);
        }
        let pid: i32 = status
            .number("pid")
            .filter(|pid| *pid > 0)
            .ok_or_else(|| Error::conflict("ask init to power off", "no init runs"))?;
        let state = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let asked = signals(recognise(pid, &state));
        if asked.iter().any(|signal| listens(&state, *signal)) || waits_for_signals(pid) || Instant::now() > deadline {
            return send(shim, asked);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Sends every signal. Who ends by the first one cannot take the next: one that arrives is enough.
fn send(shim: &Connection, signals: &[i32]) -> Result<()> {
    let tell = |signal: &i32| shim.ask(&Fields::command("signal").with("number", signal).with("wish", "power-off")).map(drop);
    let told: Vec<Result<()>> = signals.iter().map(tell).collect();
    told.into_iter().reduce(Result::or).unwrap_or(Ok(()))
}

/// Whether a process catches a signal, or blocks it to read it from a descriptor.
fn listens(status: &str, signal: i32) -> bool {
    has(mask(status, "SigBlk") | mask(status, "SigCgt"), signal)
}

/// Whether a process sits in sigtimedwait(2), as busybox does: its mask then shows nothing blocked.
fn waits_for_signals(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|place| place.contains("sigtimedwait"))
}

fn mask(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|hex| u64::from_str_radix(hex.trim_start_matches(':').trim(), 16).ok())
        .unwrap_or(0)
}

fn has(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

fn signals(init: Init) -> &'static [i32] {
    match init {
        Init::Systemd => &[HALT],
        Init::OpenRc => &[libc::SIGTERM],
        Init::Busybox => &[libc::SIGUSR2],
        Init::SysVinit => &[libc::SIGPWR],
        Init::Unknown => &[libc::SIGPWR, libc::SIGTERM],
    }
}

fn recognise(pid: i32, status: &str) -> Init {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = program
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    judge(&name, &applet(&arguments), status)
}

/// What busybox runs as: the name by which it was called, or the one after its own. Its init calls itself `init`; a script
/// that `#!/bin/sh` runs has its shell there.
fn applet(arguments: &[u8]) -> String {
    let mut names = arguments
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word.rsplit(|byte| *byte == b'/').next().unwrap_or_default()).into_owned());
    let called = names.next().unwrap_or_default();
    if called == "busybox" { names.next().unwrap_or_default() } else { called }
}

fn judge(program: &str, applet: &str, status: &str) -> Init {
    let (blocked, caught) = (mask(status, "SigBlk"), mask(status, "SigCgt"));
    match program {
        "systemd" => Init::Systemd,
        "busybox" if matches!(applet, "init" | "linuxrc") => Init::Busybox,
        "openrc-init" => Init::OpenRc,
        _ if has(blocked, HALT) && has(blocked, libc::SIGPWR) => Init::Systemd,
        "init" if has(caught, libc::SIGPWR) => Init::SysVinit,
        _ => Init::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_masks_together_tell_the_init() {
        // systemd 252 in a container: SIGRTMIN+3 and SIGPWR among the blocked.
        let systemd = "SigBlk:\t7be3c0fe28014a03\nSigCgt:\t00000001000004ec\n";
        assert_eq!(judge("systemd", "init", ""), Init::Systemd);
        assert_eq!(judge("init", "init", systemd), Init::Systemd);
        assert_eq!(judge("busybox", "init", "SigBlk:\t0000000000000000\n"), Init::Busybox);
        assert_eq!(judge("openrc-init", "init", systemd), Init::OpenRc);
        assert_eq!(judge("init", "init", "SigBlk:\t0\nSigCgt:\t0000000020000000\n"), Init::SysVinit);
        assert_eq!(judge("dash", "sh", ""), Init::Unknown);
    }

    #[test]
    fn a_script_of_busyboxs_shell_is_not_its_init() {
        let init: [&[u8]; 5] = [
            b"/sbin/init\0",
            b"init\0\0\0\0\0\0\0",
            b"busybox\0init\0",
            b"/bin/busybox\0init\0",
            b"linuxrc\0",
        ];
        for arguments in init {
            assert_eq!(judge("busybox", &applet(arguments), ""), Init::Busybox, "{arguments:?}");
        }
        let script: [&[u8]; 4] = [b"/bin/sh\0/sbin/init\0", b"/bin/busybox\0sh\0/sbin/init\0", b"/bin/ash\0-e\0/sbin/init\0", b""];
        for arguments in script {
            assert_eq!(judge("busybox", &applet(arguments), ""), Init::Unknown, "{arguments:?}");
        }
    }
}
