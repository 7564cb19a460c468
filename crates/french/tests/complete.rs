//! Every sentence that the sources hold has its French, and the French is written as French is.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is read: whatever says something that a page may show.
const SOURCES: [&str; 7] = [
    "crates/model/src",
    "crates/runtime/src",
    "crates/shim/src",
    "crates/control/src",
    "server/src",
    "app/src/api",
    "app/src/forms",
];

/// What only the command line, the log or another program reads.
const NOT_ON_PAGES: [&str; 23] = [
    "crates/control/src/console.rs",
    "crates/control/src/containers/rescue.rs",
    "crates/control/src/engine/fake.rs",
    "crates/control/src/metrics/open_metrics.rs",
    "crates/control/src/store/lock.rs",
    "crates/control/src/store/sqlite",
    "crates/runtime/src/init/console.rs",
    "crates/runtime/src/net/firewall/rules.rs",
    "crates/shim/src/main.rs",
    "server/src/assets.rs",
    "server/src/cli",
    "server/src/config",
    "server/src/console.rs",
    "server/src/failure.rs",
    "server/src/lifecycle.rs",
    "server/src/listen",
    "server/src/main.rs",
    "server/src/middleware/headers.rs",
    "server/src/middleware/request_log.rs",
    "server/src/routes/metrics.rs",
    "server/src/serve.rs",
    "server/src/telemetry.rs",
    "server/src/tls.rs",
];

/// Texts of the other sources that no page shows as they stand: entries of the audit log, names, and what is compared.
const NOT_SENTENCES: [&str; 24] = [
    " (os error",
    "Linux containers on one host.",
    "berth-shim: {}",
    "first account",
    "idmapped mounts",
    "ipv4: {}, ipv6: {}",
    "local socket",
    "no end",
    "nft list tables inet",
    "nothing as {}",
    "nothing changed, or only values of the environment",
    "oom_kill ",
    "os error 28",
    "password: changed",
    "text/plain; charset=utf-8",
    "the container",
    "the measuring of disks",
    "the sampler",
    "the writing of history",
    "user namespaces",
    "which Berth does not fetch from",
    "{} is {}",
    "{} with 1 argument as {}",
    "{} with {} arguments as {}",
];

/// What commands, calls of the kernel and rules of the firewall begin with: code, the same in every language.
const CODE: [&str; 10] = [
    "berth create",
    "apt-get ",
    "sysctl ",
    "RTM_",
    "type ",
    "typeof ",
    "{} daddr",
    "ip daddr",
    "ip6 daddr",
    "{}=",
];

