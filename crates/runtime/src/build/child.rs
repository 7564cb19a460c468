//! The builder itself: root of a user namespace in a mount and pid namespace of its own. It watches mmdebstrap, and ends
//! it with everything that it started as soon as the engine lets go.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use model::engine::BuildRequest;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result};
use crate::shim::protocol::{self, Fields};
use crate::sys;

const SOCKET: i32 = 3;
const OUTPUT: i32 = 4;
const LOG: i32 = 5;
/// What image servers do too: an address on eth0, names by what DHCP says, a machine id made at the first boot, nothing of this host. `$1` is the
/// new root.
const FIX_UPS: &str = r#"set -e
mkdir -p "$1/etc/systemd/network" "$1/etc/systemd/system/multi-user.target.wants"
printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n[DHCPv4]\nUseDomains=yes\n[DHCPv6]\nUseDomains=yes\n[IPv6AcceptRA]\nUseDomains=yes\n' > "$1/etc/systemd/network/eth0.network"
if [ -e "$1/lib/systemd/system/systemd-networkd.service" ]; then
  ln -sf /lib/systemd/system/systemd-networkd.service "$1/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
fi
echo uninitialized > "$1/etc/machine-id"
rm -f "$1/var/lib/dbus/machine-id" "$1/var/cache/ldconfig/aux-cache" "$1"/var/log/dpkg.log "$1"/var/log/alternatives.log "$1"/var/log/apt/*
if [ -e "$1/lib/systemd/system/systemd-resolved.service" ]; then
  ln -sf /lib/systemd/system/systemd-resolved.service "$1/etc/systemd/system/multi-user.target.wants/systemd-resolved.service"
  ln -sf /lib/systemd/system/systemd-resolved.service "$1/etc/systemd/system/dbus-org.freedesktop.resolve1.service"
  ln -sf ../run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
elif [ ! -L "$1/etc/resolv.conf" ]; then : > "$1/etc/resolv.conf"; fi
rm -f "$1/etc/hostname" "$1"/etc/ssh/ssh_host_*_key "$1"/etc/ssh/ssh_host_*_key.pub"#;

/// What the helper is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    /// Where it may write: becomes its /tmp.
    pub folder: String,
    /// The distribution's public keys.
    pub keyring: String,
    pub request: BuildRequest,
}

/// Runs as the helper; the exit code says whether an answer was given.
#[must_use]
pub fn run(request: &str) -> i32 {
    let Ok(socket) = sys::inherited(SOCKET) else { return 2 };
    let answer = match work(request, &socket) {
        Ok(()) => Fields::command("done"),
        Err(error) => Fields::command("failed").with("step", &error.step).with("message", &error.message),
    };
    i32::from(protocol::send(&socket, &answer, &[]).is_err())
}

fn work(request: &str, socket: &OwnedFd) -> Result<()> {
    let step = "build the root file system";
    let Work { folder, keyring, request } = serde_json::from_str(request).map_err(|error| Error::failed(step, error.to_string()))?;
    let output = sys::inherited(OUTPUT).at(step, "fcntl(output)")?;
    let log = sys::inherited(LOG).at(step, "fcntl(log)")?;
    confine(&folder, socket)?;
    let mut child = mmdebstrap(&request, &keyring, output, log).spawn().at(step, "execve(\"setpriv\")")?;
    let status = watch(&mut child, socket)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::failed(step, format!("mmdebstrap ended with {status}; the log says why")))
    }
}

fn confine(folder: &str, socket: &OwnedFd) -> Result<()> {
    let step = "confine the builder";
    // While this is still the host's root: later it cannot reach the path of its folder.
    sys::unshare(libc::CLONE_NEWNS).at(step, "unshare(CLONE_NEWNS)")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(step, "mount(\"/\", MS_PRIVATE)")?;
    hide_run()?;
    mount_bind(folder, "/tmp").at(step, "mount(\"/tmp\", MS_BIND)")?;
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS).at(step, "unshare()")?;
    protocol::send(socket, &Fields::command("map"), &[]).at(step, "sendmsg()")?;
    protocol::receive(socket)
        .at(step, "recvmsg()")?
        .ok_or_else(|| Error::failed(step, "the engine is gone"))?;
    rustix::thread::set_thread_groups(&[]).at(step, "setgroups()")?;
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(step, "setresgid(0)")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(step, "setresuid(0)")?;
    // The network namespace is the host's, and with it names like `@/org/daemon`: one layer more where the kernel has it.
    sys::scope_abstract_sockets().at(step, "landlock_restrict_self()")?;
    rustix::process::chdir("/tmp").at(step, "chdir(\"/tmp\")")?;
    // Its own descriptors begin at 3: dash knows numbers of one digit only.
    sys::cloexec_from(3).at(step, "close_range()")
}

/// No socket of a daemon of this host is for the packages' scripts. The resolver's file often lies there too.
fn hide_run() -> Result<()> {
    let step = "hide /run from the builder";
    let resolver = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let place = std::fs::canonicalize("/etc/resolv.conf").unwrap_or_default();
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=16m").at(step, "mount(\"/run\", tmpfs)")?;
    // Where Debian keeps what mmdebstrap and apt want to write while they run.
    std::fs::create_dir("/run/lock").at(step, "mkdir(\"/run/lock\")")?;
    std::fs::set_permissions("/run/lock", std::os::unix::fs::PermissionsExt::from_mode(0o1777)).at(step, "chmod(\"/run/lock\")")?;
    if let (true, Some(folder)) = (place.starts_with("/run"), place.parent().map(Path::to_path_buf)) {
        std::fs::create_dir_all(&folder).at(step, &format!("mkdir({})", folder.display()))?;
        std::fs::write(&place, resolver).at(step, &format!("write({})", place.display()))?;
    }
    Ok(())
}

/// Waits for the end of the child, or of the engine's interest in it: then every process of the namespace is killed, and
/// has ended when this returns.
fn watch(child: &mut Child, socket: &OwnedFd) -> Result<ExitStatus> {
    let step = "wait for mmdebstrap";
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).at(step, "pidfd_open()")?;
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.at(step, "poll()")?,
        };
        if !ready[1].revents().is_empty() {
            // It is init of the pid namespace: the kernel ends the others before it can be waited for.
            child.kill().at(step, "kill()")?;
        }
        if !ready[0].revents().is_empty() || !ready[1].revents().is_empty() {
            return child.wait().at(step, "waitpid()");
        }
    }
}

fn mmdebstrap(request: &BuildRequest, keyring: &str, output: OwnedFd, log: OwnedFd) -> Command {
    // Should this helper die without a word, the kernel ends mmdebstrap.
    let mut command = Command::new("/usr/bin/setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "/usr/bin/mmdebstrap"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TMPDIR", "/tmp")
        .env("LANG", "C.UTF-8");
    command.args(["--mode=root", "--variant=minbase", "--format=tar", "--skip=check/qemu"]);
    // It would empty the machine id, which means "no first boot" to systemd; the fix-ups remove what else it removes.
    command.arg("--skip=cleanup/reproducible");
    // Without it whatever key this host's apt trusts would do.
    command.arg(format!("--keyring={keyring}"));
    command
        .arg(format!("--architectures={}", request.arch))
        .arg(format!("--include={}", request.include.join(",")));
    command
        .arg(format!("--customize-hook={FIX_UPS}"))
        .arg("--")
        .arg(&request.suite)
        .arg("-")
        .arg(&request.mirror);
    command.stdin(Stdio::null()).stdout(output).stderr(log);
    command
}
