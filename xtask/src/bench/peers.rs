//! The peers under measure, from Debian's packages: Incus, LXC and runc, each with state of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Subject;
use crate::shell::{announce, command, run, succeeds, which};

/// Installs what Debian offers here; what it does not is named in the document.
pub fn install() {
    for (program, package, suite) in [
        ("runc", "runc", None),
        ("lxc-start", "lxc", None),
        ("incusd", "incus", Some("bookworm-backports")),
    ] {
        if which(program).is_some() {
            continue;
        }
        announce(&format!("install {package}: a peer to measure against"));
        let mut install = command("apt-get", ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"]);
        if let Some(suite) = suite {
            install.args(["--target-release", suite]);
        }
        if let Err(error) = run(install.arg(package).env("DEBIAN_FRONTEND", "noninteractive")) {
            println!("{error:#}");
        }
    }
}

/// A root file system of one static program, with an init that waits.
pub fn busybox_root(root: &Path) -> anyhow::Result<()> {
    for folder in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var", "usr/bin"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    let busybox = which("busybox").context("busybox-static is installed by set-up")?;
    std::fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in [
        "bin/sh",
        "bin/true",
        "bin/sleep",
        "bin/mount",
        "bin/umount",
        "sbin/init",
        "sbin/poweroff",
        "sbin/reboot",
    ] {
        if !root.join(applet).exists() {
            std::os::unix::fs::symlink("/bin/busybox", root.join(applet))?;
        }
    }
    std::fs::write(
        root.join("etc/inittab"),
        "::sysinit:/bin/true\n::respawn:/bin/sleep 100000\n::ctrlaltdel:/sbin/reboot\n",
    )?;
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    std::fs::write(root.join("etc/os-release"), "ID=busybox\nVERSION_ID=1\n")?;
    Ok(())
}

type Verb = Box<dyn FnMut(u32) -> anyhow::Result<()>>;

fn verb(program: &'static str, arguments: &'static [&'static str], environment: Option<(&'static str, PathBuf)>) -> Verb {
    Box::new(move |_| {
        let mut call = command(program, arguments);
        call.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        if let Some((key, value)) = &environment {
            call.env(key, value);
        }
        run(&mut call)
    })
}

/// Incus with a daemon, a folder and a bridge of its own.
pub fn incus(tree: &Path, folder: &Path) -> anyhow::Result<Subject> {
    let daemon = which("incusd").or_else(|| {
        Path::new("/usr/libexec/incus/incusd")
            .exists()
            .then(|| PathBuf::from("/usr/libexec/incus/incusd"))
    });
    let daemon = daemon.context("incus is not offered by this machine's Debian suites")?;
    let state = folder.join("incus");
    std::fs::create_dir_all(&state)?;
    let mut child = Command::new(daemon)
        .args(["--group", "root"])
        .env("INCUS_DIR", &state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Err(error) = incus_ready(tree, &state) {
        end_child(&mut child)?;
        return Err(error.context("incus does not start here"));
    }
    let call = |arguments| verb("incus", arguments, Some(("INCUS_DIR", state.clone())));
    let booted = state.clone();
    Ok(Subject {
        who: "incus",
        verbs: vec![
            ("create from a Debian 12 template", call(&["init", "debian12", "bench-deb"])),
            ("start to init's exec, Debian 12", call(&["start", "bench-deb"])),
            (
                "from there to is-system-running",
                Box::new(move |_| {
                    let wait = ["exec", "bench-deb", "--", "systemctl", "is-system-running", "--wait"];
                    command("incus", wait)
                        .env("INCUS_DIR", &booted)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .status()?;
                    Ok(())
                }),
            ),
            ("exec of true", call(&["exec", "bench-deb", "--", "true"])),
            ("kill, Debian 12", call(&["stop", "--force", "bench-deb"])),
            ("delete for good, Debian 12", call(&["delete", "bench-deb"])),
        ],
        end: Box::new(move || {
            let network = command("incus", ["network", "delete", "incusbench0"]).env("INCUS_DIR", &state).status();
            end_child(&mut child)?;
            network.map(drop).map_err(Into::into)
        }),
    })
}

fn incus_ready(tree: &Path, state: &Path) -> anyhow::Result<()> {
    let incus = |arguments: &[&str]| -> Command {
        let mut call = command("incus", arguments);
        call.env("INCUS_DIR", state).stdin(Stdio::null()).stdout(Stdio::null());
        call
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !succeeds(&mut incus(&["query", "/1.0"])) {
        if Instant::now() > until {
            bail!("its daemon did not answer within 30 s");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    run(&mut incus(&["storage", "create", "default", "dir"]))?;
    run(&mut incus(&[
        "network",
        "create",
        "incusbench0",
        "ipv4.address=10.214.0.1/24",
        "ipv6.address=none",
    ]))?;
    run(&mut incus(&["profile", "device", "add", "default", "root", "disk", "path=/", "pool=default"]))?;
    run(&mut incus(&[
        "profile",
        "device",
        "add",
        "default",
        "eth0",
        "nic",
        "network=incusbench0",
        "name=eth0",
    ]))?;
    let build = tree.join("images/debian/bookworm/amd64/default");
    let build = std::fs::read_dir(&build)?.next().context("the tree holds one build")??.path();
    let (metadata, root) = (build.join("incus.tar.xz"), build.join("rootfs.squashfs"));
    run(incus(&["image", "import"]).arg(metadata).arg(root).args(["--alias", "debian12"]))
}

/// LXC with the same namespaces, limits and a network: an unprivileged busybox container on a bridge.
pub fn lxc(_tree: &Path, folder: &Path) -> anyhow::Result<Subject> {
    which("lxc-start").context("lxc is not installed")?;
    let path = folder.join("lxc");
    let (container, root) = (path.join("bench"), path.join("bench/rootfs"));
    busybox_root(&root)?;
    run(command("chown", ["--recursive", "--no-dereference", "1000000:1000000"]).arg(&root))?;
    run(&mut command("ip", ["link", "add", "lxcbench0", "type", "bridge"]))?;
    run(&mut command("ip", ["link", "set", "lxcbench0", "up"]))?;
    let configuration = format!(
        "lxc.uts.name = bench\nlxc.rootfs.path = dir:{}\nlxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbench0\nlxc.net.0.flags = up\nlxc.mount.auto = proc:mixed sys:ro\nlxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup2.memory.max = 64M\nlxc.cgroup.pids.max = 64\nlxc.cgroup2.pids.max = 64\n",
        root.display()
    );
    std::fs::write(container.join("config"), configuration)?;
    let lxc = |program: &'static str, more: &'static [&'static str]| -> Verb {
        let path = path.clone();
        Box::new(move |_| run(command(program, ["-P"]).arg(&path).args(["-n", "bench"]).args(more)))
    };
    Ok(Subject {
        who: "lxc",
        verbs: vec![
            ("start to init's exec, busybox", lxc("lxc-start", &[])),
            ("kill, busybox", lxc("lxc-stop", &["-k"])),
        ],
        end: Box::new(|| run(&mut command("ip", ["link", "delete", "lxcbench0"]))),
    })
}

/// runc with a bundle of its own: no network, no user namespace, the least it does.
pub fn runc(folder: &Path) -> anyhow::Result<Subject> {
    which("runc").context("runc is not installed")?;
    let bundle = folder.join("runc");
    busybox_root(&bundle.join("rootfs"))?;
    run(command("runc", ["spec"]).current_dir(&bundle))?;
    let file = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    spec["process"]["args"] = serde_json::json!(["/bin/sleep", "100000"]);
    spec["process"]["terminal"] = false.into();
    std::fs::write(&file, serde_json::to_vec(&spec)?)?;
    let start = bundle.clone();
    Ok(Subject {
        who: "runc",
        verbs: vec![
            (
                "start to init's exec, busybox",
                Box::new(move |_| {
                    run(command("runc", ["run", "--detach", "berth-bench"])
                        .current_dir(&start)
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null()))
                }),
            ),
            ("kill, busybox", verb("runc", &["delete", "--force", "berth-bench"], None)),
        ],
        end: Box::new(|| Ok(())),
    })
}

fn end_child(child: &mut Child) -> anyhow::Result<()> {
    run(&mut command("kill", [child.id().to_string()]))?;
    child.wait()?;
    Ok(())
}
