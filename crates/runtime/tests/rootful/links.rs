//! NICs of real containers: addresses, names, rates, and everything again after a `reboot` inside.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Instant;

use model::engine::{Manifest, NetworkNic, NetworkPlan, NicPlan};
use model::leftover::LeftoverKind;
use model::{ContainerId, ContainerState, Limits};
use runtime::cgroup::layout::instance_directory;
use runtime::net::{bridge, subnet};

use crate::host::{self, Host, as_root, eventually, in_own_network};

const BRIDGE: &str = "bt-net";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 213, 8, 1);

fn ipv4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 213, 8, last)
}

fn mac(last: u8) -> String {
    format!("02:00:5e:10:08:{last:02x}")
}

/// A NIC as `control` plans it: what is not fixed the guest asks for.
fn nic(name: &str, last: u8, fixed: bool) -> NicPlan {
    let slaac = subnet::slaac("fd01:2:8::".parse().unwrap(), subnet::mac_bytes(&mac(last)).unwrap());
    NicPlan {
        name: name.into(),
        host_name: format!("bt{last:010}{}", name.trim_start_matches("eth")),
        bridge: BRIDGE.into(),
        mac: mac(last),
        ipv4: Some((ipv4(last), 22)),
        ipv6: Some((slaac, 64)),
        fixed_ipv4: fixed,
        fixed_ipv6: fixed,
        gateway4: Some(GATEWAY),
        gateway6: Some("fd01:2:8::1".parse().unwrap()),
        mtu: None,
        vlan: None,
        link_down: false,
        rate_in: None,
        rate_out: None,
    }
}

fn plan(containers: &[&Manifest]) -> NetworkPlan {
    let of = |manifest: &&Manifest| {
        let name = manifest.spec.name.clone();
        let to_network = move |nic: &NicPlan| NetworkNic {
            container: name.clone(),
            host_name: nic.host_name.clone(),
            mac: nic.mac.clone(),
            ipv4: nic.ipv4.map(|(address, _)| address),
            ipv6: nic.ipv6.map(|(address, _)| address),
            publish: Vec::new(),
            firewall: Vec::new(),
        };
        manifest.nics.iter().map(to_network).collect::<Vec<_>>()
    };
    NetworkPlan {
        bridge: BRIDGE.into(),
        ipv4: "10.213.8.1/22".parse().unwrap(),
        ipv6: "fd01:2:8::1/64".parse().unwrap(),
        closed_ports: Vec::new(),
        apart: Vec::new(),
        nics: containers.iter().flat_map(of).collect(),
        domain: "berth".into(),
    }
}

fn busybox(host: &Host, name: &str, nics: Vec<NicPlan>) -> ContainerId {
    host.container_as(name, &model::engine::FirstBoot::default(), host::busybox_root, |manifest| manifest.nics = nics)
}

fn connect(host: &Host, ids: &[ContainerId]) {
    let manifests: Vec<Manifest> = ids.iter().map(|id| host.manifest(*id)).collect();
    host.network(&plan(&manifests.iter().collect::<Vec<_>>()));
}

/// Waits for the next run after a reboot from inside.
fn reboot(host: &Host, id: ContainerId, how: &str) {
    let first = host.runtime.observe_one(id).pid;
    host.sh(id, how);
    host.wait_for(id, |seen| seen.state == ContainerState::Running && seen.pid.is_some() && seen.pid != first);
}

