//! The host as pages show it.

use leptos::prelude::*;
use model::Timestamp;
#[cfg(feature = "ssr")]
use model::engine::CheckLevel;
use model::engine::{HostCheck, HostReport};
#[cfg(feature = "ssr")]
use model::metrics::{HOST, SERIES};
use model::template::Template;
use serde::{Deserialize, Serialize};

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;
use crate::map::Map;

/// What this host is and can do.
///
/// # Errors
/// Not allowed.
#[server(name = HostReportFn, prefix = "/fn", endpoint = "host/report", protocol = Form)]
pub async fn host_report() -> ApiResult<HostReport> {
    let (control, caller) = request::request()?;
    Ok(control.host.report(&caller).await?)
}

/// What the overview tells of the host and its sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Those that found something lacking.
    pub checks: Vec<HostCheck>,
    /// Sources whose last refresh failed.
    pub failed_sources: Vec<String>,
}

/// What needs attention beside containers.
///
/// # Errors
/// Not allowed.
#[server(name = FindingsFn, prefix = "/fn", endpoint = "host/findings", protocol = Form)]
pub async fn findings() -> ApiResult<Findings> {
    let (control, caller) = request::request()?;
    let checks = control.host.report(&caller).await?.checks;
    let sources = control.templates.sources(&caller).await?;
    Ok(Findings {
        checks: checks.into_iter().filter(|check| check.level != CheckLevel::Good).collect(),
        failed_sources: sources
            .into_iter()
            .filter(|source| source.last_error.is_some())
            .map(|source| source.name.to_string())
            .collect(),
    })
}

/// The newest values of the host: series by name.
///
/// # Errors
/// Not allowed.
#[server(name = HostValuesFn, prefix = "/fn", endpoint = "host/values", protocol = Form)]
pub async fn values() -> ApiResult<Map<String, f64>> {
    let (control, caller) = request::request()?;
    let Some(row) = request::newest(&control, &caller, HOST)? else {
        return Ok(Map::new());
    };
    let fixed = SERIES.iter().map(|name| (*name).to_owned()).zip(row.values);
    Ok(fixed.chain(row.extra).filter_map(|(name, value)| Some((name, value?))).collect())
}

/// What a new console offers to begin with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recommended {
    pub templates: Vec<Template>,
    /// Sources are being read: there will be more in a moment.
    pub is_reading: bool,
}

/// At most three templates to begin with: what is here already, else small ones that everybody knows.
///
/// # Errors
/// Not allowed.
#[server(name = RecommendedFn, prefix = "/fn", endpoint = "host/recommended", protocol = Form)]
pub async fn recommended() -> ApiResult<Recommended> {
    let (control, caller) = request::request()?;
    let tasks = control.tasks.list(&caller).await?;
    Ok(Recommended {
        templates: pick(control.templates.list(&caller, &request::usable_templates()).await?, control.clock.now()),
        is_reading: tasks.iter().any(|task| reads_sources(&task.kind) && !task.state.is_over()),
    })
}

/// Whether a task of this kind reads what sources offer.
#[must_use]
pub fn reads_sources(kind: &str) -> bool {
    kind == "source.refresh"
}

/// One template per distribution: here before to be downloaded, known before unknown; of each the newest stable release
/// that is still maintained, and the smaller of two alike.
#[must_use]
pub fn pick(mut templates: Vec<Template>, now: Timestamp) -> Vec<Template> {
    let today = now.to_string().get(..10).unwrap_or_default().to_owned();
    let known = |template: &Template| KNOWN.iter().position(|os| template.os.eq_ignore_ascii_case(os)).unwrap_or(KNOWN.len());
    let special = |template: &Template| !matches!(template.variant.as_str(), "" | "default");
    templates.retain(|template| template.unusable.is_none() && template.end_of_life.as_ref().is_none_or(|end| *end >= today));
    templates.sort_by(|a, b| {
        let key = |template: &Template| (!template.downloaded, known(template), special(template));
        let size = |template: &Template| template.size_bytes.unwrap_or(u64::MAX);
        key(a)
            .cmp(&key(b))
            .then_with(|| release_of(b).cmp(&release_of(a)))
            .then_with(|| size(a).cmp(&size(b)))
            .then_with(|| b.created_at.cmp(&a.created_at))
    });
    let mut seen = crate::map::Unique::default();
    templates.retain(|template| seen.insert(template.os.to_ascii_lowercase()));
    templates.truncate(3);
    templates
}

