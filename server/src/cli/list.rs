//! `berth list | show | set | rename`: what exists, and its settings.

use model::container::{ContainerDetail, ContainerSpec, ContainerState, ContainerSummary, ExitRecord, UpdateRequest};
use model::id::ContainerName;

use super::Session;
use super::client::{query, segment};
use super::create::pair;
use super::output::{moment, size, words};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this state
    #[arg(long, value_name = "S", value_parser = state)]
    state: Option<ContainerState>,
    /// Only with this tag
    #[arg(long, value_name = "T")]
    tag: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    name: ContainerName,
}

#[derive(Debug, clap::Args)]
pub struct SetArgs {
    name: ContainerName,
    /// A long flag of `create` and its value; none = unlimited
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct RenameArgs {
    name: ContainerName,
    new: ContainerName,
}

fn state(text: &str) -> Result<ContainerState, String> {
    let found = ContainerState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is not a state; use {}", ContainerState::ALL.map(ContainerState::as_str).join(", ")))
}

fn path(name: &ContainerName) -> String {
    format!("/api/v1/containers/{}", segment(name.as_str()))
}

/// Lists containers by name.
pub async fn list(session: &Session, args: &Args) -> Result<(), Failure> {
    let pairs = [("state", args.state.map(|state| state.as_str().to_owned())), ("tag", args.tag.clone())];
    let containers: Vec<ContainerSummary> = session.client.get(&format!("/api/v1/containers{}", query(&pairs))).await?;
    session
        .out
        .list(&containers, &["NAME", "STATE", "IPV4", "IPV6", "CPUS", "MEMORY", "TEMPLATE", "TAGS"], cells)
}

/// Shows one container.
pub async fn show(session: &Session, args: &ShowArgs) -> Result<(), Failure> {
    let detail: ContainerDetail = session.client.get(&path(&args.name)).await?;
    session.out.one(&detail, fields)
}

/// Changes settings; the console knows the keys and judges the values.
pub async fn set(session: &Session, args: &SetArgs) -> Result<(), Failure> {
    let request = UpdateRequest { set: args.set.clone() };
    let detail: ContainerDetail = session.client.patch(&path(&args.name), &request).await?;
    let waiting = match detail.pending_restart.as_slice() {
        [] => String::new(),
        keys => format!("; {} after a restart", keys.join(", ")),
    };
    session.out.done(&detail, &format!("changed {}{waiting}", args.name))
}

/// Gives it another name.
pub async fn rename(session: &Session, args: &RenameArgs) -> Result<(), Failure> {
    let detail: ContainerDetail = session
        .client
        .post(&format!("{}/rename", path(&args.name)), &serde_json::json!({ "name": args.new }))
        .await?;
    session.out.done(&detail, &format!("renamed {} to {}", args.name, args.new))
}

fn state_of(one: &ContainerSummary) -> String {
    format!("{}{}", one.state.as_str(), if one.degraded { " (degraded)" } else { "" })
}

fn cells(one: &ContainerSummary) -> Vec<String> {
    let limit = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        one.name.to_string(),
        state_of(one),
        words(&one.ipv4),
        words(&one.ipv6),
        limit(one.limits.cpus.map(|cpus| cpus.to_string())),
        limit(one.limits.memory_bytes.map(size)),
        limit(one.template.as_ref().map(|template| template.reference.to_string())),
        words(&one.tags),
    ]
}

