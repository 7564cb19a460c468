//! What a container is given before its init runs: a new one its host name, root's password and root's keys; each start a
//! host name that was changed since, and a resolver where no DHCP brings one. Done by the confined child inside its own
//! root; links are never followed, and what somebody inside wrote is left alone.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::mounts::folder;
use crate::error::{At, Result};
use crate::shim::protocol::Fields;

/// An account file longer than this is none.
const MAX_BYTES: u64 = 1 << 20;

/// How `resolv.conf` begins while it is Berth's.
const OURS: &str = "# Written by Berth at each start; a file that begins otherwise is left alone.\n";

/// Applies what the message carries (`first-hostname`, `first-password`, `first-key`; `last-hostname`, `resolver`).
///
/// # Errors
/// Names the file.
pub fn apply(fields: &Fields) -> Result<()> {
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at("open the root", "open(\"/\")")?;
    if let Some(hostname) = fields.get("first-hostname") {
        host_name(&folder(root.as_fd(), "etc", 0o755)?, hostname)?;
    }
    if let (Some(now), Some(last)) = (fields.get("hostname"), fields.get("last-hostname")) {
        rename_host(&folder(root.as_fd(), "etc", 0o755)?, last, now)?;
    }
    let servers: Vec<&str> = fields.all("resolver").collect();
    if !servers.is_empty() {
        resolver(&folder(root.as_fd(), "etc", 0o755)?, &servers)?;
    }
    if let Some(hash) = fields.get("first-password") {
        password(&folder(root.as_fd(), "etc", 0o755)?, hash)?;
    }
    let keys: Vec<&str> = fields.all("first-key").collect();
    if !keys.is_empty() {
        authorized_keys(&folder(root.as_fd(), "root/.ssh", 0o700)?, &keys)?;
    }
    Ok(())
}

fn read(folder: &OwnedFd, name: &str) -> Option<String> {
    let file = openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut text = String::new();
    File::from(file).take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn write(folder: &OwnedFd, name: &str, text: &str, mode: u32) -> Result<()> {
    let step = "prepare the first boot";
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::from_raw_mode(mode)).at(step, &format!("openat({name:?})"))?;
    File::from(file).write_all(text.as_bytes()).at(step, &format!("write({name:?})"))
}

/// The new name replaces the one that Berth wrote last, unless somebody inside chose another one.
fn rename_host(etc: &OwnedFd, last: &str, now: &str) -> Result<()> {
    if last != now && read(etc, "hostname").is_some_and(|text| text.trim() == last) {
        host_name(etc, now)?;
    }
    Ok(())
}

fn resolver(etc: &OwnedFd, servers: &[&str]) -> Result<()> {
    let servers = servers.iter().map(|server| format!("nameserver {server}\n"));
    let text: String = std::iter::once(OURS.to_owned()).chain(servers).collect();
    match read(etc, "resolv.conf") {
        Some(now) if now.trim().is_empty() || now.starts_with(OURS) => write(etc, "resolv.conf", &text, 0o644),
        Some(_) => Ok(()),
        None => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            match openat(etc, "resolv.conf", flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => File::from(file).write_all(text.as_bytes()).at("prepare the resolver", "write(\"resolv.conf\")"),
                // A link, or something else that is not ours.
                Err(rustix::io::Errno::EXIST) => Ok(()),
                Err(errno) => Err(crate::error::Error::io("prepare the resolver", "openat(\"resolv.conf\")", errno)),
            }
        }
    }
}

fn host_name(etc: &OwnedFd, name: &str) -> Result<()> {
    write(etc, "hostname", &format!("{name}\n"), 0o644)?;
    let hosts = read(etc, "hosts").unwrap_or_else(|| "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".into());
    let is_own = |line: &str| line.split_whitespace().next() == Some("127.0.1.1");
    let mut lines: Vec<String> = hosts.lines().filter(|line| !is_own(line)).map(str::to_owned).collect();
    lines.push(format!("127.0.1.1\t{name}"));
    write(etc, "hosts", &(lines.join("\n") + "\n"), 0o644)
}

