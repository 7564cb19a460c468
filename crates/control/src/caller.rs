//! Who asks: an account, a token, the local socket or Berth itself, with the one check of a permission.

use model::access::{Permission, Role};
use model::error::ErrorCode;

use crate::error::{Error, Result};

/// The identity behind a request, made by `access` and by nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name for logs and task rows.
    pub name: String,
    /// From where: an address, `local socket`, `berth`.
    pub from: String,
    /// `None` = nobody is signed in.
    pub role: Option<Role>,
    /// The account, when there is one (tokens and the socket have none).
    pub user: Option<model::id::UserId>,
    /// Hash of the session, so that ending it can end what it opened.
    pub session: Option<String>,
}

/// Whose something is. An account or a token that is made again under an old name is somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    Account(model::id::UserId),
    /// By its hash.
    Token(String),
    /// The local socket or Berth itself, by name.
    Local(String),
}

impl Caller {
    /// Nobody.
    #[must_use]
    pub fn anonymous(from: impl Into<String>) -> Self {
        Self {
            name: "nobody".into(),
            from: from.into(),
            role: None,
            user: None,
            session: None,
        }
    }

    /// Berth itself, for work that nobody asked for (expiry, refresh, recovery).
    #[must_use]
    pub fn berth() -> Self {
        Self {
            name: "berth".into(),
            from: "berth".into(),
            role: Some(Role::Administrator),
            user: None,
            session: None,
        }
    }

    /// Root or group `berth` at the local socket.
    #[must_use]
    pub fn socket(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            from: "local socket".into(),
            role: Some(Role::Administrator),
            user: None,
            session: None,
        }
    }

    /// Whose is what this caller opens.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match (self.user, &self.session) {
            (Some(user), _) => Identity::Account(user),
            (None, Some(hash)) => Identity::Token(hash.clone()),
            (None, None) => Identity::Local(self.name.clone()),
        }
    }

    /// First statement of every operation.
    ///
    /// # Errors
    /// `SignInRequired` when nobody is signed in, `NotAllowed` when the role does not include the permission.
    pub fn require(&self, permission: Permission) -> Result<()> {
        match self.role {
            None => Err(Error::new(ErrorCode::SignInRequired, "nobody is signed in").hint("sign in, or send a token")),
            Some(role) if role.permits(permission) => Ok(()),
            Some(role) => {
                Err(Error::new(ErrorCode::NotAllowed, format!("the role {} does not include this", role.as_str()))
                    .hint("ask an administrator for another role"))
            }
        }
    }
}
