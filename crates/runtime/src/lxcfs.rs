//! An lxcfs of Berth's own, so that containers see their own memory, CPUs, load and uptime. It outlives the console; the
//! next one adopts it; it ends with the last container. If it died every guest would get ENOTCONN for these files.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::UnmountFlags;

use crate::sys;

const PROGRAMS: [&str; 2] = ["/usr/bin/lxcfs", "/usr/sbin/lxcfs"];
/// Without these flags Debian's version shows the host's load and CPUs.
const FLAGS: [&str; 3] = ["-l", "--enable-cfs", "--enable-pidfd"];
const MOUNTED_WITHIN: Duration = Duration::from_secs(3);

/// Where the program is, if it is installed.
#[must_use]
pub fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|path| Path::new(path).exists())
}

fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("lxcfs")
}

/// Gives the folder of a living lxcfs, started if none lives; `None` where it cannot be had, which `berth check` says.
#[must_use]
pub fn ensure(run_dir: &Path, _instance: Option<&str>) -> Option<PathBuf> {
    let folder = folder(run_dir);
    if answers(&folder) {
        return Some(folder);
    }
    let program = program()?;
    // A dead mount answers ENOTCONN until it is gone.
    rustix::mount::unmount(&folder, UnmountFlags::DETACH).ok();
    std::fs::create_dir_all(&folder).ok()?;
    let mut command = Command::new(program);
    command.args(FLAGS).arg("-p").arg(run_dir.join("lxcfs.pid")).arg(&folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = match sys::with_descriptors(&mut command, Vec::new()) {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(%error, "lxcfs cannot be started; containers see the host's memory and CPUs");
            return None;
        }
    };
    wait_in_background(child);
    wait_for_mount(&folder).then_some(folder)
}

/// While we live its end must not leave a zombie.
fn wait_in_background(mut child: std::process::Child) {
    drop(
        std::thread::Builder::new()
            .name("berth-lxcfs".into())
            .stack_size(64 << 10)
            .spawn(move || drop(child.wait())),
    );
}

fn answers(folder: &Path) -> bool {
    folder.join("proc/meminfo").exists()
}

/// The kernel wakes poll(2) on mountinfo with POLLPRI at each change (proc_pid_mountinfo(5)).
fn wait_for_mount(folder: &Path) -> bool {
    let deadline = Instant::now() + MOUNTED_WITHIN;
    let Ok(mounts) = std::fs::File::open("/proc/self/mountinfo") else {
        return false;
    };
    while !answers(folder) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::try_from(left.as_nanos().min(100_000_000)).unwrap_or(0),
        };
        poll(&mut [PollFd::from_borrowed_fd(mounts.as_fd(), PollFlags::PRI)], Some(&timeout)).ok();
    }
    true
}

/// Ends it; one that is not there has ended already.
pub fn retire(run_dir: &Path) {
    let folder = folder(run_dir);
    if let Some(pid) = own_process(run_dir, &folder) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
    }
    rustix::mount::unmount(&folder, UnmountFlags::DETACH).ok();
    drop(std::fs::remove_dir(&folder));
    drop(std::fs::remove_file(run_dir.join("lxcfs.pid")));
}

/// The process of the pid file, only when it really is an lxcfs on our folder.
fn own_process(run_dir: &Path, folder: &Path) -> Option<rustix::process::Pid> {
    let pid: i32 = std::fs::read_to_string(run_dir.join("lxcfs.pid")).ok()?.trim().parse().ok()?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let is_ours = words.next().is_some_and(|program| program.ends_with("lxcfs")) && words.any(|word| Path::new(word.as_ref()) == folder);
    is_ours.then(|| rustix::process::Pid::from_raw(pid)).flatten()
}
