//! The host as pages show it.

use leptos::prelude::*;
use model::engine::HostReport;
use model::network::NetworkInfo;
use model::template::Template;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;

/// What this host is and can do.
///
/// # Errors
/// Not allowed.
#[server(name = HostReportFn, prefix = "/fn", endpoint = "host/report")]
pub async fn host_report() -> ApiResult<HostReport> {
    let (control, caller) = request::request()?;
    Ok(control.host.report(&caller).await?)
}

/// At most three templates to begin with: what is here already, else small ones that everybody knows.
///
/// # Errors
/// Not allowed.
#[server(name = RecommendedFn, prefix = "/fn", endpoint = "host/recommended")]
pub async fn recommended() -> ApiResult<Vec<Template>> {
    let (control, caller) = request::request()?;
    Ok(pick(control.templates.list(&caller, &request::usable_templates()).await?))
}

/// One template per distribution: here before to be downloaded, known before unknown, newest release first.
#[must_use]
pub fn pick(mut templates: Vec<Template>) -> Vec<Template> {
    let known = |template: &Template| KNOWN.iter().position(|os| template.os.eq_ignore_ascii_case(os)).unwrap_or(KNOWN.len());
    templates.retain(|template| template.unusable.is_none());
    templates.sort_by(|a, b| {
        let plain = |template: &Template| !matches!(template.variant.as_str(), "" | "default");
        let release = |template: &Template| template.release.split('.').filter_map(|part| part.parse::<u32>().ok()).collect::<Vec<_>>();
        let key = |template: &Template| (!template.downloaded, known(template), plain(template));
        key(a)
            .cmp(&key(b))
            .then_with(|| release(b).cmp(&release(a)))
            .then_with(|| b.created_at.cmp(&a.created_at))
    });
    let mut seen = std::collections::BTreeSet::new();
    templates.retain(|template| seen.insert(template.os.to_ascii_lowercase()));
    templates.truncate(3);
    templates
}

/// Distributions that most people look for, in this order.
const KNOWN: [&str; 3] = ["debian", "alpine", "ubuntu"];

/// The managed networks with their addresses.
///
/// # Errors
/// Not allowed.
#[server(name = NetworksFn, prefix = "/fn", endpoint = "host/networks")]
pub async fn networks() -> ApiResult<Vec<NetworkInfo>> {
    let (control, caller) = request::request()?;
    Ok(control.networks.list(&caller).await?)
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

    #[test]
    fn what_is_here_comes_first_then_what_is_known() {
        let picked = pick(vec![
            template("Voidlinux", "current", false),
            template("Debian", "12", false),
            template("Debian", "13", false),
            template("Alpine", "3.22", false),
            template("Fedora", "42", true),
        ]);
        let names: Vec<&str> = picked.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["Fedora 42", "Debian 13", "Alpine 3.22"]);
    }
}