/// Puts the hash where this image keeps hashes: shadow, or passwd where there is no shadow.
fn password(etc: &OwnedFd, hash: &str) -> Result<()> {
    let (name, mode) = if read(etc, "shadow").is_some() {
        ("shadow", 0o640)
    } else {
        ("passwd", 0o644)
    };
    let text = read(etc, name).unwrap_or_default();
    write(etc, name, &with_hash(&text, hash), mode)
}

fn with_hash(text: &str, hash: &str) -> String {
    let replace = |line: &str| {
        let mut parts: Vec<&str> = line.split(':').collect();
        if parts.first() == Some(&"root") && parts.len() > 1 {
            parts[1] = hash;
        }
        parts.join(":") + "\n"
    };
    text.lines().map(replace).collect()
}

fn authorized_keys(ssh: &OwnedFd, keys: &[&str]) -> Result<()> {
    let mut text = read(ssh, "authorized_keys").unwrap_or_default();
    for key in keys.iter().filter(|key| !text.lines().any(|line| line == **key)).copied().collect::<Vec<_>>() {
        text.push_str(key);
        text.push('\n');
    }
    write(ssh, "authorized_keys", &text, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_hash_is_replaced() {
        let text = "root:*:19000:0:99999:7:::\nrooted:!:1::::::\n";
        assert_eq!(with_hash(text, "$6$x$y"), "root:$6$x$y:19000:0:99999:7:::\nrooted:!:1::::::\n");
    }

    #[test]
    fn files_are_written_where_they_belong() {
        let dir = tempfile::tempdir().unwrap();
        let etc: OwnedFd = File::open(dir.path()).unwrap().into();
        std::fs::write(dir.path().join("hosts"), "127.0.0.1 localhost\n127.0.1.1 old\n").unwrap();
        host_name(&etc, "web").unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("hosts")).unwrap(),
            "127.0.0.1 localhost\n127.0.1.1\tweb\n"
        );
        authorized_keys(&etc, &["ssh-ed25519 AAAA a"]).unwrap();
        authorized_keys(&etc, &["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"]).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("authorized_keys")).unwrap(),
            "ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n"
        );
    }

    #[test]
    fn a_changed_name_replaces_only_what_berth_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let etc: OwnedFd = File::open(dir.path()).unwrap().into();
        let name = || std::fs::read_to_string(dir.path().join("hostname")).unwrap();
        host_name(&etc, "web").unwrap();
        rename_host(&etc, "web", "shop").unwrap();
        assert_eq!(name(), "shop\n");
        assert!(std::fs::read_to_string(dir.path().join("hosts")).unwrap().ends_with("127.0.1.1\tshop\n"));
        std::fs::write(dir.path().join("hostname"), "mine\n").unwrap();
        rename_host(&etc, "shop", "other").unwrap();
        assert_eq!(name(), "mine\n");
    }

    #[test]
    fn a_resolver_is_written_where_nobody_else_did() {
        let dir = tempfile::tempdir().unwrap();
        let etc: OwnedFd = File::open(dir.path()).unwrap().into();
        let file = dir.path().join("resolv.conf");
        for before in [None, Some(""), Some("\n")] {
            drop(std::fs::remove_file(&file));
            before.map_or(Ok(()), |text| std::fs::write(&file, text)).unwrap();
            resolver(&etc, &["10.0.0.1"]).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{OURS}nameserver 10.0.0.1\n"));
        }
        resolver(&etc, &["10.0.0.2"]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{OURS}nameserver 10.0.0.2\n"));
        std::fs::write(&file, "nameserver 9.9.9.9\n").unwrap();
        resolver(&etc, &["10.0.0.1"]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "nameserver 9.9.9.9\n");
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/run/resolvers", &file).unwrap();
        resolver(&etc, &["10.0.0.1"]).unwrap();
        assert!(file.is_symlink());
    }

    #[test]
    fn a_link_is_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let canary = dir.path().join("canary");
        std::fs::write(&canary, "host").unwrap();
        std::os::unix::fs::symlink(&canary, dir.path().join("hostname")).unwrap();
        let etc: OwnedFd = File::open(dir.path()).unwrap().into();
        assert!(host_name(&etc, "web").is_err());
        assert_eq!(std::fs::read_to_string(canary).unwrap(), "host");
    }
}
