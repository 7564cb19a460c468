//! Changes of an existing container: `set` and `rename`. The changed configuration is judged as a whole, written, and
//! then made true as far as that is possible while the container runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::access::Permission;
use model::container::{Action, ContainerDetail, RestartPolicy, UpdateRequest};
use model::error::ErrorCode;
use model::{ContainerId, ContainerName, ContainerSpec, ContainerState};

use super::board::Live;
use super::create::normal;
use super::row::{ContainerRow, key};
use super::{Containers, changed_meanwhile, is_live, mounts, name_taken, takes_limits};
use crate::caller::Caller;
use crate::engine;
use crate::error::{Error, Result};

const LIMITS: [&str; 10] = [
    "cpus",
    "cpu-weight",
    "cpuset",
    "memory",
    "memory-high",
    "swap",
    "pids",
    "io-read",
    "io-write",
    "disk",
];

fn check_etag(live: &Live, if_match: Option<&str>) -> Result<()> {
    if if_match.is_some_and(|etag| etag.trim_matches('"') != live.rev.to_string()) {
        return Err(changed_meanwhile());
    }
    Ok(())
}

impl Containers {
    /// Changes a configuration. Limits take effect at once; what needs a restart is listed in `pending_restart`.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Stale` when `if_match` is not the present etag, `Invalid` with the key, or what the
    /// policy refuses. When the host refuses a part of it nothing is changed.
    pub async fn update(&self, caller: &Caller, name: &str, request: UpdateRequest, if_match: Option<&str>) -> Result<ContainerDetail> {
        caller.require(Permission::Containers)?;
        let outcome = self.try_update(caller, name, &request, if_match).await;
        match &outcome {
            Ok((before, after)) => {
                let detail = differences(&before.row.spec, &after.row.spec);
                self.parts.access.record(caller, "container.update", name, &detail, true).await;
            }
            Err(error) => self.record(caller, "container.update", name, error),
        }
        let (_, after) = outcome?;
        Ok(after.detail())
    }

    async fn try_update(&self, caller: &Caller, name: &str, request: &UpdateRequest, if_match: Option<&str>) -> Result<(Live, Live)> {
        let before = self.find_for(name, Action::Update)?;
        let id = before.row.id;
        check_etag(&before, if_match)?;
        let mut spec = before.row.spec.clone();
        apply(&mut spec, &request.set)?;
        let spec = normal(spec);
        self.judge(caller, id, &spec, Some(&before.row.spec), None).await?;
        if is_live(&before) {
            mounts::judge_live(&before, &spec)?;
        }
        self.write_change(&before, spec).await?;
        if let Err(error) = self.make_true(&before).await {
            self.take_back(&before).await?;
            return Err(error);
        }
        let after = self.board.get(id).ok_or_else(changed_meanwhile)?;
        Ok((before, after))
    }

    /// Writes the changed row together with the claims of changed NICs.
    async fn write_change(&self, before: &Live, spec: ContainerSpec) -> Result<()> {
        let id = before.row.id;
        let mut row = ContainerRow::clone(&before.row);
        let nics_changed = spec.nics != row.spec.nics;
        row.spec = spec;
        if !nics_changed {
            return self.save_row(before, row).await;
        }
        let _one_at_a_time = self.allocating.lock().await;
        let mut assignment = self.parts.networks.assign(id, &row.spec.nics, &before.row.nics, &self.trashed().await?).await?;
        if is_live(before) {
            assignment.keep_old();
        }
        row.nics.clone_from(&assignment.nics);
        let key = key::spec(id);
        let edit = self.parts.facts.change().unchanged(&key, before.rev).put(&key, &row);
        let rev = assignment.write(id, edit).commit().await?.ok_or_else(changed_meanwhile)?;
        self.board.change(id, |live| {
            live.stat.nics_changed |= is_live(live);
            live.row = Arc::new(row);
            live.rev = rev;
        });
        self.save_stat(id).await
    }

    /// Brings limits, the policy, published ports, rules, the manifest and mounts up to the new row. Mounts come last: the
    /// container keeps them until it stops, so that nothing may fail after them.
    async fn make_true(&self, before: &Live) -> Result<()> {
        let id = before.row.id;
        self.follow_limits(before).await?;
        self.follow_policy(before).await?;
        self.follow_network(before).await?;
        self.write_manifest(id).await?;
        match self.board.get(id) {
            Some(live) if is_live(&live) => self.add_mounts(before, &live).await,
            _ => Ok(()),
        }
    }

