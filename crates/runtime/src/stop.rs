//! How each init is asked to power off. The init is recognised by its program and its signal masks together: the blocked
//! SIGRTMIN+3 alone would take openrc-init for systemd.

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

/// Asks the container's init to power off; returns at once.
///
/// # Errors
/// No init runs, or the shim is gone.
pub fn power_off(shim: &Connection) -> Result<()> {
    let (status, _) = shim.ask(&Fields::command("hello"))?;
    let pid: i32 = status.number("pid").filter(|pid| *pid > 0).ok_or_else(|| Error::conflict("ask init to power off", "no init runs"))?;
    for signal in signals(recognise(pid)) {
        shim.ask(&Fields::command("signal").with("number", signal).with("wish", "power-off"))?;
    }
    Ok(())
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

fn recognise(pid: i32) -> Init {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = program.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned())).unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    judge(&name, &status)
}

fn judge(program: &str, status: &str) -> Init {
    let mask = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|hex| u64::from_str_radix(hex.trim_start_matches(':').trim(), 16).ok()).unwrap_or(0)
    };
    let has = |mask: u64, signal: i32| mask >> (signal - 1) & 1 == 1;
    let (blocked, caught) = (mask("SigBlk"), mask("SigCgt"));
    match program {
        "systemd" => Init::Systemd,
        "busybox" => Init::Busybox,
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
        assert_eq!(judge("systemd", ""), Init::Systemd);
        assert_eq!(judge("init", systemd), Init::Systemd);
        assert_eq!(judge("busybox", "SigBlk:\t0000000000000000\n"), Init::Busybox);
        assert_eq!(judge("openrc-init", systemd), Init::OpenRc);
        assert_eq!(judge("init", "SigBlk:\t0\nSigCgt:\t0000000020000000\n"), Init::SysVinit);
        assert_eq!(judge("sh", ""), Init::Unknown);
    }
}
