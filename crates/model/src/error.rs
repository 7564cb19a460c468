//! What an API answer says when something went wrong: one closed list of codes, each with its exit code.

use serde::{Deserialize, Serialize};

/// Machine-readable cause of a refusal or failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request itself is wrong (400).
    BadRequest,
    /// Nobody is signed in (401).
    SignInRequired,
    /// Signed in, but not allowed (403).
    NotAllowed,
    /// Absent, or not the caller's to know (404).
    NotFound,
    /// The caller was too slow (408).
    Timeout,
    /// Name taken, wrong state, or in use (409).
    Conflict,
    /// The object changed since it was read (412).
    Stale,
    /// Body or file too large (413).
    TooLarge,
    /// The Host header is not ours (421).
    WrongHost,
    /// A field has a bad value (422).
    Invalid,
    /// Too many tries (429).
    SlowDown,
    /// Headers too large (431).
    HeadersTooLarge,
    /// This host cannot do it (501).
    Unsupported,
    /// No space left (507).
    NoSpace,
    /// A step failed on the host (500).
    Failed,
    /// Another server did not answer as it should (502).
    Upstream,
}

impl ErrorCode {
    /// The HTTP status for this cause, of the REST API and of the server functions alike.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::SignInRequired => 401,
            Self::NotAllowed => 403,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::Stale => 412,
            Self::TooLarge => 413,
            Self::WrongHost => 421,
            Self::Invalid => 422,
            Self::SlowDown => 429,
            Self::HeadersTooLarge => 431,
            Self::Failed => 500,
            Self::Unsupported => 501,
            Self::Upstream => 502,
            Self::NoSpace => 507,
        }
    }

    /// The exit code of the command line for this cause (interface.md).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest | Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Conflict | Self::Stale => 4,
            Self::SignInRequired | Self::NotAllowed => 5,
            Self::Unsupported => 6,
            _ => 1,
        }
    }
}

/// The error part of an answer: what happened, what to do, and where the log has more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// What failed and why, for a person.
    pub message: String,
    /// The field of the request that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same id stands in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_id: Option<String>,
}

impl ErrorBody {
    /// An error with a code and a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            hint: None,
            log_id: None,
        }
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}
