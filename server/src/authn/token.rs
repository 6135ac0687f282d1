//! Bearer tokens: `name:secret`.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use lariat_api::{AuthConfigType, ClusterId, Kind, Token, TokenName, UserId};
use tokio_util::sync::CancellationToken;

use super::secret::SecretHash;

/// A bearer token as a client shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bearer<'a> {
    /// Name of the Token object.
    pub name: &'a str,
    /// The secret.
    pub secret: &'a str,
}

impl<'a> Bearer<'a> {
    /// Parses the value of an `Authorization` header.
    #[must_use]
    pub fn parse(header: &'a str) -> Option<Self> {
        let (scheme, token) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Self::split(token.trim())
    }

    /// Parses `name:secret`.
    #[must_use]
    pub fn split(token: &'a str) -> Option<Self> {
        let (name, secret) = token.split_once(':')?;
        (!name.is_empty() && !secret.is_empty() && secret.len() <= 512)
            .then_some(Self { name, secret })
    }
}

impl std::fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bearer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the server keeps in memory of a token.
#[derive(Debug)]
pub struct TokenRecord {
    /// Its name.
    pub name: TokenName,
    /// Whose it is.
    pub user: UserId,
    /// The only cluster that it is good for.
    pub cluster: Option<ClusterId>,
    /// Whether it is good for reading only.
    pub read_only: bool,
    /// The login provider by which the user came.
    pub provider: String,
    /// The user as that provider knows them.
    pub principal: String,
    /// Whether it came from a login rather than from another token.
    pub is_session: bool,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
    /// Whether it is accepted at all.
    pub enabled: bool,
    pub(super) hash: SecretHash,
    /// Cancelled when the token is no longer good for another reason than its age.
    pub(super) ended: CancellationToken,
    /// When it was made, and last used as far as that was written down.
    born: Timestamp,
    noted: Option<Timestamp>,
    /// When it was last used since the server started, in seconds; 0: not.
    last_used: AtomicI64,
}

impl TokenRecord {
    /// `None` for an object that cannot be a working token.
    pub(super) fn new(token: &Token) -> Option<Self> {
        let cluster = token.cluster_name.as_str();
        let user: UserId = token.user_id.parse().ok()?;
        // Earlier versions had accounts of the server itself alone.
        let (provider, principal) = match token.auth_provider.as_str() {
            "" => (AuthConfigType::Local.name(), user.local_principal()),
            provider => (provider, token.user_principal.clone()),
        };
        Some(Self {
            name: token.name().parse().ok()?,
            provider: provider.to_owned(),
            principal,
            is_session: !token.is_derived,
            user,
            cluster: if cluster.is_empty() {
                None
            } else {
                Some(cluster.parse().ok()?)
            },
            read_only: token.read_only,
            // A token without an end was not made here.
            expires_at: Some(token.expires_at.as_ref()?.0),
            // What is being deleted is gone, whatever its object waits for.
            enabled: token.enabled && token.metadata.deletion_timestamp.is_none(),
            hash: SecretHash::from_hex(&token.token_hash)?,
            ended: CancellationToken::new(),
            born: (token.metadata.creation_timestamp.as_ref())
                .map_or(Timestamp::UNIX_EPOCH, |at| at.0),
            noted: token.last_used_at.as_ref().map(|at| at.0),
            last_used: AtomicI64::new(0),
        })
    }

    /// Takes over what open requests hold on to, if it is still the same token.
    pub(super) fn succeed(mut self, before: &Self) -> Self {
        let same = self.hash == before.hash && self.user == before.user;
        if same && self.enabled && !before.ended.is_cancelled() {
            self.ended = before.ended.clone();
            self.last_used = AtomicI64::new(before.last_used.load(Ordering::Relaxed));
        } else {
            before.ended.cancel();
        }
        self
    }

    /// The same token, good again.
    pub(super) fn renewed(&self) -> Self {
        Self {
            name: self.name.clone(),
            user: self.user.clone(),
            cluster: self.cluster.clone(),
            read_only: self.read_only,
            provider: self.provider.clone(),
            principal: self.principal.clone(),
            is_session: self.is_session,
            expires_at: self.expires_at,
            enabled: self.enabled,
            hash: self.hash,
            ended: CancellationToken::new(),
            born: self.born,
            noted: self.noted,
            last_used: AtomicI64::new(self.last_used.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn used(&self, now: Timestamp) {
        self.last_used.store(now.as_second(), Ordering::Relaxed);
    }

    /// When the token was last used, or else made. After a restart of the server it may be a few minutes
    /// behind.
    #[must_use]
    pub fn last_active(&self) -> Timestamp {
        let known = [Some(self.born), self.noted, self.last_used()];
        known.into_iter().flatten().max().unwrap_or(self.born)
    }

    /// The hash of its secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        self.hash
    }

    /// When the token was last used since the server started.
    #[must_use]
    pub fn last_used(&self) -> Option<Timestamp> {
        let seconds = self.last_used.load(Ordering::Relaxed);
        (seconds != 0).then(|| Timestamp::from_second(seconds).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bearer_token_has_a_name_and_a_secret() {
        let bearer = Bearer::parse("Bearer token-abc12:s3cret").unwrap();
        assert_eq!((bearer.name, bearer.secret), ("token-abc12", "s3cret"));
        assert!(Bearer::parse("bearer token-abc12:s3cret").is_some());
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Bearer :x",
            "Bearer x:",
            "Basic x:y",
        ] {
            assert!(Bearer::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(header: String) {
            let _ = Bearer::parse(&header);
        }
    }
}
