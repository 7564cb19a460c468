//! DHCP, names and router advertisements of one bridge: a dnsmasq of our own. Only MACs that the plan names are given an
//! address, always the same one, so that nobody can use the addresses up; and no guest chooses its own name.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::engine::NetworkPlan;
use model::network::check_interface;
use sha2::{Digest as _, Sha256};

use super::link::Socket;
use super::subnet;
use crate::cgroup::Layout;
use crate::companion::Companion;
use crate::error::{At, Error, Result};

const PROGRAMS: [&str; 2] = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"];
/// Of util-linux, essential on Debian.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Users it may become, the first one that exists.
const USERS: [&str; 2] = ["dnsmasq", "nobody"];
const STEP: &str = "serve addresses and names";

/// Makes a dnsmasq serve the plan: started, told to read its files again, started anew, or left alone.
///
/// # Errors
/// dnsmasq is not installed, or does not start; what it said is in the message.
pub fn apply(run_dir: &Path, instance: Option<&str>, layout: &Layout, plan: &NetworkPlan) -> Result<()> {
    let companion = companion(run_dir, instance, layout, &plan.bridge);
    make_folder(run_dir, &companion.folder)?;
    let tables = Tables::of(plan)?;
    let is_readable = others_may_enter(&companion.folder);
    let index = Socket::open()
        .and_then(|socket| socket.index(&plan.bridge))
        .at(STEP, &format!("find the bridge {}", plan.bridge))?;
    let mut config = configuration(plan, &companion.folder, index)?;
    if is_readable {
        let leases = format!("dhcp-hostsfile={}\n", companion.folder.join("hosts").display());
        config += &(leases + &format!("addn-hosts={}\n", companion.folder.join("names").display()));
    } else {
        // Read again by a user who may not enter: what changes goes into the configuration, read by root at each start.
        config += &tables.inline();
    }
    let changed = write(&companion.folder.join("hosts"), &tables.hosts)? | write(&companion.folder.join("names"), &tables.names)?;
    let fingerprint = hex(&config);
    match companion.find() {
        Some(living) if living.fingerprint == fingerprint && changed => living.reload(),
        Some(living) if living.fingerprint == fingerprint => Ok(()),
        _ => start(&companion, &config, &fingerprint),
    }
}

fn start(companion: &Companion<'_>, config: &str, fingerprint: &str) -> Result<()> {
    companion.stop()?;
    let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
    let program = program.ok_or_else(|| Error::unsupported(STEP, "dnsmasq is not installed").hint("apt-get install dnsmasq-base"))?;
    let file = companion.folder.join("dnsmasq.conf");
    write(&file, config)?;
    // It writes this file when all its sockets are bound.
    let ready = companion.folder.join("ready");
    match std::fs::remove_file(&ready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at(STEP, &format!("unlink({})", ready.display())),
        _ => {}
    }
    let mut command = confined(program);
    command.arg("--keep-in-foreground").arg(format!("--conf-file={}", file.display()));
    let started = companion.start(&mut command, fingerprint, || std::fs::metadata(&ready).is_ok_and(|file| file.len() > 0));
    started.map_err(|error| error.hint("if another program serves DNS on every address of the host, make it listen on its own addresses only"))
}

/// Without a way to new privileges, and from the start with no capabilities but those that it needs to bind and to become
/// its user, which keeps only the first three.
fn confined(program: &str) -> Command {
    if !Path::new(SETPRIV).exists() {
        return Command::new(program);
    }
    let mut command = Command::new(SETPRIV);
    command.args([
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all,+net_admin,+net_raw,+net_bind_service,+setuid,+setgid,+chown",
    ]);
    command.arg(program);
    command
}

