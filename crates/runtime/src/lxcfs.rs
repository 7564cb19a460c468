//! An lxcfs of Berth's own, so that containers see their own memory, CPUs, load and uptime. It outlives the console; the
//! next one adopts it; it ends with the last container. If it died every guest would get ENOTCONN for these files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::mount::UnmountFlags;

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
    match start(&companion(run_dir, layout, instance), program, run_dir, &folder) {
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
