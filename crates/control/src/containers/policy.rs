//! The one judgement over an effective container configuration: create, update and restore all ask it, after all
//! merging (trust rule D30). What is refused and what this host cannot do are told apart.
//!
//! Invariant: a field of [`ContainerSpec`] that is not judged here does not compile.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use model::access::Permission;
use model::engine::{HostReport, Listener};
use model::error::ErrorCode;
use model::firewall::Rule;
use model::limits::parse_cpu_list;
use model::network::{Addressing, NicSpec, Protocol, Publish, check_mac};
use model::storage::Mount;
use model::{ContainerId, ContainerSpec, Limits};

use super::row::ContainerRow;
use super::{mounts, ports};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::networks::address::is_assignable;
use crate::networks::plan::{Bridges, NetRow};

/// A configuration as it would take effect, with what it must get along with.
#[derive(Debug)]
pub struct EffectiveConfig<'a> {
    /// Whose it is; its own row is no neighbour.
    pub id: ContainerId,
    pub spec: &'a ContainerSpec,
    /// Those of its limits that it does not have yet: what it has is not taken away by a host that became smaller.
    pub new_limits: &'a Limits,
    /// Root's password, when one is to be set.
    pub password: Option<&'a str>,
    /// The bridges that NICs may join.
    pub bridges: &'a Bridges,
    /// Every container outside the trash.
    pub neighbours: &'a [std::sync::Arc<ContainerRow>],
    /// TCP ports of this host that the console itself listens on.
    pub closed_ports: &'a [u16],
    /// Sockets of this host that wait on ports which the container has not published so far.
    pub listeners: &'a [Listener],
    /// Folders of the host that are released for containers.
    pub mount_roots: &'a [String],
    /// Mounts that the container has already.
    pub held_mounts: &'a [Mount],
}

const MAX_NICS: usize = 8;
/// Each one is an element of four maps of the packet filter.
const MAX_PORTS: u32 = 4096;
const MAX_RULES: usize = 64;
const MAX_TAGS: usize = 32;
const MAX_TAG_BYTES: usize = 63;
const MAX_ENV_BYTES: usize = 16 << 10;
const MAX_SSH_KEYS: usize = 32;
/// The row must fit a store value of 64 KiB together with what Berth adds.
const MAX_NOTES_BYTES: usize = 32 << 10;
const MAX_SPEC_BYTES: usize = 56 << 10;

/// Whether [`judge`] has to know the host: a report of it takes tens of milliseconds, because it tries links and tables in
/// network namespaces of their own.
#[must_use]
pub fn depends_on_host(limits: &Limits) -> bool {
    limits.disk_bytes.is_some() || limits.cpuset.is_some() || limits.cpus.is_some()
}

/// Those limits of the host's that were not held before.
#[must_use]
pub fn new_limits(limits: &Limits, held: &Limits) -> Limits {
    Limits {
        cpus: limits.cpus.filter(|_| limits.cpus != held.cpus),
        cpuset: limits.cpuset.clone().filter(|_| limits.cpuset != held.cpuset),
        disk_bytes: limits.disk_bytes.filter(|_| limits.disk_bytes != held.disk_bytes),
        ..Limits::default()
    }
}

/// Judges a configuration; without a host, one whose new limits [do not depend on it](depends_on_host).
///
/// # Errors
/// `NotAllowed` for this caller, `Invalid` with the field, `Conflict` with another container or the console itself,
/// `Unsupported` when this host or version of Berth cannot do it.
pub fn judge(config: &EffectiveConfig<'_>, host: Option<&HostReport>, caller: &Caller) -> Result<()> {
    caller.require(Permission::Containers)?;
    let ContainerSpec {
        name: _,     // checked by its type; unique by the store
        template: _, // checked by its type; looked for when it is needed
        hostname,
        limits,
        nics,
        publish,
        firewall,
        mounts: own_mounts,
        env,
        ssh_keys,
        autostart: _,       // any value is fine
        autostart_order: _, // any value is fine
        autostart_delay_seconds,
        restart: _, // any value is fine
        nesting: _, // opens nothing beyond the container's own user namespace
        tags,
        notes,
    } = config.spec;
    hostname.as_deref().map_or(Ok(()), judge_hostname)?;
    limits.check()?;
    judge_limits(config.new_limits, host)?;
    judge_nics(nics, config)?;
    judge_publish(publish, config)?;
    judge_firewall(firewall)?;
    mounts::judge(own_mounts, config.held_mounts, config.mount_roots, caller)?;
    judge_delay(*autostart_delay_seconds)?;
    judge_env(env)?;
    judge_ssh_keys(ssh_keys)?;
    judge_tags(tags)?;
    judge_size(config.spec, notes)?;
    config.password.map_or(Ok(()), judge_password)
}

