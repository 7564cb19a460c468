//! How often one address may ask: a bucket of tokens each, a small one for guessing (sign-in, set-up) and a large one for
//! everything. Memory is bounded: the fullest buckets are the ones to forget.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use model::error::ErrorCode;

use super::forwarded::Client;
use crate::console::Console;
use crate::routes::answer::ApiError;

const KEPT: usize = 10_000;

/// How large a bucket is and how fast it fills.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    per_second: f64,
}

const GENERAL: Rate = Rate {
    burst: 3000.0,
    per_second: 500.0,
};
const GUESSES: Rate = Rate { burst: 60.0, per_second: 2.0 };

/// The buckets of both kinds.
#[derive(Debug, Default)]
pub struct RateLimit {
    general: Buckets,
    guesses: Buckets,
}

#[derive(Debug, Default)]
struct Buckets(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// Takes a token; `Err` = seconds until there is one.
    fn take(&self, address: IpAddr, rate: Rate, now: Instant) -> Result<(), u64> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEPT && !buckets.contains_key(&address) {
            buckets.retain(|_, bucket| filled(*bucket, rate, now) < rate.burst);
            // Thousands of addresses at once: forgetting all is better than growing, the cap on connections still holds.
            if buckets.len() >= KEPT {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket { tokens: rate.burst, at: now });
        let tokens = filled(*bucket, rate, now);
        if tokens < 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds, never negative")]
            return Err(((1.0 - tokens) / rate.per_second).ceil() as u64);
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        Ok(())
    }
}

fn filled(bucket: Bucket, rate: Rate, now: Instant) -> f64 {
    (bucket.tokens + now.saturating_duration_since(bucket.at).as_secs_f64() * rate.per_second).min(rate.burst)
}

/// Refuses what comes too often. The local socket has no limit.
pub async fn check(State(console): State<Console>, request: Request, next: Next) -> Response {
    let Some(address) = request.extensions().get::<Client>().and_then(|client| client.address) else {
        return next.run(request).await;
    };
    let now = Instant::now();
    let general = console.limits.general.take(network(address), GENERAL, now);
    let judged = general.and_then(|()| {
        if is_guess(&request) {
            console.limits.guesses.take(network(address), GUESSES, now)
        } else {
            Ok(())
        }
    });
    let Err(seconds) = judged else {
        return next.run(request).await;
    };
    let mut response = ApiError::new(ErrorCode::SlowDown, "too many requests from this address")
        .hint(format!("try again in {seconds} s"))
        .into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Whoever has an IPv6 address has a whole /64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

fn is_guess(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && matches!(path, "/api/v1/session" | "/api/v1/setup" | "/fn/session/sign_in" | "/fn/setup/set_up")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        let rate = Rate { burst: 3.0, per_second: 1.0 };
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!((0..3).all(|_| buckets.take(one, rate, start).is_ok()));
        assert_eq!(buckets.take(one, rate, start), Err(1));
        assert!(buckets.take(other, rate, start).is_ok());
        assert!(buckets.take(one, rate, start + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::ffff:2".parse().unwrap()));
    }
}
