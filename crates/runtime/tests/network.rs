//! The network of a bridge on a real kernel: every test in network namespaces of its own, one as the host and one per guest,
//! so that no packet leaves them. Takes root; without it each test says that it was skipped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use model::engine::{NetworkNic, NetworkPlan};
use model::network::{Protocol, Publish};
use runtime::cgroup::{Layout, layout};
use runtime::net::{apply, bridge, docker, firewall, listeners, subnet, veth};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

const DEADLINE: Duration = Duration::from_secs(20);
const CLOSED: u16 = 8443;
const PUBLISHED: u16 = 8088;

/// A host of its own: a network namespace for this thread, a run directory, an instance, a bridge.
struct Host {
    folder: tempfile::TempDir,
    instance: String,
    layout: Layout,
    plan: NetworkPlan,
    firewall: Mutex<Option<firewall::Tables>>,
}

impl Host {
    /// `None` without root. `mode` is that of the run directory: whether dnsmasq's user may enter.
    fn new(mode: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces take root");
            return None;
        }
        runtime::sys::unshare(libc::CLONE_NEWNET).expect("a network namespace");
        veth::loopback_up().expect("loopback");
        let folder = tempfile::Builder::new().prefix("berth-test-").tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).expect("its mode");
        // The folder's name ends in six random letters and digits.
        let name = folder.path().file_name().and_then(|name| name.to_str()).expect("a name");
        let id = name.rsplit('-').next().expect("the random part").to_owned();
        let plan = NetworkPlan {
            bridge: format!("bt-{}", id),
            ipv4: "10.213.4.1/22".parse().expect("well formed"),
            ipv6: "fd01:2:3::1/64".parse().expect("well formed"),
            closed_ports: vec![CLOSED],
            apart: Vec::new(),
            nics: vec![nic("web", 5), nic("db", 6)],
            domain: "berth".into(),
        };
        let host = Self {
            folder,
            instance: format!("test-{}", id),
            layout: Layout::detect().expect("cgroups"),
            plan,
            firewall: Mutex::default(),
        };
        Some(host)
    }

    fn run_dir(&self) -> &Path {
        self.folder.path()
    }

    fn apply(&self) {
        let mut firewall = self.firewall.lock().expect("no test has panicked");
        apply::apply(self.run_dir(), Some(&self.instance), &self.layout, &self.plan, &mut firewall).expect("the network is made");
    }

    fn remove(&self) {
        apply::remove(self.run_dir(), Some(&self.instance), &self.layout, &self.plan.bridge).expect("the network is removed");
    }

    fn guest(&self, index: usize) -> Guest {
        Guest::new(&self.plan.bridge, &self.plan.nics[index])
    }

    fn groups(&self) -> Vec<PathBuf> {
        self.layout
            .all()
            .map(|hierarchy| hierarchy.root.join(layout::instance_directory(Some(&self.instance))))
            .collect()
    }

    /// The pid of the record.
    fn dnsmasq(&self) -> u32 {
        let record = std::fs::read(self.run_dir().join("dnsmasq").join(&self.plan.bridge).join("process.json")).expect("a record");
        let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        u32::try_from(record["pid"].as_u64().expect("a pid")).expect("a pid")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Also after a failed test: dnsmasq would outlive it.
        let removed = apply::remove(self.run_dir(), Some(&self.instance), &self.layout, &self.plan.bridge);
        for group in self.groups() {
            drop(std::fs::remove_dir(group));
        }
        if let Err(error) = removed {
            eprintln!("left behind: {error}");
        }
    }
}

fn nic(name: &str, last: u8) -> NetworkNic {
    let mac = format!("02:00:5e:10:00:{last:02x}");
    NetworkNic {
        container: name.parse().expect("well formed"),
        host_name: format!("bt{name}{last}"),
        ipv4: Some(Ipv4Addr::new(10, 213, 4, last)),
        ipv6: Some(subnet::slaac(
            "fd01:2:3::".parse().expect("well formed"),
            subnet::mac_bytes(&mac).expect("well formed"),
        )),
        mac,
        publish: if last == 6 {
            vec![format!("{PUBLISHED}:80").parse().expect("well formed")]
        } else {
            Vec::new()
        },
        firewall: Vec::new(),
    }
}

/// A guest: a network namespace held by a program that ends with its standard input.
struct Guest {
    holder: Child,
    nic: NetworkNic,
}

