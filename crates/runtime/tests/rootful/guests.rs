//! Whole guests: Debian with systemd as PID 1, unpacked from the images that `cargo xtask images` makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use model::container::ExitReason;
use model::engine::Signal;
use model::{ContainerState, Limits};

use crate::command;
use crate::host::{Host, as_root};

/// The newest root file system of a suite, or why there is none.
fn archive(suite: &str) -> PathBuf {
    let images = std::env::var_os("BERTH_TEST_IMAGES").expect("BERTH_TEST_IMAGES names the folder of images; `cargo xtask test` makes them and sets it");
    let builds = Path::new(&images).join("images/debian").join(suite).join("amd64/default");
    let mut builds: Vec<PathBuf> = std::fs::read_dir(&builds).unwrap().map(|entry| entry.unwrap().path()).collect();
    builds.sort();
    builds.pop().expect("a build").join("rootfs.tar.xz")
}

fn unpack(suite: &str, root: &Path) {
    let status = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--exclude=./dev/*", "-xpJf"])
        .arg(archive(suite))
        .arg("-C")
        .arg(root)
        .status();
    assert!(status.unwrap().success(), "tar unpacks the root file system");
}

/// What systemd says once it has settled; `offline` means that it has not even begun.
fn settled(host: &Host, id: model::ContainerId) -> String {
    let script = "until [ -S /run/systemd/private ]; do sleep 0.05; done; exec systemctl is-system-running --wait";
    host.run(id, &command(&["sh", "-c", script])).1.trim().to_owned()
}

fn boots_and_shuts_down(suite: &'static str) {
    let host = Host::new(as_root(), suite);
    let id = host.container(suite, |root| unpack(suite, root));
    let limits = Limits {
        cpus: Some(1.0),
        memory_bytes: Some(512 << 20),
        ..Limits::default()
    };
    let first = host.start(id, limits).expect("it starts");
    let state = settled(&host, id);
    let (_, failed) = host.run(id, &command(&["systemctl", "--failed", "--no-legend", "--plain"]));
    assert_eq!(state, "running", "failed units: {failed}");
    assert_eq!(host.run(id, &command(&["nproc"])).1.trim(), "1");
    let total = host.run(id, &command(&["sh", "-c", "grep MemTotal /proc/meminfo"])).1;
    assert_eq!(total.split_whitespace().nth(1), Some("524288"), "{total}");
    assert_eq!(host.run(id, &command(&["systemctl", "reboot"])).0, 0);
    let again = host.wait_for(id, |seen| {
        seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != Some(first.pid)
    });
    assert_eq!(again.exits.last().map(|exit| exit.reason), Some(ExitReason::Reboot));
    assert_eq!(settled(&host, id), "running");
    host.runtime.signal(id, Signal::PowerOff).expect("it is asked");
    let off = host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
    assert_eq!(off.exits.last().map(|exit| exit.reason), Some(ExitReason::PowerOff));
}

#[test]
fn debian_12_with_systemd_boots_reboots_and_powers_off() {
    boots_and_shuts_down("bookworm");
}

#[test]
fn debian_13_with_systemd_boots_reboots_and_powers_off() {
    boots_and_shuts_down("trixie");
}
