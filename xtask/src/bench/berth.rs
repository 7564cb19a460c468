//! Berth under measure: a console of its own, driven by its command line, and once by its REST interface.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::document::{IDLE, RESIDENT, SUPERVISOR, WRITTEN};
use super::peers::{busybox_root, list_ms, until_running};
use super::{Cost, Subject, Verb, socket, usage};
use crate::shell::{announce, command, read, run};

/// How long the disk of the console is watched: its history is handed on every five minutes.
const LONG_LOOK: Duration = Duration::from_secs(300);
const PERCENT: &str = "% of one core";
const MINUTE: Duration = Duration::from_secs(60);
/// What was begun by making the containers is over by then.
const SETTLED: Duration = Duration::from_secs(5);

/// What the console's metrics name their threads.
const THREADS: [(&str, &str); 3] = [
    ("of it the sampler", "berth-sampler"),
    ("of it the writer of history", "berth-history"),
    ("of it the measuring of disks", "berth-disks"),
];

pub struct Console {
    binary: PathBuf,
    state: PathBuf,
    run_dir: PathBuf,
    child: RefCell<Child>,
}

/// A console with many containers that is being watched.
pub struct Watch {
    begun: Instant,
    written_bytes: f64,
    costs: Vec<Cost>,
    names: Vec<String>,
}

impl Console {
    /// Starts a console beside whatever runs here and gives it a Debian and a busybox template.
    pub fn start(binary: &Path, folder: &Path, images: &str) -> anyhow::Result<Rc<Self>> {
        let (state, run_dir) = (folder.join("state"), folder.join("run"));
        std::fs::create_dir_all(&state)?;
        std::fs::create_dir_all(&run_dir)?;
        let mut serve = command(
            &binary.to_string_lossy(),
            ["serve", "--instance", "bench", "--bridge", "berthbench0", "--listen", "127.0.0.1:0"],
        );
        serve.arg("--state-dir").arg(&state).arg("--run-dir").arg(&run_dir);
        let child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let console = Rc::new(Self {
            binary: binary.to_owned(),
            state,
            run_dir,
            child: child.into(),
        });
        match console.prepare(folder, images) {
            Ok(()) => Ok(console),
            Err(error) => console.end().and(Err(error)),
        }
    }

    fn prepare(&self, folder: &Path, images: &str) -> anyhow::Result<()> {
        let output = self.child.borrow_mut().stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(output).lines();
        if !lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on")) {
            bail!("berth serve ended before it listened");
        }
        // Its later lines must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.berth(&["source", "add", "bench", "simplestreams", images])?;
        self.berth(&["template", "download", "bench:debian/12"])?;
        let (root, archive) = (folder.join("busybox"), folder.join("busybox.tar"));
        busybox_root(&root)?;
        run(command("tar", ["--create", "--numeric-owner", "--owner=0", "--group=0", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&root)
            .arg("."))?;
        self.berth(&["template", "import", &archive.to_string_lossy(), "--name", "busybox"])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--run-dir").arg(&self.run_dir).arg("--quiet").args(arguments).stdin(Stdio::null());
        command
    }

    fn berth(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run(self.command(arguments).stdout(Stdio::null()))
    }

