//! Who init is: ids, capabilities, keyring, what survives exec.

use std::io;

use crate::error::{At, Error, Result};
use crate::sys;

/// Capabilities that no container has (capabilities(7)): with them units of a guest fail that test for them, and the
/// clock, raw IO and the audit log are the host's.
const DROPPED: [(u32, &str); 6] = [
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (25, "SYS_TIME"),
    (29, "AUDIT_WRITE"),
    (30, "AUDIT_CONTROL"),
    (37, "AUDIT_READ"),
];
const LAST_CAPABILITY: u32 = 40;

/// Becomes root of the user namespace that this process was cloned into.
///
/// # Errors
/// The id maps are not written, or the kernel refuses.
pub fn become_root() -> Result<()> {
    let step = "become root of the container";
    rustix::thread::set_thread_groups(&[]).at(step, "setgroups(0)")?;
    let (user, group) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(group, group, group).at(step, "setresgid(0, 0, 0)")?;
    rustix::thread::set_thread_res_uid(user, user, user).at(step, "setresuid(0, 0, 0)")?;
    // A change of ids clears it: without it the guest could look into this process before it is init.
    sys::prctl(libc::PR_SET_DUMPABLE, 0).at(step, "prctl(PR_SET_DUMPABLE, 0)")?;
    Ok(())
}

/// Soft limit of open files of a fresh program; more breaks those that walk all numbers.
const OPEN_FILES: u64 = 1024;

/// Gives this process what programs of a container expect, whatever the console itself was given: 1024 open files and no
/// core dumps. Hard limits stay.
pub fn ordinary_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    for (resource, soft) in [(Resource::Nofile, OPEN_FILES), (Resource::Core, 0)] {
        let maximum = getrlimit(resource).maximum;
        let current = Some(maximum.map_or(soft, |maximum| soft.min(maximum)));
        drop(setrlimit(resource, Rlimit { current, maximum }).map_err(io::Error::from));
    }
}

/// Takes from a process (`None` = this one) the console's protection from the kernel's choice of whom to kill for lack of
/// memory. What this host does not allow (CAP_SYS_RESOURCE) stays as it is.
pub fn ordinary_oom_score(pid: Option<rustix::process::Pid>) {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.as_raw_nonzero().to_string());
    drop(std::fs::write(format!("/proc/{process}/oom_score_adj"), "0"));
}

/// Installs the filter, then drops capabilities: the filter needs CAP_SYS_ADMIN, init's programs need no_new_privs off.
///
/// # Errors
/// The kernel refuses.
pub fn confine() -> Result<()> {
    sys::install_filter(&super::seccomp::program()).at("install the seccomp filter", "seccomp(SET_MODE_FILTER)")?;
    let step = "drop capabilities";
    for (number, name) in DROPPED {
        match sys::prctl(libc::PR_CAPBSET_DROP, u64::from(number)) {
            // A kernel that does not know it has nothing to drop.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => drop(other.at(step, &format!("prctl(PR_CAPBSET_DROP, CAP_{name})"))?),
        }
    }
    let kept = (0..=LAST_CAPABILITY)
        .filter(|number| DROPPED.iter().all(|(dropped, _)| dropped != number))
        .fold(0, |set, number| set | 1_u64 << number);
    clear_ambient().at(step, "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")?;
    sys::set_capabilities(kept, kept, 0).at(step, "capset()")
}

fn clear_ambient() -> io::Result<()> {
    const CLEAR_ALL: u64 = 4;
    sys::prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL).map(drop)
}

/// A session keyring of its own: otherwise keyctl shows the host's.
///
/// # Errors
/// The key quota of the user is used up.
pub fn own_keyring() -> Result<()> {
    match sys::join_session_keyring() {
        // A kernel without keyrings has nothing to share.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        Err(error) => Err(Error::io("make a session keyring", "keyctl(JOIN_SESSION_KEYRING)", error).hint("raise kernel.keys.maxkeys")),
        Ok(()) => Ok(()),
    }
}
