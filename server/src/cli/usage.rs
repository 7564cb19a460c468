//! Wrong usage as one line: what clap says, without its paragraphs.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::{Cli, exit};
use crate::failure::Failure;

/// Global flags that take a value as the next word.
const WITH_VALUE: [&str; 2] = ["--run-dir", "--output"];

/// Prints help or version where that was asked for, else one line; `berth exec` has an exit code of its own.
#[must_use]
pub fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let command = command_of(words).filter(|word| Cli::command().find_subcommand(word).is_some());
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has left (`| head`) has seen what it wanted.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let code = if command.as_deref() == Some("exec") { exit::EXEC_FAILED } else { 2 };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        drop(error.print());
        return ExitCode::from(code);
    }
    Failure::new(code, line(&error.render().to_string(), command.as_deref())).report()
}

/// The first word that is neither a flag nor the value of one.
fn command_of(words: &[OsString]) -> Option<String> {
    let mut words = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

/// The first paragraph of an error, and where to read more.
fn line(rendered: &str, command: Option<&str>) -> String {
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.strip_prefix("error: ").unwrap_or(paragraph);
    let what = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = command.map_or_else(|| "berth --help".to_owned(), |command| format!("berth {command} --help"));
    format!("{what} (see `{page}`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_found_behind_global_flags() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(command_of(&words("berth --run-dir /x --quiet exec --bad")).as_deref(), Some("exec"));
        assert_eq!(command_of(&words("berth --output=json list")).as_deref(), Some("list"));
        assert_eq!(command_of(&words("berth --quiet")), None);
    }

    #[test]
    fn clap_is_heard_in_one_line() {
        let rendered = "error: the following required arguments were not provided:\n  --template <REF>\n\nUsage: berth create\n";
        assert_eq!(
            line(rendered, Some("create")),
            "the following required arguments were not provided: --template <REF> (see `berth create --help`)"
        );
    }
}