    /// What makes a change true was refused: the row says again what it said before, and whatever had followed the change
    /// follows it back. What cannot be taken back keeps nothing else from it.
    async fn take_back(&self, before: &Live) -> Result<()> {
        let id = before.row.id;
        let refused = self.board.get(id).ok_or_else(changed_meanwhile)?;
        self.write_back_spec(id, before).await?;
        for outcome in [
            self.follow_limits(&refused).await,
            self.follow_policy(&refused).await,
            self.follow_network(&refused).await,
            self.write_manifest(id).await,
        ] {
            if let Err(error) = outcome {
                tracing::error!(container.id = %id, %error, "a part of a refused change could not be taken back");
            }
        }
        Ok(())
    }

    /// Gives the running container the limits of its row, where they differ from what it had.
    async fn follow_limits(&self, before: &Live) -> Result<()> {
        let id = before.row.id;
        let live = self.board.get(id).ok_or_else(changed_meanwhile)?;
        let limits = live.row.spec.limits.clone();
        let has_them = live.stat.run.as_ref().is_some_and(|run| run.limits == limits);
        if limits == before.row.spec.limits || has_them || !takes_limits(&live) {
            return Ok(());
        }
        let asked = limits.clone();
        engine::call(&self.parts.engine, move |engine| engine.set_limits(id, &asked)).await?;
        self.board.change_marked(id, |live| {
            live.stat.run.iter_mut().for_each(|run| run.limits.clone_from(&limits));
            ((), Some("limits"))
        });
        self.save_stat(id).await
    }

    async fn follow_policy(&self, before: &Live) -> Result<()> {
        let live = self.board.get(before.row.id).ok_or_else(changed_meanwhile)?;
        if live.row.spec.restart != before.row.spec.restart && hears_of_policy(&live) {
            return self.tell_policy(before.row.id).await;
        }
        Ok(())
    }

    async fn follow_network(&self, before: &Live) -> Result<()> {
        let live = self.board.get(before.row.id).ok_or_else(changed_meanwhile)?;
        let (now, then) = (&live.row, &before.row);
        if now.spec.publish != then.spec.publish || now.spec.firewall != then.spec.firewall || now.nics != then.nics {
            return self.apply_network_for(now.id).await;
        }
        Ok(())
    }

    /// Tells the running container's shim what its row says about starting again.
    pub(super) async fn tell_policy(&self, id: ContainerId) -> Result<()> {
        let policy = self.board.get(id).ok_or_else(changed_meanwhile)?.row.spec.restart;
        engine::call(&self.parts.engine, move |engine| engine.set_restart(id, policy)).await?;
        self.board.change(id, |live| live.stat.run.iter_mut().for_each(|run| run.restart = policy));
        self.save_stat(id).await
    }

    /// The row says again what is true. Claims of NICs stay until the next start.
    async fn write_back_spec(&self, id: ContainerId, before: &Live) -> Result<()> {
        let live = self.board.get(id).ok_or_else(changed_meanwhile)?;
        let mut row = ContainerRow::clone(&live.row);
        row.spec = before.row.spec.clone();
        row.nics.clone_from(&before.row.nics);
        self.save_row(&live, row).await?;
        self.board.change(id, |live| live.stat.nics_changed = true);
        self.save_stat(id).await
    }

    /// Gives a stopped container another name.
    ///
    /// # Errors
    /// `NotAllowed`, `NotFound`, `Stale` when `if_match` is not the present etag, `Invalid` when it is no name, `Conflict`
    /// when it is taken or the container runs.
    pub async fn rename(&self, caller: &Caller, name: &str, new: &str, if_match: Option<&str>) -> Result<ContainerDetail> {
        caller.require(Permission::Containers)?;
        let outcome = self.try_rename(name, new, if_match).await;
        match &outcome {
            Ok(_) => {
                self.parts
                    .access
                    .record(caller, "container.rename", name, &format!("name: {name} -> {new}"), true)
                    .await
            }
            Err(error) => self.record(caller, "container.rename", name, error),
        }
        Ok(outcome?.detail())
    }

    async fn try_rename(&self, name: &str, new: &str, if_match: Option<&str>) -> Result<Live> {
        let live = self.find_for(name, Action::Rename)?;
        check_etag(&live, if_match)?;
        let new: ContainerName = new.parse().map_err(|error: model::id::IdError| Error::invalid("name", error.to_string()))?;
        let id = live.row.id;
        if new == live.row.spec.name {
            return Ok(live);
        }
        if !self.board.promise(new.as_str()) {
            return Err(name_taken(&new));
        }
        let renamed = self.write_name(&live, &new).await;
        self.board.fulfil(new.as_str());
        renamed?;
        self.tell_names();
        self.write_manifest(id).await?;
        self.apply_network_for(id).await?;
        self.board.get(id).ok_or_else(changed_meanwhile)
    }

