//! Takes the time of one step: until a moment that the step marks, and until the kernel executed an init.
//!
//! The second is the same for all programs whenever their commands return: a tracepoint writes down each exec of an init
//! with the kernel's clock, beside a mark that is written when the step begins.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::shell::{command, run};

const EXEC: &str = "sched_process_exec: ";
const MARK: &str = "tracing_mark_write: ";

/// A trace of its own in a tracefs of its own.
pub struct Trace {
    mount: PathBuf,
    instance: PathBuf,
}

impl Trace {
    /// Begins to write down each exec of a program named init.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mount = folder.join("tracefs");
        std::fs::create_dir_all(&mount)?;
        run(command("mount", ["-t", "tracefs", "tracefs"]).arg(&mount))?;
        let instance = mount.join(format!("instances/berth-bench-{}", std::process::id()));
        let trace = Self { mount, instance };
        let begun = trace.begin().context("tracefs");
        match begun {
            Ok(()) => Ok(trace),
            Err(error) => trace.end().and(Err(error)),
        }
    }

    fn begin(&self) -> anyhow::Result<()> {
        std::fs::create_dir(&self.instance)?;
        for (file, text) in [
            ("trace_clock", "mono"),
            ("events/sched/sched_process_exec/filter", "filename ~ \"*/init\""),
            ("events/sched/sched_process_exec/enable", "1"),
            ("tracing_on", "1"),
        ] {
            std::fs::write(self.instance.join(file), text).context(file)?;
        }
        Ok(())
    }

    fn mark(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.instance.join("trace_marker"), "begin")?)
    }

    /// Looks a while: runc returns a moment before its init is executed.
    fn init_ms(&self) -> anyhow::Result<f64> {
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            let text = std::fs::read_to_string(self.instance.join("trace"))?;
            if let Some(ms) = init_ms(&text) {
                return Ok(ms);
            }
            if Instant::now() > until {
                bail!("no init was executed");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Leaves no trace.
    pub fn end(self) -> anyhow::Result<()> {
        if self.instance.exists() {
            std::fs::remove_dir(&self.instance)?;
        }
        run(&mut command("umount", [&self.mount]))
    }
}

/// From the last mark to the first exec after it.
fn init_ms(trace: &str) -> Option<f64> {
    let (_, after) = trace.rsplit_once(MARK)?;
    let begun = seconds(trace.lines().rfind(|line| line.contains(MARK))?, MARK)?;
    let exec = seconds(after.lines().find(|line| line.contains(EXEC))?, EXEC)?;
    Some((exec - begun) * 1000.0)
}

/// `sh-17  [001] .....  31.415926: sched_process_exec: filename=...`
fn seconds(line: &str, event: &str) -> Option<f64> {
    let (head, _) = line.split_once(event)?;
    head.split_whitespace().last()?.trim_end_matches(':').parse().ok()
}

/// The time of one step.
pub struct Stopwatch<'a> {
    begun: Instant,
    trace: Option<&'a Trace>,
    pub marks: Vec<(&'static str, f64)>,
}

impl<'a> Stopwatch<'a> {
    /// Begins now.
    pub fn start(trace: Option<&'a Trace>) -> anyhow::Result<Self> {
        trace.map_or(Ok(()), Trace::mark)?;
        Ok(Self {
            begun: Instant::now(),
            trace,
            marks: Vec::new(),
        })
    }

    /// What has just been done.
    pub fn mark(&mut self, what: &'static str) {
        self.marks.push((what, self.begun.elapsed().as_secs_f64() * 1000.0));
    }

    /// What was done when init was executed, by now or in a moment.
    pub fn mark_init(&mut self, what: &'static str) -> anyhow::Result<()> {
        match self.trace {
            Some(trace) => self.marks.push((what, trace.init_ms()?)),
            None => self.mark(what),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::init_ms;

    #[test]
    fn the_first_init_after_the_last_mark_counts() {
        let trace = "# tracer: nop\n\
            a b-7 [000] .....  10.000000: tracing_mark_write: begin\n\
            init-8 [001] .....  10.100000: sched_process_exec: filename=/sbin/init pid=8 old_pid=8\n\
            a b-7 [000] .....  20.000000: tracing_mark_write: begin\n\
            init-9 [001] .....  20.007500: sched_process_exec: filename=/sbin/init pid=9 old_pid=9\n\
            init-9 [001] .....  20.500000: sched_process_exec: filename=/sbin/init pid=9 old_pid=9\n";
        assert!((init_ms(trace).unwrap() - 7.5).abs() < 0.001);
        assert_eq!(init_ms("a b-7 [000] .....  10.000000: tracing_mark_write: begin\n"), None);
    }
}
