//! Runs the rootful tests in a virtual machine with pure cgroup v2: Debian's cloud kernel under plain emulation, because
//! nested acceleration cannot be relied on. The machine's disk is made once and kept outside the repository; the test
//! programs travel on a second disk, at the same paths as here.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::shell::{announce, cargo, command, run};
use crate::test::ROOTFUL;
use crate::{build, images};

/// Kept between runs; the recipe's version stands in the name, so that a changed recipe makes a new one.
const CACHE: &str = "/var/cache/berth-test";
const RECIPE: &str = "vm-3";
const GUEST_PACKAGES: &str = "linux-image-cloud-amd64,systemd-sysv,dbus,iproute2,nftables,iptables,dnsmasq-base,lxcfs,busybox-static,squashfs-tools,mmdebstrap,gpgv,strace,kmod,zstd,xz-utils,bzip2,procps,util-linux,uidmap";

/// Tests of the smoke run: one of each layer, on the layout that the test host does not have.
const SMOKE: &[&str] = &["smoke"];

const INIT: &str = r#"#!/bin/sh
# First process of the virtual machine: pure cgroup v2, then the work disk's script.
mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -o remount,rw /
ip link set lo up
modprobe -a overlay veth bridge nf_tables nft_chain_nat nft_masq nft_ct nft_reject_inet fuse loop squashfs 8021q tun ifb sch_tbf sch_ingress cls_u32 act_mirred
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /work
mount /dev/vdb /work
cp -a /work/files/. /
sh /work/run.sh </dev/null >/dev/console 2>&1
echo "berth-vm: exit $?" >/dev/console
sync
echo o >/proc/sysrq-trigger
sleep 60
"#;

/// One test of each kind, in every test run.
///
/// # Errors
/// The machine cannot be made or a test failed.
pub fn smoke() -> anyhow::Result<()> {
    suite(SMOKE, 900)
}

/// Every rootful test.
///
/// # Errors
/// As [`smoke`].
pub fn whole_suite(filters: &[String]) -> anyhow::Result<()> {
    suite(&filters.iter().map(String::as_str).collect::<Vec<_>>(), 7200)
}

fn suite(filters: &[&str], limit_s: u32) -> anyhow::Result<()> {
    let machine = machine()?;
    let shim = build::shim()?;
    let programs = test_programs(&shim)?;
    // Only the whole suite boots whole guests.
    let images = if filters == SMOKE { None } else { Some(images::tree()?) };
    let disk = work_disk(&programs, &shim, images.as_deref(), filters)?;
    boot(&machine, &disk, limit_s)
}

/// Folder with kernel, initrd and root disk.
fn machine() -> anyhow::Result<PathBuf> {
    let folder = Path::new(CACHE).join(RECIPE);
    if folder.join("base.img").exists() {
        return Ok(folder);
    }
    announce("make the virtual machine's disk from Debian packages (once per machine, about 80 s)");
    let fresh = Path::new(CACHE).join(format!("{RECIPE}.new"));
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    let root = fresh.join("root");
    std::fs::create_dir_all(&root)?;
    let archive = fresh.join("root.tar");
    let include = format!("--include={GUEST_PACKAGES}");
    run(command("mmdebstrap", ["--variant=minbase", "--format=tar", "--quiet", &include, "bookworm"]).arg(&archive))?;
    run(command("tar", ["--extract", "--preserve-permissions", "--numeric-owner", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(&root))?;
    let init = root.join("berth-init");
    std::fs::write(&init, INIT)?;
    run(command("chmod", ["0755"]).arg(&init))?;
    for name in ["vmlinuz", "initrd.img"] {
        let found = std::fs::read_dir(root.join("boot"))?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with(name));
        std::fs::copy(
            found.with_context(|| format!("Debian's kernel package brings /boot/{name}*"))?.path(),
            fresh.join(name),
        )?;
    }
    make_disk(&fresh.join("base.img"), &root, "6G")?;
    std::fs::remove_dir_all(&root)?;
    std::fs::remove_file(&archive)?;
    std::fs::rename(&fresh, &folder)?;
    Ok(folder)
}

fn make_disk(image: &Path, content: &Path, size: &str) -> anyhow::Result<()> {
    run(command("truncate", ["--size", size]).arg(image))?;
    run(command("mkfs.ext4", ["-q", "-F", "-d"]).arg(content).arg(image))
}

/// Builds the rootful test programs and gives the paths of all programs that they start.
fn test_programs(shim: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut programs = Vec::new();
    for tests in ROOTFUL {
        let mut build = cargo();
        build.arg("test").args(*tests).args(["--no-run", "--message-format=json-render-diagnostics"]);
        let mut child = build.env("BERTH_SHIM_PATH", shim).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("cargo's output is piped")?;
        for line in BufReader::new(output).lines() {
            let message: serde_json::Value = serde_json::from_str(&line?)?;
            let is_ours = message["package_id"].as_str().is_some_and(|id| id.contains("/crates/"));
            if let (true, Some(path)) = (is_ours, message["executable"].as_str()) {
                programs.push(PathBuf::from(path));
            }
        }
        if !child.wait()?.success() {
            bail!("the rootful tests do not build");
        }
    }
    Ok(programs)
}

/// A disk with the programs at their own paths, the cached root file systems, and the script that runs the tests.
fn work_disk(programs: &[PathBuf], shim: &Path, images: Option<&Path>, filters: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = build::target().join("vm");
    let content = folder.join("content");
    if content.exists() {
        std::fs::remove_dir_all(&content)?;
    }
    let mut files: Vec<PathBuf> = programs.to_vec();
    files.push(shim.to_owned());
    if let Some(images) = images {
        files.extend(files_below(images)?);
    }
    files.extend(files_below(&std::env::current_dir()?.join("crates/runtime/tests"))?);
    for file in &files {
        let inside = content.join("files").join(file.strip_prefix("/").unwrap_or(file));
        std::fs::create_dir_all(inside.parent().context("a file has a folder")?)?;
        std::fs::copy(file, &inside).with_context(|| file.display().to_string())?;
    }
    std::fs::write(content.join("run.sh"), script(programs, shim, images, filters)?)?;
    let disk = folder.join("work.img");
    if disk.exists() {
        std::fs::remove_file(&disk)?;
    }
    make_disk(&disk, &content, "6G")?;
    std::fs::remove_dir_all(&content)?;
    Ok(disk)
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        }
    }
    Ok(files)
}

