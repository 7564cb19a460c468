//! What a container is given before its init runs: a new one its host name, root's password and root's keys; each start a
//! host name that was changed since, and a resolver where no DHCP brings one. Done by the confined child inside its own
//! root; links are never followed, and what somebody inside wrote is left alone.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{At, Result};
use crate::shim::protocol::Fields;
use place::{Found, Place};

mod place;
#[cfg(test)]
mod tests;

/// How `resolv.conf` begins while it is Berth's.
const OURS: &str = "# Written by Berth at each start; a file that begins otherwise is left alone.\n";
/// What a container without `hosts` gets.
const HOSTS: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Applies what the message carries (`first-hostname`, `first-password`, `first-key`; `last-hostname`, `resolver`). Says
/// which files were left as they are, and why.
///
/// # Errors
/// Names the file.
pub fn apply(fields: &Fields) -> Result<Vec<String>> {
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("open the root", "open(\"/\")")?;
    let etc = || Place::open(root.as_fd(), "etc", 0o755);
    let mut kept = Vec::new();
    if let Some(hostname) = fields.get("first-hostname") {
        kept.extend(host_name(&etc()?, hostname)?);
    }
    if let (Some(now), Some(last)) = (fields.get("hostname"), fields.get("last-hostname")) {
        kept.extend(rename_host(&etc()?, last, now)?);
    }
    let servers: Vec<&str> = fields.all("resolver").collect();
    if !servers.is_empty() {
        resolver(&etc()?, &servers)?;
    }
    if let Some(hash) = fields.get("first-password") {
        kept.extend(password(&etc()?, hash)?);
    }
    let keys: Vec<&str> = fields.all("first-key").collect();
    if !keys.is_empty() {
        kept.extend(authorized_keys(&Place::open(root.as_fd(), "root/.ssh", 0o700)?, &keys)?);
    }
    Ok(kept)
}

/// The new name replaces the one that Berth wrote last, unless somebody inside chose another one.
fn rename_host(etc: &Place, last: &str, now: &str) -> Result<Vec<String>> {
    let is_ours = || matches!(etc.look("hostname"), Found::File(file) if file.bytes.trim_ascii() == last.as_bytes());
    if last != now && is_ours() { host_name(etc, now) } else { Ok(Vec::new()) }
}

fn host_name(etc: &Place, name: &str) -> Result<Vec<String>> {
    // Last comes what tells the next start whose name this is: a start that fails in between is made up for.
    let hosts = etc.change("hosts", 0o644, |hosts| Some(with_name(hosts.unwrap_or(HOSTS), name)))?;
    let hostname = etc.change("hostname", 0o644, |_| Some(format!("{name}\n").into_bytes()))?;
    Ok(hosts.into_iter().chain(hostname).collect())
}

fn with_name(hosts: &[u8], name: &str) -> Vec<u8> {
    let is_own = |line: &&[u8]| line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) == Some(b"127.0.1.1");
    let mut text: Vec<u8> = lines(hosts).filter(|line| !is_own(line)).flatten().copied().collect();
    end_line(&mut text);
    text.extend_from_slice(format!("127.0.1.1\t{name}\n").as_bytes());
    text
}

fn resolver(etc: &Place, servers: &[&str]) -> Result<()> {
    let servers = servers.iter().map(|server| format!("nameserver {server}\n"));
    let text: String = std::iter::once(OURS.to_owned()).chain(servers).collect();
    let is_ours = |now: &[u8]| now.trim_ascii().is_empty() || now.starts_with(OURS.as_bytes());
    // Where it is somebody else's, which a link is too, there is nothing to say: no more is promised.
    etc.change("resolv.conf", 0o644, |now| now.is_none_or(is_ours).then(|| text.into_bytes()))
        .map(drop)
}

/// Puts the hash where this image keeps hashes: shadow, or passwd where there is no shadow.
fn password(etc: &Place, hash: &str) -> Result<Option<String>> {
    let (name, mode) = match etc.look("shadow") {
        Found::Nothing => ("passwd", 0o644),
        Found::File(_) | Found::Other(_) => ("shadow", 0o640),
    };
    etc.change(name, mode, |text| text.map(|text| with_hash(text, hash)))
}

fn with_hash(text: &[u8], hash: &str) -> Vec<u8> {
    let replace = |line: &[u8]| match line.strip_prefix(b"root:") {
        Some(rest) => {
            let end = rest.iter().position(|byte| b":\r\n".contains(byte)).unwrap_or(rest.len());
            [b"root:", hash.as_bytes(), &rest[end..]].concat()
        }
        None => line.to_vec(),
    };
    lines(text).flat_map(replace).collect()
}

fn authorized_keys(ssh: &Place, keys: &[&str]) -> Result<Option<String>> {
    ssh.change("authorized_keys", 0o600, |text| {
        let mut text = text.unwrap_or_default().to_vec();
        for key in keys {
            if !lines(&text).any(|line| line.trim_ascii_end() == key.as_bytes()) {
                end_line(&mut text);
                text.extend_from_slice(format!("{key}\n").as_bytes());
            }
        }
        Some(text)
    })
}

/// Lines with their ends, in whatever encoding somebody wrote them.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn end_line(text: &mut Vec<u8>) {
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
}
