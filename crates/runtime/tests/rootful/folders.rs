//! What stands on disk: the first boot's gifts, the trash, several instances at once, and places that cannot carry containers.

use std::path::PathBuf;

use model::engine::{FirstBoot, Removal, Signal};
use model::{ContainerState, ErrorCode, Limits};

use crate::host::{self, Host, as_root, busybox_root};

#[test]
fn smoke_the_first_boot_brings_name_password_and_keys_once() {
    let host = Host::new(as_root(), "first");
    let hash = "$6$salt$0123456789abcdef";
    let first = FirstBoot {
        root_password_hash: Some(hash.into()),
        ssh_keys: vec!["ssh-ed25519 AAAAC3Nza one@home".into(), "ssh-ed25519 AAAAC3Nzb two@home".into()],
    };
    let fill = |root: &std::path::Path| {
        busybox_root(root);
        std::fs::write(root.join("etc/shadow"), "root:*:19000:0:99999:7:::\nweb:!:19000::::::\n").unwrap();
        std::fs::write(root.join("etc/hostname"), "template\n").unwrap();
    };
    let id = host.container_as("first", &first, fill, |_| {});
    let waiting = host.state().join("containers").join(id.to_string()).join("first-boot.json");
    assert!(waiting.exists());
    host.start(id, Limits::default()).expect("it starts");
    assert!(!waiting.exists(), "the hash stays nowhere else");
    assert_eq!(host.says(id, "cat /etc/shadow"), format!("root:{hash}:19000:0:99999:7:::\nweb:!:19000::::::"));
    assert_eq!(host.says(id, "cat /root/.ssh/authorized_keys"), first.ssh_keys.join("\n"));
    assert_eq!(host.says(id, "stat -c '%a %u:%g' /root/.ssh /root/.ssh/authorized_keys"), "700 0:0\n600 0:0");
    assert_eq!(host.says(id, "hostname; cat /etc/hostname"), "first\nfirst");
    assert!(host.says(id, "cat /etc/hosts").contains("127.0.1.1\tfirst"));
    // What the guest made of it later is its own.
    host.says(
        id,
        "sed -i 's/^root:[^:]*/root:changed/' /etc/shadow; echo mine > /etc/hostname; rm /root/.ssh/authorized_keys",
    );
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    host.start(id, Limits::default()).expect("it starts again");
    assert!(host.says(id, "cat /etc/shadow").starts_with("root:changed:"));
    assert_eq!(host.says(id, "cat /etc/hostname"), "mine");
    assert_eq!(host.sh(id, "cat /root/.ssh/authorized_keys").0, 1);
}

#[test]
fn what_cannot_be_changed_as_a_whole_stays_and_is_said() {
    let host = Host::new(as_root(), "hosts");
    let first = FirstBoot {
        root_password_hash: Some("$6$salt$hash".into()),
        ssh_keys: Vec::new(),
    };
    let fill = |root: &std::path::Path| {
        busybox_root(root);
        std::fs::write(root.join("etc/hosts"), "0.0.0.0 example.org\n".repeat(150_000)).unwrap();
        std::fs::write(root.join("etc/shadow"), b"root:*:19000:0:99999:7:::\nren\xe9:!:19000::::::\n").unwrap();
    };
    let id = host.container_as("hosts", &first, fill, |_| {});
    host.start(id, Limits::default()).expect("it starts");
    assert_eq!(host.says(id, "wc -l < /etc/hosts; hostname"), "150000\nhosts");
    assert_eq!(
        host.says(id, "cut -d: -f2 /etc/shadow; ls -A /etc | grep -c berth || true"),
        "$6$salt$hash\n!\n0"
    );
    let said = "berth: /etc/hosts was left as it is: it is longer than 1 MiB";
    host::eventually("the console tells it", || host.consoles().contains(said));
}

#[test]
fn smoke_the_trash_keeps_gives_back_and_is_emptied() {
    let host = Host::new(as_root(), "trash");
    let id = host.busybox("trash");
    let names = |folder: &str| std::fs::read_dir(host.state().join(folder)).unwrap().count();
    host.start(id, Limits::default()).expect("it starts");
    let refused = host.runtime.remove(id, Removal::ToTrash).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    host.says(
        id,
        "echo kept > /root/file; mkdir -m 0 /root/closed; mkdir /root/wide; for n in 1 2 3; do mkfifo \"/root/wide/odd $n\"; done",
    );
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    for _ in 0..2 {
        // What is done already is fine.
        host.runtime.remove(id, Removal::ToTrash).expect("it goes");
    }
    assert_eq!((names("containers"), names("trash")), (0, 1));
    assert!(host.start(id, Limits::default()).is_err(), "what is in the trash does not start");
    assert_eq!((names("containers"), names("trash")), (0, 1));
    for _ in 0..2 {
        host.runtime.remove(id, Removal::Restore).expect("it comes back");
    }
    assert_eq!((names("containers"), names("trash")), (1, 0));
    host.start(id, Limits::default()).expect("it starts");
    assert_eq!(host.says(id, "cat /root/file"), "kept");
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    host.runtime.remove(id, Removal::ToTrash).expect("it goes");
    for _ in 0..2 {
        host.runtime.remove(id, Removal::Purge).expect("it is gone");
    }
    assert_eq!((names("containers"), names("trash"), names("staging")), (0, 0, 0));
    assert!(host.runtime.remove(id, Removal::Restore).is_err(), "there is nothing to give back");
    assert_eq!((names("containers"), names("trash")), (0, 0));
}