fn script(programs: &[PathBuf], shim: &Path, images: Option<&Path>, filters: &[&str]) -> anyhow::Result<String> {
    let manifest = std::env::current_dir()?.join("crates/runtime");
    let mut script = format!(
        "export BERTH_SHIM_PATH={} CARGO_MANIFEST_DIR={} BERTH_TEST_VM=1\nfailed=0\n",
        shim.display(),
        manifest.display()
    );
    if let Some(images) = images {
        script += &format!("export BERTH_TEST_IMAGES={}\n", images.display());
    }
    let is_test = |program: &&PathBuf| program.components().any(|part| part.as_os_str() == "deps");
    for program in programs.iter().filter(is_test) {
        script += &format!(
            "cd {} && {} --test-threads=1 {} || failed=1\n",
            manifest.display(),
            program.display(),
            filters.join(" ")
        );
    }
    script += "exit $failed\n";
    Ok(script)
}

/// Boots, passes the console on, and judges by the last line of the guest's first process.
fn boot(machine: &Path, disk: &Path, limit_s: u32) -> anyhow::Result<()> {
    announce("boot the virtual machine (pure cgroup v2, Linux 6.1)");
    let drive = |file: &Path, more: &str| format!("file={},if=virtio,format=raw{more}", file.display());
    let mut qemu = command(
        "timeout",
        [
            limit_s.to_string().as_str(),
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
        ],
    );
    qemu.args(["-m", "4096", "-nographic", "-no-reboot", "-nic", "none", "-kernel"])
        .arg(machine.join("vmlinuz"))
        .arg("-initrd")
        .arg(machine.join("initrd.img"));
    qemu.args(["-append", "console=ttyS0 root=/dev/vda rw init=/berth-init quiet panic=-1"]);
    qemu.arg("-drive")
        .arg(drive(&machine.join("base.img"), ",snapshot=on"))
        .arg("-drive")
        .arg(drive(disk, ""));
    let log = build::target().join("vm/console.log");
    let passed = follow(&mut qemu, &log)?;
    if !passed {
        bail!(
            "the tests in the virtual machine failed or did not end within {limit_s} s; its console is in {}",
            log.display()
        );
    }
    Ok(())
}

fn follow(qemu: &mut Command, log: &Path) -> anyhow::Result<bool> {
    use std::io::Write as _;
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("qemu-system-x86_64")?;
    let mut log = File::create(log)?;
    let (mut ended_well, mut ran) = (false, false);
    let output = child.stdout.take().context("qemu's output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        println!("{}", text.trim_end());
        writeln!(log, "{}", text.trim_end())?;
        ended_well |= text.trim_end() == "berth-vm: exit 0";
        ran |= text.contains("test result:") && !text.contains(" 0 passed");
    }
    child.wait()?;
    // A filter that fits no test must not look like success.
    Ok(ended_well && ran)
}
