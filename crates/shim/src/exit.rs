//! What the end of init means, which only its real parent can tell (wait status), and whether the container starts again.

use std::collections::VecDeque;

use model::restart::{LOOP_STARTS, LOOP_WINDOW_MS, pause_ms};

use crate::record::Exit;

/// What somebody asked for before init ended, the stronger wish last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    #[default]
    None,
    PowerOff,
    Kill,
}

/// Reads a wait status (wait(2)): a pid namespace whose init called reboot(2) ends by SIGHUP or SIGINT. A reboot that nothing
/// follows, because somebody asked for the end, is that end.
pub fn judge(status: i32, wish: Wish, oom_kills: u64, oom_kills_before: u64, at_ms: i64) -> Exit {
    let signal = status & 0x7F;
    let code = if signal == 0 { status >> 8 & 0xFF } else { 128 + signal };
    let reason = match signal {
        libc::SIGHUP | libc::SIGKILL if wish == Wish::Kill => "killed",
        libc::SIGHUP if wish == Wish::None => "reboot",
        libc::SIGHUP => "power_off",
        libc::SIGINT => "power_off",
        libc::SIGKILL if oom_kills > oom_kills_before => "out_of_memory",
        libc::SIGSYS => "seccomp",
        0 if wish == Wish::PowerOff => "power_off",
        _ => "exited",
    };
    Exit {
        at_ms,
        reason,
        code,
        oom_kills,
        message: None,
    }
}

/// When the container starts again; `None` = it does not. Who was asked to end never does, not even after a reboot: its init
/// may have been on its way there when the wish came.
pub fn restart_in_ms(exit: &Exit, policy: &str, wish: Wish, starts: &VecDeque<i64>) -> Option<i64> {
    if wish != Wish::None {
        return None;
    }
    if exit.reason == "reboot" {
        return Some(0);
    }
    let failed = matches!(exit.reason, "out_of_memory" | "seccomp") || exit.reason == "exited" && exit.code != 0;
    let again = match policy {
        "always" => true,
        "on-failure" => failed,
        _ => false,
    };
    again.then(|| pause_ms(starts.len().saturating_sub(1)).cast_signed())
}

/// Notes a start and says whether there are too many of them.
pub fn is_loop(starts: &mut VecDeque<i64>, at_ms: i64) -> bool {
    starts.push_back(at_ms);
    while starts.front().is_some_and(|first| at_ms - first > LOOP_WINDOW_MS) {
        starts.pop_front();
    }
    starts.len() > LOOP_STARTS + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_status_tells_reboot_from_power_off() {
        let rebooted = |wish| judge(libc::SIGHUP, wish, 0, 0, 0).reason;
        assert_eq!([Wish::None, Wish::PowerOff, Wish::Kill].map(rebooted), ["reboot", "power_off", "killed"]);
        assert_eq!(judge(libc::SIGINT, Wish::None, 0, 0, 0).reason, "power_off");
        assert_eq!(judge(libc::SIGKILL, Wish::Kill, 1, 0, 0).reason, "killed");
        assert_eq!(judge(libc::SIGKILL, Wish::None, 1, 0, 0).reason, "out_of_memory");
        let exit = judge(libc::SIGKILL, Wish::None, 1, 1, 0);
        assert_eq!((exit.reason, exit.code), ("exited", 137));
        assert_eq!(judge(3 << 8, Wish::None, 0, 0, 0).code, 3);
    }

    #[test]
    fn who_was_asked_to_stop_does_not_start_again() {
        let starts = VecDeque::from([0]);
        let off = judge(libc::SIGINT, Wish::PowerOff, 0, 0, 0);
        assert_eq!(restart_in_ms(&off, "always", Wish::PowerOff, &starts), None);
        assert_eq!(restart_in_ms(&off, "always", Wish::None, &starts), Some(100));
        let failed = judge(1 << 8, Wish::None, 0, 0, 0);
        assert_eq!(restart_in_ms(&failed, "on-failure", Wish::None, &starts), Some(100));
        assert_eq!(restart_in_ms(&failed, "no", Wish::None, &starts), None);
        assert_eq!(restart_in_ms(&judge(0, Wish::None, 0, 0, 0), "on-failure", Wish::None, &starts), None);
        let reboot = judge(libc::SIGHUP, Wish::None, 0, 0, 0);
        assert_eq!(restart_in_ms(&reboot, "no", Wish::None, &starts), Some(0));
        for wish in [Wish::PowerOff, Wish::Kill] {
            assert_eq!(restart_in_ms(&reboot, "always", wish, &starts), None);
        }
    }

    #[test]
    fn the_eleventh_restart_within_a_minute_is_one_too_many() {
        let mut starts = VecDeque::new();
        let loops: Vec<bool> = (0..12).map(|n| is_loop(&mut starts, n * 1000)).collect();
        assert_eq!(loops.iter().position(|is_loop| *is_loop), Some(11));
        assert!(!is_loop(&mut starts, 200_000));
    }

    #[test]
    fn who_fails_at_once_ends_as_a_loop_in_spite_of_the_pauses() {
        let failed = judge(1 << 8, Wish::None, 0, 0, 0);
        let (mut starts, mut now) = (VecDeque::new(), 0);
        for _ in 0..11 {
            assert!(!is_loop(&mut starts, now));
            now += restart_in_ms(&failed, "always", Wish::None, &starts).unwrap();
        }
        assert!(is_loop(&mut starts, now), "the eleventh restart comes after {now} ms");
    }
}