impl Guest {
    fn new(bridge: &str, nic: &NetworkNic) -> Self {
        let script = "ip link set lo up; echo ready; exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("it answers");
        let guest = Self { holder, nic: nic.clone() };
        let namespace = std::fs::File::open(guest.namespace()).expect("its namespace");
        let link = veth::Nic {
            name: "eth0".into(),
            host_name: nic.host_name.clone(),
            bridge: bridge.to_owned(),
            mac: subnet::mac_bytes(&nic.mac).expect("a MAC"),
            ..veth::Nic::default()
        };
        veth::connect(&link, namespace.as_fd()).expect("the link");
        guest
    }

    /// With its addresses set as the shim would.
    fn addressed(self) -> Self {
        let (v4, v6) = (self.nic.ipv4.expect("IPv4"), self.nic.ipv6.expect("IPv6"));
        // Its RAs would add the same address again.
        self.sh(&format!(
            "ip link set eth0 up && ip addr add {v4}/22 dev eth0 && ip addr add {v6}/64 dev eth0 nodad && ip route add default via 10.213.4.1"
        ));
        self
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program);
        command
    }

    fn try_sh(&self, script: &str) -> Output {
        self.command("sh").args(["-c", script]).output().expect("nsenter")
    }

    fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(
            output.status.success(),
            "{script}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn hears(&self, target: IpAddr, from: Option<IpAddr>) -> bool {
        let from = from.map(|from| format!("-I {from}")).unwrap_or_default();
        let program = if target.is_ipv4() { "ping" } else { "ping6" };
        self.try_sh(&format!("busybox {program} -c 1 -W 1 {from} {target}")).status.success()
    }

    /// The first packets may be lost while links come up.
    fn reaches(&self, target: impl Into<IpAddr>) {
        let target = target.into();
        eventually(&format!("{} reaches {target}", self.nic.container), || self.hears(target, None));
    }

    fn misses(&self, target: impl Into<IpAddr>, from: Option<IpAddr>, why: &str) {
        assert!(!self.hears(target.into(), from), "{why}");
    }

    fn connects(&self, target: impl Into<IpAddr>, port: u16) -> bool {
        self.try_sh(&format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{}/{port}'", target.into()))
            .status
            .success()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
        drop(veth::remove(&self.nic.host_name));
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program that ends with the test, failed or not.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Repeats something that waits by itself until it holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
    }
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 213, 4, 1);

#[test]
fn guests_get_their_addresses_and_find_each_other_by_name() {
    let Some(host) = Host::new(0o755) else { return };
    host.apply();
    let guest = host.guest(0);
    let mut monitor = Running(
        guest
            .command("timeout")
            .args(["20", "ip", "-6", "monitor", "address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip monitor"),
    );
    let script = host.run_dir().join("lease");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ \"$1\" = bound ] && echo \"$ip/$mask $router $dns $domain\" && ip addr add $ip/$mask dev eth0\nexit 0\n",
    )
    .expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let lease = guest.sh(&format!(
        "ip link set eth0 up && busybox udhcpc -i eth0 -f -n -q -t 10 -T 1 -s {} -x hostname:db",
        script.display()
    ));
    assert!(lease.contains("10.213.4.5/22 10.213.4.1 10.213.4.1 berth"), "{lease}");
    let stranger = host.plan.nics[1].ipv4.expect("an address").to_string();
    for name in ["db", "db.berth"] {
        // The claim of the guest to be called db changes nothing.
        let answer = guest.sh(&format!("busybox nslookup -type=a {name} {GATEWAY}"));
        assert!(answer.contains(&stranger) && !answer.contains("10.213.4.5"), "{answer}");
    }
    let answer = output("busybox", &["nslookup", "-type=a", "db.berth", &GATEWAY.to_string()]);
    assert!(answer.contains(&stranger), "the host may ask too: {answer}");
    let wanted = guest.nic.ipv6.expect("an address").to_string();
    let mut lines = BufReader::new(monitor.0.stdout.take().expect("its output")).lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains(&wanted)),
        "no router advertisement gave {wanted}: {}",
        guest.sh("ip -6 addr")
    );
}