#[test]
fn fixed_addresses_are_there_before_init_and_again_after_a_reboot() {
    in_own_network(|| {
        bridge::ensure("bt-second", &[("10.214.0.1".parse().unwrap(), 24)]).unwrap();
        let host = Host::new(as_root(), "static");
        let first = NicPlan {
            mtu: Some(1400),
            ..nic("eth0", 5, true)
        };
        let second = NicPlan {
            bridge: "bt-second".into(),
            ipv4: Some(("10.214.0.5".parse().unwrap(), 24)),
            ipv6: None,
            gateway4: None,
            gateway6: None,
            ..nic("eth1", 6, true)
        };
        let (id, other) = (
            busybox(&host, "static", vec![first, second]),
            busybox(&host, "peer", vec![nic("eth0", 7, true)]),
        );
        connect(&host, &[id, other]);
        host.start(id, Limits::default()).expect("it starts");
        host.start(other, Limits::default()).expect("it starts");
        for round in 0..2 {
            let shown = host.says(id, "ip addr show eth0");
            for wanted in ["mtu 1400", &mac(5), "inet 10.213.8.5/22", "inet6 fd01:2:8:0:0:5eff:fe10:805/64"] {
                let short = wanted.replace(":0:0:5eff", "::5eff");
                assert!(shown.contains(wanted) || shown.contains(&short), "round {round}: no {wanted} in {shown}");
            }
            let shown = host.says(id, "ip addr show eth1");
            assert!(
                shown.contains(&mac(6)) && shown.contains("inet 10.214.0.5/24") && shown.contains("mtu 1500"),
                "{shown}"
            );
            assert!(host.says(id, "ip route").contains("default via 10.213.8.1 dev eth0"));
            assert!(host.says(id, "ip -6 route").contains("default via fd01:2:8::1"));
            for target in ["10.213.8.1", "10.214.0.1", "10.213.8.7"] {
                host.says(id, &format!("ping -c 1 -W 5 {target}"));
            }
            eventually("IPv6 leads to the neighbour", || host.sh(id, "ping6 -c 1 -W 2 fd01:2:8::5eff:fe10:807").0 == 0);
            let ends = host::said("ip", &["-o", "link", "show", "master", BRIDGE]);
            assert!(ends.contains("bt00000000050") && ends.contains("bt00000000070"), "{ends}");
            reboot(&host, id, "reboot -f");
        }
        drop(host);
        bridge::remove("bt-second").unwrap();
    });
}

#[test]
fn a_nic_may_be_there_without_a_cable() {
    in_own_network(|| {
        let host = Host::new(as_root(), "cable");
        let unplugged = NicPlan {
            link_down: true,
            ..nic("eth1", 6, true)
        };
        let id = busybox(&host, "cable", vec![nic("eth0", 5, true), unplugged]);
        connect(&host, &[id]);
        host.start(id, Limits::default()).expect("it starts");
        for round in 0..2 {
            for (name, carrier) in [("eth0", "1"), ("eth1", "0")] {
                let shown = host.says(id, &format!("cat /sys/class/net/{name}/carrier"));
                assert_eq!(shown.trim(), carrier, "round {round}: {name}");
            }
            let shown = host.says(id, "ip addr show eth1");
            assert!(shown.contains(&mac(6)) && shown.contains("inet 10.213.8.6/22"), "{shown}");
            reboot(&host, id, "reboot -f");
        }
        drop(host);
    });
}

#[test]
fn rules_hold_after_a_reboot_and_go_with_the_network() {
    in_own_network(|| {
        let host = Host::new(as_root(), "rules");
        let (id, other) = (
            busybox(&host, "rules", vec![nic("eth0", 5, true)]),
            busybox(&host, "peer", vec![nic("eth0", 7, true)]),
        );
        let (manifest, peer) = (host.manifest(id), host.manifest(other));
        let mut network = plan(&[&manifest, &peer]);
        let ruled = network.nics.iter_mut().find(|nic| nic.mac == mac(5)).unwrap();
        ruled.firewall = vec!["deny in icmp from 10.213.8.7".parse().unwrap()];
        host.network(&network);
        host.start(id, Limits::default()).expect("it starts");
        host.start(other, Limits::default()).expect("it starts");
        for round in 0..2 {
            host.says(id, "ping -c 1 -W 5 10.213.8.7");
            let (code, said) = host.sh(other, "ping -c 1 -W 1 10.213.8.5");
            assert_ne!(code, 0, "round {round}: {said}");
            eventually("the host is nobody the rule is about", || {
                std::process::Command::new("busybox")
                    .args(["ping", "-c", "1", "-W", "1", "10.213.8.5"])
                    .output()
                    .is_ok_and(|ping| ping.status.success())
            });
            reboot(&host, id, "reboot -f");
        }
        network.nics.iter_mut().for_each(|nic| nic.firewall.clear());
        host.network(&network);
        host.says(other, "ping -c 1 -W 5 10.213.8.5");
        drop(host);
        assert!(!host::said("nft", &["list", "ruleset"]).contains(BRIDGE));
    });
}

