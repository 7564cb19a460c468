//! Folders of the host inside: whose files are whose, what the guest cannot take back, and what is refused.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use model::container::ContainerState;
use model::engine::{FirstBoot, Removal, Signal};
use model::storage::Mount;
use model::{ContainerId, ErrorCode, Limits};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::host::{Host, Overlay, as_root, busybox_root};

fn mount(source: &Path, target: &str, option: &str) -> Mount {
    format!("{}:{target}{option}", source.display()).parse().unwrap()
}

/// A busybox container with these mounts, on a root file system that `fill` adds to.
fn container(host: &Host, name: &str, mounts: &[Mount], fill: impl FnOnce(&Path)) -> ContainerId {
    let fill = |root: &Path| {
        busybox_root(root);
        fill(root);
    };
    host.container_as(name, &FirstBoot::default(), fill, |manifest| manifest.spec.mounts = mounts.to_vec())
}

fn started(host: &Host, name: &str, mounts: &[Mount]) -> ContainerId {
    let id = container(host, name, mounts, |_| {});
    host.start(id, Limits::default()).expect("it starts");
    id
}

#[test]
fn files_have_the_same_owner_on_both_sides() {
    let host = Host::new(as_root(), "owners");
    let shared = host.shared("owners");
    std::fs::write(shared.join("hosts"), "of the host").unwrap();
    std::os::unix::fs::chown(shared.join("hosts"), Some(1000), Some(1001)).unwrap();
    let id = started(&host, "owners", &[mount(&shared, "/srv/deep/data", "")]);
    assert_eq!(
        host.says(id, "stat -c %u:%g /srv/deep/data/hosts; cat /srv/deep/data/hosts"),
        "1000:1001\nof the host"
    );
    host.says(
        id,
        "cd /srv/deep/data && echo inside > guests && chown 33:65535 guests && mkdir roots && echo more >> hosts",
    );
    let owner = |name: &str| std::fs::metadata(shared.join(name)).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!((owner("guests"), owner("roots"), owner("hosts")), ((33, 65535), (0, 0), (1000, 1001)));
    assert_eq!(std::fs::read_to_string(shared.join("guests")).unwrap(), "inside\n");
    assert_ne!(host.sh(id, "chown 65536 /srv/deep/data/guests").0, 0, "an id that the container does not have");
    // The target was made as the container's own folder.
    assert_eq!(host.says(id, "stat -c %u:%a /srv/deep"), "0:755");
}

#[test]
fn what_a_mount_may_not_do_the_guests_root_cannot_give_back() {
    let host = Host::new(as_root(), "locked");
    let shared = host.shared("locked");
    let id = started(&host, "locked", &[mount(&shared, "/ro", ":ro"), mount(&shared, "/rw", "")]);
    std::fs::write(shared.join("file"), "").unwrap();
    for flags in ["/ro ro,nosuid,nodev", "/rw rw,nosuid,nodev"] {
        let line = host.says(id, &format!("grep ' {} ' /proc/self/mountinfo", flags.split(' ').next().unwrap()));
        assert!(line.contains(flags), "{line}");
    }
    for attempt in [
        "touch /ro/new",
        "rm /ro/file",
        "mount -o remount,rw,bind /ro",
        "mkdir -p /tmp/again && mount -o bind /ro /tmp/again && mount -o remount,rw,bind /tmp/again",
        "mount -o remount,suid,bind,nodev /rw",
        "mount -o remount,dev,bind,nosuid /rw",
        "unshare -m mount -o remount,rw,bind /ro",
    ] {
        assert_ne!(host.sh(id, attempt).0, 0, "{attempt}");
    }
    host.says(id, "touch /rw/new");
    assert!(shared.join("new").exists());
}

/// A mount of the host, shared with every mount namespace that has a copy of it; gone with the test.
struct Disk(PathBuf);

impl Disk {
    fn in_memory(folder: PathBuf) -> Self {
        rustix::mount::mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), None).unwrap();
        Self::shared(folder)
    }

    /// The folder itself: in memory it would not have mapped ids before Linux 6.3.
    fn of(folder: PathBuf) -> Self {
        rustix::mount::mount_bind(&folder, &folder).unwrap();
        Self::shared(folder)
    }

    fn shared(folder: PathBuf) -> Self {
        rustix::mount::mount_change(&folder, MountPropagationFlags::SHARED).unwrap();
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).ok();
    }
}

