//! What a first boot changes in a guest, and what it leaves alone.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

/// A folder of the container.
fn place() -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place {
        folder: File::open(dir.path()).unwrap().into(),
        path: "/etc".into(),
    };
    (dir, place)
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_roots_hash_is_replaced() {
    let text = b"root:*:19000:0:99999:7:::\nrooted:!:1::::::\n";
    assert_eq!(with_hash(text, "$6$x$y"), b"root:$6$x$y:19000:0:99999:7:::\nrooted:!:1::::::\n");
    assert_eq!(with_hash(b"\xe9:x\r\nroot:x", "y"), b"\xe9:x\r\nroot:y");
}

#[test]
fn files_are_written_where_they_belong() {
    let (dir, etc) = place();
    fs::write(dir.path().join("hosts"), "127.0.0.1 localhost\n127.0.1.1 old\n").unwrap();
    assert_eq!(host_name(&etc, "web").unwrap(), [""; 0]);
    assert_eq!(fs::read_to_string(dir.path().join("hosts")).unwrap(), "127.0.0.1 localhost\n127.0.1.1\tweb\n");
    authorized_keys(&etc, &["ssh-ed25519 AAAA a"]).unwrap();
    authorized_keys(&etc, &["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"]).unwrap();
    assert_eq!(
        fs::read_to_string(dir.path().join("authorized_keys")).unwrap(),
        "ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n"
    );
    assert_eq!(names(&dir), ["authorized_keys", "hostname", "hosts"]);
}

#[test]
fn missing_files_are_made() {
    let (dir, etc) = place();
    assert_eq!(host_name(&etc, "web").unwrap(), [""; 0]);
    let hosts = fs::read(dir.path().join("hosts")).unwrap();
    assert_eq!(hosts, [HOSTS, b"127.0.1.1\tweb\n"].concat());
    assert_eq!(fs::metadata(dir.path().join("hosts")).unwrap().mode() & 0o7777, 0o644);
    // Without accounts there is no password to set.
    assert_eq!(password(&etc, "$6$x$y").unwrap(), None);
    assert_eq!(names(&dir), ["hostname", "hosts"]);
}

#[test]
fn a_file_keeps_its_rights_and_bytes_of_any_encoding() {
    let (dir, etc) = place();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("hosts"), b"10.0.0.9 caf\xe9\n127.0.1.1 old\n10.0.0.8 last").unwrap();
    fs::set_permissions(path("hosts"), fs::Permissions::from_mode(0o664)).unwrap();
    fs::write(path("passwd"), b"root:x:0:0::/root:/bin/sh\nren\xe9:x:1000:1000::/:/bin/sh\n").unwrap();
    fs::write(path(".hosts.berth"), "of a start that was interrupted").unwrap();
    let owner = |name: &str| fs::metadata(path(name)).map(|stat| (stat.uid(), stat.gid())).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path("hosts"), Some(1), Some(2)).unwrap();
    }
    let before = owner("hosts");
    assert_eq!(host_name(&etc, "web").unwrap(), [""; 0]);
    assert_eq!(fs::read(path("hosts")).unwrap(), b"10.0.0.9 caf\xe9\n10.0.0.8 last\n127.0.1.1\tweb\n");
    assert_eq!((fs::metadata(path("hosts")).unwrap().mode() & 0o7777, owner("hosts")), (0o664, before));
    assert_eq!(password(&etc, "hash").unwrap(), None);
    assert_eq!(
        fs::read(path("passwd")).unwrap(),
        b"root:hash:0:0::/root:/bin/sh\nren\xe9:x:1000:1000::/:/bin/sh\n"
    );
    assert_eq!(names(&dir), ["hostname", "hosts", "passwd"]);
}

