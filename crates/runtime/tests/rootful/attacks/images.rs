//! R2, R3, R14, R18: root file systems that are made to lead out of the container, and what of them a user of the host can
//! reach.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use model::engine::FirstBoot;
use model::{ContainerState, Limits};

use super::siege::{Siege, attackers_root};
use crate::command;
use crate::host::{Host, as_root, busybox_root, in_own_network};

/// Everything that is mounted on, bound over or written to at a start.
const TARGETS: [&str; 17] = [
    "dev",
    "proc",
    "sys",
    "run",
    "etc",
    "root",
    "tmp",
    "var",
    "sbin",
    "root/.ssh",
    "root/.ssh/authorized_keys",
    "etc/hostname",
    "etc/hosts",
    "etc/shadow",
    "etc/resolv.conf",
    "etc/machine-id",
    "sbin/init",
];

/// Puts a link in the place of a file or a folder.
fn replace(root: &Path, target: &str, link: &Path) {
    let place = root.join(target);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    if place.is_dir() && !place.is_symlink() {
        std::fs::remove_dir_all(&place).unwrap();
    } else if place.symlink_metadata().is_ok() {
        std::fs::remove_file(&place).unwrap();
    }
    symlink(link, place).unwrap();
}

/// Names, sizes and times of the folder that every link leads to.
fn bait(folder: &Path) -> Vec<(String, u64, std::time::SystemTime)> {
    let mut seen: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            (entry.file_name().to_string_lossy().into_owned(), about.len(), about.modified().unwrap())
        })
        .collect();
    seen.sort();
    seen
}

#[test]
fn an_image_of_links_fails_to_start_or_stays_inside() {
    in_own_network(|| {
        let outside = tempfile::tempdir().unwrap();
        for name in ["shadow", "hostname", "hosts", "init", "pts"] {
            std::fs::write(outside.path().join(name), "root:x:1:::::::\n").unwrap();
        }
        let before = bait(outside.path());
        let (mut started, mut refused) = (Vec::new(), Vec::new());
        let host = Host::new(as_root(), "images");
        let witness = host.container("witness", busybox_root);
        host.start(witness, Limits::default()).expect("it starts");
        let siege = Siege::around(host, witness);
        for (number, target) in TARGETS.iter().enumerate() {
            for (way, is_relative) in [("absolute", false), ("relative", true)] {
                let mut link = outside.path().to_owned();
                if let Some(name) = Path::new(target).file_name().filter(|_| target.contains('/')) {
                    link.push(name);
                }
                if is_relative {
                    link = Path::new("../../../../../../../../../..").join(link.strip_prefix("/").unwrap());
                }
                let first = FirstBoot {
                    root_password_hash: Some("$6$salt$hash".into()),
                    ssh_keys: vec!["ssh-ed25519 AAAA one@home".into()],
                };
                let fill = |root: &Path| {
                    busybox_root(root);
                    std::fs::write(root.join("etc/shadow"), "root:*:19000:0:99999:7:::\n").unwrap();
                    replace(root, target, &link);
                };
                let id = siege.host.container_as(&format!("{way}-{number}"), &first, fill, |_| {});
                let outcome = siege.host.start(id, Limits::default());
                assert_eq!(bait(outside.path()), before, "{way} {target}: {outcome:?}");
                match outcome {
                    Ok(_) => {
                        assert_ne!(siege.host.sh(id, &format!("ls {}", outside.path().display())).0, 0, "{way} {target} leads out");
                        started.push(*target);
                    }
                    Err(error) => {
                        assert_eq!(siege.host.runtime.observe_one(id).state, ContainerState::Stopped, "{error}");
                        refused.push(*target);
                    }
                }
            }
        }
        for target in ["dev", "proc", "sys", "run"] {
            assert!(refused.contains(&target) && !started.contains(&target), "{target}: {started:?}");
        }
        assert!(started.contains(&"tmp"), "the links do not hinder a start: {refused:?}");
        assert_eq!(siege.changes(), Vec::<String>::new());
    });
}

