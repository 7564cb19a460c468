//! What is refused and with which code, beside the nearest thing that is allowed.

use std::sync::Arc;

use model::Timestamp;
use model::access::Role;
use model::engine::NicPlan;
use model::network::Protocol;

use super::*;

fn host() -> HostReport {
    HostReport {
        hostname: "host".into(),
        kernel: "6.1.0".into(),
        cgroup: "v2".into(),
        arch: "x86_64".into(),
        cpus: 2,
        cpu_list: "0-1".into(),
        memory_bytes: 1 << 30,
        checks: Vec::new(),
        disk_limits: false,
    }
}

fn bridges() -> Bridges {
    let network = |bridge: &str, ipv4: &str, ipv6: &str| NetRow {
        bridge: bridge.into(),
        ipv4: ipv4.parse().expect("a network"),
        ipv6: ipv6.parse().expect("a network"),
    };
    Bridges {
        default: network("berth0", "10.213.0.1/22", "fd01:203:405::1/64"),
        others: [("lan1".into(), network("lan1", "10.213.4.1/22", "fd01:203:406::1/64"))].into(),
    }
}

fn id(last: u8) -> ContainerId {
    format!("6ba7b810-9dad-41d1-80b4-00c04fd430{last:02x}").parse().expect("a UUID")
}

fn spec(name: &str, more: serde_json::Value) -> ContainerSpec {
    let mut fields = serde_json::json!({ "name": name, "template": "local:test" });
    let (all, more) = (fields.as_object_mut().expect("an object"), more.as_object().cloned());
    all.extend(more.unwrap_or_default());
    serde_json::from_value(fields).expect("a specification")
}

/// A neighbour with an address, a MAC and a published port.
fn neighbour() -> Arc<ContainerRow> {
    let mut spec = spec("db", serde_json::json!({}));
    spec.publish = vec!["5432:5432".parse().expect("a port"), "5353:53/udp".parse().expect("a port")];
    let nic = NicPlan {
        name: "eth0".into(),
        host_name: "bt00000000010".into(),
        bridge: "berth0".into(),
        mac: "02:00:5e:10:00:01".into(),
        ipv4: Some(("10.213.0.5".parse().expect("an address"), 22)),
        ipv6: Some(("fd01:203:405::5".parse().expect("an address"), 64)),
        fixed_ipv4: false,
        fixed_ipv6: false,
        gateway4: None,
        gateway6: None,
        mtu: None,
        vlan: None,
        link_down: false,
        rate_in: None,
        rate_out: None,
    };
    let row = serde_json::json!({
        "id": id(1), "spec": spec, "base_id": 1 << 20, "nics": [nic], "created_at": Timestamp::from_ms(0), "created_by": "test", "made": true,
    });
    Arc::new(serde_json::from_value(row).expect("a row"))
}

fn judged(own: ContainerId, spec: &ContainerSpec, caller: &Caller) -> Result<()> {
    let (bridges, neighbours) = (bridges(), [neighbour()]);
    let config = EffectiveConfig {
        id: own,
        spec,
        new_limits: &spec.limits,
        password: None,
        bridges: &bridges,
        neighbours: &neighbours,
        closed_ports: &[8443],
        listeners: &listeners(),
        mount_roots: &["/srv/share".to_owned()],
        held_mounts: &held(),
    };
    judge(&config, depends_on_host(&spec.limits).then(host).as_ref(), caller)
}

/// Services of the host beside the bridge's own server.
fn listeners() -> Vec<Listener> {
    let socket = |address: &str, port, protocol, program: Option<&str>| Listener {
        protocol,
        address: address.parse().expect("an address"),
        port,
        program: program.map(str::to_owned),
    };
    vec![
        socket("0.0.0.0", 22, Protocol::Tcp, Some("sshd")),
        socket("127.0.0.1", 3306, Protocol::Tcp, None),
        socket("::1", 6010, Protocol::Tcp, Some("sshd")),
        socket("10.213.0.1", 53, Protocol::Udp, Some("dnsmasq")),
        socket("fd01:203:405::1", 53, Protocol::Udp, Some("dnsmasq")),
        socket("fe80::1", 53, Protocol::Udp, Some("dnsmasq")),
        socket("10.213.0.1", 53, Protocol::Tcp, Some("dnsmasq")),
        socket("127.0.0.53", 53, Protocol::Tcp, Some("systemd-resolve")),
        socket("10.213.0.1", 9100, Protocol::Tcp, Some("exporter")),
    ]
}

/// Code and field of a refusal; `None` = it is allowed.
fn verdict(spec: &ContainerSpec) -> Option<(ErrorCode, Option<String>)> {
    judged(id(2), spec, &Caller::berth()).err().map(|error| (error.body.code, error.body.field))
}

