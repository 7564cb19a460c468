//! The rules that neither the compiler nor clippy checks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell::read;

/// A file of the repository with its text.
struct File {
    path: PathBuf,
    text: String,
}

/// Checks every tracked text file.
///
/// # Errors
/// Lists all findings.
pub fn tidy() -> anyhow::Result<()> {
    let files = tracked_files()?;
    let mut findings = Vec::new();
    for file in &files {
        for rule in RULES {
            rule(file, &mut findings);
        }
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", files.len());
        return Ok(());
    }
    bail!("tidy found:\n{}", findings.join("\n"))
}

fn tracked_files() -> anyhow::Result<Vec<File>> {
    let list = read(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let mut files = Vec::new();
    for path in list.lines().map(PathBuf::from).filter(|path| path.is_file()) {
        // Pictures are not text: they have no rules.
        if let Ok(text) = String::from_utf8(std::fs::read(&path).with_context(|| path.display().to_string())?) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

const RULES: &[fn(&File, &mut Vec<String>)] = &[
    module_comment,
    file_length,
    file_names,
    unsafe_place,
    ssr_place,
    literal_colours,
    physical_directions,
    shell_calls,
    inner_html,
    thread_bound,
    lock_hosts,
    raw_allow,
];

fn is_rust(file: &File) -> bool {
    file.path.extension().is_some_and(|extension| extension == "rs")
}

fn starts(file: &File, prefix: &str) -> bool {
    file.path.starts_with(prefix)
}

fn report(findings: &mut Vec<String>, file: &File, line: usize, what: &str) {
    findings.push(format!("{}:{line}: {what}", file.path.display()));
}

fn each_line(file: &File, findings: &mut Vec<String>, what: &str, bad: impl Fn(&str) -> bool) {
    for (number, line) in file.text.lines().enumerate() {
        if bad(line) {
            report(findings, file, number + 1, what);
        }
    }
}

/// What a rule looks for must not stand here as such, or the rule would find itself.
fn word(parts: &[&str]) -> String {
    parts.concat()
}

fn module_comment(file: &File, findings: &mut Vec<String>) {
    if is_rust(file) && !file.text.trim_start().starts_with("//!") {
        report(findings, file, 1, "a module opens with //! and the question it answers");
    }
}

fn file_length(file: &File, findings: &mut Vec<String>) {
    let in_tests = file.path.components().any(|part| part.as_os_str() == "tests") || file.path.ends_with("tests.rs");
    let code = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    if is_rust(file) && !in_tests && code > 600 {
        report(findings, file, code, "more than 600 lines without tests: split it by meaning");
    }
}

fn file_names(file: &File, findings: &mut Vec<String>) {
    let banned = ["mod", "utils", "util", "helpers", "helper", "manager", "common", "misc"];
    let stem = file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if is_rust(file) && banned.contains(&stem.as_str()) {
        report(findings, file, 1, "a file is named after the question it answers");
    }
}

fn unsafe_place(file: &File, findings: &mut Vec<String>) {
    if is_rust(file) && file.path != Path::new("crates/runtime/src/sys.rs") {
        let block = word(&["unsafe", " {"]);
        each_line(file, findings, "unsafe belongs into crates/runtime/src/sys.rs", |line| {
            line.contains(&block) && !line.trim_start().starts_with("//")
        });
    }
}

fn ssr_place(file: &File, findings: &mut Vec<String>) {
    let allowed = ["app/src/lib.rs", "app/src/api.rs"].iter().any(|path| file.path == Path::new(path)) || starts(file, "app/src/api");
    if is_rust(file) && !allowed {
        let gate = word(&["feature = ", "\"ssr\""]);
        each_line(file, findings, "code that needs this gate is in the wrong crate", |line| line.contains(&gate));
    }
}

fn literal_colours(file: &File, findings: &mut Vec<String>) {
    let is_style = file.path.extension().is_some_and(|extension| extension == "scss");
    if is_style && !file.path.ends_with("_tokens.scss") {
        each_line(file, findings, "colours stand in _tokens.scss only", |line| {
            let value = line.split_once(':').map_or("", |(_, value)| value);
            value.contains("rgb(")
                || value
                    .split('#')
                    .skip(1)
                    .any(|rest| rest.len() >= 3 && rest.chars().take(3).all(|c| c.is_ascii_hexdigit()) && !rest.starts_with('{'))
        });
    }
}

fn physical_directions(file: &File, findings: &mut Vec<String>) {
    if file.path.extension().is_some_and(|extension| extension == "scss") {
        let banned = [
            "margin-left",
            "margin-right",
            "padding-left",
            "padding-right",
            "border-left",
            "border-right",
            "text-align: left",
            "text-align: right",
        ];
        each_line(file, findings, "use logical properties (inline-start, inline-end)", |line| {
            banned.iter().any(|word| line.contains(word))
        });
    }
}

fn shell_calls(file: &File, findings: &mut Vec<String>) {
    let in_tests = file.path.components().any(|part| part.as_os_str() == "tests");
    if is_rust(file) && !in_tests && !starts(file, "xtask") {
        let call = word(&["Command::new(\"", "sh\")"]);
        each_line(file, findings, "no shell, ever: an argument list instead", |line| line.contains(&call));
    }
}

fn inner_html(file: &File, findings: &mut Vec<String>) {
    // The document's own two scripts, made in one place: JSON with `<` escaped, and a line with a nonce.
    let is_document = file.path.ends_with("app/src/app.rs");
    if is_rust(file) && starts(file, "app") && !is_document {
        let call = word(&["inner_", "html"]);
        each_line(file, findings, "text is text: no markup from strings", |line| line.contains(&call));
    }
}

fn thread_bound(file: &File, findings: &mut Vec<String>) {
    if is_rust(file) && starts(file, "app") {
        let calls = [word(&["new_", "local("]), word(&["Local", "Storage"])];
        each_line(
            file,
            findings,
            "the server ends a page on any thread, and what is bound to one panics there",
            |line| calls.iter().any(|call| line.contains(call)),
        );
    }
}

fn lock_hosts(file: &File, findings: &mut Vec<String>) {
    if file.path.ends_with("package-lock.json") {
        each_line(file, findings, "a lock file names no host", |line| line.contains("\"resolved\""));
    }
}

fn raw_allow(file: &File, findings: &mut Vec<String>) {
    if is_rust(file) {
        let attribute = word(&["#[", "allow("]);
        each_line(file, findings, "use #[expect(lint, reason)]", |line| line.trim_start().starts_with(&attribute));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        let file = File {
            path: path.into(),
            text: text.into(),
        };
        let mut findings = Vec::new();
        RULES.iter().for_each(|rule| rule(&file, &mut findings));
        findings.len()
    }

    #[test]
    fn each_rule_finds_its_case() {
        assert_eq!(findings("app/src/x.rs", "//! Doc.\n"), 0);
        assert_eq!(findings("app/src/x.rs", "fn x() {}\n"), 1);
        assert_eq!(findings("app/src/utils.rs", "//! Doc.\n"), 1);
        assert_eq!(findings("app/src/x.rs", &format!("//! Doc.\n{}", word(&["unsafe", " { x() }"]))), 1);
        assert_eq!(
            findings("app/src/x.rs", &format!("//! Doc.\n{}", word(&["StoredValue::new_", "local(None)"]))),
            1
        );
        assert_eq!(findings("style/a.scss", "a { color: #fff; }"), 1);
        assert_eq!(findings("style/_tokens.scss", "a { color: #fff; }"), 0);
        assert_eq!(findings("style/a.scss", "a { margin-left: 1px; }"), 1);
        assert_eq!(findings("style/a.scss", "a { color: var(--ink); grid-area: #{$x}; }"), 0);
    }
}
