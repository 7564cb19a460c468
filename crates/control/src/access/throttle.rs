//! Growing pauses between attempts to sign in, per address and per name.
//!
//! The pause of a name does not count for an address from which that account has signed in before: who guesses at a name
//! from elsewhere keeps its owner waiting nowhere they have been.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::password::slow_down;
use crate::clock::Clock;
use crate::error::Result;

/// Attempts before the first pause.
const FREE: u32 = 10;
/// Longest pause of an address, and of a name.
const MAX_ADDRESS: u64 = 60;
const MAX_NAME: u64 = 30;
/// After so long without an attempt everything is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// Subjects and familiar pairs remembered at most; beyond that the oldest go.
const REMEMBERED: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(String),
    Name(String),
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    last: Duration,
    not_before: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    attempts: HashMap<Subject, Attempts>,
    /// (name, address) that have signed in.
    familiar: HashSet<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Throttle {
    clock: Clock,
    seen: Mutex<Seen>,
}

impl Throttle {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins. It counts as failed until [`Throttle::succeeded`], so that many at once gain nothing.
    ///
    /// # Errors
    /// `SlowDown` with the seconds to wait. Such an attempt does not count: waiting always helps.
    pub(super) fn enter(&self, name: &str, from: &str) -> Result<()> {
        let (now, address) = (self.clock.boot(), network(from));
        let mut seen = self.seen();
        let is_familiar = seen.familiar.contains(&(name.to_owned(), address.clone()));
        let mut subjects = vec![(Subject::Address(address), MAX_ADDRESS)];
        if !is_familiar {
            subjects.push((Subject::Name(name.to_owned()), MAX_NAME));
        }
        let wait = subjects.iter().map(|(subject, _)| seen.wait(subject, now)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(slow_down(wait.as_millis().div_ceil(1000).try_into().unwrap_or(MAX_ADDRESS)));
        }
        for (subject, longest) in subjects {
            seen.count(subject, longest, now);
        }
        seen.forget_some();
        Ok(())
    }

    /// The attempt was right: it does not count. Those of others still do, or each sign-in of the owner would give a
    /// guesser a fresh start.
    pub(super) fn succeeded(&self, name: &str, from: &str) {
        let pair = (name.to_owned(), network(from));
        let mut seen = self.seen();
        seen.take_back(&Subject::Address(pair.1.clone()));
        if seen.familiar.insert(pair) {
            seen.take_back(&Subject::Name(name.to_owned()));
        }
    }

    /// What earlier runs saw.
    pub(super) fn remember(&self, name: &str, from: &str) {
        self.seen().familiar.insert((name.to_owned(), network(from)));
    }
}

impl Seen {
    fn wait(&self, subject: &Subject, now: Duration) -> Duration {
        self.attempts
            .get(subject)
            .map_or(Duration::ZERO, |attempts| attempts.not_before.saturating_sub(now))
    }

    fn count(&mut self, subject: Subject, longest: u64, now: Duration) {
        let fresh = Attempts {
            count: 0,
            last: now,
            not_before: now,
        };
        let attempts = self.attempts.entry(subject).or_insert(fresh);
        if now.saturating_sub(attempts.last) >= FORGET {
            *attempts = fresh;
        }
        attempts.count += 1;
        attempts.last = now;
        attempts.not_before = now + pause(attempts.count, longest);
    }

    fn take_back(&mut self, subject: &Subject) {
        if let Some(attempts) = self.attempts.get_mut(subject) {
            attempts.count = attempts.count.saturating_sub(1);
            attempts.not_before = Duration::ZERO;
        }
    }

    fn forget_some(&mut self) {
        if self.attempts.len() > REMEMBERED {
            let mut ages: Vec<Duration> = self.attempts.values().map(|attempts| attempts.last).collect();
            ages.sort_unstable();
            let middle = ages[ages.len() / 2];
            self.attempts.retain(|_, attempts| attempts.last > middle);
        }
        if self.familiar.len() > REMEMBERED {
            self.familiar.clear();
        }
    }
}

/// 0 for the free attempts, then 1 s, 2 s, 4 s ... up to the longest.
fn pause(count: u32, longest: u64) -> Duration {
    let over = count.saturating_sub(FREE);
    let seconds = if over == 0 {
        0
    } else {
        1_u64.checked_shl(over - 1).unwrap_or(longest).min(longest)
    };
    Duration::from_secs(if over > 32 { longest } else { seconds })
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 host may choose from.
fn network(from: &str) -> String {
    let address = from.parse::<IpAddr>().or_else(|_| from.parse::<SocketAddr>().map(|socket| socket.ip()));
    match address.map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => v4.to_string(),
        Ok(IpAddr::V6(v6)) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).to_string(),
        Err(_) => from.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::{ErrorCode, Timestamp};

    use super::*;

    fn throttle() -> (Throttle, Clock) {
        let clock = Clock::manual(Timestamp::from_ms(1_000_000));
        (Throttle::new(clock.clone()), clock)
    }

    fn fail_until_slowed(throttle: &Throttle, name: &str, from: &str) -> u32 {
        (0..100).take_while(|_| throttle.enter(name, from).is_ok()).count().try_into().unwrap()
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let seconds: Vec<u64> = [1, 10, 11, 12, 13, 16, 17, 60, 1000].map(|count| pause(count, 60).as_secs()).to_vec();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn one_address_is_slowed_whatever_the_name() {
        let (throttle, clock) = throttle();
        for n in 0..=FREE {
            throttle.enter(&format!("name{n}"), "192.0.2.1").unwrap();
        }
        let refused = throttle.enter("other", "192.0.2.1").unwrap_err();
        assert_eq!(refused.code(), ErrorCode::SlowDown);
        assert_eq!(refused.body.hint.as_deref(), Some("try again in 1 s"));
        throttle.enter("other", "192.0.2.2").unwrap();
        clock.advance(Duration::from_secs(1));
        throttle.enter("other", "192.0.2.1").unwrap();
    }

    #[test]
    fn refused_attempts_do_not_make_the_pause_longer() {
        let (throttle, clock) = throttle();
        assert_eq!(fail_until_slowed(&throttle, "owner", "192.0.2.1"), FREE + 1);
        for _ in 0..1_000 {
            throttle.enter("owner", "192.0.2.1").unwrap_err();
        }
        clock.advance(Duration::from_secs(1));
        throttle.enter("owner", "192.0.2.1").unwrap();
    }

    #[test]
    fn guessing_from_many_addresses_is_slowed_but_not_for_the_owner() {
        let (throttle, _clock) = throttle();
        throttle.enter("owner", "198.51.100.7").unwrap();
        throttle.succeeded("owner", "198.51.100.7");
        for n in 0..=FREE {
            throttle.enter("owner", &format!("192.0.2.{n}")).unwrap();
        }
        throttle.enter("owner", "203.0.113.1").unwrap_err();
        throttle.enter("owner", "198.51.100.7").unwrap();
    }

    #[test]
    fn an_ipv6_host_is_one_address_however_many_it_takes() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1:4711"), "192.0.2.1");
    }

    #[test]
    fn memory_is_bounded() {
        let (throttle, clock) = throttle();
        for n in 0..30_000_u32 {
            clock.advance(Duration::from_millis(1));
            throttle.enter(&format!("n{n}"), &IpAddr::from(n.to_be_bytes()).to_string()).unwrap();
        }
        assert!(throttle.seen().attempts.len() <= REMEMBERED + 2);
    }
}
