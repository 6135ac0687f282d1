//! Whom the cluster knows: tokens and users, in memory.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use lariat_api::EXTRA_TOKEN;
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute};
use serde::Serialize;
use tracing::warn;

use crate::hash::Hash;
use crate::policy::{Denied, Policy};
use crate::table::{Table, Weigh};

/// Memory for tokens, in bytes: some 50,000 of them.
const MOST_TOKENS: usize = 16 << 20;

/// Memory for users, in bytes: some 50,000 in a few groups.
const MOST_USERS: usize = 32 << 20;

/// Longest name of a token and longest secret; the server's are much shorter.
const MOST_NAME: usize = 253;
const MOST_SECRET: usize = 512;

/// A user, as a TokenReview names one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user's id at the server.
    pub username: String,
    /// The groups.
    pub groups: Vec<String>,
    /// More about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why nobody is let in with a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not the form of the server's tokens: somebody else may know it.
    #[error("not a token of this server")]
    NotOurs,
    /// Not everything was read yet.
    #[error("tokens and users of this cluster were not read yet")]
    NotReady,
    /// There is no such token, or the secret is wrong.
    #[error("token is not known in this cluster or was revoked")]
    Unknown,
    /// It is too old.
    #[error("token has expired; log in again")]
    Expired,
    /// It, or its user, is disabled.
    #[error("token or its user is disabled")]
    Disabled,
    /// The cluster's owner does not want it.
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// What is known. Filled by watches; lookups take a short lock and never wait.
#[derive(Debug)]
pub struct Known(RwLock<Content>);

#[derive(Debug)]
struct Content {
    tokens: Table<Token>,
    users: Table<Person>,
    /// `None` until it was asked for.
    policy: Option<Policy>,
}

#[derive(Debug)]
struct Token {
    user: String,
    hash: Hash,
    enabled: bool,
    expires_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Person {
    enabled: bool,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// How much is known, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Tokens.
    pub tokens: usize,
    /// Users.
    pub users: usize,
    /// How often there was no room for an object.
    pub left_out: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self(RwLock::new(Content {
            tokens: Table::new(MOST_TOKENS),
            users: Table::new(MOST_USERS),
            policy: None,
        }))
    }
}

impl Known {
    /// Whose a bearer token is.
    ///
    /// # Errors
    /// With the reason, if nobody is let in with it.
    pub fn authenticate(&self, bearer: &str, now: Timestamp) -> Result<User, Refusal> {
        let (name, secret) = bearer.split_once(':').ok_or(Refusal::NotOurs)?;
        let sizes = [(name.len(), MOST_NAME), (secret.len(), MOST_SECRET)];
        if sizes.iter().any(|(size, most)| *size == 0 || size > most) {
            return Err(Refusal::NotOurs);
        }
        let content = self.read();
        let policy = content.policy.as_ref().filter(|_| content.is_complete());
        let policy = policy.ok_or(Refusal::NotReady)?;
        let token = content.tokens.get(name).ok_or(Refusal::Unknown)?;
        if !token.hash.matches(secret) {
            return Err(Refusal::Unknown);
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        let person = content.users.get(&token.user).ok_or(Refusal::Unknown)?;
        if !token.enabled || !person.enabled {
            return Err(Refusal::Disabled);
        }
        policy.check(&token.user, &person.groups)?;
        let mut extra = person.extra.clone();
        // As through the server.
        extra.insert(EXTRA_TOKEN.to_owned(), vec![name.to_owned()]);
        Ok(User {
            username: token.user.clone(),
            groups: person.groups.clone(),
            extra,
        })
    }

    /// Whether everything was read.
    pub fn is_ready(&self) -> bool {
        let content = self.read();
        content.is_complete() && content.policy.is_some()
    }

    /// How much is known.
    pub fn size(&self) -> Size {
        let content = self.read();
        Size {
            tokens: content.tokens.len(),
            users: content.users.len(),
            left_out: content.left_out(),
        }
    }

    /// Takes in what the cluster tells of tokens.
    pub fn take_in_token(&self, event: Event<ClusterAuthToken>) {
        self.change(|content| content.tokens.take_in(event, Token::read));
    }

    /// Takes in what the cluster tells of users.
    pub fn take_in_user(&self, event: Event<ClusterUserAttribute>) {
        self.change(|content| {
            let read = |user| Some(Person::read(user));
            content.users.take_in(event, read);
        });
    }

    /// Sets the policy to hold.
    pub fn set_policy(&self, policy: Policy) {
        self.change(|content| content.policy = Some(policy));
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = content.left_out();
        change(&mut content);
        if before == 0 && content.left_out() > 0 {
            warn!("there are more tokens or users than there is room for: some are not known here");
        }
    }
}

impl Content {
    fn is_complete(&self) -> bool {
        self.tokens.is_complete() && self.users.is_complete()
    }

    fn left_out(&self) -> u64 {
        self.tokens.left_out() + self.users.left_out()
    }
}

impl Token {
    fn read(token: ClusterAuthToken) -> Option<Self> {
        let name = token.metadata.name.unwrap_or_default();
        let hash = Hash::parse(&token.hash)
            .inspect_err(|error| warn!(token = name, %error, "token is left out"))
            .ok()?;
        let expires_at = match token.expires_at.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .inspect_err(|error| warn!(token = name, %error, "token is left out"))
                    .ok()?,
            ),
        };
        Some(Self {
            user: token.user_name,
            hash,
            // What is being deleted is gone, whatever its object waits for.
            enabled: token.enabled && token.metadata.deletion_timestamp.is_none(),
            expires_at,
        })
    }
}

impl Person {
    fn read(user: ClusterUserAttribute) -> Self {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, values) in user.extra_by_provider.into_values().flatten() {
            let all = extra.entry(key).or_default();
            for value in values {
                if !all.contains(&value) {
                    all.push(value);
                }
            }
        }
        Self {
            enabled: user.enabled && user.metadata.deletion_timestamp.is_none(),
            groups: user.groups,
            extra,
        }
    }
}

impl Weigh for Token {
    fn weight(&self) -> usize {
        self.user.len() + self.hash.weight()
    }
}

impl Weigh for Person {
    fn weight(&self) -> usize {
        let text = |text: &String| size_of::<String>() + text.len();
        let groups: usize = self.groups.iter().map(text).sum();
        let extra = (self.extra.iter())
            .map(|(key, values)| text(key) + values.iter().map(text).sum::<usize>());
        groups + extra.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