#[test]
fn mounts_do_not_spread_between_inside_and_outside() {
    let host = Host::new(as_root(), "spread");
    let disk = Disk::of(host.shared("spread"));
    for folder in ["in", "out", "before"] {
        std::fs::create_dir(disk.0.join(folder)).unwrap();
    }
    let _before = Disk::in_memory(disk.0.join("before"));
    std::fs::write(disk.0.join("before/secret"), "").unwrap();
    let id = started(&host, "spread", &[mount(&disk.0, "/data", "")]);
    host.says(id, "mount -t tmpfs tmpfs /data/in && touch /data/in/guests");
    assert!(!disk.0.join("in/guests").exists());
    let _out = Disk::in_memory(disk.0.join("out"));
    std::fs::write(disk.0.join("out/hosts"), "").unwrap();
    host.says(id, "[ ! -e /data/out/hosts ] && [ ! -e /data/before/secret ]");
    let pid = host.runtime.observe_one(id).pid.unwrap();
    let seen = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let ours = seen.lines().find(|line| line.contains(" /data ")).unwrap();
    assert!(!ours.contains("shared:") && !ours.contains("master:"), "{ours}");
}

#[test]
fn a_target_behind_a_link_is_refused_and_leads_nowhere() {
    let host = Host::new(as_root(), "targets");
    let (shared, outside) = (host.shared("targets"), host.shared("outside"));
    let to = outside.clone();
    let link = move |root: &Path| {
        symlink(&to, root.join("absolute")).unwrap();
        symlink("../../../../../../../../tmp", root.join("relative")).unwrap();
        symlink("/proc/1/root", root.join("magic")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
    };
    let id = container(&host, "targets", &[], link);
    for target in ["/absolute", "/absolute/new", "/relative/new", "/magic/new", "/file", "/file/new"] {
        let mut request = host.request(id, Limits::default());
        request.mounts = vec![mount(&shared, target, "")];
        let refused = host.runtime.start(&request).unwrap_err();
        assert!(refused.message.contains(target) && refused.hint.is_some(), "{target}: {refused:?}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    host.start(id, Limits::default()).expect("without a mount it starts");
}

#[test]
fn a_source_is_released_there_and_reached_without_links() {
    let host = Host::new(as_root(), "sources");
    let shared = host.shared("sources");
    let secret = host.state().with_file_name("secret");
    std::fs::create_dir(&secret).unwrap();
    symlink(&secret, shared.join("link")).unwrap();
    let id = host.busybox("sources");
    for (source, code, said, way_out) in [
        (secret.clone(), ErrorCode::NotAllowed, "is not released", "mount-root"),
        (host.state(), ErrorCode::NotAllowed, "is not released", "mount-root"),
        (shared.join("link"), ErrorCode::Invalid, "openat2(", "real path"),
        (shared.join("missing"), ErrorCode::Invalid, "openat2(", "make it"),
    ] {
        let mut request = host.request(id, Limits::default());
        request.mounts = vec![mount(&source, "/data", "")];
        for refused in [
            host.runtime.check_mounts(&request.mounts).unwrap_err(),
            host.runtime.start(&request).unwrap_err(),
        ] {
            assert_eq!(refused.code, code, "{refused:?}");
            assert!(
                refused.message.contains(said) && refused.step.contains(&*source.to_string_lossy()),
                "{refused:?}"
            );
            assert!(refused.hint.as_ref().is_some_and(|hint| hint.contains(way_out)), "{refused:?}");
        }
        assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
    }
    host.start(id, Limits::default()).expect("without a mount it starts");
}

#[test]
fn a_file_system_without_mapped_ids_is_named() {
    let host = Host::new(as_root(), "unmapped");
    let overlay = Overlay::mount(&host.shared("unmapped"));
    let id = container(&host, "unmapped", &[mount(&overlay.0, "/data", "")], |_| {});
    let refused = host.start(id, Limits::default()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unsupported, "{refused:?}");
    assert!(
        refused.step.contains("map the ids of") && refused.message.contains("mount_setattr("),
        "{refused:?}"
    );
    assert!(refused.hint.as_ref().is_some_and(|hint| hint.contains("ext4")), "{refused:?}");
}

#[test]
fn a_file_system_in_memory_has_its_size() {
    let host = Host::new(as_root(), "memory");
    let mounts = ["tmpfs:/cache:size=1M".parse().unwrap(), "tmpfs:/cache/more".parse().unwrap()];
    let id = started(&host, "memory", &mounts);
    let found = host.says(id, "grep ' /cache' /proc/self/mountinfo | sort");
    assert!(found.contains("nosuid,nodev") && found.contains("size=1024k"), "{found}");
    assert_ne!(host.sh(id, "dd if=/dev/zero of=/cache/full bs=1M count=2").0, 0);
    host.says(id, "echo 1 > /cache/more/file");
}

#[test]
fn mounts_come_back_after_a_reboot_a_restart_of_the_console_and_out_of_the_trash() {
    let host = Host::new(as_root(), "again");
    let (outer, inner) = (host.shared("outer"), host.shared("inner"));
    // The one within comes first and is mounted last all the same.
    let mounts = [mount(&inner, "/data/inner", ":ro"), mount(&outer, "/data", "")];
    let id = container(&host, "again", &mounts, |_| {});
    host.start(id, Limits::default()).expect("it starts");
    std::fs::write(inner.join("file"), "inner").unwrap();
    let is_there = |host: &Host, times: &str| {
        assert_eq!(host.says(id, "cat /data/inner/file"), "inner", "{times}");
        host.says(id, &format!("echo {times} > /data/{times}"));
        assert!(outer.join(times).exists(), "{times}");
        assert_ne!(host.sh(id, "touch /data/inner/new").0, 0, "{times}");
    };
    is_there(&host, "first");
    let pid = host.runtime.observe_one(id).pid;
    host.sh(id, "busybox reboot -f");
    host.wait_for(id, |seen| seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != pid);
    is_there(&host, "rebooted");
    let host = host.restarted();
    host.runtime.observe().expect("it finds the container");
    is_there(&host, "adopted");
    host.runtime.signal(id, Signal::Kill).expect("it is killed");
    host.runtime.remove(id, Removal::ToTrash).expect("it is moved");
    host.runtime.remove(id, Removal::Restore).expect("it comes back");
    assert_eq!(host.runtime.folders().manifest(id).unwrap().spec.mounts, mounts, "what a rescue reads");
    host.start(id, Limits::default()).expect("it starts again");
    is_there(&host, "restored");
}

#[test]
fn the_first_boot_writes_into_the_container_and_not_into_a_folder_of_the_host() {
    let host = Host::new(as_root(), "firstboot");
    let shared = host.shared("firstboot");
    let first = FirstBoot {
        root_password_hash: None,
        ssh_keys: vec!["ssh-ed25519 AAAA test".into()],
    };
    let id = host.container_as("firstboot", &first, busybox_root, |manifest| {
        manifest.spec.mounts = vec![mount(&shared, "/root", "")];
    });
    host.start(id, Limits::default()).expect("it starts");
    host.says(id, "[ ! -e /root/.ssh ]");
    assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 0);
    host.says(id, "cd / && umount /root && grep -q AAAA /root/.ssh/authorized_keys");
}

#[test]
fn a_mount_comes_into_a_container_that_runs_and_stays_after_a_reboot() {
    let host = Host::new(as_root(), "added");
    let (first, later) = (host.shared("first"), host.shared("later"));
    let id = started(&host, "added", &[mount(&first, "/data/first", "")]);
    std::fs::write(later.join("file"), "later").unwrap();
    host.says(id, "ln -s /tmp /link");
    for (refused, code) in [
        (mount(&host.state(), "/data/more", ""), ErrorCode::NotAllowed),
        (mount(&later, "/link/more", ""), ErrorCode::Failed),
    ] {
        assert_eq!(host.runtime.add_mount(id, &refused).unwrap_err().code, code, "{refused}");
    }
    host.runtime.add_mount(id, &mount(&later, "/new/deep", ":ro")).expect("it comes in");
    host.runtime.add_mount(id, &"tmpfs:/data".parse().unwrap()).expect("it comes in");
    let is_there = || {
        assert_eq!(host.says(id, "cat /new/deep/file; stat -c %u:%a /new"), "later0:755");
        for attempt in ["touch /new/deep/x", "mount -o remount,rw,bind /new/deep"] {
            assert_ne!(host.sh(id, attempt).0, 0, "{attempt}");
        }
        host.says(id, "touch /data/x");
    };
    is_there();
    let pid = host.runtime.observe_one(id).pid;
    host.sh(id, "busybox reboot -f");
    host.wait_for(id, |seen| seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != pid);
    is_there();
    host.says(id, "touch /data/first/inside");
    assert!(first.join("inside").exists(), "the one within is mounted last");
}