    fn verb(self: &Rc<Self>, what: Option<&'static str>, arguments: &'static [&'static str]) -> Verb {
        let console = Rc::clone(self);
        Box::new(move |stopwatch| {
            console.berth(arguments)?;
            what.into_iter().for_each(|what| stopwatch.mark(what));
            Ok(())
        })
    }

    /// The steps of one round.
    pub fn subject(self: &Rc<Self>) -> Subject {
        let (boot, start, call) = (Rc::clone(self), Rc::clone(self), Rc::clone(self));
        let debian: Vec<Verb> = vec![
            self.verb(
                Some("create from a Debian 12 template"),
                &["create", "bench-deb", "--template", "bench:debian/12"],
            ),
            Box::new(move |stopwatch| {
                boot.berth(&["start", "bench-deb"])?;
                stopwatch.mark_init("start to init's exec, Debian 12")?;
                until_running(|| boot.command(&["exec", "bench-deb", "--", "systemctl", "is-system-running", "--wait"]))?;
                stopwatch.mark("start to `systemctl is-system-running`");
                Ok(())
            }),
            self.verb(Some("exec of `true`"), &["exec", "bench-deb", "--", "true"]),
            self.verb(Some("stop, Debian 12"), &["stop", "bench-deb"]),
            self.verb(Some("delete for good, Debian 12"), &["delete", "--purge", "bench-deb"]),
        ];
        let busybox: Vec<Verb> = vec![
            self.verb(
                Some("create from a busybox template"),
                &["create", "bench-bb", "--template", "local:busybox", "--memory", "64M", "--pids", "64"],
            ),
            Box::new(move |stopwatch| {
                start.berth(&["start", "bench-bb"])?;
                stopwatch.mark("start until the command returns, busybox");
                stopwatch.mark_init("start to init's exec, busybox")
            }),
            self.verb(Some("kill, busybox"), &["kill", "bench-bb"]),
            Box::new(move |stopwatch| {
                call.start_by_rest("bench-bb")?;
                stopwatch.mark_init("start by REST to init's exec, busybox")
            }),
            self.verb(None, &["delete", "--force", "--purge", "bench-bb"]),
        ];
        Subject {
            who: "berth",
            debian,
            busybox,
            many: None,
            end: Box::new(|| Ok(())),
        }
    }

    fn start_by_rest(&self, name: &str) -> anyhow::Result<()> {
        let socket = self.run_dir.join("berth.sock");
        let task = socket::ask(&socket, "POST", &format!("/api/v1/containers/{name}/start"))?;
        let path = format!("/api/v1/tasks/{}", task["id"].as_str().context("a task has an id")?);
        loop {
            match socket::ask(&socket, "GET", &path)?["state"].as_str() {
                Some("done") => return Ok(()),
                Some("queued" | "running") => std::thread::sleep(Duration::from_millis(5)),
                other => bail!("the start ended as {other:?}"),
            }
        }
    }

    /// Makes so many running containers, looks at them for a minute, and begins to watch the console's disk.
    pub fn begin_many(&self, count: u32) -> anyhow::Result<Watch> {
        let names: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
        for name in &names {
            self.berth(&["create", name, "--template", "local:busybox", "--start"])?;
        }
        let mut costs = vec![list_ms(|| self.berth(&["--output", "json", "list"]))?];
        std::thread::sleep(SETTLED);
        let pid = self.child.borrow().id();
        let (begun, written_bytes) = (Instant::now(), usage::written_bytes(pid)?);
        costs.extend(idle_minute(pid)?);
        let (shims, pss) = usage::pss_mb(&self.state.to_string_lossy(), "berth-shim")?;
        if shims != count {
            bail!("{count} containers have {shims} shims");
        }
        costs.push(cost(SUPERVISOR, pss / f64::from(shims), "MB"));
        Ok(Watch {
            begun,
            written_bytes,
            costs,
            names,
        })
    }

    /// Goes on to watch until five minutes are over, then removes all containers but one: the last one takes lxcfs and the
    /// network's servers with it, and the first one starts them, which the rounds must not count each time.
    pub fn end_many(&self, mut watch: Watch) -> anyhow::Result<Vec<Cost>> {
        announce("wait until the console was watched for five minutes");
        std::thread::sleep(LONG_LOOK.saturating_sub(watch.begun.elapsed()));
        let (pid, minutes) = (self.child.borrow().id(), watch.begun.elapsed().as_secs_f64() / 60.0);
        let written_mb = (usage::written_bytes(pid)? - watch.written_bytes) / 1e6;
        watch.costs.push(cost(WRITTEN, written_mb / minutes, "MB a minute"));
        watch.costs.push(cost(RESIDENT, usage::resident_mb(pid)?, "MB"));
        for name in watch.names.iter().skip(1) {
            self.berth(&["delete", "--force", "--purge", name])?;
        }
        Ok(watch.costs)
    }

    /// Removes all containers and ends the console.
    pub fn end(&self) -> anyhow::Result<()> {
        let removed = self.remove_all();
        run(&mut command("kill", [self.child.borrow().id().to_string()]))?;
        self.child.borrow_mut().wait()?;
        removed
    }

    fn remove_all(&self) -> anyhow::Result<()> {
        let list = read(&mut self.command(&["--output", "json", "list"]))?;
        let list: Vec<serde_json::Value> = serde_json::from_str(&list)?;
        for name in list.iter().filter_map(|row| row["name"].as_str()) {
            self.berth(&["delete", "--force", "--purge", name])?;
        }
        Ok(())
    }
}

/// A line of the table of costs.
pub fn cost(what: &'static str, value: f64, unit: &'static str) -> Cost {
    Cost { what, value, unit }
}

/// One minute of sampling at 1 Hz, and of all else that an idle console does.
fn idle_minute(pid: u32) -> anyhow::Result<Vec<Cost>> {
    let (cpu_s, threads_s, begun) = (usage::cpu_s(pid)?, usage::threads_s(pid)?, Instant::now());
    std::thread::sleep(MINUTE);
    let (used_s, after_s, elapsed_s) = (usage::cpu_s(pid)? - cpu_s, usage::threads_s(pid)?, begun.elapsed().as_secs_f64());
    let mut costs = vec![cost(IDLE, used_s / elapsed_s * 100.0, PERCENT)];
    for (what, name) in THREADS {
        let (before, after) = (threads_s.get(name), after_s.get(name).context("the console has a thread of this name")?);
        costs.push(cost(what, (after - before.unwrap_or(&0.0)) / elapsed_s * 100.0, PERCENT));
    }
    Ok(costs)
}