#[test]
fn every_sentence_has_its_french() {
    let known: BTreeSet<String> = french::patterns().map(|(english, _)| with_bare_holes(english)).collect();
    let exempt: BTreeSet<&str> = NOT_SENTENCES.into_iter().collect();
    let (mut missing, mut read) = (Vec::new(), 0);
    for path in SOURCES.iter().flat_map(|folder| files(&root().join(folder))) {
        let source = std::fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        for literal in literals(&source).into_iter().filter(|literal| !literal.is_for_developers) {
            let text = with_bare_holes(&literal.text);
            if !is_sentence(&text) || exempt.contains(text.as_str()) {
                continue;
            }
            read += 1;
            if !known.contains(&text) {
                missing.push(format!("{shown}:{}: {text}", literal.line));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "these have no French in crates/french/src/catalogue:\n{}",
        missing.join("\n")
    );
    assert!(read > 700, "only {read} sentences were found: the sources are read no longer");
}

#[test]
fn every_french_is_found_by_its_english() {
    for (english, french) in french::patterns() {
        let filled = |text: &str| with_bare_holes(text).replace("{}", "x1");
        assert_eq!(french::said(&filled(english)), filled(french));
    }
}

#[test]
fn french_is_written_as_french_is() {
    let mut seen = BTreeSet::new();
    for (english, french) in french::patterns() {
        assert!(seen.insert(english), "twice: {english}");
        assert_eq!(holes(english), holes(french), "{english}");
        let code = |(place, _): &(usize, &str)| place % 2 == 0;
        for (_, prose) in french.split('`').enumerate().filter(code) {
            assert!(!prose.contains('\''), "an apostrophe of typewriters: {french}");
            let is_loose = [" :", " ;", " !", " ?"].iter().any(|sign| prose.contains(sign));
            assert!(!is_loose, "no narrow space before the sign: {french}");
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The sources below a folder, without tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let below = path.strip_prefix(root()).unwrap().display().to_string();
        if NOT_ON_PAGES
            .iter()
            .any(|left_out| below.strip_suffix(".rs").unwrap_or(&below) == left_out.trim_end_matches(".rs"))
        {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

struct Literal {
    line: usize,
    text: String,
    /// It goes to the log, or says why code is as it is.
    is_for_developers: bool,
}

/// The string literals of a source, up to its tests.
fn literals(source: &str) -> Vec<Literal> {
    let source = source.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(start) = rest.find(['"', '\'', '/']) {
        let (before, after) = rest.split_at(start);
        let is_raw = before.trim_end_matches('#').ends_with('r') && after.starts_with('"');
        rest = if after.starts_with("//") {
            after.split_once('\n').map_or("", |(_, next)| next)
        } else if is_raw {
            let end = format!("\"{}", "#".repeat(before.len() - before.trim_end_matches('#').len()));
            after[1..].split_once(end.as_str()).map_or("", |(_, next)| next)
        } else if let Some(inner) = after.strip_prefix('"') {
            let length = end_of(inner, '"').unwrap();
            let place = source.len() - after.len();
            found.push(Literal {
                line: source[..place].matches('\n').count() + 1,
                text: plain(&inner[..length]),
                is_for_developers: is_for_developers(&source[..place]),
            });
            &inner[length + 1..]
        } else if let Some(inner) = after.strip_prefix('\'') {
            // A character, or the name of a lifetime.
            let is_character = inner.starts_with('\\') || inner.chars().nth(1) == Some('\'');
            let length = end_of(inner, '\'').filter(|_| is_character).map_or(0, |length| length + 1);
            &inner[length..]
        } else {
            &after[1..]
        };
    }
    found
}

fn end_of(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(place, c)| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends.then_some(place)
    })
}

/// As it is printed, where that matters: quotes and lines that go on.
fn plain(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start()).replace("\\\"", "\"")
}

fn is_for_developers(before: &str) -> bool {
    let statement = before.rsplit(';').next().unwrap_or_default().rsplit('{').next().unwrap_or_default();
    let call = before.trim_end();
    statement.contains("tracing::")
        || ["expect(", "panic!(", "unreachable!(", "reason =", "reason=", "env!("]
            .iter()
            .any(|end| call.ends_with(end))
}

fn holes(text: &str) -> BTreeSet<&str> {
    let inner = text.split('{').skip(1).filter_map(|part| part.split('}').next());
    inner.map(|hole| hole.trim_start_matches('=')).collect()
}

/// With every hole as `{}`, whatever stands in it.
fn with_bare_holes(text: &str) -> String {
    let text = text.replace("{{", "").replace("}}", "");
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| match part.split_once('}') {
        Some((_, after)) => out + "{}" + after,
        None => out + part,
    })
}

/// Two words at least, and neither a call nor a text for a machine.
fn is_sentence(text: &str) -> bool {
    let is_for_machines = ["\\n", "\\t", "\\r", "\\0", "\n", "\t"].iter().any(|mark| text.contains(mark));
    let name = text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_call = name.len() < text.len() && name.starts_with('(');
    let prose = text.replace("{}", "");
    let words = prose.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 1).count();
    let is_code = CODE.iter().any(|start| text.starts_with(start));
    text.contains(' ') && words > 1 && !is_for_machines && !is_call && !is_code
}