#[test]
fn a_guest_asks_for_its_address_and_finds_its_neighbour_by_name() {
    in_own_network(|| {
        let host = Host::new(as_root(), "dhcp");
        let fill = |root: &std::path::Path| crate::guests::unpack("trixie", root);
        let adapt = |manifest: &mut Manifest| manifest.nics = vec![nic("eth0", 5, false)];
        let id = host.container_as("dhcp", &model::engine::FirstBoot::default(), fill, adapt);
        let neighbour = busybox(&host, "db", vec![nic("eth0", 7, true)]);
        connect(&host, &[id, neighbour]);
        host.start(id, Limits::default()).expect("it starts");
        host.start(neighbour, Limits::default()).expect("it starts");
        for round in 0..2 {
            assert_eq!(crate::guests::settled(&host, id), "running", "round {round}");
            for wanted in ["inet 10.213.8.5/22", "inet6 fd01:2:8:0:0:5eff:fe10:805/64"] {
                let short = wanted.replace(":0:0:5eff", ":0:5eff").replace("fd01:2:8:0:5eff", "fd01:2:8::5eff");
                host.says(id, &format!("until ip addr show eth0 | grep -q -e '{wanted}' -e '{short}'; do sleep 0.1; done"));
            }
            assert_eq!(host.says(id, "cat /sys/class/net/eth0/address"), mac(5));
            host.says(id, "ping -c 1 -W 5 10.213.8.1");
            host.says(id, "echo nameserver 10.213.8.1 > /etc/resolv.conf");
            assert_eq!(host.says(id, "getent ahostsv4 db.berth | head -n 1").split(' ').next(), Some("10.213.8.7"));
            host.says(id, "ping -c 1 -W 5 db.berth");
            let ends = host::said("ip", &["-o", "link", "show", "master", BRIDGE]);
            assert!(ends.contains("bt00000000050"), "{ends}");
            if round == 0 {
                reboot(&host, id, "systemctl reboot");
            }
        }
    });
}

