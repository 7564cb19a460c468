//! Every series that the contract names, of a real container and of this host, from the real kernel: none is a gap. Fails
//! without root; `cargo xtask test --only rootful` runs it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[expect(dead_code, reason = "the instance of the runtime's tests, of which this one needs a part")]
#[path = "../../runtime/tests/rootful/host.rs"]
mod host;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use control::clock::Clock;
use control::engine::Engine;
use control::engine::linux::Linux;
use control::events::Events;
use control::metrics::{Metrics, Tick};
use host::{Host, as_root, eventually, in_own_network, patience};
use model::engine::{ExecRequest, FirstBoot, NetworkNic, NetworkPlan, NicPlan};
use model::metrics::{HOST, SERIES};
use model::{ContainerId, Limits};

/// What a container with one NIC and one mount has.
const CONTAINER: &[&str] = &[
    "cpu.usage",
    "cpu.user",
    "cpu.system",
    "cpu.throttled",
    "cpu.throttled_ms",
    "memory.used",
    "memory.current",
    "memory.anon",
    "memory.file",
    "memory.shmem",
    "memory.kernel",
    "memory.swap",
    "memory.oom_kills",
    "pressure.cpu.some",
    "pressure.cpu.full",
    "pressure.memory.some",
    "pressure.memory.full",
    "pressure.io.some",
    "pressure.io.full",
    "io.read",
    "io.write",
    "io.read_ops",
    "io.write_ops",
    "net.eth0.rx",
    "net.eth0.tx",
    "net.eth0.rx_packets",
    "net.eth0.tx_packets",
    "net.eth0.rx_dropped",
    "net.eth0.tx_dropped",
    "disk./.used",
    "disk./.inodes",
    "pids.current",
];
/// The sums that only the live stream carries.
const SUMS: &[&str] = &["net.rx", "net.tx"];
/// What the host has under the same names, and what only it has.
const OF_HOST: &[&str] = &[
    "cpu.usage",
    "cpu.cores",
    "memory.used",
    "memory.total",
    "memory.swap",
    "net.rx",
    "net.tx",
    "io.read",
    "io.write",
    "pids.current",
    "pressure.cpu.some",
    "pressure.cpu.full",
    "pressure.memory.some",
    "pressure.memory.full",
    "pressure.io.some",
    "pressure.io.full",
    "disk./.used",
    "disk./.total",
];
/// What the busy container of this test cannot have none of.
const ABOVE_ZERO: &[&str] = &[
    "cpu.usage",
    "memory.used",
    "memory.current",
    "io.write",
    "io.write_ops",
    "net.eth0.tx",
    "disk./.used",
    "disk./.inodes",
    "pids.current",
];

pub fn command(words: &[&str]) -> ExecRequest {
    ExecRequest {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        ..ExecRequest::default()
    }
}

/// Whether the kernel says that it does not count this; everything else must have a value.
fn is_not_counted(host: &Host, id: Option<ContainerId>, series: &str) -> bool {
    // Pressure as a whole (CONFIG_PSI, or psi=0); a container's is in the unified hierarchy, which pure version 1 lacks.
    if let Some((resource, _)) = series.strip_prefix("pressure.").and_then(|rest| rest.split_once('.')) {
        let has_hierarchy = runtime::cgroup::Layout::detect().unwrap().unified.is_some();
        return !Path::new("/proc/pressure").join(resource).exists() || (id.is_some() && !has_hierarchy);
    }
    let Some(id) = id else { return false };
    let stat = || host.limit(id, "memory.stat", "memory", "memory.stat");
    let is_v1 = runtime::cgroup::Layout::detect().unwrap().v1("memory").is_some();
    match series {
        // Without swap accounting (swapaccount=0) version 1 has no such line. Version 2 counts wherever there is swap at all.
        "memory.swap" => is_v1 && !stat().contains("total_swap "),
        // Version 2 has this line since Linux 5.18; every version 1 has a file.
        "memory.kernel" => !is_v1 && !stat().lines().any(|line| line.starts_with("kernel ")),
        _ => false,
    }
}

fn nic() -> NicPlan {
    NicPlan {
        name: "eth0".into(),
        host_name: "bt0000000005".into(),
        bridge: "bt-series".into(),
        mac: "02:00:5e:10:09:05".into(),
        ipv4: Some(("10.213.9.5".parse().unwrap(), 24)),
        ipv6: None,
        fixed_ipv4: true,
        fixed_ipv6: false,
        gateway4: Some("10.213.9.1".parse().unwrap()),
        gateway6: None,
        mtu: None,
        vlan: None,
        link_down: false,
        rate_in: None,
        rate_out: None,
    }
}

