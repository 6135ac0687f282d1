//! Providers to which browsers are sent to prove who somebody is.

use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::{Account, AuthProvider, LoginError};
use crate::authn::new_secret;

/// A provider to which browsers are sent, and which sends them back with a code.
pub trait RedirectProvider: AuthProvider {
    /// Where to send a browser. Cancellation-safe.
    fn begin<'a>(&'a self, secrets: &'a FlowSecrets) -> BoxFuture<'a, Result<Url, LoginError>>;

    /// Who came back with that code, in the flow that began with these secrets. Not to be cancelled: the
    /// code is good once.
    fn finish<'a>(
        &'a self,
        secrets: &'a FlowSecrets,
        code: &'a SecretString,
    ) -> BoxFuture<'a, Result<Account, LoginError>>;

    /// Where to send a browser to be logged out at the provider as well; `None` where that cannot be.
    /// Cancellation-safe.
    fn end<'a>(&'a self, back: &'a Url) -> BoxFuture<'a, Result<Option<Url>, LoginError>>;
}

/// What binds the end of a login to its beginning. Only the browser that began it holds them.
#[derive(Clone, Serialize, Deserialize)]
pub struct FlowSecrets {
    /// Comes back with the code.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Proves to the provider that who redeems the code began the login (PKCE).
    pub verifier: String,
}

impl FlowSecrets {
    /// New ones, each of 256 random bits.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            state: new_secret(),
            nonce: new_secret(),
            verifier: new_secret(),
        }
    }
}

impl std::fmt::Debug for FlowSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowSecrets")
    }
}

/// What a provider lets this server ask later in the name of somebody: a refresh token, or an access
/// token that lasts.
#[derive(Clone)]
pub struct Grant(SecretString);

impl Grant {
    /// Of that token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Self) -> bool {
        self.token()
            .as_bytes()
            .ct_eq(other.token().as_bytes())
            .into()
    }
}

impl Eq for Grant {}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grant")
    }
}