/// Distributions that most people look for, in this order.
const KNOWN: [&str; 3] = ["alpine", "debian", "ubuntu"];

/// Releases that indexes call by name alone. One that is not here has no number, like a release under development.
const NAMED: [(&str, [u32; 2]); 12] = [
    ("buster", [10, 0]),
    ("bullseye", [11, 0]),
    ("bookworm", [12, 0]),
    ("trixie", [13, 0]),
    ("bionic", [18, 4]),
    ("focal", [20, 4]),
    ("jammy", [22, 4]),
    ("noble", [24, 4]),
    ("oracular", [24, 10]),
    ("plucky", [25, 4]),
    ("questing", [25, 10]),
    ("resolute", [26, 4]),
];

/// The number of a release: out of its own word, its alias or its title, else by its name. Empty = it has none, as what
/// is still being developed.
fn release_of(template: &Template) -> Vec<u32> {
    let alias = template.reference.alias();
    let words = [template.release.as_str()]
        .into_iter()
        .chain(alias.split('/').skip(1))
        .chain(template.name.split_whitespace().skip(1));
    if let Some(found) = words.map(numbers).find(|numbers| !numbers.is_empty()) {
        return found;
    }
    let named = NAMED.iter().find(|(name, _)| template.release.eq_ignore_ascii_case(name));
    named.map(|(_, numbers)| numbers.to_vec()).unwrap_or_default()
}

/// `3.22` as numbers; empty unless the whole word is one.
fn numbers(word: &str) -> Vec<u32> {
    word.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(os: &str, release: &str, downloaded: bool) -> Template {
        Template {
            reference: format!("images:{os}/{release}").parse().unwrap(),
            name: format!("{os} {release}"),
            os: os.into(),
            release: release.into(),
            arch: "amd64".into(),
            variant: "default".into(),
            size_bytes: None,
            unpacked_bytes: None,
            digest: None,
            downloaded,
            newer_available: false,
            created_at: None,
            serial: None,
            end_of_life: None,
            used_by: Vec::new(),
            unusable: None,
            verified: None,
            task: None,
            wants_nesting: false,
        }
    }

    const NOW: i64 = 1_790_000_000_000;

    fn picked(templates: Vec<Template>) -> Vec<String> {
        pick(templates, Timestamp::from_ms(NOW)).into_iter().map(|template| template.name).collect()
    }

    #[test]
    fn what_is_here_comes_first_then_what_is_known() {
        let names = picked(vec![
            template("Voidlinux", "current", false),
            template("Debian", "12", false),
            template("Debian", "13", false),
            template("Alpine", "3.22", false),
            template("Alpine", "3.9", false),
            template("Fedora", "42", true),
        ]);
        assert_eq!(names, ["Fedora 42", "Alpine 3.22", "Debian 13"]);
    }

    #[test]
    fn releases_with_names_are_ordered_by_their_numbers() {
        let names = picked(vec![
            template("Debian", "bookworm", false),
            template("Debian", "trixie", false),
            template("Debian", "sid", false),
            template("Ubuntu", "noble", false),
            template("Ubuntu", "jammy", false),
            template("Alpine", "edge", false),
            template("Alpine", "3.22", false),
        ]);
        assert_eq!(names, ["Alpine 3.22", "Debian trixie", "Ubuntu noble"]);
        // An index that gives the number beside the name needs no table.
        let numbered = Template {
            reference: "images:debian/15".parse().unwrap(),
            ..template("Debian", "duke", false)
        };
        assert_eq!(picked(vec![template("Debian", "trixie", false), numbered]), ["Debian duke"]);
    }

    #[test]
    fn what_is_no_longer_maintained_is_left_out_and_the_smaller_of_two_alike_wins() {
        let ended = Template {
            end_of_life: Some("2026-01-31".into()),
            ..template("Ubuntu", "25.04", false)
        };
        let sized = |name: &str, size| Template {
            name: name.into(),
            size_bytes: Some(size),
            ..template("Debian", "13", false)
        };
        let names = picked(vec![ended, sized("large", 90), sized("small", 30), template("Ubuntu", "24.04", false)]);
        assert_eq!(names, ["small", "Ubuntu 24.04"]);
    }
}