#[test]
fn a_layer_that_is_missing_names_the_step_and_the_next_start_works() {
    let host = Host::new(as_root(), "layer");
    let id = host.busybox("layer");
    let digest = host.manifest(id).digest.to_string();
    let (there, away) = (host.state().join("layers").join(&digest), host.state().join("away"));
    std::fs::rename(&there, &away).unwrap();
    for _ in 0..2 {
        let error = host.start(id, Limits::default()).unwrap_err();
        assert!(error.message.contains(&digest) && error.hint.is_some(), "{error:?}");
        assert!(!error.step.is_empty());
        assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    }
    std::fs::rename(&away, &there).unwrap();
    host.start(id, Limits::default()).expect("it starts now");
}

#[test]
fn two_instances_know_nothing_of_each_other() {
    let two = Host::new(as_root(), "right");
    let right = two.busybox("same");
    let pid = two.start(right, Limits::default()).expect("it starts").pid;
    let one = Host::new(as_root(), "left");
    let left = one.busybox("same");
    one.start(left, Limits::default()).expect("it starts");
    assert!(one.runtime.observe().expect("it looks").iter().all(|seen| seen.id != right));
    assert!(one.runtime.sample().containers.iter().all(|(id, _)| *id != right));
    assert!(one.runtime.signal(right, Signal::Freeze).is_err());
    // Nothing to kill is no failure, and it kills nothing.
    drop(one.runtime.signal(right, Signal::Kill));
    drop(one);
    let seen = two.runtime.observe_one(right);
    assert_eq!((seen.state, seen.pid), (ContainerState::Running, Some(pid)));
    assert_eq!(two.sh(right, "true").0, 0);
}

/// A small disk below an instance's state directory; gone with the test.
struct Disk(PathBuf);

impl Disk {
    /// Has 600 inodes, and a part that only the host's root may fill.
    fn mount(instance: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("berth-test-{instance}-{}", std::process::id()));
        let (image, state) = (folder.join("disk"), folder.join("state"));
        std::fs::create_dir_all(&state).unwrap();
        std::fs::File::create(&image).and_then(|file| file.set_len(32 << 20)).unwrap();
        let disk = Self(state.clone());
        host::said("mkfs.ext4", &["-q", "-N", "600", "-m", "20", &image.to_string_lossy()]);
        host::said("mount", &["-o", "loop", &image.to_string_lossy(), &state.to_string_lossy()]);
        assert!(disk.found().f_files < 1000, "a disk of its own");
        disk
    }

    fn found(&self) -> rustix::fs::StatVfs {
        rustix::fs::statvfs(&self.0).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).ok();
        std::fs::remove_dir_all(self.0.parent().unwrap()).ok();
    }
}

#[test]
fn a_full_disk_is_named_and_a_start_succeeds_when_there_is_room_again() {
    let root = as_root();
    let disk = Disk::mount("full");
    let host = Host::new(root, "full");
    let id = host.busybox("full");
    let filler = disk.0.join("filler");
    let refused = |what: &str| {
        let error = host.start(id, Limits::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::NoSpace, "{error:?}");
        assert!(error.message.contains(&format!("no {what} left")), "{error:?}");
        let hint = error.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(&*disk.0.to_string_lossy()) && hint.contains("empty the trash"), "{error:?}");
    };
    let found = disk.found();
    let file = std::fs::File::create(&filler).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, found.f_bavail * found.f_frsize).unwrap();
    refused("space");
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    std::fs::create_dir(&filler).unwrap();
    let fill = (0..disk.found().f_favail).take_while(|number| std::fs::write(filler.join(number.to_string()), "").is_ok());
    assert!(fill.count() > 100);
    refused("inodes");
    std::fs::remove_dir_all(&filler).unwrap();
    host.start(id, Limits::default()).expect("it starts");
}

#[test]
fn a_state_directory_without_mapped_ids_is_refused_by_name() {
    as_root();
    let folder = tempfile::tempdir().unwrap();
    let overlay = host::Overlay::mount(folder.path());
    let error = host::open(&overlay.0, "test-refused").unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains("idmapped mounts"), "{error:?}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("ext4")), "{error:?}");
}
