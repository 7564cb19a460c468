//! What a builder is told, checked: mmdebstrap takes options, files and whole source lines where it takes a mirror.

use model::engine::BuildRequest;

use crate::error::{Error, Result};

/// Refuses what is more than a suite, an architecture, package names and a web address.
///
/// # Errors
/// `Invalid` names the field.
pub fn check(request: &BuildRequest) -> Result<()> {
    let wrong = |what: &str, text: &str| Error::invalid("build the root file system", format!("\"{}\" is no {what}", text.escape_debug()));
    if !is_word(&request.suite, "-./") {
        return Err(wrong("suite", &request.suite));
    }
    if !is_word(&request.arch, "-") {
        return Err(wrong("architecture", &request.arch));
    }
    if let Some(package) = request.include.iter().find(|package| !is_word(package, "+-.:")) {
        return Err(wrong("package name", package));
    }
    let address = request.mirror.strip_prefix("http://").or_else(|| request.mirror.strip_prefix("https://"));
    // Brackets only around an IPv6 address: elsewhere they hold options of a source line.
    if address.is_none_or(|rest| rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]%+@=".contains(&byte))) {
        return Err(wrong("mirror (http:// or https://)", &request.mirror));
    }
    Ok(())
}

fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_names_reaches_the_command_line() {
        let good = BuildRequest {
            suite: "trixie".into(),
            arch: "amd64".into(),
            mirror: "http://[2001:db8::1]:8080/debian".into(),
            allow: Vec::new(),
            include: vec!["systemd-sysv".into(), "g++".into()],
            distribution: "debian".into(),
        };
        check(&good).unwrap();
        for (suite, mirror, package) in [
            ("--aptopt=x", "http://m/", "dbus"),
            ("", "http://m/", "dbus"),
            ("a b", "http://m/", "dbus"),
            ("trixie", "/etc/apt/sources.list", "dbus"),
            ("trixie", "deb [trusted=yes] http://m/ x main", "dbus"),
            ("trixie", "http://m/ x main\ndeb http://n/ y main", "dbus"),
            ("trixie", "copy:///etc", "dbus"),
            ("trixie", "http://m/", "dbus,--x"),
            ("trixie", "http://m/", "-x"),
            ("trixie", "http://m/", "?essential"),
        ] {
            let bad = BuildRequest {
                suite: suite.into(),
                mirror: mirror.into(),
                include: vec![package.into()],
                ..good.clone()
            };
            assert!(check(&bad).is_err(), "{suite} {mirror} {package}");
        }
    }
}
