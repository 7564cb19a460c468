//! LXC with the same namespaces, limits and network as Berth's containers: a user namespace, Debian's own configuration for
//! such containers with its seccomp filter, and a bridge with a DHCP server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::super::document::SUPERVISOR;
use super::super::{Cost, Subject, Verb, berth::cost, usage};
use super::{busybox_root, debian_12, list_ms, shift, silent, until_running, verb};
use crate::shell::{command, run, succeeds, which};

const BRIDGE: &str = "lxcbench0";

fn lxc(path: &Path, program: &str, name: &str) -> Command {
    let mut call = command(program, ["-P"]);
    call.arg(path).args(["-n", name]);
    call
}

fn configure(path: &Path, name: &str, root: &Path, limits: &str) -> anyhow::Result<()> {
    let includes: String = ["common.conf", "userns.conf"]
        .iter()
        .map(|file| format!("lxc.include = /usr/share/lxc/config/{file}\n"))
        .collect();
    let text = format!(
        "{includes}lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\n\
         lxc.net.0.type = veth\nlxc.net.0.link = {BRIDGE}\nlxc.net.0.flags = up\nlxc.apparmor.profile = unconfined\n{limits}",
        root.display()
    );
    std::fs::create_dir_all(path.join(name))?;
    Ok(std::fs::write(path.join(name).join("config"), text)?)
}

const LIMITS: &str = "lxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup2.memory.max = 64M\nlxc.cgroup.pids.max = 64\nlxc.cgroup2.pids.max = 64\n";

fn bridge() -> anyhow::Result<Child> {
    run(&mut command("ip", ["link", "add", BRIDGE, "type", "bridge"]))?;
    run(&mut command("ip", ["addr", "add", "10.215.0.1/24", "dev", BRIDGE]))?;
    run(&mut command("ip", ["link", "set", BRIDGE, "up"]))?;
    let mut server = command(
        "dnsmasq",
        [
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--port=0",
            "--bind-interfaces",
            "--leasefile-ro",
        ],
    );
    server.arg(format!("--interface={BRIDGE}")).arg("--dhcp-range=10.215.0.2,10.215.0.254");
    Ok(silent(&mut server).spawn()?)
}

fn end(path: &Path, mut server: Child) -> anyhow::Result<()> {
    for name in ["bench-bb", "bench-deb"] {
        // Most often it has ended, and there is nothing to stop.
        succeeds(lxc(path, "lxc-stop", name).arg("-k"));
    }
    server.kill()?;
    server.wait()?;
    run(&mut command("ip", ["link", "delete", BRIDGE]))
}

/// Makes a busybox container and a Debian to copy from.
pub fn subject(tree: &Path, folder: &Path) -> anyhow::Result<Subject> {
    which("lxc-start").context("lxc is not installed")?;
    let path = folder.join("lxc");
    let root = path.join("bench-bb/rootfs");
    busybox_root(&root)?;
    shift(&root)?;
    configure(&path, "bench-bb", &root, LIMITS)?;
    let debian = path.join("base/rootfs");
    let (_, squashfs) = debian_12(tree)?;
    configure(&path, "base", &debian, "")?;
    run(command("unsquashfs", ["-quiet", "-no-progress", "-dest"])
        .arg(&debian)
        .arg(squashfs)
        .stdout(Stdio::null()))?;
    shift(&debian)?;
    let server = bridge()?;
    let step = |what: Option<&'static str>, program: &'static str, name: &'static str, more: &'static [&'static str]| -> Verb {
        let path = path.clone();
        verb(what, move || {
            let mut call = lxc(&path, program, name);
            call.args(more);
            call
        })
    };
    let (start, boot, many) = (path.clone(), path.clone(), path.clone());
    Ok(Subject {
        who: "lxc",
        debian: vec![
            step(Some("create from a Debian 12 template"), "lxc-copy", "base", &["-N", "bench-deb"]),
            Box::new(move |stopwatch| {
                run(silent(&mut lxc(&boot, "lxc-start", "bench-deb")))?;
                stopwatch.mark_init("start to init's exec, Debian 12")?;
                until_running(|| attach(&boot, &["systemctl", "is-system-running", "--wait"]))?;
                stopwatch.mark("start to `systemctl is-system-running`");
                Ok(())
            }),
            step(Some("exec of `true`"), "lxc-attach", "bench-deb", &["--", "true"]),
            step(Some("stop, Debian 12"), "lxc-stop", "bench-deb", &[]),
            step(Some("delete for good, Debian 12"), "lxc-destroy", "bench-deb", &[]),
        ],
        busybox: vec![
            Box::new(move |stopwatch| {
                run(silent(&mut lxc(&start, "lxc-start", "bench-bb")))?;
                stopwatch.mark("start until the command returns, busybox");
                stopwatch.mark_init("start to init's exec, busybox")
            }),
            step(Some("kill, busybox"), "lxc-stop", "bench-bb", &["-k"]),
        ],
        many: Some(Box::new(move |count| containers(&many, &root, count))),
        end: Box::new(move || end(&path, server)),
    })
}

fn attach(path: &Path, words: &[&str]) -> Command {
    let mut call = lxc(path, "lxc-attach", "bench-deb");
    call.arg("--").args(words);
    call
}

fn containers(path: &Path, root: &Path, count: u32) -> anyhow::Result<Vec<Cost>> {
    let names: Vec<String> = (0..count).map(|n| format!("many-{n}")).collect();
    let made = names
        .iter()
        .try_for_each(|name| {
            configure(path, name, root, LIMITS)?;
            run(silent(&mut lxc(path, "lxc-start", name)))
        })
        .and_then(|()| {
            let list = list_ms(|| run(silent(command("lxc-ls", ["--fancy", "-P"]).arg(path))))?;
            let (monitors, pss) = usage::pss_mb(&path.to_string_lossy(), "lxc-start")?;
            Ok(vec![list, cost(SUPERVISOR, pss / f64::from(monitors.max(1)), "MB")])
        });
    let folders: Vec<(String, PathBuf)> = names.into_iter().map(|name| (name.clone(), path.join(name))).collect();
    for (name, folder) in folders.iter().filter(|(_, folder)| folder.exists()) {
        // One that never started has nothing to stop.
        succeeds(lxc(path, "lxc-stop", name).arg("-k"));
        std::fs::remove_dir_all(folder)?;
    }
    made
}
