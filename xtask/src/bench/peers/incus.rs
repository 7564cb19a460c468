//! Incus with a daemon, a folder and a bridge of its own, on storage of the kind `dir`, as on any ext4.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::super::document::{RESIDENT, SUPERVISOR};
use super::super::{Cost, Subject, Verb, berth::cost, usage};
use super::{busybox_root, debian_12, list_ms, silent, until_running, verb};
use crate::shell::{command, read, run, succeeds, which};

const BRIDGE: &str = "incusbench0";
const PROGRAMS: [&str; 2] = ["/usr/libexec/incus/incusd", "/opt/incus/bin/incusd"];

struct Daemon {
    state: PathBuf,
    child: Child,
}

impl Daemon {
    fn incus(&self, arguments: &[&str]) -> Command {
        incus(&self.state, arguments)
    }

    fn prepare(&self, tree: &Path, folder: &Path) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        while !succeeds(&mut self.incus(&["query", "/1.0"])) {
            if Instant::now() > until {
                bail!("its daemon did not answer within 60 s");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        run(silent(&mut self.incus(&["storage", "create", "default", "dir"])))?;
        let network = ["network", "create", BRIDGE, "ipv4.address=10.214.0.1/24", "ipv6.address=none"];
        run(silent(&mut self.incus(&network)))?;
        for device in [
            &["root", "disk", "path=/", "pool=default"],
            &["eth0", "nic", "network=incusbench0", "name=eth0"],
        ] {
            run(silent(self.incus(&["profile", "device", "add", "default"]).args(device)))?;
        }
        let (metadata, root) = debian_12(tree)?;
        run(silent(self.incus(&["image", "import"]).arg(&metadata).arg(root).args(["--alias", "debian12"])))?;
        let small = folder.join("incus-busybox");
        busybox_root(&small.join("rootfs"))?;
        run(command("tar", ["--extract", "--file"])
            .arg(metadata)
            .arg("--directory")
            .arg(&small)
            .arg("metadata.yaml"))?;
        let archive = folder.join("incus-busybox.tar");
        run(command("tar", ["--create", "--numeric-owner", "--owner=0", "--group=0", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&small)
            .args(["metadata.yaml", "rootfs"]))?;
        run(silent(self.incus(&["image", "import"]).arg(archive).args(["--alias", "busybox"])))
    }

    /// Ends all that it runs, then itself.
    fn end(mut self) -> anyhow::Result<()> {
        let cleared = self.clear();
        run(&mut command("kill", [self.child.id().to_string()]))?;
        self.child.wait()?;
        cleared
    }

    fn clear(&self) -> anyhow::Result<()> {
        let names = read(&mut self.incus(&["list", "--format", "csv", "--columns", "n"]))?;
        if names.lines().next().is_some() {
            run(silent(self.incus(&["delete", "--force"]).args(names.lines())))?;
        }
        run(silent(&mut self.incus(&["profile", "device", "remove", "default", "eth0"])))?;
        run(silent(&mut self.incus(&["network", "delete", BRIDGE])))
    }
}

fn incus(state: &Path, arguments: &[&str]) -> Command {
    let mut call = command("incus", arguments);
    call.env("INCUS_DIR", state).env("INCUS_CONF", state.join("client"));
    call
}

/// Starts the daemon and imports the same Debian that the other programs have.
pub fn subject(tree: &Path, folder: &Path) -> anyhow::Result<Subject> {
    let program = which("incusd").or_else(|| PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists()));
    let program = program.context("Debian's suites and backports do not offer it here")?;
    let state = folder.join("incus");
    std::fs::create_dir_all(&state)?;
    let mut serve = Command::new(program);
    serve.args(["--group", "root"]).env("INCUS_DIR", &state);
    let child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let daemon = Daemon { state, child };
    if let Err(error) = daemon.prepare(tree, folder) {
        return daemon.end().and(Err(error));
    }
    let (boot, many, pid) = (daemon.state.clone(), daemon.state.clone(), daemon.child.id());
    let step = |what: Option<&'static str>, arguments: &'static [&'static str]| -> Verb {
        let state = daemon.state.clone();
        verb(what, move || incus(&state, arguments))
    };
    Ok(Subject {
        who: "incus",
        debian: vec![
            step(Some("create from a Debian 12 template"), &["init", "debian12", "bench-deb"]),
            Box::new(move |stopwatch| {
                run(silent(&mut incus(&boot, &["start", "bench-deb"])))?;
                stopwatch.mark_init("start to init's exec, Debian 12")?;
                until_running(|| incus(&boot, &["exec", "bench-deb", "--", "systemctl", "is-system-running", "--wait"]))?;
                stopwatch.mark("start to `systemctl is-system-running`");
                Ok(())
            }),
            step(Some("exec of `true`"), &["exec", "bench-deb", "--", "true"]),
            step(Some("stop, Debian 12"), &["stop", "bench-deb"]),
            step(Some("delete for good, Debian 12"), &["delete", "bench-deb"]),
        ],
        busybox: Vec::new(),
        many: Some(Box::new(move |count| containers(&many, pid, count))),
        end: Box::new(move || daemon.end()),
    })
}

fn containers(state: &Path, pid: u32, count: u32) -> anyhow::Result<Vec<Cost>> {
    let names: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    let made = names
        .iter()
        .try_for_each(|name| run(silent(&mut incus(state, &["launch", "busybox", name]))))
        .and_then(|()| {
            let list = list_ms(|| run(silent(&mut incus(state, &["list", "--format", "json"]))))?;
            let (monitors, pss) = usage::pss_mb("[l]xc monitor", "incusd")?;
            Ok(vec![
                list,
                cost(RESIDENT, usage::resident_mb(pid)?, "MB"),
                cost(SUPERVISOR, pss / f64::from(monitors.max(1)), "MB"),
            ])
        });
    // All at once: one by one they take seconds each.
    let mut delete = incus(state, &["delete", "--force"]);
    run(silent(delete.args(&names)))?;
    made
}