#[test]
fn a_console_that_comes_back_finds_its_dnsmasq() {
    // A run directory that is root's alone: names go by the configuration, and dnsmasq is started anew.
    for mode in [0o755, 0o700] {
        let Some(mut host) = Host::new(mode) else { return };
        host.apply();
        let first = host.dnsmasq();
        host.apply();
        assert_eq!(host.dnsmasq(), first);
        let user = std::fs::read_to_string(format!("/proc/{first}/status")).expect("it runs");
        let has = |line: &str| user.lines().any(|other| other == line);
        assert!(
            !user.contains("\nUid:\t0") && has("NoNewPrivs:\t1") && has("CapBnd:\t00000000000034c1"),
            "{user}"
        );
        let group = std::fs::read_to_string(format!("/proc/{first}/cgroup")).expect("it runs");
        assert!(group.contains(&format!("/berth.{}/dnsmasq.{}", host.instance, host.plan.bridge)), "{group}");
        host.plan.nics.push(nic("late", 7));
        host.apply();
        assert_eq!(host.dnsmasq() == first, mode == 0o755);
        let guest = host.guest(0).addressed();
        eventually("the new name is answered", || {
            guest
                .try_sh(&format!("busybox nslookup -type=a late.berth {GATEWAY}"))
                .stdout
                .windows(10)
                .any(|part| part == b"10.213.4.7")
        });
        let second = host.dnsmasq();
        let pid = Pid::from_raw(i32::try_from(second).expect("a pid")).expect("a pid");
        // Its pidfd tells the end; /proc shows no executable a moment before.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        pidfd_send_signal(&pidfd, Signal::KILL).expect("it is ours");
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).expect("it ends");
        host.apply();
        assert_ne!(host.dnsmasq(), second);
    }
}