#[test]
fn a_folder_that_becomes_a_link_during_the_start_stays_inside() {
    in_own_network(|| {
        let outside = tempfile::tempdir().unwrap();
        let host = Host::new(as_root(), "swapped");
        let id = host.busybox("swapped");
        host.start(id, Limits::default()).expect("it starts");
        host.says(id, "mkdir /dev-folder; echo of the layer > /etc/own");
        host.runtime.signal(id, model::engine::Signal::Kill).expect("it is killed");
        let upper = host.state().join("containers").join(id.to_string()).join("layers/1");
        for name in ["dev", "proc", "run"] {
            std::fs::create_dir_all(upper.join(name)).unwrap();
            symlink(outside.path(), upper.join(format!("{name}-link"))).unwrap();
        }
        let is_over = AtomicBool::new(false);
        let mut started = 0;
        std::thread::scope(|scope| {
            let swap = || {
                while !is_over.load(Ordering::Relaxed) {
                    for name in ["dev", "proc", "run"] {
                        let (one, other) = (upper.join(name), upper.join(format!("{name}-link")));
                        let flags = rustix::fs::RenameFlags::EXCHANGE;
                        rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags).unwrap();
                    }
                }
            };
            scope.spawn(swap);
            for _ in 0..30 {
                if host.start(id, Limits::default()).is_ok() {
                    started += 1;
                    host.runtime.signal(id, model::engine::Signal::Kill).expect("it is killed");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        println!("{started} of 30 starts met three folders");
        assert_eq!(bait(outside.path()), []);
    });
}

#[test]
fn programs_of_the_host_are_never_written_by_way_of_proc() {
    in_own_network(|| {
        let siege = Siege::lay("exe");
        // An init that is the program which starts it, by a link and as its interpreter.
        for (name, script) in [("link", ""), ("script", "#!/proc/self/exe\n")] {
            let fill = |root: &Path| {
                busybox_root(root);
                std::fs::remove_file(root.join("sbin/init")).unwrap();
                if script.is_empty() {
                    symlink("/proc/self/exe", root.join("sbin/init")).unwrap();
                } else {
                    std::fs::write(root.join("sbin/init"), script).unwrap();
                    std::fs::set_permissions(root.join("sbin/init"), std::fs::Permissions::from_mode(0o755)).unwrap();
                }
            };
            let id = siege.host.container(name, fill);
            drop(siege.host.start(id, Limits::default()));
        }
        let host = &siege.host;
        let watch = "my (%seen, $f, $p); until (-e '/run/enough') { opendir($p, '/proc'); for my $exe (map { \"/proc/$_/exe\" } grep { /^[0-9]/ } readdir $p) { my $path = readlink $exe; print \"$path\\n\" if $path && sysopen($f, $exe, 1) && !$seen{$path}++ } } 1";
        let exec = crate::host::exec_id();
        let program = format!("/{}", super::siege::PROGRAM);
        let streams = host
            .runtime
            .exec(siege.id, exec, &command(&["/usr/bin/perl", &program, watch]))
            .expect("it starts");
        for target in ["/proc/self/exe", "/proc/1/exe", "/bin/true"].into_iter().cycle().take(150) {
            // One that cannot be run is refused; what counts is what the watcher could open.
            host.run(siege.id, &command(&[target]));
        }
        host.says(siege.id, "touch /run/enough");
        assert_eq!(host.exit(exec), 0);
        let opened = std::io::read_to_string(std::fs::File::from(streams.into_iter().nth(1).unwrap())).unwrap();
        let foreign: Vec<&str> = opened.lines().filter(|line| !["0", "/bin/busybox", "/usr/bin/perl"].contains(line)).collect();
        assert_eq!(foreign, Vec::<&str>::new());
        assert_eq!(siege.changes(), Vec::<String>::new());
    });
}

#[test]
fn a_user_of_the_host_reaches_neither_storage_nor_setuid_files() {
    in_own_network(|| {
        let host = Host::new(as_root(), "storage");
        let id = host.container("storage", attackers_root);
        let pid = host.start(id, Limits::default()).expect("it starts").pid;
        host.says(id, "cp /bin/busybox /root/setuid; chmod 4755 /root/setuid; chmod 777 / /root");
        let state = host.state();
        let setuid = state.join("containers").join(id.to_string()).join("layers/1/root/setuid");
        assert_eq!(std::fs::metadata(&setuid).unwrap().permissions().mode() & 0o7777, 0o4755);
        let as_nobody = |program: &str, path: &str| Command::new(program).arg(path).uid(65_534).gid(65_534).output().unwrap().status.success();
        assert!(as_nobody("ls", "/"), "what everybody may, it may");
        for path in [
            setuid.display().to_string(),
            state.join("containers").display().to_string(),
            format!("/proc/{pid}/root/root/setuid"),
            format!("/proc/{pid}/cwd/"),
        ] {
            assert!(!as_nobody("ls", &path), "{path}");
        }
        assert!(Command::new(&setuid).arg("true").uid(65_534).gid(65_534).output().is_err(), "it runs");
    });
}
