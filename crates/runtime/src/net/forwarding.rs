//! Forwarding switched on for the first bridge, and put back with the last. What was changed stands in
//! `<run-dir>/network/<bridge>.json`, written before the change, so that a crash in between is put back too.
//!
//! Invariant: a link of the host that takes router advertisements goes on taking them. With forwarding on, the kernel
//! forgets their default routes unless `accept_ra` is 2 by then (ip-sysctl, accept_ra). So does `default`, after which links
//! that appear later are made.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{At, Result};

const STEP: &str = "switch forwarding on";
const SWITCHES: &str = "/proc/sys/net";
const IPV4: &str = "ipv4/ip_forward";
const IPV6: &str = "ipv6/conf/all/forwarding";

/// A switch below `/proc/sys/net` that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    switch: String,
    before: String,
    /// Put back only while it still has this value; absent = another switch moves it along.
    after: Option<String>,
}

impl Change {
    fn new(switch: impl Into<String>, before: &str, after: &str) -> Self {
        Self {
            switch: switch.into(),
            before: before.to_owned(),
            after: Some(after.to_owned()),
        }
    }

    fn put_back(&self) -> Result<()> {
        // A link that is gone took its switches with it.
        let Ok(now) = read(&self.switch) else { return Ok(()) };
        if self.after.as_ref().is_some_and(|after| *after != now) || now == self.before {
            return Ok(());
        }
        write(&self.switch, &self.before)
    }
}

/// Switches forwarding on, and remembers what it was.
///
/// # Errors
/// The record or a switch cannot be written.
pub fn apply(run_dir: &Path, bridge: &str) -> Result<()> {
    own_switches(bridge)?;
    let mut changes = Vec::new();
    if read(IPV4).is_ok_and(|value| value == "0") {
        changes.push(Change::new(IPV4, "0", "1"));
    }
    // A kernel without IPv6 has no switch to move.
    if read(IPV6).is_ok_and(|value| value == "0") {
        changes.extend(links().iter().flat_map(|link| before_forwarding(link, bridge)));
        changes.push(Change::new(IPV6, "0", "1"));
    }
    let mut all = load(&record(run_dir, bridge));
    all.extend(changes.iter().cloned());
    store(&record(run_dir, bridge), &all)?;
    for Change { switch, after, .. } in &changes {
        after.as_ref().map_or(Ok(()), |after| write(switch, after))?;
    }
    Ok(())
}

/// Switches of the bridge itself; they go with it. Published ports answer on the host's loopback too, which the firewall
/// guards from the other side; and the bridge is the router, so it listens to none.
fn own_switches(bridge: &str) -> Result<()> {
    for (switch, value) in [
        (format!("ipv4/conf/{bridge}/route_localnet"), "1"),
        (format!("ipv6/conf/{bridge}/accept_ra"), "0"),
    ] {
        if read(&switch).is_ok_and(|now| now != value) {
            write(&switch, value)?;
        }
    }
    Ok(())
}

/// What the switch for all links would take from one link, in the order in which it must be done.
fn before_forwarding(link: &str, bridge: &str) -> Vec<Change> {
    let value = |name: &str| read(&format!("ipv6/conf/{link}/{name}")).unwrap_or_default();
    let forwards = value("forwarding") == "1";
    let mut changes = Vec::new();
    if forwards {
        changes.push(Change {
            switch: format!("ipv6/conf/{link}/forwarding"),
            before: "1".to_owned(),
            after: None,
        });
    }
    let is_hosts = ![bridge, "lo", "all"].contains(&link);
    if is_hosts && !forwards && value("disable_ipv6") == "0" && value("accept_ra") == "1" {
        changes.push(Change::new(format!("ipv6/conf/{link}/accept_ra"), "1", "2"));
    }
    changes
}

/// Links that have IPv6 switches in this network namespace, `default` among them.
fn links() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(format!("{SWITCHES}/ipv6/conf")) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name != "all").collect()
}