fn unsupported(field: &str, message: impl Into<String>) -> Error {
    let mut error = Error::new(ErrorCode::Unsupported, message);
    error.body.field = Some(field.to_owned());
    error
}

/// RFC 1123 labels, in all at most what the kernel keeps (uname(2): 64 bytes).
fn judge_hostname(hostname: &str) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if hostname.len() > 64 || !hostname.split('.').all(is_label) {
        return Err(Error::invalid(
            "hostname",
            format!("`{hostname}` is not a host name (letters, digits and `-`, parts joined by `.`, at most 64 characters)"),
        ));
    }
    Ok(())
}

/// A mistyped delay must not hold up everything behind it for days.
fn judge_delay(seconds: u32) -> Result<()> {
    match seconds {
        0..=3600 => Ok(()),
        _ => Err(Error::invalid(
            "autostart-delay",
            format!("{seconds} s is too long; the next order waits for an hour at most"),
        )),
    }
}

fn judge_limits(limits: &Limits, host: Option<&HostReport>) -> Result<()> {
    if !depends_on_host(limits) {
        return Ok(());
    }
    let host = host.ok_or_else(|| Error::failed("a limit depends on the host, which nobody looked at"))?;
    if limits.disk_bytes.is_some() && !host.disk_limits {
        return Err(unsupported("disk", "the storage under the state directory cannot enforce a disk limit")
            .hint("leave the disk limit out, or put the state directory on a file system with project quotas"));
    }
    if let Some(asked) = limits.cpus.filter(|asked| *asked > f64::from(host.cpus)) {
        return Err(Error::invalid("cpus", format!("this host cannot give {asked} CPUs; it has {}", host.cpus)));
    }
    let (Some(asked), Ok(online)) = (&limits.cpuset, parse_cpu_list(&host.cpu_list)) else {
        return Ok(());
    };
    match parse_cpu_list(asked)?.iter().find(|cpu| !online.contains(cpu)) {
        Some(cpu) => Err(Error::invalid("cpuset", format!("this host has no CPU {cpu}; it has {}", host.cpu_list))),
        None => Ok(()),
    }
}

fn judge_nics(nics: &[NicSpec], config: &EffectiveConfig<'_>) -> Result<()> {
    if nics.len() > MAX_NICS {
        return Err(Error::invalid(
            "nic",
            format!("a container has at most {MAX_NICS} NICs, this one would have {}", nics.len()),
        ));
    }
    let mut seen = BTreeSet::new();
    for nic in nics {
        let network = judge_link(nic, config.bridges)?;
        judge_addresses(nic, network)?;
        for mark in marks(nic) {
            if let Some(owner) = owner_of(&mark, config) {
                return Err(Error::conflict(format!("{mark} belongs to the container `{owner}`")).hint("choose another one, or leave it out"));
            }
            if !seen.insert(mark.clone()) {
                return Err(Error::invalid("nic", format!("{mark} is asked for twice")));
            }
        }
    }
    Ok(())
}

fn judge_link<'a>(nic: &NicSpec, bridges: &'a Bridges) -> Result<&'a NetRow> {
    if nic.vlan.is_some() {
        return Err(unsupported("nic", "a managed bridge carries no VLANs").hint("leave `vlan` out; bridges of your own with VLANs are not supported yet"));
    }
    let network = bridges.of(nic).ok_or_else(|| {
        let asked = nic.bridge.as_deref().unwrap_or_default();
        unsupported("nic", format!("`{asked}` is not a bridge of Berth's own")).hint(format!(
            "use one of {}, or make one with `berth network add NAME`; bridges of the host's own and macvlan are not supported yet",
            bridges.names()
        ))
    })?;
    let least = if matches!(nic.ip6, Addressing::None) { 576 } else { 1280 };
    if nic.mtu.is_some_and(|mtu| !(least..=65_535).contains(&mtu)) {
        return Err(Error::invalid(
            "nic",
            "an MTU lies between 1280 (IPv6 needs that, RFC 8200; 576 with `ip6=none`) and 65535",
        ));
    }
    if nic.rate_in == Some(0) || nic.rate_out == Some(0) {
        return Err(Error::invalid("nic", "a rate of 0 would stop all traffic; leave it out for no limit"));
    }
    if let Some(mac) = &nic.mac {
        check_mac(mac).map_err(|message| Error::invalid("nic", message))?;
    }
    Ok(network)
}

