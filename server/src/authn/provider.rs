//! Who proves who people are: the server's own accounts, a directory, or a provider to which browsers
//! are sent.

pub mod github;
mod http;
pub mod ldap;
mod local;
mod oauth;
pub mod oidc;
mod redirect;
mod registry;
mod tls;

use std::fmt::Debug;

use ::http::StatusCode;
use apiserver::error::ApiError;
use futures::future::BoxFuture;
use lariat_api::{Principal, PrincipalType};
use secrecy::SecretString;

pub use local::Local;
pub use redirect::{FlowSecrets, Grant, RedirectProvider};
pub use registry::Providers;

use super::PasswordError;

/// After how many seconds to try again when a provider does not answer.
const RETRY_AFTER: u32 = 5;

/// Proves who people are, and knows them and their groups.
pub trait AuthProvider: Send + Sync + Debug {
    /// Who shows these credentials. A refusal says the same whether the name or the password is
    /// wrong. Cancellation-safe.
    fn authenticate<'a>(&'a self, shown: Credentials)
    -> BoxFuture<'a, Result<Account, LoginError>>;

    /// What is known now of somebody who logged in before. Cancellation-safe.
    fn refresh<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Result<Refreshed, LoginError>>;

    /// The people and groups (or only one of these kinds) whose names begin like `text`, for who
    /// picks one: at most [`MAX_FOUND`] of each. Cancellation-safe.
    fn search<'a>(
        &'a self,
        text: &'a str,
        kind: Option<PrincipalType>,
    ) -> BoxFuture<'a, Result<Vec<Principal>, LoginError>>;

    /// The person or group of that id, if it is one of this provider. Cancellation-safe.
    fn principal<'a>(&'a self, id: &'a str)
    -> BoxFuture<'a, Result<Option<Principal>, LoginError>>;

    /// The provider as one to which browsers are sent, if it is one.
    fn redirects(&self) -> Option<&dyn RedirectProvider> {
        None
    }

    /// Whether the provider can be asked with its settings, as far as that can be told without anybody's
    /// password. Cancellation-safe.
    fn check(&self) -> BoxFuture<'_, Result<(), LoginError>>;
}

/// How many people, and how many groups, a search gives at most.
pub const MAX_FOUND: usize = 100;

/// The shortest text that is searched for, in characters.
pub const MIN_SEARCHED: usize = 2;

/// What somebody shows to prove who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name used to log in.
        name: String,
        /// The password.
        password: SecretString,
    },
}

/// Somebody who has proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The person.
    pub principal: Principal,
    /// All groups that the person is in, those of groups included.
    pub groups: Vec<Principal>,
    /// What stays the same when the person is renamed, and is never given to another.
    pub stable_id: Option<String>,
    /// What is to be kept, in secret, for [`AuthProvider::refresh`].
    pub grant: Option<Grant>,
}

/// Somebody who logged in before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The id of the [`Principal`].
    pub principal: String,
    /// The [`Account::stable_id`] of then.
    pub stable_id: Option<String>,
    /// The newest [`Account::grant`]. It may be good once.
    pub grant: Option<Grant>,
}

/// What became of somebody who logged in before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The account is good, and this is what is known of it now.
    Still(Account),
    /// The account was deleted or disabled, or its name now belongs to another.
    Gone,
}

/// Nobody is logged in. Ordered by whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such name, or it has another password.
    #[error("username or password is wrong")]
    Wrong,
    /// The account was disabled, or was meant for a time that is over.
    #[error("account is disabled or has expired")]
    Disabled,
    /// Too many wrong passwords were tried on the account.
    #[error("account is locked after too many wrong passwords")]
    Locked,
    /// The password was good for too long.
    #[error("password has expired; change it where the account is kept")]
    PasswordExpired,
    /// The password was given by somebody else.
    #[error("password must be changed first, where the account is kept")]
    MustChangePassword,
    /// The person is who it says, and is not let in.
    #[error("this account may not log in here")]
    NotAllowed,
    /// Nobody types a password here.
    #[error("one logs in at this provider with a browser")]
    ByRedirect,
    /// The provider does not vouch for who came back from it.
    #[error("the login provider did not confirm this login; log in again")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The provider does not answer. It may be asked again.
    #[error("cannot {step}: {reason}")]
    Unavailable {
        /// What was being done.
        step: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The password cannot be checked here.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The settings of the provider do not fit what it is. Somebody has to change them.
    #[error("settings of the provider are wrong: {0}")]
    Misconfigured(String),
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong
            | LoginError::Disabled
            | LoginError::Locked
            | LoginError::PasswordExpired
            | LoginError::MustChangePassword => Self::unauthorized(error.to_string()),
            LoginError::ByRedirect => Self::bad_request(error.to_string()),
            LoginError::Refused { ref reason } => {
                let reason = reason.clone();
                Self::unauthorized(error.to_string()).with_log(reason)
            }
            LoginError::NotAllowed => {
                Self::new(StatusCode::FORBIDDEN, "Forbidden", error.to_string())
            }
            LoginError::Unavailable { .. } => {
                let message = "the login provider does not answer; try again later, or log in with \
                               an account of this server";
                Self::unavailable(message, RETRY_AFTER).with_log(error)
            }
            LoginError::Misconfigured(_) => {
                let message = "the settings of the login provider do not work; an administrator has \
                               to mend them";
                let code = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(code, "InternalError", message).with_log(error)
            }
            LoginError::Password(_) => Self::internal(error),
        }
    }
}

/// Settings of a provider cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A field must not be empty.
    #[error("{0} is empty")]
    Missing(&'static str),
    /// A field holds something else than it should.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_and_reasons_stay_in_the_log() {
        let code = |error: LoginError| ApiError::from(error).code().as_u16();
        for refusal in [
            LoginError::Wrong,
            LoginError::Disabled,
            LoginError::Locked,
            LoginError::PasswordExpired,
            LoginError::MustChangePassword,
        ] {
            let message = refusal.to_string();
            let error = ApiError::from(refusal);
            assert_eq!(error.code().as_u16(), 401);
            assert_eq!(error.message(), message);
        }
        assert_eq!(code(LoginError::NotAllowed), 403);

        let down = LoginError::Unavailable {
            step: "reach the directory",
            reason: "dc1.example.test: connection refused".into(),
        };
        let down = ApiError::from(down);
        assert_eq!((down.code().as_u16(), down.retry_after()), (503, Some(5)));
        assert!(!down.message().contains("dc1"), "{}", down.message());
        assert!(down.log().unwrap().contains("dc1"));

        let wrong = ApiError::from(LoginError::Misconfigured("cn=reader is refused".into()));
        assert_eq!(wrong.code().as_u16(), 500);
        assert!(!wrong.message().contains("reader"));
        assert!(wrong.log().unwrap().contains("reader"));
    }
}
