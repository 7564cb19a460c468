//! Building a root file system from a distribution's packages: mmdebstrap as root of a user namespace whose ids nobody
//! else has, because it executes the packages' own scripts. Those ids may talk to the mirror and to the name servers, and
//! to nobody else.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use model::engine::BuildRequest;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, chownat, mkdirat};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};

use crate::error::{At, Error, Result};
use crate::init::host_folder;
use crate::rootfs::{Folders, remove_tree};
use crate::shim::protocol::{self, Fields};
use crate::sys;

/// Ids of builds: above the pool of containers.
const BASE: u32 = 1_879_113_728;
const SOCKET: i32 = 3;
const OUTPUT: i32 = 4;
const LOG: i32 = 5;
/// What image servers do too: an address on eth0, and a machine id made at the first boot. `$1` is the new root.
const FIX_UPS: &str = r#"mkdir -p "$1/etc/systemd/network" "$1/etc/systemd/system/multi-user.target.wants"
printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n' > "$1/etc/systemd/network/eth0.network"
if [ -e "$1/lib/systemd/system/systemd-networkd.service" ]; then
  ln -sf /lib/systemd/system/systemd-networkd.service "$1/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
fi
echo uninitialized > "$1/etc/machine-id"
rm -f "$1"/etc/ssh/ssh_host_*_key "$1"/etc/ssh/ssh_host_*_key.pub"#;

/// What the helper is told.
#[derive(Debug, Serialize, Deserialize)]
struct Work {
    folder: String,
    request: BuildRequest,
}

/// Builds; the tar goes to `output` and log lines to `log`. Closing the other end of `log` cancels.
///
/// # Errors
/// mmdebstrap is missing or fails (its last words are in the log), or it was cancelled; nothing is left then.
pub fn build(folders: &Folders, request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Result<()> {
    let step = "build the root file system";
    if !std::path::Path::new("/usr/bin/mmdebstrap").exists() {
        return Err(Error::unsupported(step, "mmdebstrap is not installed").hint("apt-get install mmdebstrap"));
    }
    let staging = host_folder(&folders.state.join("staging"))?;
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").at(step, "read(\"/proc/sys/kernel/random/uuid\")")?;
    let name = format!("build.{}", random.trim());
    mkdirat(&staging, name.as_str(), Mode::RWXU).at(step, &format!("mkdirat({name:?})"))?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(BASE), rustix::fs::Gid::from_raw(BASE));
    let owned = chownat(&staging, name.as_str(), Some(uid), Some(gid), rustix::fs::AtFlags::empty()).at(step, "fchownat()");
    let table = format!("berth_build_{}", random.trim().replace('-', "_"));
    let outcome = owned.and_then(|()| close_network(&table, request)).and_then(|()| {
        let folder = folders.state.join("staging").join(&name).display().to_string();
        let built = run(
            &Work {
                folder,
                request: request.clone(),
            },
            output,
            log,
        );
        open_network(&table).and(built)
    });
    remove_tree(staging.as_fd(), &name).and(outcome)
}

/// Rules for everything that the builder's ids send: by user id, so that no namespace or address of its own is needed.
fn rules(table: &str, request: &BuildRequest, servers: &[IpAddr]) -> String {
    let family = |ip: &IpAddr| if ip.is_ipv4() { "ip" } else { "ip6" };
    let mirror = request
        .allow
        .iter()
        .map(|(ip, port)| format!("{} daddr {ip} tcp dport {port} return\n", family(ip)));
    let names = servers
        .iter()
        .map(|ip| format!("{} daddr {ip} meta l4proto {{ 6, 17 }} th dport 53 return\n", family(ip)));
    let allowed: String = mirror.chain(names).collect();
    let last = BASE + 65_535;
    format!(
        "table inet {table} {{\nchain output {{\ntype filter hook output priority filter; policy accept;\nmeta skuid {BASE}-{last} jump builder\n}}\nchain builder {{\n{allowed}reject\n}}\n}}\n"
    )
}

fn close_network(table: &str, request: &BuildRequest) -> Result<()> {
    let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<IpAddr> = resolver
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .collect();
    nft(&rules(table, request, &servers))
}

fn open_network(table: &str) -> Result<()> {
    nft(&format!("delete table inet {table}\n"))
}

