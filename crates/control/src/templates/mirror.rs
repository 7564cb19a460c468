//! A distribution's mirror: which suites it has, read from its own Release files.

use std::collections::{BTreeMap, BTreeSet};

use model::{Digest, Timestamp};
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::offer::{Content, Offer, debian_arch, order_aliases, runs_on};
use super::part::digest_of;
use super::signature::{Keyring, signed_text};
use super::simplestreams::days_since_1970;
use super::source::below;
use super::web::{Named, Web, upstream};
use crate::error::{Error, Result};

const LISTING_CAP: usize = 4 << 20;
const RELEASE_CAP: usize = 4 << 20;
const MAX_SUITES: usize = 64;
/// Names that Debian mirrors have had for decades, for mirrors that list no folders. What they mean is read, not known.
const USUAL: [&str; 4] = ["stable", "oldstable", "testing", "unstable"];

/// Reads all suites of a mirror that can be built for this architecture.
///
/// # Errors
/// The mirror cannot be read, or has no suite at all.
pub(super) async fn read(web: &Web, named: &Named, base: &Url, arch: &str, now: Timestamp, dropped: &mut Vec<String>) -> Result<Vec<Offer>> {
    let listing = web.read(&below(base, "dists/")?, named, LISTING_CAP).await?.unwrap_or_default();
    let mut names = suites_of_listing(&String::from_utf8_lossy(&listing));
    if names.is_empty() {
        names = USUAL.iter().map(ToString::to_string).collect();
    }
    let mut suites: BTreeMap<String, Offer> = BTreeMap::new();
    let mut unsigned = None;
    for name in names.iter().take(MAX_SUITES) {
        let (text, digest) = match read_release(web, named, base, name).await {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            // Of a mirror that is not there no other suite will be.
            Err(Unread::Web(error)) => return Err(error),
            Err(Unread::Unsigned(error)) => {
                dropped.push(format!("{name}: {error}"));
                unsigned.get_or_insert(error);
                continue;
            }
        };
        match offer(&text, digest, arch, now) {
            // One suite has several names: stable and trixie.
            Ok(offer) => drop(suites.insert(offer.product.clone(), offer)),
            Err(reason) => dropped.push(format!("{name}: {reason}")),
        }
    }
    if suites.is_empty() {
        let none = || upstream(format!("{base} has no suites below dists/: this is no mirror of Debian or Ubuntu"));
        return Err(unsigned.unwrap_or_else(none));
    }
    let mut offers: Vec<Offer> = suites.into_values().collect();
    offers.sort_by_key(|offer| std::cmp::Reverse(offer.created_at));
    Ok(offers)
}

/// Why a suite's Release file was not read.
enum Unread {
    Web(Error),
    Unsigned(Error),
}

/// What a suite's Release file says and its distribution signed, and the hash of the file; `None` when it has none.
async fn read_release(web: &Web, named: &Named, base: &Url, name: &str) -> std::result::Result<Option<(String, Digest)>, Unread> {
    let file = |file: &str| below(base, &format!("dists/{name}/{file}")).map_err(Unread::Web);
    let Some(bytes) = web.read(&file("InRelease")?, named, RELEASE_CAP).await.map_err(Unread::Web)? else {
        let plain = web.read(&file("Release")?, named, RELEASE_CAP).await.map_err(Unread::Web)?;
        let text = "it has a Release file without a signature in it (InRelease)";
        return plain.map_or(Ok(None), |_| Err(Unread::Unsigned(upstream(text).hint("use a mirror that has InRelease"))));
    };
    // Which keys to look for; whatever it claims to be, those must have signed it.
    let claimed = fields(&String::from_utf8_lossy(&bytes))
        .remove("origin")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let Some(keyring) = Keyring::of(&claimed) else {
        let text = format!("`{claimed}` is neither Debian nor Ubuntu");
        return Err(Unread::Unsigned(upstream(text)));
    };
    let text = signed_text(&bytes, keyring).await.map_err(Unread::Unsigned)?;
    let digest = digest_of(Sha256::new_with_prefix(&bytes)).map_err(Unread::Web)?;
    Ok(Some((text, digest)))
}

/// Folders that a listing links to, without those that only complete a suite.
fn suites_of_listing(html: &str) -> Vec<String> {
    let links = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let names = links.filter_map(|link| link.strip_suffix('/')).map(|link| link.trim_start_matches("./"));
    let is_suite = |name: &&str| {
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        plain && !name.is_empty() && !matches!(*name, "experimental" | "dists")
    };
    let unique: BTreeSet<&str> = names.filter(is_suite).collect();
    unique.into_iter().map(str::to_owned).collect()
}