/// Ends the bridge's dnsmasq and removes its files; one that is not there has ended already.
///
/// # Errors
/// It does not end, or something cannot be removed.
pub fn remove(run_dir: &Path, instance: Option<&str>, layout: &Layout, bridge: &str) -> Result<()> {
    check_interface(bridge).map_err(|message| Error::invalid(STEP, message))?;
    companion(run_dir, instance, layout, bridge).remove()?;
    // Other bridges may have folders here.
    drop(std::fs::remove_dir(run_dir.join("dnsmasq")));
    Ok(())
}

fn companion<'a>(run_dir: &Path, instance: Option<&'a str>, layout: &'a Layout, bridge: &str) -> Companion<'a> {
    Companion {
        name: format!("dnsmasq.{bridge}"),
        folder: run_dir.join("dnsmasq").join(bridge),
        layout,
        instance,
    }
}

fn make_folder(run_dir: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).at(STEP, &format!("mkdir({})", folder.display()))?;
    for path in [run_dir.join("dnsmasq"), folder.to_owned()] {
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).at(STEP, &format!("chmod({}, 0755)", path.display()))?;
    }
    Ok(())
}

/// Whether a user of no group of ours may reach the folder.
fn others_may_enter(folder: &Path) -> bool {
    let Ok(path) = folder.canonicalize() else { return false };
    path.ancestors()
        .all(|part| std::fs::metadata(part).is_ok_and(|part| part.permissions().mode() & 0o001 != 0))
}

/// Who has which address and name, in the two formats that dnsmasq reads again on SIGHUP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tables {
    hosts: String,
    names: String,
}

impl Tables {
    fn of(plan: &NetworkPlan) -> Result<Self> {
        let mut tables = Self::default();
        let mut named = BTreeSet::new();
        for nic in &plan.nics {
            let (mac, name) = (subnet::mac_text(subnet::mac_bytes(&nic.mac)?), nic.container.as_str());
            if let Some(address) = nic.ipv4 {
                // A name belongs to one lease: the container's first.
                let name = if named.insert(name) { format!(",{name}") } else { String::new() };
                tables.hosts += &format!("{mac},{address}{name},1h\n");
            }
            for address in nic.ipv4.map(IpAddr::V4).into_iter().chain(nic.ipv6.map(IpAddr::V6)) {
                tables.names += &format!("{address} {name}.{} {name}\n", plan.domain);
            }
        }
        Ok(tables)
    }

    fn inline(&self) -> String {
        let hosts = self.hosts.lines().map(|line| format!("dhcp-host={line}\n"));
        let names = self.names.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (address, long, short) = (words.next()?, words.next()?, words.next()?);
            Some(format!("host-record={long},{short},{address}\n"))
        });
        hosts.chain(names).collect()
    }
}

/// What a start reads once; the number of the interface makes a new bridge of the old name a new configuration.
fn configuration(plan: &NetworkPlan, folder: &Path, index: u32) -> Result<String> {
    let bridge = check_interface(&plan.bridge).map_err(|message| Error::invalid(STEP, message))?;
    let domain = &plan.domain;
    if domain.is_empty() || !domain.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.')) {
        return Err(Error::invalid(STEP, format!("`{domain}` is not a domain")));
    }
    let IpAddr::V4(ipv4) = plan.ipv4.network().addr else {
        return Err(Error::invalid(STEP, format!("{} is not IPv4", plan.ipv4)));
    };
    let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(plan.ipv4.prefix)).unwrap_or(0));
    let (ipv6, prefix) = (plan.ipv6.network().addr, plan.ipv6.prefix);
    let file = |name: &str| folder.join(name).display().to_string();
    let (user, group) = user();
    Ok(format!(
        "# Written by Berth for {bridge} (interface number {index}).\n\
         interface={bridge}\nexcept-interface=lo\nbind-interfaces\n\
         user={user}\ngroup={group}\npid-file={ready}\n\
         no-hosts\ndomain={domain}\nlocal=/{domain}/\ndomain-needed\ncache-size=1000\n\
         dhcp-leasefile={leases}\ndhcp-authoritative\ndhcp-ignore-names\nno-ping\ndhcp-lease-max=65536\n\
         dhcp-range={ipv4},static,{mask},1h\n\
         enable-ra\ndhcp-range={ipv6},ra-stateless,{prefix},1h\n\
         quiet-dhcp\nquiet-dhcp6\nquiet-ra\n",
        ready = file("ready"),
        leases = file("leases"),
    ))
}