/// Puts everything back, unless another bridge of this run directory or `needed` by others keeps forwarding on.
///
/// # Errors
/// A switch or record cannot be written; the others are put back nevertheless.
pub fn remove(run_dir: &Path, bridge: &str, needed: bool) -> Result<()> {
    let own = record(run_dir, bridge);
    let changes = load(&own);
    let mut first = Ok(());
    if let Some(heir) = heir(run_dir, &own) {
        // What was found before the first bridge is what the last one puts back.
        store(&heir, &[changes, load(&heir)].concat())?;
    } else if !needed {
        // Backwards: the switch for all links first, then what it moved along.
        for change in changes.iter().rev() {
            first = first.and(change.put_back());
        }
    }
    match std::fs::remove_file(&own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => first.and(Err(error).at("put forwarding back", &format!("unlink({})", own.display()))),
        _ => {
            // Other bridges may have records here.
            drop(std::fs::remove_dir(folder(run_dir)));
            first
        }
    }
}

fn heir(run_dir: &Path, own: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder(run_dir)).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path != own && path.extension().is_some_and(|extension| extension == "json"))
}

fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("network")
}

fn record(run_dir: &Path, bridge: &str) -> PathBuf {
    folder(run_dir).join(format!("{bridge}.json"))
}

/// A record that is not there or unreadable is one of no changes.
fn load(path: &Path) -> Vec<Change> {
    std::fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn store(path: &Path, changes: &[Change]) -> Result<()> {
    let step = "remember how forwarding was";
    let call = format!("write({})", path.display());
    let text = serde_json::to_vec(changes).map_err(io::Error::from).at(step, &call)?;
    path.parent().map_or(Ok(()), std::fs::create_dir_all).at(step, &call)?;
    let new = path.with_extension("new");
    std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)).at(step, &call)
}

fn read(switch: &str) -> io::Result<String> {
    Ok(std::fs::read_to_string(format!("{SWITCHES}/{switch}"))?.trim().to_owned())
}

fn write(switch: &str, value: &str) -> Result<()> {
    std::fs::write(format!("{SWITCHES}/{switch}"), value).at(STEP, &format!("write(\"{SWITCHES}/{switch}\", \"{value}\")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_remembered_and_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let change = Change::new("ipv4/none-such", "0", "1");
        store(&record(folder.path(), "bt0"), std::slice::from_ref(&change)).unwrap();
        store(&record(folder.path(), "bt1"), &[]).unwrap();
        remove(folder.path(), "bt0", false).unwrap();
        assert_eq!(load(&record(folder.path(), "bt1")), [change]);
        remove(folder.path(), "bt1", false).unwrap();
        assert!(!folder.path().join("network").exists());
        remove(folder.path(), "bt1", false).unwrap();
    }

    #[test]
    fn a_link_takes_forwarding_along_and_keeps_its_router() {
        // In a network namespace of this thread's own, where lo and default are the only ones with IPv6 switches.
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a network namespace takes root");
            return;
        }
        std::thread::spawn(|| {
            crate::sys::unshare(libc::CLONE_NEWNET).unwrap();
            crate::net::bridge::ensure("uplink", &[]).unwrap();
            write("ipv6/conf/uplink/accept_ra", "1").unwrap();
            write("ipv6/conf/default/accept_ra", "1").unwrap();
            write("ipv6/conf/lo/forwarding", "1").unwrap();
            let folder = tempfile::tempdir().unwrap();
            let switches = [
                IPV4,
                IPV6,
                "ipv6/conf/uplink/accept_ra",
                "ipv6/conf/lo/forwarding",
                "ipv6/conf/default/accept_ra",
            ];
            let values = || switches.map(|switch| read(switch).unwrap());
            let before = values();
            apply(folder.path(), "bt0").unwrap();
            assert_eq!(values(), ["1", "1", "2", "1", "2"]);
            // A link that is plugged in later is a host's link too: it forwards, and hears of routers.
            crate::net::bridge::ensure("later", &[]).unwrap();
            assert_eq!(read("ipv6/conf/later/accept_ra").unwrap(), "2");
            apply(folder.path(), "bt0").unwrap();
            remove(folder.path(), "bt0", false).unwrap();
            assert_eq!(values(), before);
        })
        .join()
        .unwrap();
    }
}