#[test]
fn whoever_speaks_for_others_is_not_heard() {
    for calls_ip_hooks in ["0", "1"] {
        let Some(host) = Host::new(0o755) else { return };
        drop(std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", calls_ip_hooks));
        host.apply();
        let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
        let (v4, v6) = (db.nic.ipv4.expect("IPv4"), db.nic.ipv6.expect("IPv6"));
        web.reaches(v4);
        web.reaches(v6);
        web.reaches(GATEWAY);
        web.sh("ip addr add 10.213.4.9/22 dev eth0 && ip addr add fd01:2:3::9/64 dev eth0 nodad");
        web.misses(v4, Some("10.213.4.9".parse().expect("well formed")), "another address");
        web.misses(v6, Some("fd01:2:3::9".parse().expect("well formed")), "another IPv6 address");
        // It is the filter that drops them, not a mistake of this test.
        firewall::remove(&host.plan.bridge).expect("the filter goes");
        for (target, from) in [(IpAddr::from(v4), "10.213.4.9"), (v6.into(), "fd01:2:3::9")] {
            eventually("without the filter a false source is heard", || {
                web.hears(target, Some(from.parse().expect("well formed")))
            });
        }
        host.apply();
        // Who has db's address? Web says so to all: nobody believes it.
        web.sh(&format!("busybox arping -U -c 2 -w 2 -I eth0 -s {v4} {GATEWAY}; ip addr add {v4}/32 dev eth0"));
        web.misses(GATEWAY, Some(v4.into()), "a neighbour's address");
        let neighbours = output("ip", &["neigh", "show", &v4.to_string()]);
        assert!(!neighbours.contains(&web.nic.mac), "{neighbours}");
        web.sh("ip link set eth0 down && ip link set eth0 address 02:00:5e:10:00:99 && ip link set eth0 up");
        web.misses(GATEWAY, None, "another MAC");
        drop(host);
    }
}

#[test]
fn the_console_is_out_of_reach_and_published_ports_are_not() {
    let Some(host) = Host::new(0o755) else { return };
    host.apply();
    bridge::ensure("uplink0", &[(IpAddr::from([192, 0, 2, 1]), 24)]).expect("another address of the host");
    let console = TcpListener::bind(("0.0.0.0", CLOSED)).expect("the console");
    let other = TcpListener::bind(("0.0.0.0", 8444)).expect("another program");
    let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
    for address in [GATEWAY, Ipv4Addr::new(192, 0, 2, 1)] {
        assert!(web.connects(address, 8444), "{address}: other ports are the host's own business");
        assert!(!web.connects(address, CLOSED), "{address}: the console's port is closed");
    }
    assert!(!web.connects(Ipv4Addr::LOCALHOST, CLOSED));
    drop((console, other));
    let console = TcpListener::bind(("::", CLOSED)).expect("the console over IPv6");
    let other = TcpListener::bind(("::", 8444)).expect("another program over IPv6");
    bridge::ensure("uplink0", &[("fd01:99::1".parse().expect("well formed"), 64)]).expect("another IPv6 address of the host");
    web.sh("ip -6 route replace default via fd01:2:3::1");
    for address in ["fd01:2:3::1", "fd01:99::1"] {
        let address: IpAddr = address.parse().expect("well formed");
        eventually(&format!("{address}: other ports are the host's own business"), || web.connects(address, 8444));
        assert!(!web.connects(address, CLOSED), "{address}: the console's port is closed");
    }
    drop((console, other));
    let server = db
        .command("busybox")
        .args(["nc", "-ll", "-p", "80", "-e", "echo", "hello"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let server = Running(server.expect("a server"));
    for address in [Ipv4Addr::LOCALHOST, GATEWAY, Ipv4Addr::new(192, 0, 2, 1)] {
        let mut heard = String::new();
        eventually("the published port answers", || {
            let Ok(mut stream) = TcpStream::connect((address, PUBLISHED)) else {
                return false;
            };
            drop(stream.set_read_timeout(Some(Duration::from_secs(5))));
            stream.read_to_string(&mut heard).is_ok() && heard.contains("hello")
        });
    }
    let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    for calls_ip_hooks in ["1", "0"] {
        drop(std::fs::write(switch, calls_ip_hooks));
        assert!(web.connects(GATEWAY, PUBLISHED), "a guest reaches it by the host's address ({calls_ip_hooks})");
    }
    // With the switch on, the translated frame would have to leave by the port that it came from.
    assert!(db.connects(GATEWAY, PUBLISHED), "a guest reaches itself by the host's address");
    drop(server);
}

#[test]
fn bridges_are_apart_but_for_published_ports() {
    for calls_ip_hooks in ["1", "0"] {
        let Some(mut host) = Host::new(0o755) else { return };
        drop(std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", calls_ip_hooks));
        let mut lan = host.plan.clone();
        lan.bridge = host.plan.bridge.replace("bt-", "bl-");
        lan.ipv4 = "10.213.8.1/22".parse().expect("well formed");
        lan.ipv6 = "fd01:2:4::1/64".parse().expect("well formed");
        lan.nics = vec![nic("inner", 9)];
        (lan.nics[0].ipv4, lan.nics[0].ipv6) = (Some(Ipv4Addr::new(10, 213, 8, 9)), Some("fd01:2:4::9".parse().expect("well formed")));
        lan.nics[0].publish = vec!["8099:80".parse().expect("well formed")];
        host.apply();
        let apply_lan =
            |host: &Host, lan: &NetworkPlan| apply::apply(host.run_dir(), Some(&host.instance), &host.layout, lan, &mut None).expect("another network");
        apply_lan(&host, &lan);
        let inner = Guest::new(&lan.bridge, &lan.nics[0]);
        inner.sh("ip link set lo up && ip link set eth0 up && ip addr add 10.213.8.9/22 dev eth0 && ip addr add fd01:2:4::9/64 dev eth0 nodad && ip route add default via 10.213.8.1 && ip -6 route replace default via fd01:2:4::1");
        let web = host.guest(0).addressed();
        web.sh("ip -6 route replace default via fd01:2:3::1");
        // Without the rule one host forwards between its links.
        web.reaches(lan.nics[0].ipv4.expect("an address"));
        web.reaches(lan.nics[0].ipv6.expect("an address"));
        inner.reaches(web.nic.ipv6.expect("an address"));
        let (ear, mouth) = (datagrams(&web, 7077), datagrams(&inner, 7078));
        let is_heard = || mouth.send_to(b"x", (web.nic.ipv4.expect("an address"), 7077)).is_ok() && ear.recv(&mut [0; 8]).is_ok();
        eventually("a datagram without an answer arrives", is_heard);
        host.plan.apart = vec![lan.bridge.clone()];
        host.apply();
        assert!(!is_heard(), "nothing comes from a bridge that knows nothing of this one");
        // The rules of one bridge are enough: the other's may not have been made.
        for other_knows in [false, true] {
            if other_knows {
                lan.apart = vec![host.plan.bridge.clone()];
                apply_lan(&host, &lan);
            }
            for (guest, other) in [(&web, &inner), (&inner, &web)] {
                guest.misses(other.nic.ipv4.expect("an address"), None, "the bridges are apart");
                guest.misses(other.nic.ipv6.expect("an address"), None, "the bridges are apart over IPv6");
                assert!(!guest.connects(other.nic.ipv4.expect("an address"), 80));
            }
        }
        let server = inner.command("busybox").args(["nc", "-ll", "-p", "80", "-e", "true"]).spawn();
        let server = Running(server.expect("a server"));
        eventually("a port that is published is so for everybody", || web.connects(GATEWAY, 8099));
        drop((server, inner, web));
        apply::remove(host.run_dir(), Some(&host.instance), &host.layout, &lan.bridge).expect("it goes");
        assert!(bridge::exists(&host.plan.bridge) && !bridge::exists(&lan.bridge));
    }
}

/// Whether a connection to a port comes about within a moment.
fn dials(guest: &Guest, target: impl Into<IpAddr>, port: u16) -> bool {
    let address = std::net::SocketAddr::new(target.into(), port);
    inside(guest, || TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

/// A socket for datagrams in a guest that waits a moment for an answer.
fn datagrams(guest: &Guest, port: u16) -> UdpSocket {
    let socket = inside(guest, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a socket"));
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a deadline");
    socket
}

#[test]
fn a_container_is_kept_to_its_rules() {
    for calls_ip_hooks in ["1", "0"] {
        let Some(mut host) = Host::new(0o755) else { return };
        drop(std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", calls_ip_hooks));
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("well formed")).collect::<Vec<_>>();
        host.plan.nics[1].publish.push("8081:81".parse().expect("well formed"));
        host.apply();
        bridge::ensure("uplink0", &[(IpAddr::from([192, 0, 2, 1]), 24)]).expect("another address of the host");
        let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
        let (v4, v6) = (db.nic.ipv4.expect("IPv4"), db.nic.ipv6.expect("IPv6"));
        let listen = |guest: &Guest, port: u16| inside(guest, || TcpListener::bind(("::", port)).expect("a server"));
        let servers = [listen(&db, 80), listen(&db, 81), listen(&web, 90)];
        let web_address = web.nic.ipv4.expect("IPv4");
        web.reaches(v6);
        for port in [80, 81] {
            assert!(dials(&web, v4, port) && dials(&web, v6, port), "without rules everything passes");
        }
        let long = inside(&web, || TcpStream::connect((v4, 81)).expect("a connection"));

        host.plan.nics[1].firewall = rules(&["allow in tcp 80-80 from 10.213.4.5", "deny in tcp"]);
        host.apply();
        assert!(dials(&web, v4, 80), "{calls_ip_hooks}: allowed by its address");
        assert!(!dials(&web, v6, 80), "{calls_ip_hooks}: not by the other family");
        assert!(!dials(&web, v4, 81), "{calls_ip_hooks}: denied from a neighbour");
        assert!(
            TcpStream::connect_timeout(&(v4, 81).into(), Duration::from_secs(2)).is_err(),
            "denied from the host"
        );
        assert!(
            !dials(&web, Ipv4Addr::new(192, 0, 2, 1), 8081),
            "{calls_ip_hooks}: denied by the published port"
        );
        assert!(dials(&db, web_address, 90), "{calls_ip_hooks}: what it begins is answered");
        web.reaches(v4);
        // Neighbours are asked for anew.
        for guest in [&web, &db] {
            guest.sh("ip -6 neigh flush dev eth0");
        }
        web.reaches(v6);
        assert!((&long).write_all(b"x").is_ok(), "what is connected stays so");

        host.plan.nics[1].firewall = rules(&["deny in", "allow out udp 5353 to 10.213.4.0/22", "deny out"]);
        host.apply();
        web.misses(v4, None, "nothing comes in");
        web.misses(v6, None, "nothing comes in over IPv6");
        db.misses(web_address, None, "nothing goes out");
        assert!(!dials(&db, web_address, 90), "{calls_ip_hooks}: nothing goes out");
        let (server, client) = (datagrams(&web, 5353), datagrams(&db, 0));
        client.send_to(b"q", (web_address, 5353)).expect("it is sent");
        let (_, from) = server.recv_from(&mut [0; 8]).expect("a datagram that is allowed");
        server.send_to(b"a", from).expect("it is sent");
        assert!(client.recv_from(&mut [0; 8]).is_ok(), "{calls_ip_hooks}: its answer comes in");
        let stranger = datagrams(&db, 5300);
        server.send_to(b"a", (v4, 5300)).expect("it is sent");
        assert!(stranger.recv_from(&mut [0; 8]).is_err(), "{calls_ip_hooks}: no other datagram does");
        let answer = db.sh(&format!("busybox nslookup -type=a web.berth {GATEWAY}"));
        assert!(answer.contains(&web_address.to_string()), "names are answered: {answer}");

        host.plan.nics[1].firewall = Vec::new();
        host.apply();
        assert!(dials(&web, v4, 81) && dials(&db, web_address, 90));
        let tables = output("nft", &["list", "ruleset"]);
        assert!(!tables.contains("udp4_") && !tables.contains("in_bt"), "{tables}");
        drop(servers);
    }
}

#[test]
fn a_range_is_published_in_both_families() {
    let Some(mut host) = Host::new(0o755) else { return };
    host.plan.nics[1].publish = vec![
        "8000-8002:9000-9002".parse().expect("well formed"),
        "5300-5301:5400-5401/udp".parse().expect("well formed"),
    ];
    host.apply();
    bridge::ensure(
        "uplink0",
        &[(IpAddr::from([192, 0, 2, 1]), 24), ("fd01:99::1".parse().expect("well formed"), 64)],
    )
    .expect("other addresses of the host");
    let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
    web.sh("ip -6 route replace default via fd01:2:3::1");
    let ports = [9000, 9001, 9002].map(|port| {
        let server = db
            .command("busybox")
            .args(["nc", "-ll", "-p", &port.to_string(), "-e", "echo", &port.to_string()])
            .spawn();
        Running(server.expect("a server"))
    });
    let uplinks: [IpAddr; 2] = ["192.0.2.1", "fd01:99::1"].map(|address| address.parse().expect("well formed"));
    for address in uplinks {
        for port in 0..3 {
            let wanted = (9000 + port).to_string();
            eventually(&format!("{address}: port {} leads to {wanted}", 8000 + port), || {
                let script = format!("exec 3<>/dev/tcp/{address}/{}; head -n 1 <&3", 8000 + port);
                let said = web.command("timeout").args(["2", "bash", "-c", &script]).output().expect("bash").stdout;
                String::from_utf8_lossy(&said).trim() == wanted
            });
        }
        assert!(!web.connects(address, 8003), "the range ends");
        let unspecified: IpAddr = if address.is_ipv4() { "0.0.0.0" } else { "::" }.parse().expect("well formed");
        let ears = inside(&db, || UdpSocket::bind((unspecified, 5401)).expect("a socket"));
        ears.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mouth = inside(&web, || UdpSocket::bind((unspecified, 0)).expect("a socket"));
        mouth.send_to(b"x", (address, 5301)).expect("it is sent");
        assert_eq!(ears.recv_from(&mut [0; 8]).expect("a datagram leads to the container").0, 1);
    }
    drop(ports);
}

#[test]
fn a_published_port_53_leaves_the_bridge_its_names() {
    let Some(mut host) = Host::new(0o755) else { return };
    host.plan.nics[1].publish = vec!["53:53".parse().expect("well formed"), "53:53/udp".parse().expect("well formed")];
    host.apply();
    bridge::ensure("uplink0", &[(IpAddr::from([192, 0, 2, 1]), 24)]).expect("another address of the host");
    let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
    let wanted = db.nic.ipv4.expect("an address").to_string();
    for server in [IpAddr::from(GATEWAY), host.plan.ipv6.addr] {
        eventually(&format!("{server} answers"), || {
            let answer = web.try_sh(&format!("busybox nslookup -type=a db {server}")).stdout;
            String::from_utf8_lossy(&answer).contains(&wanted)
        });
        // Over TCP it is the bridge's own server that listens, not the guest.
        assert!(web.connects(server, 53), "{server}");
    }
    assert!(!web.connects(Ipv4Addr::new(192, 0, 2, 1), 53), "no server runs in the guest");
    let server = db.command("busybox").args(["nc", "-ll", "-p", "53", "-e", "true"]).spawn();
    let server = Running(server.expect("a server"));
    eventually("other addresses of the host lead to the guest", || {
        web.connects(Ipv4Addr::new(192, 0, 2, 1), 53)
    });
    drop(server);
}

#[test]
fn what_listens_on_the_host_is_seen_while_it_does() {
    let Some(host) = Host::new(0o755) else { return };
    let ports: [Publish; 2] = [format!("{PUBLISHED}:80"), format!("{PUBLISHED}:80/udp")].map(|port| port.parse().expect("well formed"));
    let seen = || {
        let listeners = listeners::on(&ports).expect("the host's sockets");
        listeners.into_iter().map(|listener| (listener.address, listener.protocol)).collect::<Vec<_>>()
    };
    assert_eq!(seen(), []);
    for address in ["0.0.0.0", "127.0.0.1", "::"] {
        let address: IpAddr = address.parse().expect("well formed");
        let tcp = TcpListener::bind((address, PUBLISHED)).expect("a service");
        let udp = UdpSocket::bind((address, PUBLISHED)).expect("a service");
        assert_eq!(seen(), [(address, Protocol::Tcp), (address, Protocol::Udp)]);
        drop((tcp, udp));
        assert_eq!(seen(), []);
    }
    drop(host);
}

#[test]
fn beside_docker_traffic_goes_out_and_everything_is_put_back() {
    let Some(host) = Host::new(0o755) else { return };
    assert!(!docker::is_here());
    for rule in ["-N DOCKER-USER", "-P FORWARD DROP", "-A FORWARD -j DOCKER-USER"] {
        let words: Vec<&str> = ["-w"].into_iter().chain(rule.split(' ')).collect();
        assert!(Command::new("iptables").args(words).status().is_ok_and(|status| status.success()), "{rule}");
    }
    assert!(docker::is_here());
    let rules = output("iptables", &["-w", "-S"]);
    let links = output("ip", &["-br", "link"]);
    host.apply();
    host.apply();
    assert_eq!(
        output("iptables", &["-w", "-S", "DOCKER-USER"])
            .matches(&format!("berth:{}", host.plan.bridge))
            .count(),
        2
    );
    // What is behind the uplink knows no way to the containers' network: it answers only to the host's own address.
    bridge::ensure("uplink0", &[(IpAddr::from([192, 0, 2, 1]), 24)]).expect("an uplink");
    let outside = Guest::new(
        "uplink0",
        &NetworkNic {
            host_name: "btup".into(),
            ..nic("outside", 99)
        },
    );
    outside.sh("ip link set eth0 up && ip addr add 192.0.2.2/24 dev eth0");
    let web = host.guest(0).addressed();
    web.reaches(Ipv4Addr::new(192, 0, 2, 2));
    docker::remove(&host.plan.bridge).expect("the rules go");
    web.misses(Ipv4Addr::new(192, 0, 2, 2), None, "without the rules Docker's policy holds");
    drop((web, outside));
    bridge::remove("uplink0").expect("it goes");
    let dnsmasq = host.dnsmasq();
    host.remove();
    host.remove();
    assert_eq!(output("iptables", &["-w", "-S"]), rules);
    assert_eq!(output("ip", &["-br", "link"]), links);
    assert_eq!(firewall::tables().expect("nft"), Vec::<String>::new());
    assert!(!output("nft", &["list", "ruleset"]).contains("berth"));
    assert!(!Path::new(&format!("/proc/{dnsmasq}/exe")).exists());
    assert_eq!(std::fs::read_dir(host.run_dir()).expect("it is there").count(), 0);
    for group in host.groups() {
        assert!(!group.join(format!("dnsmasq.{}", host.plan.bridge)).exists());
    }
}

/// Makes something in a guest's namespace; the thread that makes it ends there.
fn inside<T: Send>(guest: &Guest, make: impl FnOnce() -> T + Send) -> T {
    let pid = rustix::process::Pid::from_raw(i32::try_from(guest.holder.id()).expect("a pid")).expect("a pid");
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it lives");
    let making = || {
        runtime::sys::join_namespaces(pidfd.as_fd(), libc::CLONE_NEWNET).expect("its namespace");
        make()
    };
    std::thread::scope(|scope| scope.spawn(making).join().expect("the thread ends"))
}

/// An ICMPv6 socket in a guest's namespace.
fn icmp(guest: &Guest) -> (std::os::fd::OwnedFd, u32) {
    inside(guest, || {
        let index = runtime::net::link::Socket::open().and_then(|socket| socket.index("eth0")).expect("its link");
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET6,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::ICMPV6),
        );
        (socket.expect("a socket"), index)
    })
}

/// What the victim hears of a router advertisement, a redirect and a neighbour advertisement for the router, which are sent
/// before an echo request: the types, up to it.
fn forged(speaker: &Guest, victim: &Guest, id: u8) -> Vec<u8> {
    let (ears, _) = icmp(victim);
    rustix::net::sockopt::set_socket_timeout(&ears, rustix::net::sockopt::Timeout::Recv, Some(DEADLINE)).expect("a deadline");
    let (mouth, link) = icmp(speaker);
    let router: std::net::Ipv6Addr = "fd01:2:3::1".parse().expect("well formed");
    let say = |kind: u8, to: std::net::Ipv6Addr, rest: &[u8]| {
        let packet = [&[kind, 0, 0, 0], rest].concat();
        let to = std::net::SocketAddrV6::new(to, 0, 0, link);
        rustix::net::sendto(&mouth, &packet, rustix::net::SendFlags::empty(), &to).expect("it is sent");
    };
    let all = "ff02::1".parse().expect("well formed");
    let target = router.octets();
    say(134, all, &[64, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    say(137, victim.nic.ipv6.expect("an address"), &[[0; 4].as_slice(), &target, &target].concat());
    say(136, all, &[[0x20, 0, 0, 0].as_slice(), &target, &[2, 1, 2, 0, 0x5E, 0x10, 0, 5]].concat());
    say(128, victim.nic.ipv6.expect("an address"), &[0x42, id, 0, 1]);
    let mut heard = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        let (got, _) = rustix::net::recv(&ears, buffer.as_mut_slice(), rustix::net::RecvFlags::empty()).expect("the echo request comes");
        match &buffer[..got] {
            [128, _, _, _, 0x42, got, ..] if *got == id => return heard,
            // The real router speaks too: it says more than this.
            [134, rest @ ..] if rest.len() == 15 => heard.push(134),
            [137, ..] => heard.push(137),
            [136, _, _, _, _, _, _, _, rest @ ..] if rest.starts_with(&target) => heard.push(136),
            _ => {}
        }
    }
}

#[test]
fn no_guest_is_a_router_for_its_neighbours() {
    let Some(host) = Host::new(0o755) else { return };
    host.apply();
    let (web, db) = (host.guest(0).addressed(), host.guest(1).addressed());
    web.reaches(db.nic.ipv6.expect("an address"));
    assert_eq!(forged(&web, &db, 1), Vec::<u8>::new());
    firewall::remove(&host.plan.bridge).expect("the filter goes");
    assert_eq!(forged(&web, &db, 2), [134, 137, 136], "it is the filter that drops them");
}

/// The bridge's tables as nft lists them, with the number that a table keeps for its life, and all words in order: sets have
/// none.
fn filter(host: &Host) -> (Vec<String>, Vec<String>) {
    let table = firewall::table(&host.plan.bridge).expect("a name");
    let (mut numbers, mut words) = (Vec::new(), Vec::new());
    for family in ["bridge", "inet"] {
        let text = output("nft", &["--handle", "list", "table", family, &table]);
        for line in text.lines() {
            let (line, number) = line.split_once(" # handle ").unwrap_or((line, ""));
            numbers.extend(line.starts_with("table").then(|| number.to_owned()));
            words.extend(line.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    words.sort_unstable();
    (numbers, words)
}

#[test]
fn a_container_that_comes_is_filtered_as_if_it_had_been_there() {
    let Some(mut host) = Host::new(0o755) else { return };
    let late = host.plan.nics.pop().expect("two containers");
    host.apply();
    let (first, alone) = filter(&host);
    host.plan.nics.push(late);
    host.apply();
    let (second, added) = filter(&host);
    assert_eq!(first, second, "the tables stay");
    assert_ne!(alone, added);
    // As after a start of the console.
    *host.firewall.get_mut().expect("no test has panicked") = None;
    host.apply();
    let (third, whole) = filter(&host);
    assert_ne!(second, third, "the tables are new ones");
    assert_eq!(added, whole);
    // Somebody flushes the tables, and nobody tells us: what is added to nothing is no filter.
    host.plan.nics.pop();
    host.apply();
    firewall::remove(&host.plan.bridge).expect("the filter goes");
    host.plan.nics.push(nic("db", 6));
    host.apply();
    assert_eq!(filter(&host).1, whole);
}
