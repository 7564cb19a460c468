//! When a new token ends.

use model::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// The choices of the form: days, and `never`.
pub const LIFETIMES: [&str; 4] = ["30", "90", "365", "never"];

/// The end of a token that is made now.
#[must_use]
pub fn expiry(lifetime: &str, now: Timestamp) -> Option<Timestamp> {
    let days: i64 = lifetime.parse().ok()?;
    Some(now.plus_ms(days.saturating_mul(DAY_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_or_lives_on() {
        let now = Timestamp::from_ms(0);
        assert_eq!(expiry("30", now), Some(Timestamp::from_ms(30 * DAY_MS)));
        assert_eq!(expiry("never", now), None);
    }
}
