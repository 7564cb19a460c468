//! The peers under measure, from Debian's packages: Incus, LXC and runc, each with state of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::berth::cost;
use super::document::LIST;
use super::{Cost, Verb, quantile};
use crate::shell::{announce, command, read, run, succeeds, which};

pub mod incus;
pub mod lxc;
pub mod runc;

/// Installs what Debian offers here; what it does not is named in the document.
pub fn install() {
    for (program, packages) in [
        ("runc", &["runc"][..]),
        ("lxc-start", &["lxc"]),
        ("rsync", &["rsync"]),
        ("incus", &["incus-base", "incus-client"]),
    ] {
        if which(program).is_some() {
            continue;
        }
        announce(&format!("install {}: a peer to measure against", packages.join(" ")));
        if let Err(error) = install_packages(packages) {
            println!("{error:#}");
        }
    }
}

fn install_packages(packages: &[&str]) -> anyhow::Result<()> {
    let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"];
    let mut call = command("apt-get", install);
    if !succeeds(command("apt-cache", ["show"]).args(packages)) {
        call.args(backports()?);
    }
    run(call.args(packages).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
}

/// Options for apt-get that add this Debian's backports, from the mirrors that are used here, and leave the host's own
/// sources and lists as they are.
fn backports() -> anyhow::Result<Vec<String>> {
    let codename = read(&mut command("sh", ["-c", ". /etc/os-release && printf %s \"$VERSION_CODENAME\""]))?;
    let folder = std::env::temp_dir().join("berth-bench-apt");
    let (parts, lists) = (folder.join("sources"), folder.join("lists"));
    std::fs::create_dir_all(&parts)?;
    std::fs::create_dir_all(lists.join("partial"))?;
    let host = Path::new("/etc/apt/sources.list.d/debian.sources");
    let text = std::fs::read_to_string(host).with_context(|| host.display().to_string())?;
    std::fs::write(parts.join("debian.sources"), &text)?;
    std::fs::write(parts.join("backports.sources"), backports_of(&text, &codename))?;
    let options = vec![
        "--option".to_owned(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        "--option".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        "--target-release".to_owned(),
        format!("{codename}-backports"),
    ];
    run(command("apt-get", ["update", "--quiet", "--quiet"]).args(&options[..4]))?;
    Ok(options)
}

/// The first stanza (deb822(5)) with backports for suites.
fn backports_of(sources: &str, codename: &str) -> String {
    let stanza = sources.split("\n\n").next().unwrap_or_default();
    let line = |line: &str| match line.split_once(':') {
        Some(("Suites", _)) => format!("Suites: {codename}-backports\n"),
        _ => format!("{line}\n"),
    };
    stanza.lines().map(line).collect()
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

/// Gives a tree to the container's ids. LXC and runc have one such copy; Berth and Incus map what they share.
fn shift(root: &Path) -> anyhow::Result<()> {
    run(command("chown", ["--recursive", "--no-dereference", "1000000:1000000"]).arg(root))
}

fn silent(call: &mut Command) -> &mut Command {
    call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A step that is one command.
fn verb(what: Option<&'static str>, call: impl Fn() -> Command + 'static) -> Verb {
    Box::new(move |stopwatch| {
        run(silent(&mut call()))?;
        what.into_iter().for_each(|what| stopwatch.mark(what));
        Ok(())
    })
}

/// Asks until systemd has booted. Before it listens the question fails, which costs one more.
pub fn until_running(question: impl Fn() -> Command) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let output = question().stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let answer = String::from_utf8_lossy(&output.stdout);
        if ["running", "degraded"].contains(&answer.trim()) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("systemd did not boot within 60 s and is {:?}", answer.trim());
        }
    }
}

/// The median of twenty lists.
pub fn list_ms(list: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Cost> {
    let mut times_ms = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        list()?;
        times_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(cost(LIST, quantile(&times_ms, 0.5), "ms"))
}

/// What a folder of the tree of images holds: metadata and root file system of Debian 12.
fn debian_12(tree: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let builds = tree.join("images/debian/bookworm/amd64/default");
    let build = std::fs::read_dir(&builds)?.next().context("the tree holds one build")??.path();
    Ok((build.join("incus.tar.xz"), build.join("rootfs.squashfs")))
}

#[cfg(test)]
mod tests {
    use super::backports_of;

    #[test]
    fn backports_come_from_the_mirror_of_the_first_stanza() {
        let sources = "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nSigned-By: /k\n\nTypes: deb\nSuites: s\n";
        assert_eq!(
            backports_of(sources, "trixie"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie-backports\nSigned-By: /k\n"
        );
    }
}