fn judge_addresses(nic: &NicSpec, network: &NetRow) -> Result<()> {
    for (what, asked, net) in [("ip", nic.ip, network.ipv4), ("ip6", nic.ip6, network.ipv6)] {
        let Addressing::Static(cidr) = asked else { continue };
        if cidr.addr.is_ipv4() != net.addr.is_ipv4() {
            return Err(Error::invalid("nic", format!("`{what}={cidr}` is an address of the other family")));
        }
        if !is_assignable(net, cidr.addr) {
            return Err(Error::invalid(
                "nic",
                format!("{} cannot be given to a container of {} ({})", cidr.addr, network.bridge, net.network()),
            )
            .hint(format!("choose a free address of {}; {} is the bridge's own", net.network(), net.addr)));
        }
        if cidr.prefix != net.prefix {
            return Err(Error::invalid(
                "nic",
                format!("the prefix length of {} is {}, not {}", network.bridge, net.prefix, cidr.prefix),
            ));
        }
    }
    let Some(gateway) = nic.gw else { return Ok(()) };
    let (asked, net) = if gateway.is_ipv4() { (nic.ip, network.ipv4) } else { (nic.ip6, network.ipv6) };
    if !matches!(asked, Addressing::Static(_)) {
        return Err(Error::invalid(
            "nic",
            "`gw` needs a static address of the same family; otherwise the gateway is announced",
        ));
    }
    if !net.contains(gateway) {
        return Err(Error::invalid("nic", format!("the gateway {gateway} does not lie in {}", net.network())));
    }
    Ok(())
}

/// What a NIC claims for itself alone on its network.
fn marks(nic: &NicSpec) -> Vec<String> {
    let fixed = |addressing| match addressing {
        Addressing::Static(cidr) => Some(format!("the address {}", cidr.addr)),
        _ => None,
    };
    let mac = nic.mac.as_ref().map(|mac| format!("the MAC {}", mac.to_ascii_lowercase()));
    [fixed(nic.ip), fixed(nic.ip6), mac].into_iter().flatten().collect()
}

fn owner_of(mark: &str, config: &EffectiveConfig<'_>) -> Option<String> {
    let has = |row: &ContainerRow| {
        row.nics.iter().any(|nic| {
            let addresses = nic.ipv4.map(|(a, _)| IpAddr::V4(a)).into_iter().chain(nic.ipv6.map(|(a, _)| IpAddr::V6(a)));
            mark == format!("the MAC {}", nic.mac) || addresses.into_iter().any(|address| mark == format!("the address {address}"))
        })
    };
    let other = config.neighbours.iter().find(|row| row.id != config.id && has(row))?;
    Some(other.spec.name.to_string())
}

fn judge_publish(publish: &[Publish], config: &EffectiveConfig<'_>) -> Result<()> {
    if !publish.is_empty() && !config.spec.nics.iter().any(|nic| nic.ip != Addressing::None) {
        return Err(Error::invalid("publish", "a published port needs a NIC with an IPv4 address to lead to"));
    }
    if publish.iter().any(|ports| !ports.is_sound()) {
        return Err(Error::invalid("publish", "a port lies between 1 and 65535"));
    }
    let count: u32 = publish.iter().map(|ports| u32::from(ports.count)).sum();
    if count > MAX_PORTS {
        return Err(Error::invalid(
            "publish",
            format!("a container publishes at most {MAX_PORTS} ports, these are {count}"),
        ));
    }
    for (at, port) in publish.iter().enumerate() {
        if let Some(twice) = publish[..at].iter().find_map(|other| other.shared(port)) {
            let word = ports::word(twice, port.protocol);
            return Err(Error::invalid("publish", format!("port {word} of the host is published twice")));
        }
        if let Some(own) = config.closed_ports.iter().find(|own| port.has(**own, Protocol::Tcp)) {
            let word = ports::word(*own, Protocol::Tcp);
            return Err(Error::conflict(format!("port {word} of the host is the console's own")).hint("publish another port of the host"));
        }
        let taken = |row: &ContainerRow| row.spec.publish.iter().find_map(|other| other.shared(port));
        let mut others = config.neighbours.iter().filter(|row| row.id != config.id);
        if let Some((owner, shared)) = others.find_map(|row| Some((&row.spec.name, taken(row)?))) {
            let word = ports::word(shared, port.protocol);
            return Err(Error::conflict(format!("port {word} of the host leads to the container `{owner}`")).hint("publish another port of the host"));
        }
        ports::judge(port, config.listeners, config.bridges)?;
    }
    Ok(())
}