/// A running container with a NIC, which has begun to write and to send.
fn busy_container(host: &Host) -> (ContainerId, Vec<std::os::fd::OwnedFd>) {
    let id = host.container_as("series", &FirstBoot::default(), host::busybox_root, |manifest| manifest.nics = vec![nic()]);
    host.network(&NetworkPlan {
        bridge: "bt-series".into(),
        ipv4: "10.213.9.1/24".parse().unwrap(),
        ipv6: "fd01:2:9::1/64".parse().unwrap(),
        closed_ports: Vec::new(),
        apart: Vec::new(),
        nics: vec![NetworkNic {
            container: host.manifest(id).spec.name,
            host_name: nic().host_name,
            mac: nic().mac,
            ipv4: nic().ipv4.map(|(address, _)| address),
            ipv6: None,
            publish: Vec::new(),
            firewall: Vec::new(),
        }],
        domain: "berth".into(),
    });
    // Version 1 counts periods of the processor and bytes of the disk only where there is a limit.
    let limits = Limits {
        cpus: Some(1.0),
        memory_bytes: Some(128 << 20),
        io_read_bps: Some(1 << 30),
        io_write_bps: Some(1 << 30),
        ..Limits::default()
    };
    host.start(id, limits).expect("it starts");
    let work = "ping -q 10.213.9.1 & while :; do dd if=/dev/zero of=/root/file bs=64k count=4 oflag=direct; \
                dd if=/root/file of=/dev/null bs=64k iflag=direct; ping -q -c 1 10.213.9.1; done >/dev/null 2>&1";
    let streams = host.runtime.exec(id, host::exec_id(), &command(&["/bin/sh", "-c", work]));
    let streams = streams.expect("it works").into_iter().collect();
    eventually("it reads and writes", || {
        let io = host.counters(id).io;
        io.read_bytes > Some(0) && io.write_bytes > Some(0)
    });
    (id, streams)
}

/// The tick's values of one subject by name.
fn values(tick: &Tick, id: Option<ContainerId>) -> BTreeMap<String, Option<f64>> {
    let row = tick.rows.iter().find(|row| row.id == id).expect("it is in each tick");
    let fixed = SERIES.iter().map(|name| (*name).to_owned()).zip(row.values);
    fixed.chain(row.extra.iter().cloned()).collect()
}

/// The second tick, and the first later one by which the disk was measured, which takes its own time.
async fn ticks(metrics: &Metrics, id: ContainerId) -> (Arc<Tick>, Arc<Tick>) {
    let mut ticks = metrics.subscribe();
    metrics.start(&HashSet::from([id])).expect("the sampler starts");
    let mut next = async || tokio::time::timeout(patience(), ticks.recv()).await.expect("a tick comes").unwrap();
    next().await;
    let second = next().await;
    let mut measured = Arc::clone(&second);
    let deadline = std::time::Instant::now() + patience();
    while !values(&measured, Some(id)).contains_key("disk./.used") {
        assert!(std::time::Instant::now() < deadline, "the disk is measured");
        measured = next().await;
    }
    (second, measured)
}

fn gaps(host: &Host, id: Option<ContainerId>, values: &BTreeMap<String, Option<f64>>, wanted: &[&str]) -> Vec<String> {
    let is_gap = |series: &&&str| values.get(**series).copied().flatten().is_none_or(|value| !value.is_finite() || value < 0.0);
    let mut gaps = Vec::new();
    for series in wanted.iter().filter(is_gap) {
        if is_not_counted(host, id, series) {
            eprintln!("{}: this kernel does not count {series}", if id.is_some() { "container" } else { HOST });
        } else {
            gaps.push((*series).to_owned());
        }
    }
    gaps
}

#[test]
fn rootful_every_series_of_a_container_and_of_the_host_has_a_value() {
    in_own_network(|| {
        let host = Host::new(as_root(), "series");
        let (id, streams) = busy_container(&host);
        let engine = Linux::open(runtime::Config {
            state_dir: host.state(),
            run_dir: host.state().with_file_name("run"),
            instance: Some(host.instance()),
            shim: runtime::ShimSource::Path(std::env::var_os("BERTH_SHIM_PATH").unwrap().into()),
            mount_roots: Vec::new(),
        })
        .expect("the engine opens");
        engine.observe().expect("it finds the container");
        let history = tempfile::tempdir().unwrap();
        let events = Arc::new(Events::new("boot".into()));
        let metrics = Metrics::new(history.path().to_owned(), Arc::new(engine), Clock::System, events).unwrap();
        metrics.set_names(vec![(id, "series".into())]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (second, measured) = runtime.block_on(ticks(&metrics, id));
        runtime.block_on(metrics.shut_down());
        drop(streams);
        let (of_container, of_host) = (values(&second, Some(id)), values(&second, None));
        let (disk, others): (Vec<&str>, Vec<&str>) = CONTAINER.iter().copied().partition(|series| series.starts_with("disk."));
        assert_eq!(gaps(&host, Some(id), &of_container, &[others.as_slice(), SUMS].concat()), Vec::<String>::new());
        assert_eq!(gaps(&host, Some(id), &values(&measured, Some(id)), &disk), Vec::<String>::new());
        assert_eq!(gaps(&host, None, &of_host, OF_HOST), Vec::<String>::new());
        for series in ABOVE_ZERO {
            let value = values(&measured, Some(id))[*series];
            assert!(value > Some(0.0), "{series}: {value:?}");
        }
        // And nothing that the contract does not name.
        let named: BTreeSet<String> = [CONTAINER, SUMS].concat().iter().map(|&name| name.to_owned()).collect();
        let seen: BTreeSet<String> = values(&measured, Some(id)).into_keys().collect();
        assert_eq!(seen, named);
    });
}
