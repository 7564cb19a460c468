//! What can go wrong in an operation of the console, as one type that the REST API, the pages and the command line
//! translate once.

use model::engine::EngineError;
use model::error::{ErrorBody, ErrorCode};

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or failure: a code, what and why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .body.message)]
pub struct Error {
    /// What the caller is told.
    pub body: Box<ErrorBody>,
}

impl Error {
    /// An error with this code and message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            body: Box::new(ErrorBody::new(code, message)),
        }
    }

    /// Absent, or not the caller's to know.
    #[must_use]
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        let hint = match what {
            "container" => "`berth list` names all containers",
            "template" => "`berth template list --remote` names all templates",
            "source" => "`berth source list` names all sources",
            _ => "look at the list for what there is",
        };
        Self::new(ErrorCode::NotFound, format!("there is no {what} `{name}`")).hint(hint)
    }

    /// Name taken, wrong state, or in use.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// A field has a bad value.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorCode::Invalid, message);
        error.body.field = Some(field.to_owned());
        error
    }

    /// A step failed on the host.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Failed, message)
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.body.code
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        let mut out = Self::new(error.code, format!("{}: {}", error.step, error.message));
        out.body.hint = error.hint;
        out
    }
}

impl From<model::limits::LimitError> for Error {
    fn from(error: model::limits::LimitError) -> Self {
        Self::invalid(error.field, error.message)
    }
}
