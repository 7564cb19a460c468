//! A program that serves the containers beside them (dnsmasq): in a cgroup and session of its own, so that it outlives the
//! console; found again by the next one through a record beside which nobody else writes.
//!
//! Invariant: a process is ours only when boot, pid and start time are those of the record; signals go by pidfd.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Layout;
use crate::cgroup::layout::{Hierarchy, instance_directory};
use crate::error::{At, Error, Result};
use crate::sys;

const READY_WITHIN: Duration = Duration::from_secs(5);
const ENDS_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where a companion lives; whether it does is looked up each time.
#[derive(Debug)]
pub struct Companion<'a> {
    /// The group below the instance's directory; no container has such a name, theirs are UUIDs.
    pub name: String,
    /// Folder for its record and what it says on standard error.
    pub folder: PathBuf,
    pub layout: &'a Layout,
    pub instance: Option<&'a str>,
}

/// Who was started, and from what.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    boot: String,
    pid: i32,
    /// Clock ticks since boot.
    started: u64,
    /// Of the configuration it was started with.
    fingerprint: String,
}

/// A companion that lives.
#[derive(Debug)]
pub struct Living {
    pidfd: OwnedFd,
    /// Of the configuration it was started with.
    pub fingerprint: String,
}

impl Living {
    /// Makes it read its files again.
    ///
    /// # Errors
    /// It has ended.
    pub fn reload(&self) -> Result<()> {
        pidfd_send_signal(&self.pidfd, Signal::HUP).at("reload a companion", "pidfd_send_signal(SIGHUP)")
    }

    fn ended_within(&self, time: Duration) -> bool {
        let timeout = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
    }
}

impl Companion<'_> {
    /// The one that lives, whoever started it.
    #[must_use]
    pub fn find(&self) -> Option<Living> {
        let record: Record = serde_json::from_slice(&std::fs::read(self.record()).ok()?).ok()?;
        if record.boot != boot() {
            return None;
        }
        let pidfd = pidfd_open(Pid::from_raw(record.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the pidfd was opened: the number can no longer change hands. One that waits to be reaped has ended.
        let is_it = start_time(record.pid) == Some(record.started);
        let living = Living {
            pidfd,
            fingerprint: record.fingerprint,
        };
        (is_it && !living.ended_within(Duration::ZERO)).then_some(living)
    }

    /// Starts it and waits until `ready`.
    ///
    /// # Errors
    /// It cannot be executed, or ends before it is ready; then what it said is in the message.
    pub fn start(&self, command: &mut Command, fingerprint: &str, ready: impl Fn() -> bool) -> Result<()> {
        let step = format!("start {}", self.name);
        let call = format!("execve({:?})", command.get_program());
        std::fs::create_dir_all(&self.folder).at(&step, &format!("mkdir({})", self.folder.display()))?;
        let errors = std::fs::File::create(self.errors()).at(&step, &format!("open({})", self.errors().display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = sys::with_descriptors(command, Vec::new()).at(&step, &call)?;
        let living = self.remember(&child, fingerprint);
        wait_in_background(child);
        let living = living?;
        let deadline = Instant::now() + READY_WITHIN;
        while !ready() {
            if living.ended_within(LOOK_AGAIN) {
                self.stop()?;
                let said = std::fs::read_to_string(self.errors()).unwrap_or_default();
                return Err(Error::failed(&step, format!("{call}: {}", said.trim())));
            }
            if Instant::now() >= deadline {
                self.stop()?;
                return Err(Error::failed(&step, format!("{call}: not ready after {} s", READY_WITHIN.as_secs())));
            }
        }
        Ok(())
    }

    fn remember(&self, child: &Child, fingerprint: &str) -> Result<Living> {
        let step = format!("start {}", self.name);
        let pid = i32::try_from(child.id()).unwrap_or(0);
        let raw = Pid::from_raw(pid).ok_or_else(|| Error::failed(&step, "no pid"))?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).at(&step, "pidfd_open()")?;
        let living = Living {
            pidfd,
            fingerprint: fingerprint.to_owned(),
        };
        let remembered = enter_groups(self.layout, self.instance, &self.name, pid).and_then(|()| {
            let record = Record {
                boot: boot(),
                pid,
                started: start_time(pid).unwrap_or(0),
                fingerprint: fingerprint.to_owned(),
            };
            let text = serde_json::to_vec(&record).map_err(std::io::Error::from).at(&step, "write the record")?;
            let new = self.record().with_extension("new");
            std::fs::write(&new, text)
                .and_then(|()| std::fs::rename(&new, self.record()))
                .at(&step, &format!("write({})", self.record().display()))
        });
        if let Err(error) = remembered {
            // Nobody would find it again; it cannot have ended twice.
            drop(pidfd_send_signal(&living.pidfd, Signal::KILL).map_err(std::io::Error::from));
            return Err(error);
        }
        Ok(living)
    }

    /// Ends it and removes its groups and folder; one that is not there has ended already.
    ///
    /// # Errors
    /// It does not end, or something cannot be removed.
    pub fn remove(&self) -> Result<()> {
        let stopped = self.stop();
        let mut first = stopped;
        first = first.and(remove_groups(self.layout, self.instance, &self.name, ENDS_WITHIN));
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                first.and(Err(error).at("remove a companion", &format!("rmdir({})", self.folder.display())))
            }
            _ => first,
        }
    }

    /// Ends it; its groups stay for the next one.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<()> {
        let step = format!("stop {}", self.name);
        if let Some(living) = self.find() {
            for signal in [Signal::TERM, Signal::KILL] {
                // It may have ended in between; whether it has is asked next.
                drop(pidfd_send_signal(&living.pidfd, signal).map_err(std::io::Error::from));
                if living.ended_within(ENDS_WITHIN) {
                    break;
                }
            }
            if !living.ended_within(Duration::ZERO) {
                return Err(Error::failed(&step, "it does not end"));
            }
        }
        match std::fs::remove_file(self.record()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(&step, &format!("unlink({})", self.record().display())),
            _ => Ok(()),
        }
    }

    fn record(&self) -> PathBuf {
        self.folder.join("process.json")
    }

    fn errors(&self) -> PathBuf {
        self.folder.join("errors")
    }
}