fn fields(detail: &ContainerDetail) -> Vec<(&'static str, String)> {
    let (one, limits) = (&detail.summary, &detail.summary.limits);
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let bytes = |n: Option<u64>| n.map(size).unwrap_or_default();
    let nics = detail.nics.iter().map(|nic| {
        let addresses: Vec<&str> = [&nic.ipv4, &nic.ipv6].into_iter().flatten().map(String::as_str).collect();
        format!("{} on {} {} {}", nic.name, nic.bridge, nic.mac, addresses.join(" "))
    });
    vec![
        ("name", one.name.to_string()),
        ("id", one.id.to_string()),
        ("state", state_of(one)),
        ("pid", one.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        ("template", detail.spec.template.to_string()),
        ("hostname", detail.spec.hostname.clone().unwrap_or_default()),
        ("cpus", limits.cpus.map(|cpus| cpus.to_string()).unwrap_or_default()),
        ("cpu-weight", limits.cpu_weight.map(|weight| weight.to_string()).unwrap_or_default()),
        ("cpuset", limits.cpuset.clone().unwrap_or_default()),
        ("memory", bytes(limits.memory_bytes)),
        ("memory-high", bytes(limits.memory_high_bytes)),
        ("swap", bytes(limits.swap_bytes)),
        ("pids", number(limits.pids)),
        ("disk", bytes(limits.disk_bytes)),
        ("io-read", bytes(limits.io_read_bps)),
        ("io-write", bytes(limits.io_write_bps)),
        ("nics", nics.collect::<Vec<_>>().join(", ")),
        ("publish", listed(&detail.spec.publish)),
        ("firewall", listed(&detail.spec.firewall)),
        ("mounts", listed(&detail.spec.mounts)),
        (
            "host ids",
            format!(
                "{} to {}",
                detail.id_range.0,
                detail.id_range.0.saturating_add(detail.id_range.1).saturating_sub(1)
            ),
        ),
        ("restart", restart(detail)),
        ("autostart", autostart(&detail.spec)),
        ("nesting", if detail.spec.nesting { "yes" } else { "no" }.to_owned()),
        ("tags", one.tags.join(",")),
        ("created", moment(Some(one.created_at))),
        ("started", moment(one.started_at)),
        ("last exit", one.last_exit.as_ref().map(exit).unwrap_or_default()),
        ("after a restart", detail.pending_restart.join(", ")),
        ("notes", detail.spec.notes.clone()),
    ]
}

fn listed<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether it starts with the host, and when.
fn autostart(spec: &ContainerSpec) -> String {
    let order = spec.autostart_order.map(|order| format!(", order {order}")).unwrap_or_default();
    let delay = match spec.autostart_delay_seconds {
        0 => String::new(),
        seconds => format!(", the next order {seconds} s later"),
    };
    if spec.autostart { format!("yes{order}{delay}") } else { "no".to_owned() }
}

/// The policy, how often it was followed, and when it will be next.
fn restart(detail: &ContainerDetail) -> String {
    let policy = detail.spec.restart.as_str();
    let next = detail.next_start_at.map(|at| format!(", next start {}", moment(Some(at)))).unwrap_or_default();
    match detail.restarts {
        0 => policy.to_owned(),
        restarts => format!("{policy} (restarts so far: {restarts}{next})"),
    }
}

fn exit(exit: &ExitRecord) -> String {
    let reason = serde_json::to_value(exit.reason)
        .ok()
        .and_then(|reason| reason.as_str().map(|reason| reason.replace('_', " ")))
        .unwrap_or_default();
    let message = exit.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{} {reason} (code {}){message}", moment(Some(exit.at)), exit.code)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SetArgs,
    }

    #[test]
    fn keys_and_values_go_to_the_console_as_they_stand() {
        let line = Line::try_parse_from(["set", "web", "memory=256M", "cpuset=0,2", "env=A=1", "notes="]).expect("good pairs");
        let pairs: Vec<(&str, &str)> = line.args.set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("memory", "256M"), ("cpuset", "0,2"), ("env", "A=1"), ("notes", "")]);
        assert!(Line::try_parse_from(["set", "web", "memory"]).is_err());
        assert!(Line::try_parse_from(["set", "web"]).is_err());
    }

    #[test]
    fn states_are_the_words_of_the_interface() {
        assert_eq!(state("frozen"), Ok(ContainerState::Frozen));
        assert!(state("up").expect_err("no state").contains("running"));
    }
}
