//! Who may do what: roles, permissions, accounts, tokens and sessions as pages and scripts see them.

use serde::{Deserialize, Serialize};

use crate::id::{Name, UserId};
use crate::time::Timestamp;

/// The three built-in roles (interface.md, "Users and tokens").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Administrator,
}

/// One permission for every route, server function, stream and socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Look at containers, templates, tasks, networks, host, metrics, logs, trash.
    View,
    /// One's own account: password, sessions, language.
    OwnAccount,
    /// Create, start, stop, change and delete containers; the trash; cancel tasks.
    Containers,
    /// Terminals and consoles.
    Terminal,
    /// Download, import and remove templates.
    Templates,
    /// Sources, networks, users, tokens, audit, settings, and folders of the host in containers.
    Administer,
}

impl Permission {
    /// Every permission, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::View,
        Self::OwnAccount,
        Self::Containers,
        Self::Terminal,
        Self::Templates,
        Self::Administer,
    ];
}

impl Role {
    /// All roles from least to most.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Administrator];

    /// Whether the role includes the permission.
    #[must_use]
    pub fn permits(self, permission: Permission) -> bool {
        match permission {
            Permission::View | Permission::OwnAccount => true,
            Permission::Containers | Permission::Terminal | Permission::Templates => self >= Self::Operator,
            Permission::Administer => self == Self::Administrator,
        }
    }

    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a role; use viewer, operator or administrator"))
    }
}

/// Passwords of accounts have 12 to 1,024 characters of any kind.
///
/// # Errors
/// Says how many characters are missing or too many.
pub fn check_password(password: &str) -> Result<(), String> {
    match password.chars().count() {
        count @ 0..12 => Err(format!("a password has at least 12 characters, this one has {count}")),
        count @ 1025.. => Err(format!("a password has at most 1024 characters, this one has {count}")),
        _ => Ok(()),
    }
}

/// An account as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UserInfo {
    pub id: UserId,
    pub name: Name,
    pub role: Role,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
}

/// An API token as lists show it; the secret is shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenInfo {
    pub name: Name,
    pub role: Role,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewToken {
    pub token: String,
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// A signed-in session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Names the session without being its secret.
    pub id: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub address: String,
    pub agent: String,
    /// The session that asks.
    pub current: bool,
}

/// Who is signed in, for pages and `GET /api/v1/session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    pub name: Name,
    pub role: Role,
    pub settings: UserSettings,
}

/// What a person chose for their pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct UserSettings {
    /// `en` or `fr`; absent = what the browser asks for.
    pub language: Option<String>,
    /// `light`, `dark`; absent = what the system prefers.
    pub theme: Option<String>,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    pub at: Timestamp,
    pub user: String,
    /// From where: an address, or `local socket`.
    pub from: String,
    /// Verb, for example `container.start`.
    pub action: String,
    pub target: String,
    /// What changed, field by field, secrets masked.
    pub detail: String,
    pub ok: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_each_other() {
        for permission in Permission::ALL {
            assert!(Role::Administrator.permits(permission));
            assert!(!Role::Viewer.permits(permission) || Role::Operator.permits(permission));
        }
        assert!(!Role::Viewer.permits(Permission::Containers));
        assert!(!Role::Operator.permits(Permission::Administer));
    }

    #[test]
    fn password_rule_is_length_alone() {
        assert!(check_password(&"é".repeat(12)).is_ok());
        assert!(check_password(&"a".repeat(11)).is_err());
        assert!(check_password(&"a".repeat(1025)).is_err());
    }
}
