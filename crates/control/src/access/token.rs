//! API tokens `bth_...`: shown once, known to the store by their hash, with a role and perhaps an end.

use model::access::{NewToken, Role, TokenInfo};
use model::id::Name;
use model::{ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::secret;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::{Fact, Facts};

const PREFIX: &str = "token/";
/// What every token begins with, so that a leaked one is found by a search.
const MARK: &str = "bth_";
const SEEN_EVERY_MS: i64 = 5 * 60_000;
const MAX_TOKENS: usize = 1_000;

/// `token/<name>`; `tokenhash/<hash>` leads to the name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenRow {
    pub(super) name: Name,
    pub(super) hash: String,
    pub(super) role: Role,
    pub(super) created_by: String,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) last_used_at: Option<Timestamp>,
}

impl TokenRow {
    fn info(&self) -> TokenInfo {
        TokenInfo {
            name: self.name.clone(),
            role: self.role,
            created_by: self.created_by.clone(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn hash_key(hash: &str) -> String {
    format!("tokenhash/{hash}")
}

#[derive(Debug)]
pub(super) struct Tokens {
    facts: Facts,
    clock: Clock,
}

impl Tokens {
    pub(super) fn new(facts: Facts, clock: Clock) -> Self {
        Self { facts, clock }
    }

    pub(super) async fn list(&self) -> Result<Vec<TokenInfo>> {
        let rows = self.facts.list::<TokenRow>(PREFIX).await?;
        Ok(rows.values().map(|row| row.value.info()).collect())
    }

    pub(super) async fn create(&self, by: &str, name: &str, role: Role, expires_at: Option<Timestamp>) -> Result<NewToken> {
        let name: Name = name.parse().map_err(|error: model::id::IdError| Error::invalid("name", error.to_string()))?;
        let now = self.clock.now();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Error::invalid("expires", "a token cannot end in the past"));
        }
        if self.facts.list::<TokenRow>(PREFIX).await?.len() >= MAX_TOKENS {
            return Err(Error::conflict(format!("there are {MAX_TOKENS} tokens already")).hint("revoke some that nobody uses"));
        }
        let token = format!("{MARK}{}", secret::random()?);
        let row = TokenRow {
            name: name.clone(),
            hash: secret::hash(&token),
            role,
            created_by: by.to_owned(),
            created_at: now,
            expires_at,
            last_used_at: None,
        };
        let (own, by_hash) = (key(name.as_str()), hash_key(&row.hash));
        let made = self.facts.change().absent(&own).put(&own, &row).put(by_hash, &name).commit().await?;
        made.ok_or_else(|| Error::conflict(format!("there is a token `{name}` already")).hint("choose another name, or revoke it first"))?;
        Ok(NewToken { token, info: row.info() })
    }

    /// Removes a token; answers its hash, so that what it opened can be closed.
    pub(super) async fn revoke(&self, name: &str) -> Result<String> {
        let found = self.facts.get::<TokenRow>(&key(name)).await?;
        let Fact { value: row, rev } = found.ok_or_else(|| Error::not_found("token", name))?;
        let gone = self
            .facts
            .change()
            .unchanged(key(name), rev)
            .delete(key(name))
            .delete(hash_key(&row.hash))
            .commit()
            .await?;
        match gone {
            Some(_) => Ok(row.hash),
            // It was used at this very moment: that wrote "last used".
            None => Box::pin(self.revoke(name)).await,
        }
    }

    /// The living token of a text that claims to be one.
    pub(super) async fn find(&self, token: &str) -> Result<TokenRow> {
        let refused = || Error::new(ErrorCode::SignInRequired, "the token is not valid (any more)").hint("make a new one with `berth token create`");
        let hash = secret::hash(token);
        let name = self.facts.get::<Name>(&hash_key(&hash)).await?.ok_or_else(refused)?.value;
        let Fact { value: mut row, rev } = self.facts.get::<TokenRow>(&key(name.as_str())).await?.ok_or_else(refused)?;
        let now = self.clock.now();
        let is_same = bool::from(row.hash.as_bytes().ct_eq(hash.as_bytes()));
        if !is_same || !token.starts_with(MARK) || row.is_expired(now) {
            return Err(refused());
        }
        if row.last_used_at.is_none_or(|used| now.ms.saturating_sub(used.ms) >= SEEN_EVERY_MS) {
            row.last_used_at = Some(now);
            let own = key(name.as_str());
            // Another request may have written it at the same moment, which is just as good.
            drop(self.facts.change().unchanged(&own, rev).put(&own, &row).commit().await);
        }
        Ok(row)
    }

    /// Hashes of the tokens whose time is up.
    pub(super) async fn expired(&self) -> Result<Vec<String>> {
        self.hashes(|row, now| row.is_expired(now)).await
    }

    /// Hashes of the others.
    pub(super) async fn living(&self) -> Result<Vec<String>> {
        self.hashes(|row, now| !row.is_expired(now)).await
    }

    async fn hashes(&self, wanted: impl Fn(&TokenRow, Timestamp) -> bool) -> Result<Vec<String>> {
        let (rows, now) = (self.facts.list::<TokenRow>(PREFIX).await?, self.clock.now());
        let rows = rows.into_values().map(|row| row.value);
        Ok(rows.filter(|row| wanted(row, now)).map(|row| row.hash).collect())
    }
}
