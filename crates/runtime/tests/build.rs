//! The builder against mirrors on the loopback device: what it may reach, how it ends, what is left. Fails without root,
//! nft and mmdebstrap.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use model::engine::BuildRequest;
use runtime::error::Error;
use runtime::rootfs::Folders;

const PATIENCE: Duration = Duration::from_secs(60);
/// Names of tables and ids of builds (src/build/ids.rs).
const TABLE: &str = "berth_build_";
const IDS: std::ops::Range<u32> = 1_879_113_728..1_880_162_304;

fn main() {
    runtime::run_helper_if_asked();
    let mut tests: Vec<(&str, fn())> = vec![
        ("a_mirror_that_lies_is_told_in_the_log", a_mirror_that_lies_is_told_in_the_log),
        ("cancelling_ends_everything_at_once", cancelling_ends_everything_at_once),
        ("a_redirect_to_somebody_else_leads_nowhere", a_redirect_to_somebody_else_leads_nowhere),
        ("two_builds_reach_a_mirror_each", two_builds_reach_a_mirror_each),
        ("arguments_are_names", arguments_are_names),
        ("abstract_sockets_of_the_host_are_out_of_reach", abstract_sockets_of_the_host_are_out_of_reach),
    ];
    // A whole archive of packages on the loopback device, signed by a key that apt knows here.
    if std::env::var_os("BERTH_TEST_MIRROR").is_some() {
        tests.push(("a_suite_is_built_whole", a_suite_is_built_whole));
    }
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            assert!(rustix::process::geteuid().is_root(), "the builder's namespaces need root");
            test();
            Ok(())
        })
    });
    let mut arguments = Arguments::from_args();
    // Each looks for what a build leaves on the machine.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

struct World {
    folder: tempfile::TempDir,
    folders: Folders,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::make(&folder.path().join("state")).unwrap();
        Self { folder, folders }
    }

    /// Starts a build; its log can be read at the other end.
    fn build(&self, request: BuildRequest) -> (JoinHandle<Result<(), Error>>, PipeReader) {
        let (reader, writer) = std::io::pipe().unwrap();
        let output = std::fs::File::create(self.folder.path().join("output.tar")).unwrap();
        let folders = Folders::make(&self.folders.state).unwrap();
        let build = move || runtime::build::build(&folders, &request, output.into(), writer.into());
        (std::thread::spawn(build), reader)
    }

    fn assert_clean(&self) {
        assert_eq!(std::fs::read_dir(self.folders.state.join("staging")).unwrap().count(), 0);
        let tables = Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
        let tables = String::from_utf8(tables).unwrap();
        assert!(!tables.contains(TABLE), "{tables}");
        assert_eq!(processes(), Vec::<String>::new());
    }
}

/// What runs with ids of builds.
fn processes() -> Vec<String> {
    let statuses = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let status = std::fs::read_to_string(entry.ok()?.path().join("status")).ok()?;
        let uid: u32 = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))?
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        IDS.contains(&uid).then(|| status.lines().next().unwrap_or_default().to_owned())
    });
    statuses.collect()
}

fn request(port: u16) -> BuildRequest {
    BuildRequest {
        suite: "bookworm".into(),
        arch: "amd64".into(),
        mirror: format!("http://127.0.0.1:{port}/debian"),
        allow: vec![("127.0.0.1".parse().unwrap(), port)],
        include: vec!["dbus".into()],
        distribution: "debian".into(),
    }
}

