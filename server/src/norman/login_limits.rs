//! How often somebody may try to log in, and how often it succeeds.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use apiserver::error::ApiError;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use lariat_api::AuthConfigType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::config::LoginBounds;
use crate::edge::whose;

/// In which time the attempts that are allowed at once are allowed again.
const PERIOD: Duration = Duration::from_secs(60);
/// How many addresses, and accounts, are remembered before those that have recovered are forgotten.
const REMEMBERED: usize = 10_000;

/// So much of a name counts, in characters.
const LONGEST: usize = 128;

/// Limits attempts per address and per account, and counts how they end.
#[derive(Debug)]
pub struct LoginLimits {
    addresses: Option<DefaultKeyedRateLimiter<IpAddr>>,
    accounts: Option<DefaultKeyedRateLimiter<String>>,
    limited: Family<Limited, Counter>,
    ended: Family<Ended, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limited {
    whose: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    provider: &'static str,
    result: &'static str,
}

impl LoginLimits {
    /// Limits that allow so much.
    #[must_use]
    pub fn new(bounds: LoginBounds) -> Self {
        Self {
            addresses: limiter(bounds.per_address),
            accounts: limiter(bounds.per_account),
            limited: Family::default(),
            ended: Family::default(),
        }
    }

    /// Adds the metrics of logins.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Attempts to log in, by how they ended at which provider";
        registry.register("logins", help, self.ended.clone());
        let help = "Attempts to log in that were refused because there were too many, and whose";
        registry.register("logins_limited", help, self.limited.clone());
    }

    /// Counts how an attempt ended that was not too many.
    pub(crate) fn ended<T>(&self, provider: AuthConfigType, answered: &Result<T, ApiError>) {
        let result = match answered {
            Ok(_) => "success",
            Err(error) if error.code().is_server_error() => "error",
            Err(_) => "refused",
        };
        let provider = provider.name();
        self.ended.get_or_create(&Ended { provider, result }).inc();
    }

    /// Counts what only needs an address: a login elsewhere that begins or comes back.
    ///
    /// # Errors
    /// 429 with the seconds to wait, when there were too many.
    pub fn check_address(&self, address: IpAddr) -> Result<(), ApiError> {
        self.check_key("address", self.addresses.as_ref(), &whose(address))
    }

    /// Counts an attempt to log in to an account of a login provider.
    ///
    /// # Errors
    /// 429 with the seconds to wait, when there were too many.
    pub fn check(&self, address: IpAddr, provider: &str, account: &str) -> Result<(), ApiError> {
        // An account that nobody has is limited as well, so that the limit tells nothing.
        let account = format!("{provider}/{}", same_for_all(account));
        // An address that is refused does not use up what the account has.
        self.check_key("address", self.addresses.as_ref(), &whose(address))?;
        self.check_key("account", self.accounts.as_ref(), &account)
    }

    fn check_key<K: Clone + Eq + Hash>(
        &self,
        whose: &'static str,
        limiter: Option<&DefaultKeyedRateLimiter<K>>,
        key: &K,
    ) -> Result<(), ApiError> {
        let Some(limiter) = limiter else {
            return Ok(());
        };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter.check_key(key).map_err(|refused| {
            self.limited.get_or_create(&Limited { whose }).inc();
            too_many(&refused)
        })
    }
}

fn too_many(refused: &NotUntil<<DefaultClock as Clock>::Instant>) -> ApiError {
    let wait = refused.wait_time_from(DefaultClock::default().now());
    let seconds = u32::try_from(wait.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let message = format!("too many attempts to log in; try again in {seconds} s");
    ApiError::too_many_requests(message, seconds)
}

/// A name in the one form in which all ways to write it count: directories compare without regard to case
/// and spaces, and take names with and without a domain.
fn same_for_all(name: &str) -> String {
    let name = name.rsplit_once('\\').map_or(name, |(_, name)| name);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.chars().filter(|character| !character.is_whitespace());
    let name = name.take(LONGEST).flat_map(char::to_lowercase);
    name.collect()
}

/// So many attempts at once, and in a period.
fn limiter<K: Clone + Eq + Hash>(attempts: u32) -> Option<DefaultKeyedRateLimiter<K>> {
    let attempts = NonZeroU32::new(attempts)?;
    let quota = Quota::with_period(PERIOD / attempts.get())?;
    Some(RateLimiter::keyed(quota.allow_burst(attempts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> LoginLimits {
        LoginLimits::new(LoginBounds {
            per_address: 20,
            per_account: 10,
        })
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = LoginLimits::new(LoginBounds {
            per_address: 0,
            per_account: 1,
        });
        let address = IpAddr::from([10, 0, 0, 1]);
        for name in 0..100 {
            assert!(limits.check(address, "local", &name.to_string()).is_ok());
        }
        assert!(limits.check(address, "local", "1").is_err());
    }

    #[test]
    fn one_account_is_limited_whatever_the_address() {
        let limits = usual();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        for attempt in 0..10 {
            assert!(limits.check(address(attempt), "local", "admin").is_ok());
        }
        let again = |name| limits.check(address(99), "local", name);
        for name in [
            "admin",
            "ADMIN",
            " ad min",
            "CORP\\admin",
            "admin@example.com",
        ] {
            assert_eq!(again(name).unwrap_err().code(), 429, "{name}");
        }
        assert!(again("other").is_ok());
        assert!(limits.check(address(99), "openldap", "admin").is_ok());
    }

    #[test]
    fn one_address_is_limited_whatever_the_account() {
        let limits = usual();
        let address = IpAddr::from([10, 0, 0, 1]);
        for attempt in 0..20 {
            assert!(limits.check(address, "local", &attempt.to_string()).is_ok());
        }
        assert_eq!(
            limits.check(address, "local", "21").unwrap_err().code(),
            429
        );
        let limited = |whose| limits.limited.get_or_create(&Limited { whose }).get();
        assert_eq!((limited("address"), limited("account")), (1, 0));
    }

    /// Whoever has one address of such a network has all of it.
    #[test]
    fn addresses_of_one_ipv6_network_are_limited_together() {
        let limits = usual();
        let attempt = |address: &str, name: u8| {
            let address = address.parse().unwrap();
            limits.check(address, "local", &name.to_string())
        };
        for number in 0..20 {
            let address = format!("2001:db8::{number}:1");
            assert!(attempt(&address, number).is_ok());
        }
        let refused = attempt("2001:db8::ffff:ffff:ffff:ffff", 21);
        assert_eq!(refused.unwrap_err().code(), 429);
        assert!(attempt("2001:db8:0:1::1", 22).is_ok());
        for number in 23..43 {
            let address = format!("::ffff:10.0.0.{number}");
            assert!(attempt(&address, number).is_ok());
        }
    }
}