fn nft(text: &str) -> Result<()> {
    let step = "limit the builder's network";
    let mut child = Command::new("/usr/sbin/nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .at(step, "execve(\"nft\")")?;
    child
        .stdin
        .take()
        .ok_or_else(|| Error::failed(step, "nft has no input"))?
        .write_all(text.as_bytes())
        .at(step, "write(nft)")?;
    let output = child.wait_with_output().at(step, "waitpid(nft)")?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::failed(step, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn run(work: &Work, output: OwnedFd, log: OwnedFd) -> Result<()> {
    let step = "build the root file system";
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).at(step, "socketpair()")?;
    let request = serde_json::to_string(work).map_err(|error| Error::failed(step, error.to_string()))?;
    let watched = log.try_clone().at(step, "dup()")?;
    let mut child = crate::respawn::spawn("build", &request, vec![theirs, output, log])?;
    let outcome = talk(&child, &ours, watched.as_fd());
    child.kill().ok();
    child.wait().at(step, "waitpid()")?;
    outcome
}

fn talk(child: &Child, socket: &OwnedFd, log: BorrowedFd<'_>) -> Result<()> {
    let step = "build the root file system";
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(log, PollFlags::empty()),
        ];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.at(step, "poll()")?,
        };
        if ready[1].revents().contains(PollFlags::ERR) {
            return Err(Error::failed(step, "it was cancelled"));
        }
        let (message, _) = protocol::receive(socket)
            .at(step, "recvmsg()")?
            .ok_or_else(|| Error::failed(step, "the builder died"))?;
        match message.get("command") {
            Some("map") => {
                for file in ["gid_map", "uid_map"] {
                    let path = format!("/proc/{}/{file}", child.id());
                    std::fs::write(&path, format!("0 {BASE} 65536")).at("map the builder's ids", &format!("write({path:?})"))?;
                }
                protocol::send(socket, &Fields::command("go"), &[]).at(step, "sendmsg()")?;
            }
            Some("done") => return Ok(()),
            _ => {
                return Err(Error::failed(
                    message.get("step").unwrap_or(step),
                    message.get("message").unwrap_or("the builder failed"),
                ));
            }
        }
    }
}

/// Runs as the helper.
#[must_use]
pub fn run_helper(request: &str) -> i32 {
    let Ok(socket) = sys::inherited(SOCKET) else { return 2 };
    let answer = match work(request, &socket) {
        Ok(()) => Fields::command("done"),
        Err(error) => Fields::command("failed").with("step", &error.step).with("message", &error.message),
    };
    i32::from(protocol::send(&socket, &answer, &[]).is_err())
}

fn work(request: &str, socket: &OwnedFd) -> Result<()> {
    let step = "confine the builder";
    let Work { folder, request } = serde_json::from_str(request).map_err(|error| Error::failed(step, error.to_string()))?;
    let output = sys::inherited(OUTPUT).at(step, "fcntl(output)")?;
    let log = sys::inherited(LOG).at(step, "fcntl(log)")?;
    // Its work folder becomes its /tmp while this is still the host's root: later it cannot reach the path.
    sys::unshare(libc::CLONE_NEWNS).at(step, "unshare(CLONE_NEWNS)")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(step, "mount(\"/\", MS_PRIVATE)")?;
    mount_bind(folder.as_str(), "/tmp").at(step, "mount(\"/tmp\", MS_BIND)")?;
    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS).at(step, "unshare()")?;
    protocol::send(socket, &Fields::command("map"), &[]).at(step, "sendmsg()")?;
    protocol::receive(socket)
        .at(step, "recvmsg()")?
        .ok_or_else(|| Error::failed(step, "the engine is gone"))?;
    rustix::thread::set_thread_groups(&[]).at(step, "setgroups()")?;
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(step, "setresgid(0)")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(step, "setresuid(0)")?;
    rustix::process::chdir("/tmp").at(step, "chdir(\"/tmp\")")?;
    // Its own descriptors begin at 3: dash knows numbers of one digit only.
    sys::cloexec_from(3).at(step, "close_range()")?;
    let status = mmdebstrap(&request, output, log)
        .status()
        .at("build the root file system", "execve(\"mmdebstrap\")")?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::failed(
            "build the root file system",
            format!("mmdebstrap ended with {status}; the log says why"),
        ))
    }
}

fn mmdebstrap(request: &BuildRequest, output: OwnedFd, log: OwnedFd) -> Command {
    let mut command = Command::new("/usr/bin/mmdebstrap");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TMPDIR", "/tmp")
        .env("LANG", "C.UTF-8");
    command.args(["--mode=root", "--variant=minbase", "--format=tar", "--skip=check/qemu"]);
    command
        .arg(format!("--architectures={}", request.arch))
        .arg(format!("--include={}", request.include.join(",")));
    command
        .arg(format!("--customize-hook={FIX_UPS}"))
        .arg(&request.suite)
        .arg("-")
        .arg(&request.mirror);
    command.stdin(Stdio::null()).stdout(output).stderr(log);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_reaches_the_mirror_and_name_servers_only() {
        let request = BuildRequest {
            suite: "trixie".into(),
            arch: "amd64".into(),
            mirror: "http://deb.example/debian".into(),
            allow: vec![("192.0.2.7".parse().unwrap(), 80)],
            include: Vec::new(),
            distribution: "debian".into(),
        };
        let text = rules("t", &request, &["2001:db8::53".parse().unwrap()]);
        assert!(text.contains("ip daddr 192.0.2.7 tcp dport 80 return\n"));
        assert!(text.contains("ip6 daddr 2001:db8::53 meta l4proto { 6, 17 } th dport 53 return\nreject\n"));
        assert!(text.contains("meta skuid 1879113728-1879179263 jump builder"));
    }
}