/// Moves a process into groups of a name below the instance's own, in every hierarchy: a service manager that ends the
/// console's groups must not find it in any of them.
fn enter_groups(layout: &Layout, instance: Option<&str>, name: &str, pid: i32) -> Result<()> {
    for (_, group) in groups(layout, instance, name) {
        let file = group.join("cgroup.procs");
        make_group(&group)?;
        std::fs::write(&file, pid.to_string()).at("make the cgroups", &format!("write({}, \"{pid}\")", file.display()))?;
    }
    Ok(())
}

/// Such groups for a process that begins in them. Moving one later takes a lock of the whole system, which costs 7 to
/// 17 ms when nobody has held it just before; being born in the group of version 2, and writing 0 to the files of version
/// 1, do not take it.
#[derive(Debug)]
pub struct Birthplace {
    pub unified: Option<OwnedFd>,
    /// The files `tasks` of version 1.
    pub tasks: Vec<OwnedFd>,
}

/// Makes groups of a name below the instance's own, in every hierarchy.
///
/// # Errors
/// They cannot be made.
pub fn birthplace(layout: &Layout, instance: Option<&str>, name: &str) -> Result<Birthplace> {
    let mut birthplace = Birthplace {
        unified: None,
        tasks: Vec::new(),
    };
    for (hierarchy, group) in groups(layout, instance, name) {
        make_group(&group)?;
        let open = |path: &Path, options: &std::fs::OpenOptions| options.open(path).at("make the cgroups", &format!("open({})", path.display()));
        if hierarchy.controllers.is_empty() {
            birthplace.unified = Some(open(&group, std::fs::File::options().read(true))?.into());
        } else {
            birthplace.tasks.push(open(&group.join("tasks"), std::fs::File::options().write(true))?.into());
        }
    }
    Ok(birthplace)
}

fn make_group(group: &Path) -> Result<()> {
    std::fs::create_dir_all(group).at("make the cgroups", &format!("mkdir({})", group.display()))
}

/// Removes such groups; goes on after a failure.
///
/// # Errors
/// Processes are still in them when the time is up.
pub fn remove_groups(layout: &Layout, instance: Option<&str>, name: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let removed = groups(layout, instance, name).map(|(_, group)| remove_group(&group, deadline));
    removed.fold(Ok(()), Result::and)
}

/// Not cpuset: on version 1 a fresh group of it takes nobody until it is filled, and nothing is limited here.
fn groups<'a>(layout: &'a Layout, instance: Option<&str>, name: &str) -> impl Iterator<Item = (&'a Hierarchy, PathBuf)> {
    let usable = layout.all().filter(|hierarchy| !hierarchy.controllers.iter().any(|name| name == "cpuset"));
    let below = Path::new(&instance_directory(instance)).join(name);
    usable.map(move |hierarchy| (hierarchy, hierarchy.root.join(&below)))
}

/// rmdir answers EBUSY for a moment after the last process ended.
fn remove_group(group: &Path, deadline: Instant) -> Result<()> {
    loop {
        match std::fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at("remove the cgroups", &format!("rmdir({})", group.display())),
            _ => return Ok(()),
        }
    }
}

/// While we live its end must not leave a zombie.
fn wait_in_background(mut child: Child) {
    // Without a thread it is a zombie until this process ends, nothing worse.
    drop(
        std::thread::Builder::new()
            .name("berth-companion".into())
            .stack_size(64 << 10)
            .spawn(move || drop(child.wait())),
    );
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Field 22 of `/proc/<pid>/stat`, behind the name, which may hold anything.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_this_process_s() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap() > 0);
        assert_eq!(start_time(0), None);
    }
}
