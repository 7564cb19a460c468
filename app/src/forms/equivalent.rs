//! The same request as an API call and as a command line. Secrets are never written out.

use model::container::{CreateRequest, RestartPolicy};
use model::network::{Addressing, NicSpec};
use model::{ContainerSpec, Limits};
use serde_json::Value;

use super::limits::{KEYS, text_of};
use crate::json;

/// `POST /api/v1/containers` with its body: what differs from the defaults.
#[must_use]
pub fn api_call(request: &CreateRequest) -> String {
    let mut shown = request.clone();
    shown.password = shown.password.map(|_| "********".to_owned());
    let body = serde_json::to_value(&shown).map(|body| without_defaults(body, &untouched(&request.spec)));
    let body = body.map(|body| json::pretty(&body)).unwrap_or_default();
    format!("POST /api/v1/containers\n\n{body}")
}

/// The same container with nothing asked for.
fn untouched(spec: &ContainerSpec) -> Value {
    let request = CreateRequest {
        spec: ContainerSpec::new(spec.name.clone(), spec.template.clone()),
        password: None,
        start: false,
    };
    let mut value = serde_json::to_value(request).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("name");
        fields.remove("template");
    }
    value
}

fn without_defaults(value: Value, default: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let differs = |(key, value): &(String, Value)| default.get(key) != Some(value);
            let kept = fields.into_iter().filter(differs).map(|(key, value)| {
                let inner = default.get(&key).cloned().unwrap_or_default();
                (key, without_defaults(value, &inner))
            });
            Value::Object(kept.collect())
        }
        other => other,
    }
}

/// `berth create ...`.
#[must_use]
pub fn command(request: &CreateRequest) -> String {
    let spec = &request.spec;
    let mut words = vec![
        "berth create".to_owned(),
        spec.name.to_string(),
        format!("--template {}", quoted(&spec.template.to_string())),
    ];
    let mut flag = |name: &str, value: &str| words.push(format!("--{name} {}", quoted(value)));
    for key in KEYS {
        let (asked, default) = (text_of(&spec.limits, key), text_of(&Limits::default(), key));
        if asked != default {
            flag(key, if asked.is_empty() { "none" } else { &asked });
        }
    }
    spec.nics.iter().map(nic).filter(|nic| !nic.is_empty()).for_each(|text| flag("nic", &text));
    spec.publish.iter().for_each(|ports| flag("publish", &ports.to_string()));
    spec.env.iter().for_each(|(key, value)| flag("env", &format!("{key}={value}")));
    spec.hostname.iter().for_each(|hostname| flag("hostname", hostname));
    spec.ssh_keys.iter().for_each(|_| flag("ssh-key", "key.pub"));
    match spec.restart {
        RestartPolicy::No => {}
        RestartPolicy::OnFailure => flag("restart", "on-failure"),
        RestartPolicy::Always => flag("restart", "always"),
    }
    spec.tags.iter().for_each(|tag| flag("tag", tag));
    let switches = [
        ("--password-stdin", request.password.is_some()),
        ("--autostart", spec.autostart),
        ("--nesting", spec.nesting),
        ("--start", request.start),
    ];
    words.extend(switches.into_iter().filter(|(_, is_on)| *is_on).map(|(word, _)| word.to_owned()));
    words.join(" ")
}

/// What a NIC asks for besides the defaults.
fn nic(nic: &NicSpec) -> String {
    let mut pairs = Vec::new();
    if let Addressing::Static(address) = nic.ip {
        pairs.push(format!("ip={address}"));
    }
    pairs.extend(nic.gw.map(|gateway| format!("gw={gateway}")));
    match nic.ip6 {
        Addressing::Automatic => {}
        Addressing::Static(address) => pairs.push(format!("ip6={address}")),
        Addressing::None => pairs.push("ip6=none".to_owned()),
    }
    pairs.extend(nic.mtu.map(|mtu| format!("mtu={mtu}")));
    pairs.extend(nic.rate_in.map(|rate| format!("rate-in={rate}")));
    pairs.extend(nic.rate_out.map(|rate| format!("rate-out={rate}")));
    pairs.extend(nic.mac.iter().map(|mac| format!("mac={mac}")));
    pairs.join(",")
}

/// As a shell takes it literally.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forms::create::{initial, parse};

    fn request(changes: &'static [(&'static str, &'static str)]) -> CreateRequest {
        let typed = |key: &str| match changes.iter().find(|(field, _)| *field == key) {
            Some((_, value)) => (*value).to_owned(),
            None if key == "name" => "web".to_owned(),
            None if key == "template" => "images:debian/13".to_owned(),
            None => initial(key),
        };
        parse(&typed, true).unwrap()
    }

    #[test]
    fn the_command_names_what_was_asked_for() {
        let asked = request(&[
            ("memory", "512M"),
            ("pids", ""),
            ("env", "GREETING=it's me"),
            ("tag", "web"),
            ("publish", "53:53/udp"),
            ("password", "a long secret"),
        ]);
        assert_eq!(
            command(&asked),
            r"berth create web --template images:debian/13 --memory 512M --pids none --publish 53:53/udp --env 'GREETING=it'\''s me' --tag web --password-stdin --start"
        );
    }

    #[test]
    fn the_call_reads_back_as_the_request() {
        let asked = request(&[("memory", "512M"), ("pids", ""), ("network", "none")]);
        let text = api_call(&asked);
        let (_, body) = text.split_once("\n\n").unwrap();
        assert_eq!(serde_json::from_str::<CreateRequest>(body).unwrap(), asked);
        assert!(!body.contains("ssh_keys"), "{body}");
    }

    #[test]
    fn no_secret_is_shown() {
        let asked = request(&[("password", "correct horse battery")]);
        assert!(!api_call(&asked).contains("horse") && !command(&asked).contains("horse"));
    }
}
