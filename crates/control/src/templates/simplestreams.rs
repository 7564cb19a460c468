//! Reads the index of a simplestreams server: pure, from bytes to offers. Fields are read, keys are never taken apart.

use std::collections::BTreeMap;

use model::{Digest, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::offer::{Blob, Choice, Content, Offer, debian_arch, order_aliases, runs_on};

#[derive(Debug, Deserialize)]
struct Index {
    index: BTreeMap<String, IndexEntry>,
}

#[derive(Debug, Deserialize)]
struct IndexEntry {
    #[serde(default)]
    datatype: String,
    path: String,
    #[serde(default)]
    products: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Products {
    products: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Product {
    arch: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    release: String,
    #[serde(default)]
    release_title: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    aliases: String,
    #[serde(default)]
    requirements: BTreeMap<String, Value>,
    #[serde(default)]
    support_eol: Option<String>,
    versions: BTreeMap<String, Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    items: BTreeMap<String, Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    ftype: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    sha256: String,
    combined_sha256: Option<String>,
    combined_rootxz_sha256: Option<String>,
    combined_squashfs_sha256: Option<String>,
    combined_type: Option<String>,
}

/// What the host is, as far as it decides what can be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostFacts<'a> {
    pub(super) arch: &'a str,
    /// `v2`, `hybrid` or `v1`.
    pub(super) cgroup: &'a str,
}

/// Paths of all product lists that hold images.
///
/// # Errors
/// Not an index, or a path that leads away from the server.
pub(super) fn product_lists(bytes: &[u8]) -> Result<Vec<String>, String> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| format!("streams/v1/index.json is not a simplestreams index ({error})"))?;
    let is_wanted = |entry: &IndexEntry| entry.datatype == "image-downloads" && !entry.products.is_empty();
    let paths = index.index.into_values().filter(is_wanted).map(|entry| entry.path);
    paths
        .map(|path| {
            if is_below(&path) {
                Ok(path)
            } else {
                Err(format!("the index names `{path}`, which is not a path below the server's address"))
            }
        })
        .collect()
}

/// Offers of one product list; what cannot be read goes to `dropped` with its reason.
///
/// # Errors
/// Not a list of products.
pub(super) fn offers(bytes: &[u8], host: HostFacts<'_>, dropped: &mut Vec<String>) -> Result<Vec<Offer>, String> {
    let list: Products = serde_json::from_slice(bytes).map_err(|error| format!("the list of products cannot be read ({error})"))?;
    let mut offers = Vec::new();
    for (key, value) in list.products {
        match serde_json::from_value::<Product>(value)
            .map_err(|error| error.to_string())
            .and_then(|product| offer(&key, &product, host))
        {
            Ok(offer) => offers.push(offer),
            Err(reason) => dropped.push(format!("{key}: {reason}")),
        }
    }
    Ok(offers)
}