/// Rules are read by their type; too many of them would slow down every packet.
fn judge_firewall(rules: &[Rule]) -> Result<()> {
    if rules.len() > MAX_RULES {
        return Err(Error::invalid(
            "firewall",
            format!("a container has at most {MAX_RULES} rules, these are {}", rules.len()),
        ));
    }
    Ok(())
}

fn judge_env(env: &[(String, String)]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (key, value) in env {
        if key.is_empty() || key.contains(['=', '\0', '\n', '\r']) || key.chars().any(char::is_control) {
            return Err(Error::invalid(
                "env",
                format!("`{}` is not the name of an environment variable", key.escape_debug()),
            ));
        }
        if value.contains(['\0', '\n', '\r']) {
            return Err(Error::invalid("env", format!("the value of `{key}` holds a line break or a NUL character")));
        }
        if !seen.insert(key) {
            return Err(Error::invalid("env", format!("`{key}` is set twice")));
        }
    }
    let bytes: usize = env.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if bytes > MAX_ENV_BYTES {
        return Err(Error::invalid("env", format!("the environment takes {bytes} bytes, more than {MAX_ENV_BYTES}")));
    }
    Ok(())
}

fn judge_ssh_keys(keys: &[String]) -> Result<()> {
    if keys.len() > MAX_SSH_KEYS {
        return Err(Error::invalid("ssh-key", format!("at most {MAX_SSH_KEYS} keys, these are {}", keys.len())));
    }
    match keys.iter().position(|key| !is_ssh_key(key)) {
        None => Ok(()),
        Some(at) => Err(Error::invalid("ssh-key", format!("key {} is not an OpenSSH public key", at + 1))
            .hint("give the line of a .pub file, for example `ssh-ed25519 AAAA... me@home`; options before the type are not taken")),
    }
}

/// `TYPE BASE64 [COMMENT]` where the decoded key begins with its own type (RFC 4253, section 6.6).
fn is_ssh_key(line: &str) -> bool {
    const TYPES: [&str; 8] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-ed448",
    ];
    let mut words = line.trim().splitn(3, ' ');
    let (Some(kind), Some(body)) = (words.next(), words.next()) else {
        return false;
    };
    if line.len() > 8192 || line.chars().any(char::is_control) || !TYPES.contains(&kind) {
        return false;
    }
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(body) else {
        return false;
    };
    let length = u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes();
    bytes.len() > 4 + kind.len() && bytes.starts_with(&length) && bytes[4..].starts_with(kind.as_bytes())
}

fn judge_tags(tags: &[String]) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::invalid("tag", format!("at most {MAX_TAGS} tags, these are {}", tags.len())));
    }
    let is_tag = |tag: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+_.-".contains(&byte);
        !tag.is_empty() && tag.len() <= MAX_TAG_BYTES && tag.bytes().all(plain)
    };
    match tags.iter().find(|tag| !is_tag(tag)) {
        None => Ok(()),
        Some(tag) => Err(Error::invalid(
            "tag",
            format!("`{}` is not a tag (a-z, 0-9, `+`, `_`, `.`, `-`; at most {MAX_TAG_BYTES})", tag.escape_debug()),
        )),
    }
}

fn judge_size(spec: &ContainerSpec, notes: &str) -> Result<()> {
    if notes.len() > MAX_NOTES_BYTES {
        return Err(Error::invalid(
            "notes",
            format!("the notes take {} bytes, more than {MAX_NOTES_BYTES}", notes.len()),
        ));
    }
    let bytes = serde_json::to_vec(spec).map_or(usize::MAX, |json| json.len());
    if bytes > MAX_SPEC_BYTES {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("the whole configuration takes {bytes} bytes, more than {MAX_SPEC_BYTES}"),
        )
        .hint("shorten the notes, the keys or the environment"));
    }
    Ok(())
}

fn judge_password(password: &str) -> Result<()> {
    let characters = password.chars().count();
    if !(8..=1024).contains(&characters) {
        return Err(Error::invalid(
            "password",
            format!("root's password has 8 to 1024 characters, this one has {characters}"),
        ));
    }
    // crypt(3) ends at a NUL, and no terminal can type a line break into a password prompt.
    if password.contains(['\0', '\n', '\r']) {
        return Err(Error::invalid("password", "root's password holds a line break or a NUL character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