#[test]
fn what_is_too_long_is_left_as_it_is() {
    let (dir, etc) = place();
    let long = b"0.0.0.0 example.org\n".repeat(150_000);
    for name in ["hosts", "shadow", "authorized_keys"] {
        fs::write(dir.path().join(name), &long).unwrap();
    }
    assert_eq!(host_name(&etc, "web").unwrap(), ["/etc/hosts was left as it is: it is longer than 1 MiB"]);
    assert!(password(&etc, "hash").unwrap().unwrap().starts_with("/etc/shadow was left"));
    assert!(authorized_keys(&etc, &["key"]).unwrap().unwrap().starts_with("/etc/authorized_keys was left"));
    for name in ["hosts", "shadow", "authorized_keys"] {
        assert!(fs::read(dir.path().join(name)).unwrap() == long, "{name}");
    }
    assert_eq!(fs::read_to_string(dir.path().join("hostname")).unwrap(), "web\n");
    let just = b"#".repeat(usize::try_from(place::MAX_BYTES).unwrap());
    fs::write(dir.path().join("hosts"), &just).unwrap();
    assert_eq!(host_name(&etc, "web").unwrap(), [""; 0]);
    assert!(fs::read(dir.path().join("hosts")).unwrap() == [&just, &b"\n127.0.1.1\tweb\n"[..]].concat());
}

#[test]
fn a_changed_name_replaces_only_what_berth_wrote() {
    let (dir, etc) = place();
    let name = || fs::read_to_string(dir.path().join("hostname")).unwrap();
    host_name(&etc, "web").unwrap();
    rename_host(&etc, "web", "shop").unwrap();
    assert_eq!(name(), "shop\n");
    assert!(fs::read_to_string(dir.path().join("hosts")).unwrap().ends_with("127.0.1.1\tshop\n"));
    fs::write(dir.path().join("hostname"), "mine\n").unwrap();
    rename_host(&etc, "shop", "other").unwrap();
    assert_eq!(name(), "mine\n");
}

#[test]
fn a_resolver_is_written_where_nobody_else_did() {
    let (dir, etc) = place();
    let file = dir.path().join("resolv.conf");
    for before in [None, Some(""), Some("\n")] {
        drop(fs::remove_file(&file));
        before.map_or(Ok(()), |text| fs::write(&file, text)).unwrap();
        resolver(&etc, &["10.0.0.1"]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{OURS}nameserver 10.0.0.1\n"));
    }
    resolver(&etc, &["10.0.0.2"]).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{OURS}nameserver 10.0.0.2\n"));
    fs::write(&file, "nameserver 9.9.9.9\n").unwrap();
    resolver(&etc, &["10.0.0.1"]).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "nameserver 9.9.9.9\n");
    fs::remove_file(&file).unwrap();
    symlink("/run/resolvers", &file).unwrap();
    resolver(&etc, &["10.0.0.1"]).unwrap();
    assert!(file.is_symlink());
}

#[test]
fn a_link_is_never_followed_and_stays() {
    let (dir, etc) = place();
    let canary = dir.path().join("canary");
    fs::write(&canary, "root:host").unwrap();
    for name in ["hostname", "hosts", "shadow", ".hosts.berth"] {
        symlink(&canary, dir.path().join(name)).unwrap();
    }
    let kept = host_name(&etc, "web").unwrap();
    assert_eq!(
        kept,
        [
            "/etc/hosts was left as it is: it is a symbolic link",
            "/etc/hostname was left as it is: it is a symbolic link"
        ]
    );
    assert!(password(&etc, "hash").unwrap().is_some());
    fs::remove_file(dir.path().join("hosts")).unwrap();
    assert_eq!(host_name(&etc, "web").unwrap().len(), 1);
    assert!(fs::read(dir.path().join("hosts")).unwrap().ends_with(b"127.0.1.1\tweb\n"));
    assert_eq!(fs::read_to_string(canary).unwrap(), "root:host");
    assert_eq!(names(&dir), ["canary", "hostname", "hosts", "shadow"]);
}

#[test]
fn a_pipe_is_no_file() {
    let (dir, etc) = place();
    rustix::fs::mknodat(&etc.folder, "hosts", rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(host_name(&etc, "web").unwrap(), ["/etc/hosts was left as it is: it is no file"]);
    assert_eq!(names(&dir), ["hostname", "hosts"]);
}
