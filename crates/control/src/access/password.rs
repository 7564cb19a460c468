//! Hashing and checking passwords with argon2id, a few at a time: each takes 19 MiB and tens of milliseconds.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use model::ErrorCode;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Two at once bound the memory to 38 MiB and leave the other cores alone.
const AT_ONCE: usize = 2;
/// Who comes later is asked to try again, so that the queue cannot grow.
const WAITING: usize = 64;
/// What the password of an unknown name is compared with, so that it takes as long as a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YmVydGhiZXJ0aGJlcnRo$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The one place where passwords are hashed.
#[derive(Debug)]
pub(super) struct Passwords {
    working: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            working: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Passwords {
    /// A salted hash in the PHC format.
    pub(super) async fn hash(&self, password: &str) -> Result<String> {
        let password = password.to_owned();
        self.work(move || {
            let hash = hasher()?.hash_password(password.as_bytes()).map_err(broken)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password is the one of the hash; without a hash the same work is done and the answer is no.
    pub(super) async fn matches(&self, password: &str, hash: Option<&str>) -> Result<bool> {
        let (password, is_known) = (password.to_owned(), hash.is_some());
        let hash = hash.unwrap_or(NOBODY).to_owned();
        self.work(move || {
            let verdict = hasher()?.verify_password(password.as_bytes(), hash.as_str());
            Ok(verdict.is_ok() && is_known)
        })
        .await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let _place = self.waiting.try_acquire().map_err(|_full| slow_down(1))?;
        let permit = Arc::clone(&self.working).acquire_owned().await.map_err(broken)?;
        let done = tokio::task::spawn_blocking(move || {
            let out = work();
            // Held by the work itself: a dropped request does not let a third one begin.
            drop(permit);
            out
        });
        done.await.map_err(broken)?
    }
}

/// The answer to who tries too often.
pub(super) fn slow_down(seconds: u64) -> Error {
    Error::new(ErrorCode::SlowDown, "too many attempts").hint(format!("try again in {seconds} s"))
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(broken)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("the password could not be worked on ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn right_password_matches_and_nobody_never_does() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.matches("correct horse battery", Some(&hash)).await.unwrap());
        assert!(!passwords.matches("correct horse batterz", Some(&hash)).await.unwrap());
        assert!(!passwords.matches("correct horse battery", None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_the_same_work() {
        let parsed = argon2::password_hash::phc::PasswordHash::new(NOBODY).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
    }
}
