//! What administrators do with accounts and tokens, and people with their own password.

use std::collections::HashMap;

use model::access::{NewToken, Role, TokenInfo, UserInfo, check_password};
use model::id::UserId;
use model::{ErrorCode, Permission, Timestamp};

use super::Access;
use super::roles::{self, FIRST, UserRow};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::store::Fact;

impl Access {
    /// All accounts.
    ///
    /// # Errors
    /// Not an administrator, or the store fails.
    pub async fn users(&self, caller: &Caller) -> Result<Vec<UserInfo>> {
        caller.require(Permission::Administer)?;
        let mut seen: HashMap<UserId, Timestamp> = HashMap::new();
        for session in self.sessions.all().await?.into_values() {
            let at = seen.entry(session.value.user).or_insert(session.value.last_seen_at);
            *at = session.value.last_seen_at.max(*at);
        }
        let users = self.users_by_name().await?;
        Ok(users.values().map(|user| user.value.info(seen.get(&user.value.id).copied())).collect())
    }

    /// Makes an account.
    ///
    /// # Errors
    /// The name is taken or bad, or the password too short or too long.
    pub async fn add_user(&self, caller: &Caller, name: &str, role: Role, password: &str) -> Result<UserInfo> {
        caller.require(Permission::Administer)?;
        let added = self.try_to_add(name, role, password).await;
        self.record(caller, "user.add", name, &format!("role: {}", role.as_str()), added.is_ok()).await;
        added
    }

    async fn try_to_add(&self, name: &str, role: Role, password: &str) -> Result<UserInfo> {
        let row = self.new_user(name, role, password).await?;
        let key = roles::key(&row.name);
        // The first account also closes the set-up, whichever way it is made.
        let made = self.facts.change().absent(&key).put(&key, &row).put(FIRST, &row.created_at).commit().await?;
        made.ok_or_else(|| Error::conflict(format!("there is an account `{name}` already")).hint("choose another name"))?;
        self.setup.close();
        Ok(row.info(None))
    }

    /// Removes an account and ends its sessions. The last administrator cannot be removed.
    ///
    /// # Errors
    /// There is none, or it is the last administrator.
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Result<()> {
        caller.require(Permission::Administer)?;
        let removed = self.change_user(name, |_| None).await;
        self.record(caller, "user.remove", name, "", removed.is_ok()).await;
        removed
    }

    /// Gives an account another role and ends its sessions, so that nothing goes on with the old one.
    ///
    /// # Errors
    /// There is none, or it is the last administrator.
    pub async fn set_role(&self, caller: &Caller, name: &str, role: Role) -> Result<()> {
        caller.require(Permission::Administer)?;
        let changed = self.change_user(name, |row| Some(UserRow { role, ..row.clone() })).await;
        self.record(caller, "user.role", name, &format!("role: {}", role.as_str()), changed.is_ok())
            .await;
        changed
    }

    /// Replaces (or with `None` removes) an account, as long as an administrator stays.
    async fn change_user(&self, name: &str, change: impl Fn(&UserRow) -> Option<UserRow>) -> Result<()> {
        let users = self.users_by_name().await?;
        let Fact { value: row, rev } = users.get(name).ok_or_else(|| Error::not_found("user", name))?;
        let after = change(row);
        let mut edit = self.facts.change().unchanged(roles::key(name), *rev);
        if after.as_ref().is_none_or(|after| after.role != Role::Administrator)
            && let Some((other, rev)) = roles::remaining_administrator(&users, name)?
        {
            edit = edit.unchanged(other, rev);
        }
        let edit = match &after {
            Some(after) => edit.put(roles::key(name), after),
            None => edit.delete(roles::key(name)),
        };
        edit.commit().await?.ok_or_else(changed_meanwhile)?;
        self.sessions.end_of(row.id).await
    }

    /// All tokens.
    ///
    /// # Errors
    /// Not an administrator, or the store fails.
    pub async fn tokens(&self, caller: &Caller) -> Result<Vec<TokenInfo>> {
        caller.require(Permission::Administer)?;
        self.tokens.list().await
    }

    /// Makes a token; its text is in the answer and never again.
    ///
    /// # Errors
    /// The name is taken or bad, or the end lies in the past.
    pub async fn create_token(&self, caller: &Caller, name: &str, role: Role, expires_at: Option<Timestamp>) -> Result<NewToken> {
        caller.require(Permission::Administer)?;
        let made = self.tokens.create(&caller.name, name, role, expires_at).await;
        let end = expires_at.map_or_else(|| "no end".to_owned(), |end| format!("until {end}"));
        self.record(caller, "token.create", name, &format!("role: {}, {end}", role.as_str()), made.is_ok())
            .await;
        made
    }

    /// Revokes a token; what it opened closes.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn revoke_token(&self, caller: &Caller, name: &str) -> Result<()> {
        caller.require(Permission::Administer)?;
        let revoked = self.tokens.revoke(name).await;
        self.record(caller, "token.revoke", name, "", revoked.is_ok()).await;
        self.sessions.announce_end(&revoked?);
        Ok(())
    }

    /// Sets a password: one's own with the old one, anybody's as an administrator. All sessions of the account end, the
    /// one that asks included: sign in again with the new password.
    ///
    /// # Errors
    /// `Invalid` names the field; `NotAllowed` for somebody else's account; `SlowDown` after many wrong old passwords.
    pub async fn set_password(&self, caller: &Caller, name: &str, old: Option<&str>, new: &str) -> Result<()> {
        caller.require(Permission::OwnAccount)?;
        let is_own = caller.user.is_some() && caller.name == name;
        if !is_own {
            caller.require(Permission::Administer)?;
        }
        let set = self.try_to_set_password(caller, is_own, name, old, new).await;
        self.record(caller, "user.password", name, "password: changed", set.is_ok()).await;
        set
    }

    async fn try_to_set_password(&self, caller: &Caller, is_own: bool, name: &str, old: Option<&str>, new: &str) -> Result<()> {
        check_password(new).map_err(|message| Error::invalid("new", message))?;
        let found = if is_own {
            Some(self.check_old(caller, old).await?)
        } else {
            self.facts.get::<UserRow>(&roles::key(name)).await?
        };
        let Fact { value: mut row, rev } = found.ok_or_else(|| Error::not_found("user", name))?;
        row.password = self.passwords.hash(new).await?;
        let key = roles::key(&row.name);
        let changed = self.facts.change().unchanged(&key, rev).put(&key, &row).commit().await?;
        changed.ok_or_else(changed_meanwhile)?;
        self.sessions.end_of(row.id).await
    }

    /// Whoever found an open browser must not be able to keep the account.
    async fn check_old(&self, caller: &Caller, old: Option<&str>) -> Result<Fact<UserRow>> {
        self.throttle.enter(&caller.name, &caller.from)?;
        let found = self.own_row(caller).await?;
        let is_right = self.passwords.matches(old.unwrap_or_default(), Some(&found.value.password)).await?;
        if !is_right {
            return Err(Error::invalid("old", "the old password is wrong"));
        }
        self.throttle.succeeded(&caller.name, &caller.from);
        Ok(found)
    }
}

fn changed_meanwhile() -> Error {
    Error::new(ErrorCode::Stale, "accounts were changed at the same moment").hint("try again")
}