#[test]
fn a_link_without_ipv6_is_told_no_address_even_when_the_guest_asks() {
    in_own_network(|| {
        let host = Host::new(as_root(), "no-ipv6");
        let without = NicPlan {
            ipv6: None,
            fixed_ipv6: false,
            gateway6: None,
            ..nic("eth0", 5, true)
        };
        let (id, other) = (busybox(&host, "without", vec![without]), busybox(&host, "with", vec![nic("eth0", 7, false)]));
        connect(&host, &[id, other]);
        host.start(id, Limits::default()).expect("it starts");
        host.start(other, Limits::default()).expect("it starts");
        assert_eq!(host.says(id, "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1");
        assert_eq!(host.says(id, "ip -6 addr show dev eth0"), "");
        // The guest's root may switch it on; the router is not heard nevertheless, while the neighbour hears it.
        host.says(id, "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/eth0/router_solicitations; ip link set eth0 down; ip link set eth0 up");
        host.says(
            other,
            "ip link set eth0 up; until ip -6 addr show dev eth0 | grep -q fd01:2:8; do sleep 0.1; done",
        );
        host.says(
            id,
            "until ip -6 addr show dev eth0 | grep -q 'fe80.*' && ! ip -6 addr show dev eth0 | grep -q tentative; do sleep 0.1; done",
        );
        host.sh(id, "ping6 -c 2 -W 1 -I eth0 ff02::2");
        let shown = host.says(id, "ip -6 addr show dev eth0");
        assert!(!shown.contains("fd01"), "{shown}");
        host.says(other, "until ping6 -c 1 -W 1 fd01:2:8::1; do :; done");
        let neighbour = "ping6 -c 1 -W 1 -I eth0 fe80::5eff:fe10:807";
        assert_ne!(host.sh(id, neighbour).0, 0, "nothing of IPv6 passes");
    });
}

/// Bits per second at which a container hears from the host, or speaks to it.
fn measure(host: &Host, id: ContainerId, inward: bool, bytes: usize) -> f64 {
    let server = TcpListener::bind(SocketAddr::from((GATEWAY, 0))).unwrap();
    let port = server.local_addr().unwrap().port();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        if inward {
            stream.write_all(&vec![0; bytes]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest.len()
    });
    let script = if inward {
        format!("nc {GATEWAY} {port} < /dev/null | wc -c")
    } else {
        format!("head -c {bytes} /dev/zero | nc {GATEWAY} {port} | wc -c")
    };
    // Until the reader has it all, not until the writer is rid of it.
    let begun = Instant::now();
    let counted = host.says(id, &script);
    let heard = peer.join().unwrap();
    let took = begun.elapsed();
    let moved = if inward { counted.parse().unwrap() } else { heard };
    assert_eq!(moved, bytes, "all of it arrives");
    #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
    let rate = bytes as f64 * 8.0 / took.as_secs_f64();
    rate
}

#[test]
fn rates_hold_in_each_direction_and_after_a_reboot() {
    in_own_network(|| {
        let host = Host::new(as_root(), "rates");
        let limited = NicPlan {
            rate_in: Some(20_000_000),
            rate_out: Some(8_000_000),
            ..nic("eth0", 5, true)
        };
        let (id, free) = (busybox(&host, "limited", vec![limited]), busybox(&host, "free", vec![nic("eth0", 7, true)]));
        connect(&host, &[id, free]);
        host.start(id, Limits::default()).expect("it starts");
        host.start(free, Limits::default()).expect("it starts");
        for (inward, limit, bytes) in [(true, 20e6, 10_000_000), (false, 8e6, 4_000_000)] {
            let unlimited = measure(&host, free, inward, bytes);
            assert!(unlimited > 2.0 * limit, "without a limit it is {unlimited} bit/s");
            let rate = measure(&host, id, inward, bytes);
            // What the bucket holds comes on top: 128 KiB of each transfer.
            assert!(rate > 0.6 * limit && rate < 1.08 * limit, "{rate} bit/s instead of {limit} (inward: {inward})");
        }
        reboot(&host, id, "reboot -f");
        let rate = measure(&host, id, false, 4_000_000);
        assert!(rate < 1.08 * 8e6, "{rate} bit/s after a reboot");
        let rate = measure(&host, id, true, 10_000_000);
        assert!(rate < 1.08 * 20e6, "{rate} bit/s after a reboot");
    });
}

#[test]
fn a_bridge_that_is_missing_names_the_step_and_the_next_start_works() {
    in_own_network(|| {
        let host = Host::new(as_root(), "bridge");
        let id = busybox(&host, "bridge", vec![nic("eth0", 5, true)]);
        for _ in 0..2 {
            let error = host.start(id, Limits::default()).unwrap_err();
            assert_eq!(error.step, "connect the container to its network", "{error}");
            assert!(error.message.contains(BRIDGE) && error.hint.is_some(), "{error:?}");
            assert_eq!(host.runtime.observe_one(id).state, ContainerState::Stopped);
        }
        connect(&host, &[id]);
        host.start(id, Limits::default()).expect("it starts now");
        host.says(id, "ping -c 1 -W 5 10.213.8.1");
    });
}

#[test]
fn what_a_killed_shim_left_is_found_and_removed_and_nothing_else() {
    in_own_network(|| {
        let host = Host::new(as_root(), "left");
        let limited = |last: u8| NicPlan {
            rate_out: Some(16_000_000),
            ..nic("eth0", last, true)
        };
        let (id, other) = (busybox(&host, "left", vec![limited(5)]), busybox(&host, "other", vec![limited(7)]));
        connect(&host, &[id, other]);
        // As another program might call its own, and what no manifest names.
        bridge::ensure("ibt00000000090", &[]).unwrap();
        for id in [id, other] {
            host.start(id, Limits::default()).expect("it starts");
        }
        assert_eq!(host.runtime.leftovers().unwrap(), [], "both run");
        let (shim, init) = (host.shim_of(id), host.runtime.observe_one(id).pid.expect("it runs"));
        let down = host.down();
        host::kill(shim);
        let host = down.up();
        assert_eq!(host.runtime.leftovers().unwrap(), [], "it lives on without its shim");
        let down = host.down();
        host::kill(i32::try_from(init).unwrap());
        let host = down.up();
        let half_made = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse::<ContainerId>().unwrap();
        let folder = host.state().join("containers").join(half_made.to_string());
        std::fs::create_dir_all(folder.join("layers/1")).unwrap();
        let left = || {
            let mut left = host.runtime.leftovers().unwrap();
            left.sort_by_key(|leftover| (leftover.kind, leftover.name.clone()));
            left
        };
        // The end of the last process is told a moment later.
        eventually("its groups are empty", || left().iter().any(|leftover| leftover.kind == LeftoverKind::Cgroup));
        // The kernel takes a network namespace down on its own time, and the host's end of the link with it.
        eventually("its network is gone", || !bridge::exists("bt00000000050"));
        let found: Vec<(LeftoverKind, String)> = left().into_iter().map(|leftover| (leftover.kind, leftover.name)).collect();
        let mut wanted = vec![
            (LeftoverKind::Cgroup, format!("{}/{id}", instance_directory(Some(&host.instance())))),
            (LeftoverKind::Link, "ibt00000000050".to_owned()),
        ];
        wanted.extend(["lock", "sock", "state"].map(|ending| (LeftoverKind::RunFile, format!("{id}.{ending}"))));
        wanted.push((LeftoverKind::Folder, folder.display().to_string()));
        assert_eq!(found, wanted);
        let before = left();
        for leftover in &before {
            host.runtime.clear(leftover).expect("it is removed");
        }
        assert_eq!(left(), []);
        assert!(!folder.exists());
        let seen = host.runtime.observe_one(other);
        assert_eq!((seen.state, seen.degraded), (ContainerState::Running, false), "the other one runs on");
        assert!(bridge::exists("ibt00000000070") && bridge::exists("ibt00000000090"));
        bridge::remove("ibt00000000090").unwrap();
        // Found once and in use again: it stays.
        host.start(id, Limits::default()).expect("it starts again");
        for leftover in before.iter().filter(|leftover| leftover.kind != LeftoverKind::Folder) {
            assert_eq!(host.runtime.clear(leftover).unwrap_err().code, model::ErrorCode::Conflict, "{leftover:?}");
        }
        assert_eq!(host.sh(id, "true").0, 0);
    });
}

#[test]
fn what_limits_a_link_goes_with_a_shim_that_was_killed() {
    in_own_network(|| {
        let mut host = Host::new(as_root(), "ifb");
        let limited = NicPlan {
            rate_out: Some(16_000_000),
            ..nic("eth0", 5, true)
        };
        let host_name = limited.host_name.clone();
        let id = busybox(&host, "ifb", vec![limited]);
        connect(&host, &[id]);
        let left = || {
            let links = runtime::net::veth::counters().unwrap();
            links.into_keys().filter(|name| name.contains(&host_name)).collect::<Vec<_>>()
        };
        // Once by the engine that knows the container, once by one that only finds what is left of it.
        for is_known in [true, false] {
            host.start(id, Limits::default()).expect("it starts");
            assert_eq!(left().len(), 2, "the link and the device that limits it: {:?}", left());
            let shim = host.shim_of(id);
            if is_known {
                host::kill(shim);
                host.wait_for(id, |seen| seen.degraded);
                host.runtime.signal(id, model::engine::Signal::Kill).expect("it is killed");
            } else {
                let init = host.runtime.observe_one(id).pid.expect("it runs");
                let down = host.down();
                host::kill(shim);
                host::kill(i32::try_from(init).unwrap());
                host = down.up();
                host.wait_for(id, |seen| seen.state == ContainerState::Stopped);
            }
            eventually("nothing of its link is left", || left().is_empty());
        }
        // What else a killed shim leaves goes with the next run.
        host.start(id, Limits::default()).expect("it starts again");
    });
}
