//! The create form: what was typed into a request, with what is wrong beside each field. Field names are the long flags
//! of `berth create`, so that the server's refusals land on their field too.

use std::str::FromStr;

use model::container::{CreateRequest, RestartPolicy};
use model::network::{NicSpec, Publish};
use model::{ContainerName, ContainerSpec, Limits, TemplateRef};

use super::limits::{KEYS, error_of, text_of, value_of};
use super::problems::Problems;

/// The text fields besides the limits.
pub const FIELDS: [&str; 19] = [
    "template", "name", "hostname", "network", "ip", "gw", "ip6-mode", "ip6", "rate-in", "rate-out", "mtu", "mac", "publish", "env", "tag", "ssh-key",
    "password", "restart", "notes",
];
/// The boxes to tick: `yes` or empty.
pub const TICKS: [&str; 2] = ["autostart", "nesting"];

/// What stands in a field at first.
#[must_use]
pub fn initial(field: &str) -> String {
    match field {
        "network" => "dhcp".to_owned(),
        "ip6-mode" => "auto".to_owned(),
        "restart" => "no".to_owned(),
        key => text_of(&Limits::default(), key),
    }
}

/// Reads the form.
///
/// # Errors
/// What is wrong, by field.
pub fn parse(typed: &impl Fn(&str) -> String, start: bool) -> Result<CreateRequest, Problems> {
    let mut problems = Problems::default();
    let name = problems.keep("name", typed("name").trim().parse::<ContainerName>());
    let template = problems.keep("template", typed("template").trim().parse::<TemplateRef>());
    let limits = limits(typed, &mut problems);
    let nics = nics(typed, &mut problems);
    let publish = words(&typed("publish")).map(|word| word.parse::<Publish>()).collect::<Result<Vec<_>, _>>();
    let publish = problems.keep("publish", publish);
    let env = problems.keep("env", env(&typed("env")));
    let restart = problems.keep("restart", restart(&typed("restart")));
    let (Some(name), Some(template), Some(publish), Some(env), Some(restart), true) = (name, template, publish, env, restart, problems.is_empty()) else {
        return Err(problems);
    };
    let spec = ContainerSpec {
        name,
        hostname: filled(&typed("hostname")),
        template,
        limits,
        nics,
        publish,
        firewall: Vec::new(),
        mounts: Vec::new(),
        env,
        ssh_keys: lines(&typed("ssh-key")),
        autostart: !typed("autostart").is_empty(),
        autostart_order: None,
        autostart_delay_seconds: 0,
        restart,
        nesting: !typed("nesting").is_empty(),
        tags: words(&typed("tag")).map(str::to_owned).collect(),
        notes: typed("notes"),
    };
    let password = Some(typed("password")).filter(|password| !password.is_empty());
    Ok(CreateRequest { spec, password, start })
}

fn limits(typed: &impl Fn(&str) -> String, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    for key in KEYS {
        let text = typed(key);
        match error_of(key, &text) {
            Some(message) => problems.add(key, message),
            None => {
                problems.keep(key, limits.set(key, &value_of(&text)).map_err(|error| error.message));
            }
        }
    }
    limits
}

/// One NIC, or none.
fn nics(typed: &impl Fn(&str) -> String, problems: &mut Problems) -> Vec<NicSpec> {
    let network = typed("network");
    if network == "none" {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    if network == "static" {
        pairs.push(("ip", typed("ip")));
        pairs.extend(filled(&typed("gw")).map(|gateway| ("gw", gateway)));
    }
    match typed("ip6-mode").as_str() {
        "static" => pairs.push(("ip6", typed("ip6"))),
        "none" => pairs.push(("ip6", "none".to_owned())),
        _ => {}
    }
    pairs.extend(
        ["rate-in", "rate-out", "mtu", "mac"]
            .into_iter()
            .filter_map(|key| filled(&typed(key)).map(|value| (key, value))),
    );
    let mut text = Vec::new();
    for (key, value) in pairs {
        let pair = format!("{key}={}", value.trim());
        if problems.keep(key, NicSpec::from_str(&pair)).is_some() {
            text.push(pair);
        }
    }
    problems.keep("nic", NicSpec::from_str(&text.join(","))).into_iter().collect()
}

fn env(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |line: String| match line.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{line}` is not NAME=value")),
    };
    lines(text).into_iter().map(pair).collect()
}

fn restart(text: &str) -> Result<RestartPolicy, String> {
    match text {
        "no" => Ok(RestartPolicy::No),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        other => Err(format!("`{other}` is not no, on-failure or always")),
    }
}

fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter_map(filled).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\n', '\r', '\t']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::network::Addressing;

    fn form(changes: &[(&str, &str)]) -> impl Fn(&str) -> String {
        let changes: Vec<(String, String)> = changes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        move |key: &str| {
            let changed = changes.iter().find(|(field, _)| field == key).map(|(_, value)| value.clone());
            changed.unwrap_or_else(|| match key {
                "name" => "web".to_owned(),
                "template" => "images:debian/13".to_owned(),
                _ => initial(key),
            })
        }
    }

    #[test]
    fn an_untouched_form_asks_for_the_defaults() {
        let request = parse(&form(&[]), true).unwrap();
        assert_eq!(request.spec.limits, Limits::default());
        assert_eq!(request.spec.nics, NicSpec::default_list());
        assert!(request.start && request.password.is_none());
    }

    #[test]
    fn each_problem_stands_beside_its_field() {
        let wrong = [
            ("name", "Web"),
            ("template", ""),
            ("memory", "1M"),
            ("network", "static"),
            ("ip", ""),
            ("publish", "80"),
            ("env", "x"),
            ("mtu", "9"),
        ];
        let problems = parse(&form(&wrong), true).unwrap_err();
        for field in ["name", "template", "memory", "ip", "publish", "env", "mtu"] {
            assert!(problems.of(field).is_some(), "{field}");
        }
        assert!(problems.of("swap").is_none());
    }

    #[test]
    fn lists_are_read_as_people_write_them() {
        let request = parse(
            &form(&[
                ("publish", "8080:80, 53:53/udp"),
                ("tag", "web  prod"),
                ("env", "A=1\n\nB=x=y\r\n"),
                ("ssh-key", " ssh-ed25519 AAAA me \n"),
            ]),
            false,
        )
        .unwrap();
        assert_eq!(request.spec.publish.len(), 2);
        assert_eq!(request.spec.tags, ["web", "prod"]);
        assert_eq!(request.spec.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]);
        assert_eq!(request.spec.ssh_keys, ["ssh-ed25519 AAAA me"]);
    }

    #[test]
    fn the_network_may_be_static_or_absent() {
        let fixed = parse(
            &form(&[("network", "static"), ("ip", "10.213.0.5/22"), ("gw", "10.213.0.1"), ("ip6-mode", "none")]),
            true,
        )
        .unwrap();
        let nic = fixed.spec.nics.first().unwrap();
        assert!(matches!(nic.ip, Addressing::Static(_)) && nic.gw.is_some());
        assert_eq!(nic.ip6, Addressing::None);
        assert!(parse(&form(&[("network", "none"), ("ip", "nonsense")]), true).unwrap().spec.nics.is_empty());
    }

    #[test]
    fn every_field_has_a_first_value_that_is_right() {
        let problems = parse(&|field: &str| initial(field), true).unwrap_err();
        assert_eq!(problems.fields().collect::<Vec<_>>(), ["name", "template"]);
    }
}