    async fn write_name(&self, live: &Live, new: &ContainerName) -> Result<()> {
        let mut row = ContainerRow::clone(&live.row);
        row.spec.name = new.clone();
        let (spec, name) = (key::spec(row.id), key::name(new));
        let edit = self
            .parts
            .facts
            .change()
            .unchanged(&spec, live.rev)
            .absent(&name)
            .put(spec, &row)
            .put(name, &row.id);
        let committed = edit.delete(key::name(&live.row.spec.name)).commit().await?;
        let Some(rev) = committed else {
            let taken = self.parts.facts.get::<ContainerId>(&key::name(new)).await?.is_some();
            return Err(if taken { name_taken(new) } else { changed_meanwhile() });
        };
        self.board.change(row.id, |live| {
            live.row = Arc::new(row);
            live.rev = rev;
        });
        Ok(())
    }

    /// Writes the manifest beside the container anew.
    pub(super) async fn write_manifest(&self, id: ContainerId) -> Result<()> {
        let manifest = self.board.get(id).filter(|live| live.row.made).and_then(|live| live.row.manifest());
        match manifest {
            Some(manifest) => engine::call(&self.parts.engine, move |engine| engine.write_manifest(&manifest)).await,
            None => Ok(()),
        }
    }
}

/// Whether there is a shim to tell how the container starts again.
pub(super) fn hears_of_policy(live: &Live) -> bool {
    is_live(live)
        && live
            .observed
            .as_ref()
            .is_some_and(|observed| !observed.degraded && observed.state != ContainerState::Unknown)
}

/// Applies KEY=VALUE pairs. A key that `create` takes many times replaces the whole list, which its repeats then extend.
///
/// # Errors
/// `Invalid` with the key.
fn apply(spec: &mut ContainerSpec, set: &[(String, String)]) -> Result<()> {
    let mut replaced = BTreeSet::new();
    for (key, value) in set {
        let is_first = replaced.insert(key.as_str());
        match key.as_str() {
            limit if LIMITS.contains(&limit) => spec.limits.set(limit, value)?,
            "hostname" => spec.hostname = Some(value.clone()).filter(|value| value != "none"),
            "autostart" => spec.autostart = switch(key, value)?,
            "autostart-order" => spec.autostart_order = if value == "none" { None } else { Some(number(key, value)?) },
            "autostart-delay" => spec.autostart_delay_seconds = if value == "none" { 0 } else { number(key, value)? },
            "nesting" => spec.nesting = switch(key, value)?,
            "restart" => spec.restart = restart_policy(value)?,
            "notes" => spec.notes.clone_from(value),
            "tag" | "tags" => list(&mut spec.tags, is_first, value, |tag| Ok(tag.to_owned()))?,
            "publish" => list(&mut spec.publish, is_first, value, |port| {
                port.parse().map_err(|why| Error::invalid("publish", why))
            })?,
            "firewall" => list(&mut spec.firewall, is_first, value, |rule| {
                rule.parse().map_err(|why: String| Error::invalid("firewall", why))
            })?,
            "env" => one(&mut spec.env, is_first, value, pair_of)?,
            "nic" => one(&mut spec.nics, is_first, value, |nic| nic.parse().map_err(|why| Error::invalid("nic", why)))?,
            "mount" => one(&mut spec.mounts, is_first, value, |mount| {
                mount.parse().map_err(|why| Error::invalid("mount", why))
            })?,
            other => return Err(unknown_key(other)),
        }
    }
    Ok(())
}

fn unknown_key(key: &str) -> Error {
    match key {
        "name" => Error::invalid("key", "the name is not a setting").hint("use `berth rename`"),
        "template" | "ssh-key" | "password" => Error::invalid("key", format!("`{key}` matters only when a container is created")),
        "volume" => {
            let mut error = Error::new(ErrorCode::Unsupported, "volumes are not supported in this version");
            error.body.field = Some("volume".into());
            error
        }
        _ => Error::invalid("key", format!("`{key}` is not a setting of a container")).hint("use a long flag of `berth create`, for example memory=256M"),
    }
}

fn switch(key: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "on" | "yes" | "1" | "" => Ok(true),
        "false" | "off" | "no" | "0" | "none" => Ok(false),
        _ => Err(Error::invalid(key, format!("`{value}` is neither true nor false"))),
    }
}

fn number(key: &str, value: &str) -> Result<u32> {
    value.parse().map_err(|_| Error::invalid(key, format!("`{value}` is not a whole number")))
}

fn restart_policy(value: &str) -> Result<RestartPolicy> {
    match value {
        "no" | "none" => Ok(RestartPolicy::No),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        _ => Err(Error::invalid(
            "restart",
            format!("`{value}` is not a restart policy; use no, on-failure or always"),
        )),
    }
}