/// A server that tells of each request and answers all in the same way; `None` = never.
fn mirror(answer: Option<String>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut unanswered: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            match &answer {
                // A client that has gone by now misses nothing.
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                None => unanswered.push(stream),
            }
            if sender.send(first).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

fn all(mut log: PipeReader) -> String {
    let mut text = Vec::new();
    log.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn not_found() -> Option<String> {
    Some("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into())
}

fn abstract_sockets_of_the_host_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    let address = |name: &str| SocketAddr::from_abstract_name(format!("berth-{name}-{}", std::process::id())).unwrap();
    let listener = UnixListener::bind_addr(&address("host")).unwrap();
    let inside = std::thread::spawn(move || {
        UnixStream::connect_addr(&address("host")).unwrap();
        if !runtime::sys::scope_abstract_sockets().unwrap() {
            eprintln!("this kernel has no scopes");
            return;
        }
        let refused = UnixStream::connect_addr(&address("host")).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        // What the packages' scripts do among themselves, and mmdebstrap's mounts, still work.
        let own = UnixListener::bind_addr(&address("own")).unwrap();
        UnixStream::connect_addr(&address("own")).unwrap();
        drop(own);
        runtime::sys::unshare(libc::CLONE_NEWNS).unwrap();
        let (kind, place) = (
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
            tempfile::tempdir().unwrap(),
        );
        rustix::mount::mount_change("/", kind).unwrap();
        rustix::mount::mount("tmpfs", place.path(), "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        rustix::mount::unmount(place.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    });
    inside.join().unwrap();
    drop(listener);
}

fn a_mirror_that_lies_is_told_in_the_log() {
    let world = World::new();
    let (port, requests) = mirror(not_found());
    let (build, log) = world.build(request(port));
    let log = all(log);
    let error = build.join().unwrap().unwrap_err();
    assert!(error.message.contains("the log says why"), "{error}");
    assert!(log.contains("404"), "{log}");
    assert!(requests.recv_timeout(PATIENCE).unwrap().contains("/debian/dists/bookworm/InRelease"), "{log}");
    world.assert_clean();
}

fn cancelling_ends_everything_at_once() {
    let world = World::new();
    let (port, requests) = mirror(None);
    let (build, log) = world.build(request(port));
    requests.recv_timeout(PATIENCE).unwrap();
    assert!(!processes().is_empty(), "apt waits for the mirror");
    drop(log);
    let error = build.join().unwrap().unwrap_err();
    assert!(error.message.contains("cancelled"), "{error}");
    world.assert_clean();
}

fn a_redirect_to_somebody_else_leads_nowhere() {
    let world = World::new();
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/debian/InRelease", canary.local_addr().unwrap());
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (port, requests) = mirror(Some(answer));
    let (build, log) = world.build(request(port));
    let log = all(log);
    build.join().unwrap().unwrap_err();
    requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(canary.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{log}");
    world.assert_clean();
}

fn two_builds_reach_a_mirror_each() {
    let worlds = [World::new(), World::new()];
    let (ports, requests): (Vec<_>, Vec<_>) = worlds.iter().map(|_| mirror(None)).unzip();
    let builds: Vec<_> = worlds.iter().zip(ports).map(|(world, port)| world.build(request(port))).collect();
    for requests in &requests {
        requests.recv_timeout(PATIENCE).unwrap();
    }
    for (build, log) in builds {
        drop(log);
        assert!(build.join().unwrap().is_err());
    }
    worlds.iter().for_each(World::assert_clean);
}

fn arguments_are_names() {
    let world = World::new();
    let bad = BuildRequest {
        mirror: "/etc/apt/sources.list".into(),
        ..request(1)
    };
    let (build, log) = world.build(bad);
    assert_eq!(all(log), "");
    assert!(build.join().unwrap().unwrap_err().message.contains("sources.list"));
    world.assert_clean();
}

fn a_suite_is_built_whole() {
    let world = World::new();
    std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let port = std::env::var("BERTH_TEST_MIRROR").unwrap().parse().unwrap();
    let (build, log) = world.build(BuildRequest {
        include: ["systemd-sysv", "dbus", "iproute2"].map(str::to_owned).to_vec(),
        ..request(port)
    });
    let log = all(log);
    build.join().unwrap().unwrap_or_else(|error| panic!("{error}\n{log}"));
    let root = world.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let tar = world.folder.path().join("output.tar");
    let status = Command::new("tar")
        .args(["--extract", "--numeric-owner", "--file"])
        .arg(tar)
        .arg("--directory")
        .arg(&root)
        .status();
    assert!(status.unwrap().success());
    assert_eq!(std::fs::read_to_string(root.join("etc/machine-id")).unwrap(), "uninitialized\n");
    assert_eq!(std::fs::read_to_string(root.join("etc/resolv.conf")).unwrap_or_default(), "");
    assert!(std::fs::read_to_string(root.join("etc/apt/sources.list")).unwrap().contains(&port.to_string()));
    assert!(root.join("sbin/init").symlink_metadata().is_ok() && root.join("etc/systemd/network/eth0.network").exists());
    assert!(!root.join("etc/hostname").exists());
    world.assert_clean();
}
