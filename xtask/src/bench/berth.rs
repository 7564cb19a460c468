//! Berth under measure: a console of its own, driven by its command line.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Subject;
use super::peers::busybox_root;
use crate::shell::{command, read, run};

pub struct Console {
    binary: PathBuf,
    run_dir: PathBuf,
    child: std::cell::RefCell<Child>,
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
        serve
            .arg("--state-dir")
            .arg(&state)
            .arg("--run-dir")
            .arg(&run_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = serve.spawn()?;
        let output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let mut lines = output.lines();
        if !lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on")) {
            bail!("berth serve ended before it listened");
        }
        // Its later lines must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let console = Rc::new(Self {
            binary: binary.to_owned(),
            run_dir,
            child: child.into(),
        });
        console.berth(&["source", "add", "bench", "simplestreams", images])?;
        console.berth(&["template", "download", "bench:debian/12"])?;
        let (root, archive) = (folder.join("busybox"), folder.join("busybox.tar"));
        busybox_root(&root)?;
        run(command("tar", ["--create", "--numeric-owner", "--owner=0", "--group=0", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&root)
            .arg("."))?;
        console.berth(&["template", "import", &archive.to_string_lossy(), "--name", "busybox"])?;
        Ok(console)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--run-dir").arg(&self.run_dir).arg("--quiet").args(arguments).stdout(Stdio::null());
        command
    }

    fn berth(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run(&mut self.command(arguments))
    }

    /// The verbs of one round.
    pub fn subject(self: &Rc<Self>) -> Subject {
        type Verb = Box<dyn FnMut(u32) -> anyhow::Result<()>>;
        let verb = |arguments: &'static [&'static str]| -> Verb {
            let console = Rc::clone(self);
            Box::new(move |_| console.berth(arguments))
        };
        let console = Rc::clone(self);
        // It ends with 1 where a unit is degraded; that it answered is the point here.
        let booted: Verb = Box::new(move |_| {
            console
                .command(&["exec", "bench-deb", "--", "systemctl", "is-system-running", "--wait"])
                .status()?;
            Ok(())
        });
        Subject {
            who: "berth",
            verbs: vec![
                (
                    "create from a Debian 12 template",
                    verb(&["create", "bench-deb", "--template", "bench:debian/12"]),
                ),
                ("start to init's exec, Debian 12", verb(&["start", "bench-deb"])),
                ("from there to is-system-running", booted),
                ("exec of true", verb(&["exec", "bench-deb", "--", "true"])),
                ("kill, Debian 12", verb(&["kill", "bench-deb"])),
                ("delete for good, Debian 12", verb(&["delete", "--purge", "bench-deb"])),
                (
                    "create busybox",
                    verb(&["create", "bench-bb", "--template", "local:busybox", "--memory", "64M", "--pids", "64"]),
                ),
                ("start to init's exec, busybox", verb(&["start", "bench-bb"])),
                ("kill, busybox", verb(&["kill", "bench-bb"])),
                ("delete busybox", verb(&["delete", "--purge", "bench-bb"])),
            ],
            end: Box::new(|| Ok(())),
        }
    }

    /// Figures of the console with so many running containers.
    pub fn scale(&self, count: u32) -> anyhow::Result<Vec<(String, String)>> {
        let names: Vec<String> = (0..count).map(|n| format!("scale-{n}")).collect();
        for name in &names {
            self.berth(&["create", name, "--template", "local:busybox", "--start"])?;
        }
        let mut lists = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            self.berth(&["--output", "json", "list"])?;
            lists.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let pid = self.child.borrow().id();
        let (before, begun) = (cpu_ticks(pid)?, Instant::now());
        std::thread::sleep(Duration::from_secs(20));
        let ticks = u32::try_from(cpu_ticks(pid)? - before).unwrap_or(u32::MAX);
        let share = f64::from(ticks) / begun.elapsed().as_secs_f64();
        let (shims, pss) = shim_memory_kib(&self.run_dir)?;
        let rows = vec![
            (format!("`berth list` of {count}, p50"), format!("{:.1} ms", super::quantile(&lists, 0.5))),
            (
                "console, resident".to_owned(),
                format!("{:.1} MB", f64::from(memory_kib(pid, "VmRSS:")?) / 1024.0),
            ),
            (
                format!("shim, PSS each ({shims} of them)"),
                format!("{:.2} MB", f64::from(pss) / f64::from(shims.max(1)) / 1024.0),
            ),
            (
                "sampling at 1 Hz and all else the idle console does".to_owned(),
                format!("{share:.2} % of one core"),
            ),
        ];
        for name in &names {
            self.berth(&["delete", "--force", "--purge", name])?;
        }
        Ok(rows)
    }

    /// Ends the console.
    pub fn end(&self) -> anyhow::Result<()> {
        run(&mut command("kill", [self.child.borrow().id().to_string()]))?;
        self.child.borrow_mut().wait()?;
        Ok(())
    }
}

/// User and system time of a process in clock ticks of 10 ms.
fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).context("proc_pid_stat(5)");
    Ok(field(11)? + field(12)?)
}

fn memory_kib(pid: u32, key: &str) -> anyhow::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context("proc_pid_status(5)")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Number of this console's shims and the sum of their PSS.
fn shim_memory_kib(run_dir: &Path) -> anyhow::Result<(u32, u32)> {
    let (mut count, mut sum) = (0, 0);
    for pid in read(&mut command("pgrep", ["--full", &run_dir.to_string_lossy()]))?
        .lines()
        .filter_map(|line| line.parse::<u32>().ok())
    {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        if let (true, Some(pss)) = (name.starts_with("berth-shim"), rollup.lines().find_map(|line| line.strip_prefix("Pss:"))) {
            count += 1;
            sum += pss.trim().trim_end_matches(" kB").parse::<u32>()?;
        }
    }
    Ok((count, sum))
}