fn offer(key: &str, product: &Product, host: HostFacts<'_>) -> Result<Offer, String> {
    let arch = debian_arch(&product.arch).ok_or_else(|| format!("the architecture `{}` is not known", product.arch))?;
    let mut serials: Vec<&String> = product.versions.keys().filter(|serial| date_of(serial).is_some()).collect();
    serials.sort_by_key(|serial| std::cmp::Reverse(natural(serial)));
    let newest = serials.first().ok_or("it has no build with a date")?;
    let usable = serials
        .iter()
        .map(|serial| (*serial, choices(&product.versions[*serial])))
        .find(|(_, choices)| !choices.is_empty());
    let (serial, choices) = usable.unwrap_or((*newest, Vec::new()));
    let mut aliases: Vec<String> = product
        .aliases
        .split(',')
        .map(str::trim)
        .filter(|alias| is_alias(alias))
        .map(str::to_owned)
        .collect();
    order_aliases(&mut aliases);
    let title = if product.release_title.is_empty() {
        &product.release
    } else {
        &product.release_title
    };
    let needs = |name: &str| {
        product
            .requirements
            .get(name)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let unusable = if choices.is_empty() {
        Some("it is a virtual machine: there is no root file system for a container".to_owned())
    } else if !runs_on(arch, host.arch) {
        Some(format!("it is made for {arch}, this host is {}", host.arch))
    } else if needs("cgroup").as_deref() == Some("v1") && host.cgroup == "v2" {
        Some("it needs cgroup v1, this host has v2".to_owned())
    } else {
        None
    };
    let variant = if product.variant.is_empty() { "default" } else { &product.variant };
    Ok(Offer {
        product: key.to_owned(),
        aliases,
        name: if variant == "default" {
            format!("{} {title}", product.os)
        } else {
            format!("{} {title} ({variant})", product.os)
        },
        os: product.os.clone(),
        release: product.release.clone(),
        arch: arch.to_owned(),
        variant: variant.to_owned(),
        created_at: date_of(serial),
        serial: serial.clone(),
        end_of_life: product.support_eol.clone(),
        wants_nesting: needs("nesting").as_deref() == Some("true"),
        unusable,
        content: Content::Files(choices),
    })
}

/// Every complete set of files of a build, preferred first: of a tarball everything is read, of a squashfs image
/// neither extended attributes nor hard links.
fn choices(version: &Version) -> Vec<Choice> {
    let by_type = |wanted: &str| version.items.values().find(|item| item.ftype == wanted);
    let mut found = Vec::new();
    if let Some(meta) = by_type("incus.tar.xz").or_else(|| by_type("lxd.tar.xz")) {
        let squashfs = meta.combined_squashfs_sha256.as_ref();
        let tar = meta.combined_rootxz_sha256.as_ref().or(meta.combined_sha256.as_ref());
        for (ftype, fingerprint) in [("root.tar.xz", tar), ("squashfs", squashfs)] {
            let parts = by_type(ftype)
                .zip(fingerprint)
                .and_then(|(root, fingerprint)| choice(fingerprint, &[meta, root]));
            found.extend(parts);
        }
    }
    let is_container = |item: &&Item| item.combined_type.as_deref().is_none_or(|kind| kind == "container");
    let unified = by_type("incus_combined.tar.gz").or_else(|| by_type("lxd_combined.tar.gz")).filter(is_container);
    found.extend(unified.and_then(|item| choice(&item.sha256, &[item])));
    found
}

fn choice(fingerprint: &str, items: &[&Item]) -> Option<Choice> {
    let blob = |item: &&Item| {
        let name = item.path.rsplit('/').next().unwrap_or(&item.ftype).to_owned();
        is_below(&item.path).then_some(())?;
        Some(Blob {
            name,
            path: item.path.clone(),
            size: item.size,
            sha256: item.sha256.parse().ok()?,
        })
    };
    let files: Option<Vec<Blob>> = items.iter().map(blob).collect();
    Some(Choice {
        fingerprint: fingerprint.parse::<Digest>().ok()?,
        files: files?,
    })
}

/// A path that stays below the server's address.
fn is_below(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && !path.contains("://") && !path.contains(['\\', '?', '#']) && path.split('/').all(|part| part != "..")
}

fn is_alias(alias: &str) -> bool {
    let source = "a".parse();
    source.is_ok_and(|source| model::TemplateRef::new(source, alias).is_ok())
}

/// `YYYYMMDD...` as a moment, with `HH:MM` where it follows.
fn date_of(serial: &str) -> Option<Timestamp> {
    let number = |from: usize, to: usize| serial.get(from..to)?.parse::<u32>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some(())?;
    let time = serial.get(9..).and_then(|rest| rest.split_once(':'));
    let minutes = time
        .and_then(|(hour, minute)| Some(hour.parse::<i64>().ok()? * 60 + minute.get(..2)?.parse::<i64>().ok()?))
        .unwrap_or(0);
    Some(Timestamp::from_ms(
        (days_since_1970(year.into(), month.into(), day.into()) * 1440 + minutes) * 60_000,
    ))
}

/// Days from civil, for the proleptic Gregorian calendar.
pub(super) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Numbers compare as numbers: `20260901.10` is newer than `20260901.2`.
pub(super) fn natural(serial: &str) -> Vec<u64> {
    serial
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap_or(u64::MAX))
        .collect()
}

#[cfg(test)]
mod tests;