/// An unprivileged user of this host with its group.
fn user() -> (String, String) {
    let found = USERS.into_iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten());
    let group = found.as_ref().and_then(|user| nix::unistd::Group::from_gid(user.gid).ok().flatten());
    (
        found.map_or_else(|| "nobody".to_owned(), |user| user.name),
        group.map_or_else(|| "nogroup".to_owned(), |group| group.name),
    )
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file that everybody may read, whole or not at all; whether it is another one now.
fn write(path: &PathBuf, text: &str) -> Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    let new = path.with_extension("new");
    let readable = Permissions::from_mode(0o644);
    let written = std::fs::write(&new, text)
        .and_then(|()| std::fs::set_permissions(&new, readable))
        .and_then(|()| std::fs::rename(&new, path));
    written.at(STEP, &format!("write({})", path.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use model::engine::NetworkNic;

    use super::*;

    fn plan() -> NetworkPlan {
        let nic = |name: &str, last: u8| NetworkNic {
            container: name.parse().unwrap(),
            host_name: format!("bt{last}"),
            mac: format!("02:00:5E:10:00:{last:02x}"),
            ipv4: Some([10, 213, 0, last].into()),
            ipv6: (last == 5).then(|| "fd01:2:3::5".parse().unwrap()),
            publish: Vec::new(),
            firewall: Vec::new(),
        };
        NetworkPlan {
            bridge: "berth0".into(),
            ipv4: "10.213.0.1/22".parse().unwrap(),
            ipv6: "fd01:2:3::1/64".parse().unwrap(),
            closed_ports: Vec::new(),
            apart: Vec::new(),
            nics: vec![nic("web", 5), nic("web", 6), nic("db", 7)],
            domain: "berth".into(),
        }
    }

    #[test]
    fn every_nic_has_its_lease_and_every_container_one_name() {
        let tables = Tables::of(&plan()).unwrap();
        assert_eq!(
            tables.hosts,
            "02:00:5e:10:00:05,10.213.0.5,web,1h\n02:00:5e:10:00:06,10.213.0.6,1h\n02:00:5e:10:00:07,10.213.0.7,db,1h\n"
        );
        assert_eq!(
            tables.names,
            "10.213.0.5 web.berth web\nfd01:2:3::5 web.berth web\n10.213.0.6 web.berth web\n10.213.0.7 db.berth db\n"
        );
        assert!(tables.inline().contains("host-record=web.berth,web,fd01:2:3::5\n"));
    }

    #[test]
    fn only_known_macs_are_served() {
        let text = configuration(&plan(), Path::new("/run/berth/dnsmasq/berth0"), 7).unwrap();
        assert!(text.contains("dhcp-range=10.213.0.0,static,255.255.252.0,1h\n"), "{text}");
        assert!(text.contains("dhcp-range=fd01:2:3::,ra-stateless,64,1h\n"), "{text}");
        assert_ne!(text, configuration(&plan(), Path::new("/run/berth/dnsmasq/berth0"), 8).unwrap());
    }

    #[test]
    fn lines_in_names_are_refused() {
        for (bridge, domain) in [
            ("berth0\ndhcp-script=/bin/sh", "berth"),
            ("berth0", "berth\nconf-file=/etc/shadow"),
            ("berth0", ""),
        ] {
            let plan = NetworkPlan {
                bridge: bridge.into(),
                domain: domain.into(),
                ..plan()
            };
            assert!(configuration(&plan, Path::new("/run"), 7).is_err());
        }
    }
}
