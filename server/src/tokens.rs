//! Making and ending tokens, whichever face of the API asks.

use apiserver::error::ApiError;
use http::StatusCode;
use kube::api::{Api, DeleteParams, PostParams};
use lariat_api::{Token, TokenName, UserId};

use crate::management::{answered, failure};
use crate::random;
use crate::state::App;

/// How often another name is tried when a random one is taken.
const ATTEMPTS: usize = 5;

/// A token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub description: String,
    /// Milliseconds until it expires; `None`: the default for tokens.
    pub ttl: Option<u64>,
    /// The only cluster that it is good for; empty: any.
    pub cluster: String,
    /// Whether it is good for reading only.
    pub read_only: bool,
    /// Whether it came from another token rather than from a login.
    pub derived: bool,
    /// The login provider by which the user came.
    pub provider: String,
    /// The user as that provider knows them.
    pub principal: String,
    /// Whether its name says that it is in a kubeconfig file.
    pub kubeconfig: bool,
}

/// Makes a token. The answer holds the bearer token, which is not kept. When this returns, the
/// token is accepted.
///
/// # Errors
/// 422 when a field breaks a rule; 500 and 503 when the store fails.
pub async fn create(app: &App, new: NewToken) -> Result<Token, ApiError> {
    let user: UserId = new.user.parse().map_err(ApiError::internal)?;
    let mut token = Token {
        user_id: new.user,
        description: new.description,
        ttl: new.ttl,
        cluster_name: new.cluster,
        read_only: new.read_only,
        is_derived: new.derived,
        auth_provider: new.provider,
        user_principal: new.principal,
        ..Token::default()
    };
    let tokens: Api<Token> = Api::all(app.own.clone());
    for _ in 0..ATTEMPTS {
        let name = if new.kubeconfig {
            TokenName::kubeconfig(&user, random::bits())
        } else {
            TokenName::from_random(random::bits())
        };
        token.metadata.name = Some(name.to_string());
        let made = tokens.create(&PostParams::default(), &token).await;
        if !answered(&made, StatusCode::CONFLICT) {
            return made.map_err(failure);
        }
    }
    Err(ApiError::internal("no free name for a token"))
}

/// Ends a token, if there is one of that name. When this returns, it is no longer accepted, and what
/// is open with it ends.
///
/// # Errors
/// When the store fails.
pub async fn revoke(app: &App, name: &str) -> Result<(), ApiError> {
    let tokens: Api<Token> = Api::all(app.own.clone());
    let deleted = tokens.delete(name, &DeleteParams::default()).await;
    if answered(&deleted, StatusCode::NOT_FOUND) {
        return Ok(());
    }
    deleted.map(drop).map_err(failure)
}

/// Ends the tokens of a user who came by a provider. See [`revoke`].
///
/// # Errors
/// When the store fails.
pub async fn revoke_of(app: &App, user: &str, provider: &str) -> Result<(), ApiError> {
    for token in app.directory.tokens_of(provider) {
        if token.user.as_str() == user {
            revoke(app, token.name.as_str()).await?;
        }
    }
    Ok(())
}

/// Ends the tokens of all who came by a provider. See [`revoke`].
///
/// # Errors
/// When the store fails.
pub async fn revoke_all_of(app: &App, provider: &str) -> Result<(), ApiError> {
    for token in app.directory.tokens_of(provider) {
        revoke(app, token.name.as_str()).await?;
    }
    Ok(())
}
