//! Accounts as the store keeps them, and the rule that one administrator always stays.

use std::collections::BTreeMap;

use model::Timestamp;
use model::access::{Role, UserInfo, UserSettings};
use model::id::{Name, UserId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::{Fact, Rev};

/// Where accounts are.
pub(super) const USERS: &str = "user/";
/// Written with the first account: whoever compares on its absence was not the first.
pub(super) const FIRST: &str = "setting/first-account";

/// `user/<name>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UserRow {
    pub(super) id: UserId,
    pub(super) name: Name,
    pub(super) role: Role,
    /// argon2id in the PHC format.
    pub(super) password: String,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) settings: UserSettings,
}

pub(super) type Users = BTreeMap<String, Fact<UserRow>>;

impl UserRow {
    pub(super) fn info(&self, last_seen_at: Option<Timestamp>) -> UserInfo {
        UserInfo {
            id: self.id,
            name: self.name.clone(),
            role: self.role,
            created_at: self.created_at,
            last_seen_at,
        }
    }
}

pub(super) fn key(name: impl std::fmt::Display) -> String {
    format!("{USERS}{name}")
}

/// Another administrator than `name`, by key and revision: a transaction that takes the role from `name` compares on it,
/// so that two administrators cannot remove each other at the same moment. `None` when `name` is no administrator.
///
/// # Errors
/// `Conflict`: there is no other.
pub(super) fn remaining_administrator(users: &Users, name: &str) -> Result<Option<(String, Rev)>> {
    if users.get(name).is_none_or(|user| user.value.role != Role::Administrator) {
        return Ok(None);
    }
    let other = users.iter().find(|(other, user)| *other != name && user.value.role == Role::Administrator);
    let (other, user) =
        other.ok_or_else(|| Error::conflict(format!("`{name}` is the last administrator")).hint("make somebody else an administrator first"))?;
    Ok(Some((key(other), user.rev)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(rows: &[(&str, Role)]) -> Users {
        let row = |(name, role): &(&str, Role)| {
            let value = UserRow {
                id: UserId(uuid::Uuid::new_v4()),
                name: name.parse().unwrap(),
                role: *role,
                password: String::new(),
                created_at: Timestamp::from_ms(0),
                settings: UserSettings::default(),
            };
            ((*name).to_owned(), Fact { value, rev: 7 })
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn the_last_administrator_stays() {
        let alone = users(&[("anna", Role::Administrator), ("bert", Role::Operator)]);
        assert!(remaining_administrator(&alone, "anna").is_err());
        assert_eq!(remaining_administrator(&alone, "bert").unwrap(), None);
        let two = users(&[("anna", Role::Administrator), ("cleo", Role::Administrator)]);
        assert_eq!(remaining_administrator(&two, "anna").unwrap(), Some(("user/cleo".into(), 7)));
    }
}