fn of_nics(nics: &[&str]) -> Option<(ErrorCode, Option<String>)> {
    let mut spec = spec("web", serde_json::json!({}));
    spec.nics = nics.iter().map(|nic| nic.parse().expect("a NIC")).collect();
    verdict(&spec)
}

fn of_ports(ports: &[&str]) -> Option<(ErrorCode, Option<String>)> {
    let mut spec = spec("web", serde_json::json!({}));
    spec.nics = vec!["".parse().expect("a NIC")];
    spec.publish = ports.iter().map(|port| port.parse().expect("a port")).collect();
    verdict(&spec)
}

fn at(code: ErrorCode, field: &str) -> Option<(ErrorCode, Option<String>)> {
    Some((code, Some(field.to_owned())))
}

#[test]
fn what_this_version_cannot_do_is_told_apart_from_what_is_wrong() {
    assert_eq!(of_nics(&["vlan=12"]), at(ErrorCode::Unsupported, "nic"));
    assert_eq!(of_nics(&["bridge=br0"]), at(ErrorCode::Unsupported, "nic"));
    assert_eq!(of_nics(&["bridge=berth0"]), None);
    assert_eq!(of_nics(&["", "bridge=lan1", "bridge=lan1,ip=10.213.4.9/22"]), None);
    // An address of the other bridge.
    assert_eq!(of_nics(&["bridge=lan1,ip=10.213.0.9/22"]), at(ErrorCode::Invalid, "nic"));
    let mut with_disk = spec("web", serde_json::json!({}));
    with_disk.limits.disk_bytes = Some(1 << 30);
    assert_eq!(verdict(&with_disk), at(ErrorCode::Unsupported, "disk"));
}

#[test]
fn addresses_lie_in_the_network_and_gateways_too() {
    for nic in [
        "ip=10.213.0.9/22",
        "ip=10.213.0.9/22,gw=10.213.3.254",
        "ip=none,ip6=fd01:203:405::9/64",
        "mtu=1280",
        "ip6=none,mtu=576",
    ] {
        assert_eq!(of_nics(&[nic]), None, "{nic}");
    }
    for nic in [
        "ip=10.214.0.9/22",
        "ip=10.213.0.9/24",
        "ip=10.213.0.1/22",
        "ip=10.213.0.0/22",
        "ip=10.213.3.255/22",
        "ip6=fd02::9/64",
        "ip6=fd01:203:405::9/80",
        "ip=10.213.0.9/22,gw=10.213.4.1",
        "ip=10.213.0.9/22,gw=192.0.2.1",
        "gw=10.213.0.1",
        "mtu=576",
        "rate-in=0",
        "rate-out=0",
    ] {
        assert_eq!(of_nics(&[nic]), at(ErrorCode::Invalid, "nic"), "{nic}");
    }
    assert_eq!(of_nics(&["ip=10.213.0.9/22", "ip=10.213.0.9/22"]), at(ErrorCode::Invalid, "nic"));
    assert_eq!(of_nics(&[""; 9]), at(ErrorCode::Invalid, "nic"));
    assert_eq!(of_nics(&[""; 8]), None);
}

#[test]
fn what_a_neighbour_has_is_taken_and_what_is_ones_own_is_not() {
    for nic in ["ip=10.213.0.5/22", "ip6=fd01:203:405::5/64", "mac=02:00:5e:10:00:01", "mac=02:00:5E:10:00:01"] {
        let refused = of_nics(&[nic]).map(|(code, _)| code);
        assert_eq!(refused, Some(ErrorCode::Conflict), "{nic}");
        let mut own = spec("db", serde_json::json!({}));
        own.nics = vec![nic.parse().expect("a NIC")];
        assert!(judged(id(1), &own, &Caller::berth()).is_ok(), "{nic}");
    }
}

