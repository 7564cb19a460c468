//! `berth create`: flags become the request.

use std::io::Read as _;
use std::path::PathBuf;

use model::container::{ContainerSpec, CreateRequest, RestartPolicy};
use model::firewall::Rule;
use model::id::ContainerName;
use model::network::{NicSpec, Publish};
use model::storage::Mount;
use model::task::Task;
use model::{Limits, TemplateRef};

use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    name: ContainerName,
    /// What it is made from, for example images:debian/13
    #[arg(long, value_name = "REF")]
    template: TemplateRef,
    #[command(flatten)]
    limits: LimitArgs,
    /// bridge=B,ip=dhcp|CIDR,gw=IP,ip6=auto|CIDR|none,vlan=N,mtu=N,rate-in=BITS,rate-out=BITS,mac=M,link=up|down; may be repeated; none = no NIC
    #[arg(long, value_name = "NIC")]
    nic: Vec<String>,
    /// A port of the host that leads inside, or as many: 8000-8010:9000-9010; may be repeated
    #[arg(long, value_name = "HOST:CT[/udp]")]
    publish: Vec<Publish>,
    /// allow|deny in|out [tcp|udp|icmp] [PORT[-LAST]] [from|to CIDR]; may be repeated, the first that fits decides
    #[arg(long, value_name = "RULE")]
    firewall: Vec<Rule>,
    /// A released folder of the host inside, or memory as tmpfs:DST[:size=SIZE]; may be repeated
    #[arg(long, value_name = "SRC:DST[:ro]")]
    mount: Vec<Mount>,
    /// Environment of init; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Unless it is the name
    #[arg(long, value_name = "H")]
    hostname: Option<String>,
    /// Public keys for root; may be repeated
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Reads the password of root inside from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Starts it with the host
    #[arg(long)]
    autostart: bool,
    /// The lowest starts first with the host, and who has none last
    #[arg(long, value_name = "N")]
    autostart_order: Option<u32>,
    /// How long the next order waits after its start, in seconds
    #[arg(long, value_name = "S", default_value_t = 0)]
    autostart_delay: u32,
    /// What happens when init ends by itself: no, on-failure or always
    #[arg(long, value_name = "WHEN", value_parser = restart, default_value = "no")]
    restart: RestartPolicy,
    /// Lets containers run inside
    #[arg(long)]
    nesting: bool,
    /// May be repeated
    #[arg(long, value_name = "T")]
    tag: Vec<String>,
    /// Starts it at once
    #[arg(long)]
    start: bool,
    /// Prints the task instead of waiting
    #[arg(long)]
    detach: bool,
}

/// Values stay text here: one parser judges flags of `create` and keys of `set`.
#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// CPUs, fractions too
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Share under contention, 1 to 10000 [default: 100]
    #[arg(long, value_name = "N")]
    cpu_weight: Option<String>,
    /// CPUs by number, for example 0,2-3
    #[arg(long, value_name = "LIST")]
    cpuset: Option<String>,
    /// Memory, for example 512M
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// From here on memory is reclaimed
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<String>,
    /// Swap
    #[arg(long, value_name = "SIZE")]
    swap: Option<String>,
    /// Processes and threads [default: 8192]
    #[arg(long, value_name = "N")]
    pids: Option<String>,
    /// Disk space
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
    /// Bytes per second
    #[arg(long, value_name = "BPS")]
    io_read: Option<String>,
    /// Bytes per second
    #[arg(long, value_name = "BPS")]
    io_write: Option<String>,
}

impl LimitArgs {
    fn limits(&self) -> Result<Limits, Failure> {
        let mut limits = Limits::default();
        let given = [
            ("cpus", &self.cpus),
            ("cpu-weight", &self.cpu_weight),
            ("cpuset", &self.cpuset),
            ("memory", &self.memory),
            ("memory-high", &self.memory_high),
            ("swap", &self.swap),
            ("pids", &self.pids),
            ("disk", &self.disk),
            ("io-read", &self.io_read),
            ("io-write", &self.io_write),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                limits.set(key, value).map_err(|error| wrong(error.field, &error.message))?;
            }
        }
        limits.check().map_err(|error| wrong(error.field, &error.message))?;
        Ok(limits)
    }
}

fn wrong(flag: &str, why: &str) -> Failure {
    Failure::usage(format!("--{flag} is wrong ({why}; see `berth create --help`)"))
}

/// Creates it, and waits.
pub async fn run(session: &Session, args: Args) -> Result<(), Failure> {
    let (is_detached, is_started) = (args.detach, args.start);
    let request = request(args)?;
    let task: Task = session.client.post("/api/v1/containers", &request).await?;
    let verb = if is_started { "created and started" } else { "created" };
    session.finish(task, is_detached, &format!("{verb} {}", request.spec.name)).await
}

fn request(args: Args) -> Result<CreateRequest, Failure> {
    let limits = args.limits.limits()?;
    let nics = nics(&args.nic).map_err(|why| wrong("nic", &why))?;
    let mut ssh_keys = Vec::new();
    for file in &args.ssh_key {
        ssh_keys.extend(keys(file)?);
    }
    let password = if args.password_stdin { Some(password()?) } else { None };
    let spec = ContainerSpec {
        name: args.name,
        hostname: args.hostname,
        template: args.template,
        limits,
        nics,
        publish: args.publish,
        firewall: args.firewall,
        mounts: args.mount,
        env: args.env,
        ssh_keys,
        autostart: args.autostart,
        autostart_order: args.autostart_order,
        autostart_delay_seconds: args.autostart_delay,
        restart: args.restart,
        nesting: args.nesting,
        tags: args.tag,
        notes: String::new(),
    };
    Ok(CreateRequest {
        spec,
        password,
        start: args.start,
    })
}

