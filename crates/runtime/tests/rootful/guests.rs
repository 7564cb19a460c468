//! Whole guests: Debian with systemd, OpenRC or busybox as PID 1, unpacked from the images that `cargo xtask images` makes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::container::ExitReason;
use model::engine::Signal;
use model::{ContainerState, Limits};

use crate::command;
use crate::host::{Host, as_root, eventually};

fn images() -> PathBuf {
    std::env::var_os("BERTH_TEST_IMAGES")
        .expect("BERTH_TEST_IMAGES names the folder of images; `cargo xtask test` makes them and sets it")
        .into()
}

/// The newest root file system of a suite.
fn archive(suite: &str) -> PathBuf {
    let builds = images().join("images/debian").join(suite).join("amd64/default");
    let mut builds: Vec<PathBuf> = std::fs::read_dir(&builds).unwrap().map(|entry| entry.unwrap().path()).collect();
    builds.sort();
    builds.pop().expect("a build").join("rootfs.tar.xz")
}

fn unpack_archive(archive: &Path, root: &Path) {
    let status = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--exclude=./dev/*", "-xpJf"])
        .arg(archive)
        .arg("-C")
        .arg(root)
        .status();
    assert!(status.unwrap().success(), "tar unpacks the root file system");
}

/// Unpacks Debian with systemd.
pub fn unpack(suite: &str, root: &Path) {
    unpack_archive(&archive(suite), root);
}

/// Debian with OpenRC below the init that the caller names.
fn unpack_openrc(root: &Path, init: &str, inittab: &str) {
    unpack_archive(&images().join("guests-1/openrc.tar.xz"), root);
    // The package of the test's init may have put something there.
    drop(std::fs::remove_file(root.join("sbin/init")));
    std::os::unix::fs::symlink(init, root.join("sbin/init")).unwrap();
    std::fs::write(root.join("etc/inittab"), inittab).unwrap();
}

/// What systemd says once it has settled; `offline` means that it has not even begun.
pub fn settled(host: &Host, id: model::ContainerId) -> String {
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

/// Waits until the runlevel `default` is reached, and checks that every service of it runs.
fn openrc_is_up(host: &Host, id: model::ContainerId) {
    let reached = "until [ \"$(cat /run/openrc/softlevel 2>/dev/null)\" = default ] && [ -z \"$(ls /run/openrc/starting)\" ] && [ -e /run/openrc/started/witness ]; do sleep 0.1; done";
    host.says(id, reached);
    assert_eq!(host.says(id, "ls /run/openrc/failed"), "");
    let crashed = host.sh(id, "rc-status --nocolor --crashed").1;
    assert_eq!(crashed.trim(), "", "{}", host.consoles());
    let services = host.says(id, "rc-status --nocolor --all");
    assert!(services.contains("Runlevel: default") && services.contains("bootmisc.sh"), "{services}");
    assert!(!services.contains("crashed"), "{services}");
    assert!(
        host.says(id, "ls /run/openrc/started").contains("cgroups"),
        "it was content with the cgroup view"
    );
}

/// Boots, starts again when asked from inside, and stops when init is asked to: with the services' own stop scripts.
fn reboots_and_stops(name: &'static str, fill: impl FnOnce(&Path), reboot: &str, is_up: impl Fn(&Host, model::ContainerId)) {
    let host = Host::new(as_root(), name);
    let id = host.container(name, fill);
    let first = host.start(id, Limits::default()).expect("it starts");
    is_up(&host, id);
    host.sh(id, reboot);
    let again = host.wait_for(id, |seen| {
        seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != Some(first.pid)
    });
    assert_eq!(again.exits.last().map(|exit| exit.reason), Some(ExitReason::Reboot));
    is_up(&host, id);
    host.runtime.signal(id, Signal::PowerOff).expect("it is asked");
    let off = host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
    assert_eq!(off.exits.last().map(|exit| exit.reason), Some(ExitReason::PowerOff));
    let stopped = host.state().join("containers").join(id.to_string()).join("layers/1/root/stopped");
    assert_eq!(std::fs::read_to_string(stopped).unwrap_or_default(), "reboot\nstop\n", "{}", host.consoles());
    // From inside it is the same as asked from outside.
    host.start(id, Limits::default()).expect("it starts again");
    is_up(&host, id);
    host.sh(id, &reboot.replace("reboot", "poweroff"));
    let off = host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
    assert_eq!(off.exits.last().map(|exit| exit.reason), Some(ExitReason::PowerOff));
}

/// A service whose stop shows that the services were stopped in order, and not only killed.
fn add_witness(root: &Path) {
    let script =
        "#!/sbin/openrc-run\nstart() { :; }\nstop() { if [ -e /root/stopped ]; then echo stop >> /root/stopped; else echo reboot > /root/stopped; fi; }\n";
    let path = root.join("etc/init.d/witness");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("/etc/init.d/witness", root.join("etc/runlevels/default/witness")).unwrap();
}

#[test]
fn openrc_under_its_own_init_boots_reboots_and_powers_off() {
    let fill = |root: &Path| {
        unpack_openrc(root, "/sbin/openrc-init", "");
        add_witness(root);
    };
    reboots_and_stops("openrc-init", fill, "openrc-shutdown --reboot now", openrc_is_up);
}

#[test]
fn openrc_under_busybox_init_boots_reboots_and_powers_off() {
    let inittab = "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n::wait:/sbin/openrc default\n\
        console::respawn:/bin/busybox getty 38400 console\n::ctrlaltdel:/bin/busybox reboot\n::shutdown:/sbin/openrc shutdown\n";
    let fill = |root: &Path| {
        unpack_openrc(root, "/bin/busybox", inittab);
        add_witness(root);
    };
    reboots_and_stops("openrc-busybox", fill, "busybox reboot", openrc_is_up);
}

#[test]
fn busybox_init_runs_its_inittab_from_boot_to_shutdown() {
    let inittab = "::sysinit:/bin/sh -c 'echo boot > /run/booted'\n::wait:/bin/sh -c 'echo wait >> /run/booted'\n\
        ::once:/bin/sh -c 'echo once >> /run/booted'\n::respawn:/bin/sh -c 'echo again >> /run/respawned; exec sleep 100000'\n\
        console::respawn:/bin/busybox getty -n -l /bin/sh 38400 console\n::ctrlaltdel:/bin/busybox reboot\n\
        ::shutdown:/bin/sh -c 'if [ -e /root/stopped ]; then echo stop >> /root/stopped; else echo reboot > /root/stopped; fi'\n";
    let fill = |root: &Path| {
        crate::host::busybox_root(root);
        std::fs::write(root.join("etc/inittab"), inittab).unwrap();
    };
    reboots_and_stops("busybox", fill, "busybox reboot", |host, id| {
        host.says(id, "until grep -q once /run/booted && [ -e /run/respawned ]; do sleep 0.05; done");
        assert_eq!(host.says(id, "cat /run/booted"), "boot\nwait\nonce");
        // What ends is started again.
        host.says(id, "kill $(pidof sleep); until [ \"$(wc -l < /run/respawned)\" -ge 2 ]; do sleep 0.05; done");
        let mut console = std::fs::File::from(host.runtime.console(id).expect("it attaches"));
        // What is typed before the shell is there, getty throws away.
        eventually("the console's shell does what is typed", || {
            console
                .write_all(b"echo typed > /run/typed\n")
                .unwrap_or_else(|error| panic!("{error}; nobody reads what is typed: {}", host.consoles()));
            host.sh(id, "grep -q typed /run/typed").0 == 0
        });
    });
}