#[test]
fn a_port_of_the_host_has_one_owner() {
    for (ports, code) in [
        (vec!["5432:80"], ErrorCode::Conflict),
        (vec!["5353:53/udp"], ErrorCode::Conflict),
        (vec!["8443:443"], ErrorCode::Conflict),
        (vec!["8080:80", "8080:81"], ErrorCode::Invalid),
        (vec!["8080:80", "8070-8090:1-21"], ErrorCode::Invalid),
        (vec!["5000-6000:5000-6000"], ErrorCode::Conflict),
        (vec!["8440-8450:440-450"], ErrorCode::Conflict),
        (vec!["10000-20000:10000-20000"], ErrorCode::Invalid),
    ] {
        assert_eq!(of_ports(&ports).map(|(code, _)| code), Some(code), "{ports:?}");
    }
    // The other protocol is another port; the console speaks TCP.
    for ports in [
        vec!["8000-8010:9000-9010"],
        vec!["5353:53"],
        vec!["5432:80/udp"],
        vec!["8443:443/udp"],
        vec!["8080:80", "8080:80/udp"],
    ] {
        assert_eq!(of_ports(&ports), None, "{ports:?}");
    }
    let mut spec_of_range = spec("web", serde_json::json!({}));
    spec_of_range.nics = vec!["".parse().expect("a NIC")];
    spec_of_range.publish = vec!["5000-6000:5000-6000".parse().expect("ports")];
    let error = judged(id(2), &spec_of_range, &Caller::berth()).expect_err("one of them is taken");
    assert_eq!(error.body.message, "port 5432/tcp of the host leads to the container `db`");
    let mut without_address = spec("web", serde_json::json!({}));
    without_address.nics = vec!["ip=none".parse().expect("a NIC")];
    without_address.publish = vec!["8080:80".parse().expect("a port")];
    assert_eq!(verdict(&without_address), at(ErrorCode::Invalid, "publish"));
}

#[test]
fn a_port_on_which_the_host_listens_is_not_taken_over() {
    for (port, told) in [
        ("22:22", "port 22/tcp of the host is in use: `sshd` listens"),
        ("20-30:20-30", "port 22/tcp of the host is in use: `sshd` listens"),
        ("3306:3306", "port 3306/tcp of the host is in use: a program listens on 127.0.0.1"),
        ("53:53", "port 53/tcp of the host is in use: `systemd-resolve` listens on 127.0.0.53"),
        ("9100:9100", "port 9100/tcp of the host is in use: `exporter` listens on 10.213.0.1"),
    ] {
        let port: Publish = port.parse().expect("a port");
        let error = ports::judge(&port, &listeners(), &bridges()).expect_err("it is in use");
        assert_eq!((error.body.code, error.body.message.as_str()), (ErrorCode::Conflict, told));
        assert_eq!(error.body.hint.as_deref(), Some("publish another port of the host, or stop the service"));
    }
    assert_eq!(of_ports(&["22:22"]).map(|(code, _)| code), Some(ErrorCode::Conflict));
    // The other protocol; IPv6's loopback, which no published port touches; the bridge's own server of names.
    for port in ["22:22/udp", "6010:80", "53:53/udp"] {
        assert_eq!(of_ports(&[port]), None, "{port}");
    }
}

#[test]
fn names_limits_and_words_are_judged_by_their_field() {
    for (more, field) in [
        (serde_json::json!({ "hostname": "-web" }), "hostname"),
        (serde_json::json!({ "hostname": "a..b" }), "hostname"),
        (serde_json::json!({ "hostname": "web\nroot" }), "hostname"),
        (serde_json::json!({ "env": [["A=B", "c"]] }), "env"),
        (serde_json::json!({ "env": [["A", "c\nd"]] }), "env"),
        (serde_json::json!({ "env": [["A", "1"], ["A", "2"]] }), "env"),
        (serde_json::json!({ "tags": ["Upper"] }), "tag"),
        (serde_json::json!({ "ssh_keys": ["ssh-ed25519 AAAA"] }), "ssh-key"),
        (serde_json::json!({ "notes": "x".repeat((32 << 10) + 1) }), "notes"),
    ] {
        assert_eq!(verdict(&spec("web", more.clone())), at(ErrorCode::Invalid, field), "{more}");
    }
    let mut far = spec("web", serde_json::json!({}));
    far.limits.cpuset = Some("0,7".into());
    assert_eq!(verdict(&far), at(ErrorCode::Invalid, "cpuset"));
    far.limits.cpuset = Some("0-1".into());
    assert_eq!(verdict(&far), None);
    far.limits.cpuset = None;
    far.limits.cpus = Some(2.01);
    assert_eq!(verdict(&far), at(ErrorCode::Invalid, "cpus"));
    let refused = judged(id(2), &far, &Caller::berth()).expect_err("it is refused");
    assert_eq!(refused.body.message, "this host cannot give 2.01 CPUs; it has 2");
    far.limits.cpus = Some(2.0);
    assert_eq!(verdict(&far), None);
}

#[test]
fn whoever_may_not_change_containers_is_told_that_first() {
    let spec = spec("web", serde_json::json!({ "hostname": "-web" }));
    let refused = judged(id(2), &spec, &Caller::anonymous("test")).expect_err("nobody may");
    assert_eq!(refused.body.code, ErrorCode::SignInRequired);
}

