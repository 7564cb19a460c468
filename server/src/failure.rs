//! How the program itself fails: one line on standard error and an exit code (interface.md).

use std::process::ExitCode;

use model::error::ErrorBody;

/// Why a command ended without success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// What failed, and why, in parentheses where there is a why.
    pub what: String,
    /// 1 to 6, or the code of a command inside a container.
    pub code: u8,
}

impl Failure {
    /// A failure with its exit code.
    #[must_use]
    pub fn new(code: u8, what: impl Into<String>) -> Self {
        Self { what: what.into(), code }
    }

    /// Wrong usage or configuration (2).
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(2, what)
    }

    /// Something failed (1).
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(1, what)
    }

    /// Prints the line and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !self.what.is_empty() {
            eprintln!("berth: {}", one_line(&self.what));
        }
        ExitCode::from(self.code)
    }
}

/// Control characters of a name or message never reach the terminal as such.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        let field = body.field.as_ref().filter(|field| !body.message.contains(field.as_str()));
        let what = field.map_or_else(|| body.message.clone(), |field| format!("{field}: {}", body.message));
        let detail: Vec<String> = [body.hint.clone(), body.log_id.as_ref().map(|id| format!("log id {id}"))]
            .into_iter()
            .flatten()
            .collect();
        let what = if detail.is_empty() { what } else { format!("{what} ({})", detail.join("; ")) };
        Self::new(body.code.exit_code(), what)
    }
}

impl From<control::Error> for Failure {
    fn from(error: control::Error) -> Self {
        (*error.body).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use model::error::ErrorCode;

    use super::*;

    #[test]
    fn the_line_says_what_and_what_to_do() {
        let body = ErrorBody::new(ErrorCode::NotFound, "there is no container `x`").hint("see `berth list`");
        let failure = Failure::from(body);
        assert_eq!((failure.what.as_str(), failure.code), ("there is no container `x` (see `berth list`)", 3));
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31m\nb"), "a [31m b");
    }
}
