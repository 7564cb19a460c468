//! What failed on the host: the step in words, the call as strace would print it, and the way out.

use std::io;

use model::engine::EngineError;
use model::error::ErrorCode;

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {message}")]
pub struct Error {
    pub code: ErrorCode,
    /// The step in words: `mount the overlay`.
    pub step: String,
    /// The call and why it failed: `fsconfig(CREATE) = EPERM (Operation not permitted)`.
    pub message: String,
    pub hint: Option<String>,
}

impl Error {
    /// A step that failed for a reason in words.
    #[must_use]
    pub fn failed(step: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Failed,
            step: step.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// A call that failed.
    #[must_use]
    pub fn io(step: &str, call: &str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let code = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorCode::NoSpace,
            _ => ErrorCode::Failed,
        };
        let mut error = Self::failed(step, format!("{call} = {source}"));
        error.code = code;
        error.hint = hint_for(&source);
        error
    }

    /// Something that this host cannot do.
    #[must_use]
    pub fn unsupported(step: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Unsupported,
            ..Self::failed(step, message)
        }
    }

    /// Wrong state, or in use.
    #[must_use]
    pub fn conflict(step: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Conflict,
            ..Self::failed(step, message)
        }
    }

    /// Nothing there.
    #[must_use]
    pub fn not_found(step: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::NotFound,
            ..Self::failed(step, message)
        }
    }

    /// A value that cannot be right.
    #[must_use]
    pub fn invalid(step: &str, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::Invalid,
            ..Self::failed(step, message)
        }
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

fn hint_for(source: &io::Error) -> Option<String> {
    let hint = match source.raw_os_error()? {
        libc::ENOSPC => "free space or inodes on the disk of the state directory",
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (fs.file-max, LimitNOFILE=)",
        libc::EAGAIN => "a limit on processes, namespaces or keys is reached; `berth check` lists them",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Names the step and the call of a system call's result.
pub trait At<T> {
    /// Adds step and call.
    ///
    /// # Errors
    /// The call's own, named.
    fn at(self, step: &str, call: &str) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, step: &str, call: &str) -> Result<T> {
        self.map_err(|source| Error::io(step, call, source))
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        Self {
            code: error.code,
            step: error.step,
            message: error.message,
            hint: error.hint,
        }
    }
}
