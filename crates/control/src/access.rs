//! Who may come in: the first account, sign-in, sessions, accounts, tokens, and the audit log.
//!
//! Invariant: no secret is stored or logged in clear, and every refusal of a secret looks and takes the same whatever
//! was wrong with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use model::access::{AuditEntry, Role, SessionInfo, UserSettings, WhoAmI, check_password};
use model::id::{IdError, Name, UserId};
use model::{ErrorCode, Permission, Timestamp};
use tokio::sync::broadcast;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::{Fact, Facts};
use audit::Audit;
use password::Passwords;
use roles::{FIRST, UserRow, Users};
use session::Sessions;
use setup::Setup;
use throttle::Throttle;
use token::Tokens;

mod audit;
mod password;
mod roles;
mod secret;
mod session;
mod setup;
mod throttle;
mod token;
mod users;

/// A sign-in that succeeded.
#[derive(Clone)]
pub struct SignedIn {
    /// The session's secret: goes into the cookie and nowhere else.
    pub secret: String,
    pub caller: Caller,
    pub who: WhoAmI,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Accounts, sessions and tokens of this console.
#[derive(Debug)]
pub struct Access {
    facts: Facts,
    clock: Clock,
    passwords: Passwords,
    throttle: Throttle,
    sessions: Sessions,
    tokens: Tokens,
    setup: Setup,
    audit: Audit,
}

/// How a token's caller is called in logs and task rows, so that it is never taken for an account.
const TOKEN: &str = "token:";

impl Access {
    /// Opens access over a store. Needs a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(facts: Facts, clock: Clock, run_dir: &Path) -> Result<Arc<Self>> {
        let access = Self {
            passwords: Passwords::default(),
            throttle: Throttle::new(clock.clone()),
            sessions: Sessions::new(facts.clone(), clock.clone()),
            tokens: Tokens::new(facts.clone(), clock.clone()),
            setup: Setup::new(clock.clone(), run_dir),
            audit: Audit::new(facts.clone(), clock.clone()),
            facts,
            clock,
        };
        for session in access.sessions.all().await?.into_values() {
            access.throttle.remember(session.value.name.as_str(), &session.value.address);
        }
        access.sweep().await?;
        if !access.needs_setup().await? {
            // A file that an earlier run left says nothing any more.
            access.setup.close();
        }
        Ok(Arc::new(access))
    }

