//! What is written down: the state file for the engine that comes back, and the exit record, which is durable before
//! anybody is told.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat, renameat};

use runtime::error::{At, Result};
use runtime::shim::ends;

/// A longer message of an end is cut: one end must not fill the record.
const MESSAGE_CHARS: usize = 2000;

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Milliseconds since the host's boot, suspended ones too: for everything that is measured.
pub fn boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Start time of a process in clock ticks since boot (proc_pid_stat(5), field 22): with the boot's id and the pid it names
/// a process for good.
pub fn start_time(pid: i32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(19))
        .unwrap_or("0")
        .to_owned()
}

/// Replaces `<id>.state` at once.
pub fn write_state(shims: &OwnedFd, id: &str, init: i32, started_ms: i64) -> Result<()> {
    let step = "write the state file";
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text = format!(
        "protocol={}\nboot_id={}\nshim={own}\nshim_start={}\ninit={init}\ninit_start={}\nstarted_ms={started_ms}\n",
        runtime::shim::protocol::VERSION,
        boot.trim(),
        start_time(own),
        start_time(init)
    );
    let fresh = format!("{id}.state.new");
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(shims, fresh.as_str(), flags, Mode::from_raw_mode(0o600)).at(step, "openat()")?);
    file.write_all(text.as_bytes()).at(step, "write()")?;
    renameat(shims, fresh.as_str(), shims, format!("{id}.state")).at(step, "renameat()")
}

/// How a run ended, as a line of `events`.
#[derive(Clone, Debug)]
pub struct Exit {
    pub at_ms: i64,
    pub reason: &'static str,
    pub code: i32,
    pub oom_kills: u64,
    pub message: Option<String>,
}

impl Exit {
    fn line(&self) -> String {
        let at = model::Timestamp::from_ms(self.at_ms);
        let message = self
            .message
            .as_ref()
            .map_or_else(String::new, |message| format!(",\"message\":\"{}\"", escape(message)));
        format!(
            "{{\"at\":\"{at}\",\"reason\":\"{}\",\"code\":{},\"oom_kills\":{}{message}}}",
            self.reason, self.code, self.oom_kills
        )
    }

    /// Appends the record and waits until the disk has it.
    pub fn write(&self, folder: &OwnedFd) -> Result<()> {
        ends::append(folder, &self.line())
    }
}

/// What fits of a text; JSON needs quotation marks, backslashes and control characters escaped (RFC 8259).
fn escape(text: &str) -> String {
    text.chars()
        .take(MESSAGE_CHARS)
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if (c as u32) < 0x20 => format!("\\u{:04x}", c as u32).chars().collect(),
            c => vec![c],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json() {
        let exit = Exit {
            at_ms: 0,
            reason: "exited",
            code: 3,
            oom_kills: 1,
            message: Some("a \"b\"\n".into()),
        };
        assert_eq!(
            exit.line(),
            "{\"at\":\"1970-01-01T00:00:00.000Z\",\"reason\":\"exited\",\"code\":3,\"oom_kills\":1,\"message\":\"a \\\"b\\\"\\u000a\"}"
        );
    }
}
