//! Making and ending tokens, whichever face of the API asks.

use std::num::TryFromIntError;

use apiserver::error::ApiError;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{Kind, Token, TokenName, UserId};

use crate::authn::{Directory, SecretHash, new_secret};
use crate::objects::{ObjectError, Objects, random_bits, revision_of};
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
    /// Whether it came from another token rather than from a login.
    pub derived: bool,
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
        is_derived: new.derived,
        ..Token::default()
    };
    token.validate().map_err(|error| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            error.to_string(),
        )
    })?;
    let secret = issue(&mut token, app.clock.now()).map_err(ApiError::internal)?;
    for _ in 0..ATTEMPTS {
        let name = if new.kubeconfig {
            TokenName::kubeconfig(&user, random_bits())
        } else {
            TokenName::from_random(random_bits())
        };
        token.metadata.name = Some(name.to_string());
        match app.objects.create(token.clone()).await {
            Ok(mut made) => {
                app.directory.wait_for(revision_of(&made)?).await;
                made.token = format!("{name}:{secret}");
                return Ok(made);
            }
            Err(ObjectError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::internal("no free name for a token"))
}

/// Gives a new token its secret, of which the hash is kept, and its end. Returns the secret.
///
/// # Errors
/// When its time to live is no time.
pub(crate) fn issue(token: &mut Token, now: Timestamp) -> Result<String, TryFromIntError> {
    let secret = new_secret();
    let milliseconds = i64::try_from(token.ttl_milliseconds())?;
    token.token_hash = SecretHash::of(&secret).to_hex();
    token.expires_at = Some(Time(now + SignedDuration::from_millis(milliseconds)));
    Ok(secret)
}

/// Ends a token. When this returns, it is no longer accepted, and what is open with it ends.
///
/// # Errors
/// [`ObjectError::NotFound`] when there is none.
pub async fn revoke(
    objects: &Objects,
    directory: &Directory,
    name: &str,
) -> Result<Token, ObjectError> {
    loop {
        let token: Token = objects.get("", name).await?;
        match objects.delete(&token, store::Txn::default()).await {
            Ok(revision) => {
                directory.wait_for(revision).await;
                return Ok(token);
            }
            Err(ObjectError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
}