/// Nothing given is one NIC on the default bridge; the word `none` alone is no NIC.
fn nics(texts: &[String]) -> Result<Vec<NicSpec>, String> {
    match texts {
        [] => Ok(NicSpec::default_list()),
        [none] if none == "none" => Ok(Vec::new()),
        texts => texts.iter().map(|text| text.parse()).collect(),
    }
}

/// `K=V`
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn restart(text: &str) -> Result<RestartPolicy, String> {
    match text {
        "no" => Ok(RestartPolicy::No),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        _ => Err(format!("`{text}` is not a restart policy; use no, on-failure or always")),
    }
}

/// The keys of a file in the form of authorized_keys(5).
fn keys(file: &std::path::Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| wrong("ssh-key", &format!("{} cannot be read: {error}", file.display())))?;
    let keys: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if keys.is_empty() {
        Err(wrong("ssh-key", &format!("{} holds no key", file.display())))
    } else {
        Ok(keys)
    }
}

/// Standard input up to its end, without the last line break.
pub fn password() -> Result<String, Failure> {
    /// More is no password but a mistake.
    const MOST: u64 = 64 << 10;
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MOST)
        .read_to_string(&mut text)
        .map_err(|error| exit::local("standard input holds no password", &error))?;
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    if text.is_empty() {
        return Err(Failure::usage("--password-stdin is wrong (standard input is empty; write the password to it)"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use model::network::{Addressing, Protocol};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<CreateRequest, String> {
        let line = Line::try_parse_from(["create"].into_iter().chain(line.split(' '))).map_err(|error| error.to_string())?;
        request(line.args).map_err(|failure| failure.what)
    }

    #[test]
    fn nothing_said_is_the_default() {
        let request = parse("web --template images:debian/13").expect("good flags");
        assert_eq!(request.spec.limits, Limits::default());
        assert_eq!(request.spec.nics, NicSpec::default_list());
        assert!(!request.start && request.password.is_none());
    }

    #[test]
    fn every_flag_reaches_the_request() {
        let line = "web --template local:x --cpus 1.5 --cpu-weight 200 --memory 512M --disk 2GB --pids none --io-read 10M --nic bridge=br0,ip=10.0.0.5/24,ip6=none,rate-in=50M \
                    --nic ip=dhcp --publish 8080:80 --publish 53:53/udp --mount /srv:/data:ro --mount tmpfs:/cache:size=1M --env A=1=2 --tag a --tag b --restart always --autostart --autostart-order 3 --autostart-delay 20 --nesting --start";
        let request = parse(line).expect("good flags");
        let spec = request.spec;
        assert_eq!(
            (spec.limits.cpus, spec.limits.cpu_weight, spec.limits.memory_bytes),
            (Some(1.5), Some(200), Some(512 << 20))
        );
        assert_eq!(
            (spec.limits.disk_bytes, spec.limits.pids, spec.limits.io_read_bps),
            (Some(2_000_000_000), None, Some(10 << 20))
        );
        assert_eq!(
            (spec.nics.len(), spec.nics[0].rate_in, spec.nics[0].ip6),
            (2, Some(50_000_000), Addressing::None)
        );
        assert_eq!((spec.publish[0].host, spec.publish[1].protocol), (8080, Protocol::Udp));
        assert_eq!((spec.mounts[0].target.as_str(), spec.mounts[0].read_only), ("/data", true));
        assert_eq!((spec.mounts[1].is_tmpfs(), spec.mounts[1].size_bytes), (true, Some(1 << 20)));
        assert_eq!(spec.env, [("A".to_owned(), "1=2".to_owned())]);
        assert_eq!((spec.tags, spec.restart), (vec!["a".to_owned(), "b".to_owned()], RestartPolicy::Always));
        assert_eq!((spec.autostart_order, spec.autostart_delay_seconds), (Some(3), 20));
        assert!(spec.autostart && spec.nesting && request.start);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (flags, named) in [
            ("--memory 12Q", "--memory is wrong"),
            ("--nic speed=1", "--nic is wrong"),
            ("--publish 80", "--publish"),
            ("--mount a:b", "--mount"),
            ("--mount /srv:/proc", "--mount"),
            ("--env =x", "--env"),
            ("--restart often", "--restart"),
            ("--ssh-key /nonexistent/key", "--ssh-key is wrong"),
        ] {
            let error = parse(&format!("web --template local:x {flags}")).expect_err(flags);
            assert!(error.contains(named), "{flags}: {error}");
        }
        assert!(parse("1234 --template local:x").is_err());
    }

    #[test]
    fn rules_are_one_argument_each() {
        let words = [
            "create",
            "web",
            "--template",
            "local:x",
            "--firewall",
            "allow in tcp 443",
            "--firewall",
            "deny in",
        ];
        let request = request(Line::try_parse_from(words).expect("good flags").args).unwrap_or_else(|failure| panic!("{}", failure.what));
        let rules: Vec<String> = request.spec.firewall.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["allow in tcp 443", "deny in"]);
        let words = ["create", "web", "--template", "local:x", "--firewall", "deny in 22"];
        let error = Line::try_parse_from(words).expect_err("no rule").to_string();
        assert!(error.contains("--firewall") && error.contains("a port needs tcp or udp"), "{error}");
    }

    #[test]
    fn no_nic_is_a_word() {
        assert_eq!(parse("web --template local:x --nic none").expect("good flags").spec.nics, []);
    }
}