    /// Whether there is no account yet.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn needs_setup(&self) -> Result<bool> {
        Ok(self.facts.get::<Timestamp>(FIRST).await?.is_none() && self.users_by_name().await?.is_empty())
    }

    /// A new one-time token for the first account, also written to `<run-dir>/setup-token`; the one before is void.
    ///
    /// # Errors
    /// `Conflict` once an account exists; the file cannot be written.
    pub async fn setup_token(&self, caller: &Caller) -> Result<String> {
        caller.require(Permission::Administer)?;
        if !self.needs_setup().await? {
            return Err(Error::conflict("an account exists already").hint("sign in, or set its password with `berth user password`"));
        }
        self.setup.issue()
    }

    /// Makes the first account, an administrator, and signs it in.
    ///
    /// # Errors
    /// The same `NotAllowed` for a wrong, used or expired token, before the set-up and after it; `Invalid` name or
    /// password when the token is right.
    pub async fn set_up(&self, token: &str, name: &str, password: &str, from: &str, agent: &str) -> Result<SignedIn> {
        if !self.setup.accepts(token) || !self.needs_setup().await? {
            return Err(setup::refused());
        }
        let row = self.new_user(name, Role::Administrator, password).await?;
        let key = roles::key(&row.name);
        let first = self
            .facts
            .change()
            .absent(FIRST)
            .absent(&key)
            .put(FIRST, &row.created_at)
            .put(&key, &row)
            .commit()
            .await?;
        // Somebody else with the same link was quicker.
        let rev = first.ok_or_else(setup::refused)?;
        self.setup.close();
        let signed_in = self.begin_session(Fact { value: row, rev }, from, agent).await?;
        self.record(&signed_in.caller, "setup", name, "first account", true).await;
        Ok(signed_in)
    }

    /// Signs in with name and password.
    ///
    /// # Errors
    /// One `SignInRequired` whatever was wrong; `SlowDown` with the seconds to wait in the hint.
    pub async fn sign_in(&self, name: &str, password: &str, from: &str, agent: &str) -> Result<SignedIn> {
        let shown: String = name.chars().take(64).collect();
        self.throttle.enter(&shown, from)?;
        let user = self.verify(name, password).await?;
        let Some(user) = user else {
            let nobody = Caller {
                name: shown.clone(),
                ..Caller::anonymous(from)
            };
            self.record(&nobody, "session.begin", &shown, "wrong name or password", false).await;
            return Err(wrong_sign_in());
        };
        let signed_in = self.begin_session(user, from, agent).await?;
        self.throttle.succeeded(&shown, from);
        self.record(&signed_in.caller, "session.begin", name, "", true).await;
        Ok(signed_in)
    }

    /// The account when the password is its own; the same work is done for names that do not exist.
    async fn verify(&self, name: &str, password: &str) -> Result<Option<Fact<UserRow>>> {
        let user = match name.parse::<Name>() {
            Ok(name) => self.facts.get::<UserRow>(&roles::key(name)).await?,
            Err(_) => None,
        };
        // A password that cannot be right costs no hashing of megabytes.
        let (password, user) = if check_password(password).is_ok() { (password, user) } else { ("", None) };
        let is_right = self.passwords.matches(password, user.as_ref().map(|user| user.value.password.as_str())).await?;
        Ok(user.filter(|_| is_right))
    }

    async fn begin_session(&self, user: Fact<UserRow>, from: &str, agent: &str) -> Result<SignedIn> {
        let Fact { value: user, rev } = user;
        let begun = self.sessions.begin(user.id, &user.name, (roles::key(&user.name), rev), from, agent).await?;
        let (secret, hash) = begun.ok_or_else(wrong_sign_in)?;
        Ok(SignedIn {
            secret,
            caller: caller_of(&user, from, hash),
            who: who(&user),
        })
    }

    /// Ends the session that asks. Tokens and the local socket have none, and nothing happens.
    ///
    /// # Errors
    /// Nobody is signed in, or the store fails.
    pub async fn sign_out(&self, caller: &Caller) -> Result<()> {
        caller.require(Permission::OwnAccount)?;
        if let (Some(hash), Some(_)) = (&caller.session, caller.user) {
            self.sessions.end_all(vec![hash.clone()]).await?;
            self.record(caller, "session.end", &caller.name, "", true).await;
        }
        Ok(())
    }

    /// Who holds a session's secret.
    ///
    /// # Errors
    /// `SignInRequired` when it is unknown, ended or expired.
    pub async fn caller_of_session(&self, secret: &str, from: &str) -> Result<Caller> {
        let ended = || Error::new(ErrorCode::SignInRequired, "the session has ended").hint("sign in again");
        let (hash, session) = self.sessions.find(secret).await?.ok_or_else(ended)?;
        let user = self.facts.get::<UserRow>(&roles::key(&session.name)).await?.ok_or_else(ended)?.value;
        // A name that was removed and given again is somebody else.
        if user.id != session.user {
            return Err(ended());
        }
        Ok(caller_of(&user, from, hash))
    }

    /// Who holds a token.
    ///
    /// # Errors
    /// `SignInRequired` when it is unknown, revoked or expired.
    pub async fn caller_of_token(&self, token: &str, from: &str) -> Result<Caller> {
        let row = self.tokens.find(token).await?;
        Ok(Caller {
            name: format!("{TOKEN}{}", row.name),
            from: from.to_owned(),
            role: Some(row.role),
            user: None,
            session: Some(row.hash),
        })
    }

    /// Who asks, with their settings.
    ///
    /// # Errors
    /// Nobody is signed in, or the account is gone.
    pub async fn who_am_i(&self, caller: &Caller) -> Result<WhoAmI> {
        caller.require(Permission::OwnAccount)?;
        if caller.user.is_some() {
            return Ok(who(&self.own_row(caller).await?.value));
        }
        let name = caller.name.trim_start_matches(TOKEN).parse::<Name>().or_else(|_| "berth".parse());
        Ok(WhoAmI {
            name: name.map_err(|error| Error::failed(error.to_string()))?,
            role: caller.role.unwrap_or(Role::Viewer),
            settings: UserSettings::default(),
        })
    }

    /// Changes language and theme of one's own pages.
    ///
    /// # Errors
    /// `Invalid` for a word that is not offered; `BadRequest` for callers without an account.
    pub async fn change_settings(&self, caller: &Caller, settings: UserSettings) -> Result<()> {
        caller.require(Permission::OwnAccount)?;
        check_word("language", settings.language.as_deref(), &["en", "fr"])?;
        check_word("theme", settings.theme.as_deref(), &["light", "dark"])?;
        let Fact { value: mut row, rev } = self.own_row(caller).await?;
        row.settings = settings;
        let key = roles::key(&row.name);
        let changed = self.facts.change().unchanged(&key, rev).put(&key, &row).commit().await?;
        changed
            .map(drop)
            .ok_or_else(|| Error::new(ErrorCode::Stale, "the account was changed at the same moment").hint("try again"))
    }

    /// One's own sessions, the last seen first.
    ///
    /// # Errors
    /// Nobody is signed in, or the store fails.
    pub async fn sessions(&self, caller: &Caller) -> Result<Vec<SessionInfo>> {
        caller.require(Permission::OwnAccount)?;
        match caller.user {
            Some(user) => self.sessions.of(user, caller.session.as_deref()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Ends one of one's own sessions; what it opened closes.
    ///
    /// # Errors
    /// `NotFound`, also for somebody else's.
    pub async fn end_session(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.require(Permission::OwnAccount)?;
        let own = self.sessions(caller).await?;
        if !own.iter().any(|session| session.id == id) {
            return Err(Error::not_found("session", id.chars().take(64).collect::<String>()));
        }
        self.sessions.end_all(vec![id.to_owned()]).await?;
        self.record(caller, "session.end", &caller.name, "", true).await;
        Ok(())
    }

    /// Hashes of sessions and tokens (as in [`Caller::session`]) that have just ended: what they opened must close. A
    /// receiver that lagged checks all of its own again.
    #[must_use]
    pub fn ended(&self) -> broadcast::Receiver<String> {
        self.sessions.ended()
    }

    /// Hashes of the sessions and tokens that may still come in.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn living(&self) -> Result<BTreeSet<String>> {
        let (sessions, tokens) = (self.sessions.living().await?, self.tokens.living().await?);
        Ok(sessions.into_iter().chain(tokens).collect())
    }

    /// Ends sessions whose time is up, and what expired tokens opened. Called once a minute.
    ///
    /// # Errors
    /// The store fails.
    pub async fn sweep(&self) -> Result<()> {
        self.sessions.sweep().await?;
        for hash in self.tokens.expired().await? {
            self.sessions.announce_end(&hash);
        }
        Ok(())
    }

    /// The audit log, newest first.
    ///
    /// # Errors
    /// Not an administrator, or the store fails.
    pub async fn audit(&self, caller: &Caller, since: Option<Timestamp>) -> Result<Vec<AuditEntry>> {
        caller.require(Permission::Administer)?;
        self.audit.list(since).await
    }

    /// Notes in the audit log who did what; what was done is there when this returns. Never fails: a row that cannot be
    /// written is in the program's log.
    pub async fn record(&self, caller: &Caller, action: &str, target: &str, detail: &str, ok: bool) {
        let entry = AuditEntry {
            at: self.clock.now(),
            user: caller.name.clone(),
            from: caller.from.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail: detail.to_owned(),
            ok,
        };
        self.audit.record(entry).await;
    }

    /// Waits until everything recorded is in the store; for the console's end.
    pub async fn flush(&self) {
        self.audit.flush().await;
    }

    async fn users_by_name(&self) -> Result<Users> {
        self.facts.list(roles::USERS).await
    }

    async fn own_row(&self, caller: &Caller) -> Result<Fact<UserRow>> {
        let none = || Error::new(ErrorCode::BadRequest, "a token or the local socket has no account of its own");
        let user = caller.user.ok_or_else(none)?;
        let row = self.facts.get::<UserRow>(&roles::key(&caller.name)).await?;
        row.filter(|row| row.value.id == user)
            .ok_or_else(|| Error::new(ErrorCode::SignInRequired, "the account was removed"))
    }

    async fn new_user(&self, name: &str, role: Role, password: &str) -> Result<UserRow> {
        let name: Name = name.parse().map_err(|error: IdError| Error::invalid("name", error.to_string()))?;
        check_password(password).map_err(|message| Error::invalid("password", message))?;
        Ok(UserRow {
            id: UserId(uuid::Uuid::new_v4()),
            name,
            role,
            password: self.passwords.hash(password).await?,
            created_at: self.clock.now(),
            settings: UserSettings::default(),
        })
    }
}

fn wrong_sign_in() -> Error {
    Error::new(ErrorCode::SignInRequired, "the name or the password is wrong")
}

fn caller_of(user: &UserRow, from: &str, session: String) -> Caller {
    Caller {
        name: user.name.to_string(),
        from: from.to_owned(),
        role: Some(user.role),
        user: Some(user.id),
        session: Some(session),
    }
}

fn who(user: &UserRow) -> WhoAmI {
    WhoAmI {
        name: user.name.clone(),
        role: user.role,
        settings: user.settings.clone(),
    }
}

fn check_word(field: &str, given: Option<&str>, offered: &[&str]) -> Result<()> {
    match given {
        Some(word) if !offered.contains(&word) => Err(Error::invalid(field, format!("`{field}` is one of {}", offered.join(", ")))),
        _ => Ok(()),
    }
}
