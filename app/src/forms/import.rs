//! A template from a file or an address.

use model::Digest;
use model::id::Name;

use super::problems::Problems;

/// A template that is brought in by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Becomes `local:NAME`; absent = out of the address.
    pub name: Option<Name>,
    pub sha256: Option<Digest>,
}

/// Reads the form; without an address it is that of a file, which needs a name.
///
/// # Errors
/// What is wrong, by field.
pub fn parse(url: Option<&str>, name: &str, sha256: &str) -> Result<Import, Problems> {
    let mut problems = Problems::default();
    if url.is_some_and(|url| !is_address(url.trim())) {
        problems.add("url", "write it like https://example.org/rootfs.tar.xz".to_owned());
    }
    let needs_name = url.is_none();
    let (name, sha256) = (name.trim(), sha256.trim());
    let name = (needs_name || !name.is_empty()).then(|| problems.keep("name", name.parse::<Name>())).flatten();
    let sha256 = (!sha256.is_empty()).then(|| problems.keep("sha256", sha256.parse::<Digest>())).flatten();
    if problems.is_empty() { Ok(Import { name, sha256 }) } else { Err(problems) }
}

fn is_address(url: &str) -> bool {
    let after = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    after.is_some_and(|after| !after.is_empty())
}

/// A name out of a file's name: `Debian-13_rootfs.tar.xz` becomes `debian-13-rootfs`.
#[must_use]
pub fn name_of(file: &str) -> String {
    let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = [".tar.xz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tgz", ".txz", ".tar", ".squashfs", ".xz"]
        .iter()
        .find_map(|end| base.strip_suffix(end))
        .unwrap_or(base);
    let plain: String = stem
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name: String = plain.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(63).collect();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_becomes_a_name() {
        assert_eq!(name_of("Debian-13_rootfs.tar.xz"), "debian-13-rootfs");
        assert_eq!(name_of("C:\\x\\9front.squashfs"), "front");
        assert_eq!(name_of("1234"), "");
    }

    #[test]
    fn an_upload_needs_a_name_and_an_address_does_not() {
        assert!(parse(Some("https://example.org/a.tar.xz"), "", "").is_ok());
        assert!(parse(None, "", "").unwrap_err().of("name").is_some());
        assert!(parse(None, "mine", "abc").unwrap_err().of("sha256").is_some());
        assert_eq!(parse(None, "mine", &"a".repeat(64)).unwrap().name.unwrap().as_str(), "mine");
    }

    #[test]
    fn an_address_begins_with_how_to_get_there() {
        for wrong in ["", "https://", "example.org/a.tar", "file:///etc/passwd"] {
            assert!(parse(Some(wrong), "", "").unwrap_err().of("url").is_some(), "{wrong}");
        }
    }
}