fn offer(release: &str, index_sha256: Digest, arch: &str, now: Timestamp) -> std::result::Result<Offer, String> {
    let fields = fields(release);
    let field = |name: &str| fields.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let codename = field("codename").ok_or("its Release file has no Codename")?;
    let origin = field("origin").unwrap_or("Debian");
    let distribution = origin.to_ascii_lowercase();
    if !matches!(distribution.as_str(), "debian" | "ubuntu") || !codename.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!("`{origin} {codename}` is neither Debian nor Ubuntu"));
    }
    let date = field("date").and_then(parse_date);
    // Debian counts its releases by the first number, Ubuntu by both.
    let version = field("version").map(|version| {
        if distribution == "debian" {
            version.split('.').next().unwrap_or(version)
        } else {
            version
        }
    });
    let mut aliases: Vec<String> = [version, field("suite")]
        .into_iter()
        .flatten()
        .map(|name| format!("{distribution}/{name}"))
        .collect();
    order_aliases(&mut aliases);
    aliases.retain(|alias| !alias.contains(char::is_whitespace));
    aliases.insert(0, format!("{distribution}/{codename}"));
    aliases.dedup();
    let has_arch = field("architectures").is_some_and(|list| list.split_whitespace().any(|one| debian_arch(one) == Some(arch)));
    let is_over = field("valid-until").and_then(parse_date).is_some_and(|until| until < now);
    let unusable = if !has_arch || !runs_on(arch, arch) {
        Some(format!("the mirror has no packages of it for {arch}"))
    } else if is_over {
        Some("the mirror's copy is no longer valid (Valid-Until has passed)".to_owned())
    } else {
        None
    };
    Ok(Offer {
        product: format!("{distribution}:{codename}:{arch}:minimal"),
        aliases,
        name: format!("{origin} {}", version.unwrap_or(codename)),
        os: origin.to_owned(),
        release: codename.to_owned(),
        arch: arch.to_owned(),
        variant: "minimal".into(),
        serial: field("date").unwrap_or_default().to_owned(),
        created_at: date,
        end_of_life: None,
        wants_nesting: false,
        unusable,
        content: Content::Suite {
            suite: codename.to_owned(),
            distribution,
            version: version.map(str::to_owned),
            index_sha256: Some(index_sha256),
        },
    })
}

/// The single-line fields of a Release file.
fn fields(release: &str) -> BTreeMap<String, String> {
    let lines = release.lines().filter(|line| !line.starts_with([' ', '\t', '-']));
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// `Sat, 06 Sep 2026 10:11:12 UTC`.
fn parse_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',').map_or(text, |(_, rest)| rest).split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    ((1970..9999).contains(&year) && (1..=31).contains(&day)).then_some(())?;
    Some(Timestamp::from_ms(
        (days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) * 1000,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12.12\nCodename: bookworm\n\
        Date: Sat, 06 Sep 2025 12:13:28 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64 arm64\nComponents: main contrib\nDescription: Debian 12.12\nMD5Sum:\n 00 1 x\n";

    fn digest() -> Digest {
        "ab".repeat(32).parse().unwrap()
    }

    #[test]
    fn a_release_file_gives_a_suite_with_its_names() {
        let now = Timestamp::from_ms(1_790_000_000_000);
        let offer = offer(RELEASE, digest(), "amd64", now).unwrap();
        assert_eq!(offer.aliases, ["debian/bookworm", "debian/12", "debian/oldstable"]);
        assert_eq!(offer.created_at.unwrap().ms, 1_757_160_808_000);
        assert_eq!(offer.unusable, None);
        assert!(super::offer(RELEASE, digest(), "s390x", now).unwrap().unusable.is_some());
        let stale = RELEASE.replace("Acquire", "Valid-Until: Sat, 13 Sep 2025 12:13:28 UTC\nAcquire");
        assert!(super::offer(&stale, digest(), "amd64", now).unwrap().unusable.is_some());
        assert!(super::offer("Codename: ../x\n", digest(), "amd64", now).is_err());
    }

    #[test]
    fn a_listing_gives_suites_without_their_additions() {
        let html = r#"<a href="../">up</a><a href="bookworm/">b</a><a href="bookworm-updates/">u</a><a href="stable/">s</a><a href="README">r</a><a href="experimental/">e</a>"#;
        assert_eq!(suites_of_listing(html), ["bookworm", "stable"]);
    }
}