/// Values that hold no comma: several may stand in one.
fn list<T>(into: &mut Vec<T>, is_first: bool, value: &str, parse: impl Fn(&str) -> Result<T>) -> Result<()> {
    if is_first {
        into.clear();
    }
    if value != "none" {
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            into.push(parse(part)?);
        }
    }
    Ok(())
}

/// Values that may hold commas: one at a time.
fn one<T>(into: &mut Vec<T>, is_first: bool, value: &str, parse: impl Fn(&str) -> Result<T>) -> Result<()> {
    if is_first {
        into.clear();
    }
    if value != "none" {
        into.push(parse(value)?);
    }
    Ok(())
}

fn pair_of(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Error::invalid("env", format!("`{text}` is not KEY=VALUE")))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Field by field before and after, for the audit log. Values of the environment may be secrets and are not told.
fn differences(before: &ContainerSpec, after: &ContainerSpec) -> String {
    let fields = |spec: &ContainerSpec| -> serde_json::Map<String, serde_json::Value> {
        let mut shown = spec.clone();
        shown.env.iter_mut().for_each(|(_, value)| "***".clone_into(value));
        match serde_json::to_value(&shown) {
            Ok(serde_json::Value::Object(mut map)) => {
                if let Some(serde_json::Value::Object(limits)) = map.remove("limits") {
                    map.extend(limits);
                }
                map
            }
            _ => serde_json::Map::new(),
        }
    };
    let (before, after) = (fields(before), fields(after));
    let changed = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let null = serde_json::Value::Null;
    let lines: Vec<String> = changed
        .map(|(key, value)| format!("{key}: {} -> {value}", before.get(key).unwrap_or(&null)))
        .collect();
    if lines.is_empty() {
        "nothing changed, or only values of the environment".into()
    } else {
        lines.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        serde_json::from_str(r#"{"name":"web","template":"images:debian/13","tags":["old"],"env":[["A","1"]]}"#).expect("a spec")
    }

    fn set(pairs: &[(&str, &str)]) -> Result<ContainerSpec> {
        let mut spec = spec();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        apply(&mut spec, &pairs).map(|()| spec)
    }

    #[test]
    fn repeats_extend_what_the_first_replaced() {
        let spec = set(&[("tag", "a"), ("tag", "b,c"), ("env", "X=1=2"), ("env", "Y=")]).expect("good pairs");
        assert_eq!(spec.tags, ["a", "b", "c"]);
        assert_eq!(spec.env, [("X".into(), "1=2".into()), ("Y".into(), String::new())]);
    }

    #[test]
    fn order_and_delay_of_the_autostart_can_be_set_and_taken_away() {
        let chosen = |spec: ContainerSpec| (spec.autostart_order, spec.autostart_delay_seconds);
        let pairs = [("autostart-order", "3"), ("autostart-delay", "20")];
        assert_eq!(chosen(set(&pairs).expect("good pairs")), (Some(3), 20));
        let all = [pairs, pairs.map(|(key, _)| (key, "none"))].concat();
        assert_eq!(chosen(set(&all).expect("good pairs")), (None, 0));
    }

    #[test]
    fn none_empties() {
        let spec = set(&[
            ("tag", "none"),
            ("env", "none"),
            ("nic", "none"),
            ("mount", "none"),
            ("memory", "none"),
            ("hostname", "none"),
        ])
        .expect("good pairs");
        assert!(spec.tags.is_empty() && spec.env.is_empty() && spec.nics.is_empty() && spec.hostname.is_none());
    }

    #[test]
    fn a_bad_pair_names_its_key() {
        for (key, value, field) in [
            ("memory", "much", "memory"),
            ("autostart", "maybe", "autostart"),
            ("restart", "sometimes", "restart"),
            ("autostart-order", "first", "autostart-order"),
            ("autostart-delay", "-1", "autostart-delay"),
            ("publish", "80", "publish"),
            ("firewall", "deny in 22", "firewall"),
            ("env", "novalue", "env"),
            ("nic", "vlan=0", "nic"),
            ("mount", "/srv", "mount"),
            ("mount", "/srv:data", "mount"),
            ("name", "x", "key"),
            ("colour", "red", "key"),
        ] {
            let error = set(&[(key, value)]).expect_err("a bad pair");
            assert_eq!(error.body.field.as_deref(), Some(field), "{key}={value}: {error}");
        }
    }

    #[test]
    fn the_audit_tells_no_secret() {
        let after = set(&[("env", "TOKEN=secret"), ("memory", "64M")]).expect("good pairs");
        let told = differences(&spec(), &after);
        assert!(told.contains("memory_bytes: null -> 67108864") && !told.contains("secret"), "{told}");
    }
}