#[test]
fn only_what_depends_on_the_host_is_judged_by_it() {
    let limits = |more: serde_json::Value| spec("web", serde_json::json!({ "limits": more }));
    let (bridges, neighbours) = (bridges(), [neighbour()]);
    let blind = |spec: &ContainerSpec, held: serde_json::Value| {
        let config = EffectiveConfig {
            id: id(2),
            spec,
            new_limits: &new_limits(&spec.limits, &limits(held).limits),
            password: None,
            bridges: &bridges,
            neighbours: &neighbours,
            closed_ports: &[],
            listeners: &[],
            mount_roots: &[],
            held_mounts: &[],
        };
        judge(&config, None, &Caller::socket("anna")).is_ok()
    };
    assert!(blind(
        &limits(serde_json::json!({ "memory_bytes": 64 << 20, "pids": 64 })),
        serde_json::json!({})
    ));
    for (asked, other) in [
        (serde_json::json!({ "cpuset": "0" }), serde_json::json!({ "cpuset": "1" })),
        (serde_json::json!({ "cpus": 8.0 }), serde_json::json!({ "cpus": 1.0 })),
        (
            serde_json::json!({ "disk_bytes": 1_u64 << 30 }),
            serde_json::json!({ "disk_bytes": 1_u64 << 31 }),
        ),
    ] {
        assert!(!blind(&limits(asked.clone()), serde_json::json!({})), "{asked}");
        assert!(!blind(&limits(asked.clone()), other), "{asked}");
        assert!(blind(&limits(asked.clone()), asked.clone()), "{asked} is held already");
    }
}

/// What the container was granted before.
fn held() -> Vec<Mount> {
    vec!["/old/folder:/old".parse().expect("a mount")]
}

fn of_mounts(mounts: &[&str], role: Role) -> Option<(ErrorCode, Option<String>)> {
    let mut spec = spec("web", serde_json::json!({}));
    spec.mounts = mounts.iter().map(|mount| mount.parse().expect("a mount")).collect();
    let caller = Caller {
        role: Some(role),
        ..Caller::socket("somebody")
    };
    judged(id(2), &spec, &caller).err().map(|error| (error.body.code, error.body.field))
}

#[test]
fn only_an_administrator_adds_a_folder_of_the_host_and_only_a_released_one() {
    let refused = at(ErrorCode::NotAllowed, "mount");
    for (mount, administrator, operator) in [
        ("/srv/share:/data", None, refused.clone()),
        ("/srv/share/below:/data:ro", None, refused.clone()),
        ("/srv:/data", refused.clone(), refused.clone()),
        ("/srv/shared:/data", refused.clone(), refused.clone()),
        // Was granted before, though it is released no longer; with other rights or elsewhere it is another one.
        ("/old/folder:/old", None, None),
        ("/old/folder:/elsewhere", refused.clone(), refused.clone()),
        ("/old/folder:/old:ro", refused.clone(), refused.clone()),
        // Memory, which the container has anyhow.
        ("tmpfs:/cache:size=1M", None, None),
    ] {
        assert_eq!(of_mounts(&[mount], Role::Administrator), administrator, "{mount}");
        assert_eq!(of_mounts(&[mount], Role::Operator), operator, "{mount}");
    }
    let mut bad = spec(
        "web",
        serde_json::json!({ "mounts": [{ "source": "/srv/share/../../etc", "target": "/data" }] }),
    );
    assert_eq!(verdict(&bad), at(ErrorCode::Invalid, "mount"));
    bad.mounts = vec!["/srv/share/a:/data".parse().expect("a mount"), "tmpfs:/data".parse().expect("a mount")];
    assert_eq!(verdict(&bad), at(ErrorCode::Invalid, "mount"), "one place for two");
    let many: Vec<String> = (0..33).map(|number| format!("tmpfs:/cache/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(of_mounts(&many, Role::Administrator), at(ErrorCode::Invalid, "mount"));
    assert_eq!(of_mounts(&many[1..], Role::Administrator), None);
}

#[test]
fn a_folder_that_is_not_released_is_refused_with_every_way_to_release_it() {
    let mut spec = spec("web", serde_json::json!({}));
    spec.mounts = vec!["/etc:/data".parse().expect("a mount")];
    let refused = judged(id(2), &spec, &Caller::berth()).expect_err("it is refused").body;
    assert_eq!(
        refused.message,
        "the folder /etc of the host is not released for containers; only /srv/share is"
    );
    let hint = refused.hint.expect("a way out");
    for way in ["--mount-root", "BERTH_MOUNT_ROOT", "mount-root"] {
        assert!(hint.contains(way), "{hint}");
    }
}
