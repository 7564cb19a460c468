//! An lxcfs of Berth's own, so that containers see their own memory, CPUs, load and uptime. It outlives the console; the
//! next one adopts it; it ends with the last container. If it died every guest would get ENOTCONN for these files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::mount::{FsPickFlags, UnmountFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

use crate::cgroup::Layout;
use crate::companion::Companion;
use crate::error::{At, Result};

const PROGRAMS: [&str; 2] = ["/usr/bin/lxcfs", "/usr/sbin/lxcfs"];
/// In the foreground, because its process is remembered; without the others Debian's version shows the host's load and CPUs.
const FLAGS: [&str; 4] = ["-f", "-l", "--enable-cfs", "--enable-pidfd"];
/// Two starts at once must not start two.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where the program is, if it is installed.
#[must_use]
pub fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|path| Path::new(path).exists())
}

fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("lxcfs")
}

fn companion<'a>(run_dir: &Path, layout: &'a Layout, instance: Option<&'a str>) -> Companion<'a> {
    Companion {
        name: "lxcfs".to_owned(),
        folder: run_dir.join("lxcfs.process"),
        layout,
        instance,
    }
}

/// Gives the folder of a living lxcfs, started if none lives; `None` where it cannot be had, which `berth check` says.
#[must_use]
pub fn ensure(run_dir: &Path, layout: &Layout, instance: Option<&str>) -> Option<PathBuf> {
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder(run_dir);
    if answers(&folder) {
        return Some(folder);
    }
    let program = program()?;
    let before = CgroupFlags::of(layout);
    let started = start(&companion(run_dir, layout, instance), program, run_dir, &folder);
    before.keep(layout);
    match started {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!(%error, "lxcfs cannot be started; containers see the host's memory and CPUs");
            None
        }
    }
}

fn start(companion: &Companion<'_>, program: &str, run_dir: &Path, folder: &Path) -> Result<()> {
    companion.stop()?;
    // A dead mount answers ENOTCONN until it is gone.
    rustix::mount::unmount(folder, UnmountFlags::DETACH).ok();
    std::fs::create_dir_all(folder).at("start lxcfs", &format!("mkdir({})", folder.display()))?;
    let mut command = Command::new(program);
    command.args(FLAGS).arg("-p").arg(run_dir.join("lxcfs.pid")).arg(folder);
    companion.start(&mut command, "", || answers(folder))
}

/// How the host's version 2 hierarchy is mounted. lxcfs mounts it again for itself at its start, without these flags, and
/// they are the hierarchy's, not a mount's: the host would lose its delegation boundary (kernel: cgroup-v2.rst, "Mounting").
#[derive(Debug, PartialEq, Eq)]
struct CgroupFlags(Vec<String>);

impl CgroupFlags {
    fn of(layout: &Layout) -> Self {
        let root = layout.unified.as_ref().map(|unified| unified.mount.display().to_string()).unwrap_or_default();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self(flags_of(&mounts, &root))
    }

    /// Gives back what was lost.
    fn keep(self, layout: &Layout) {
        let Some(unified) = layout.unified.as_ref().filter(|_| Self::of(layout) != self) else {
            return;
        };
        if let Err(error) = self.set(&unified.mount) {
            tracing::warn!(%error, flags = ?self.0, "starting lxcfs took these flags from the host's cgroup2 mount");
        }
    }

    fn set(&self, root: &Path) -> Result<()> {
        let step = "keep the flags of the host's cgroup2 mount";
        let mount = fspick(rustix::fs::CWD, root, FsPickFlags::FSPICK_CLOEXEC).at(step, &format!("fspick({})", root.display()))?;
        for flag in &self.0 {
            fsconfig_set_flag(&mount, flag.as_str()).at(step, &format!("fsconfig({flag:?})"))?;
        }
        fsconfig_reconfigure(&mount).at(step, "fsconfig(CMD_RECONFIGURE)")
    }
}

/// The last field of the line of a cgroup2 mount (proc_pid_mountinfo(5)), without what every file system has.
fn flags_of(mounts: &str, root: &str) -> Vec<String> {
    let line = mounts.lines().filter_map(|line| line.split_once(" - ")).find(|(mount, source)| {
        let is_here = mount.split(' ').nth(4) == Some(root);
        is_here && source.starts_with("cgroup2 ")
    });
    let options = line.and_then(|(_, source)| source.split(' ').nth(2)).unwrap_or_default();
    options
        .split(',')
        .filter(|flag| !matches!(*flag, "" | "rw" | "ro"))
        .map(str::to_owned)
        .collect()
}

fn answers(folder: &Path) -> bool {
    folder.join("proc/meminfo").exists()
}

/// Ends it and removes what is its; one that is not there has ended already.
///
/// # Errors
/// It does not end, or something cannot be removed.
pub fn retire(run_dir: &Path, layout: &Layout, instance: Option<&str>) -> Result<()> {
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder(run_dir);
    let removed = companion(run_dir, layout, instance).remove();
    rustix::mount::unmount(&folder, UnmountFlags::DETACH).ok();
    drop(std::fs::remove_dir(&folder));
    drop(std::fs::remove_file(run_dir.join("lxcfs.pid")));
    removed
}

#[cfg(test)]
mod tests {
    use super::flags_of;

    #[test]
    fn the_flags_of_the_hierarchy_stand_last() {
        let mounts =
            "24 1 0:22 / /sys rw - sysfs sysfs rw\n30 24 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        assert_eq!(flags_of(mounts, "/sys/fs/cgroup"), ["nsdelegate", "memory_recursiveprot"]);
        assert!(flags_of(mounts, "/sys").is_empty());
    }
}
