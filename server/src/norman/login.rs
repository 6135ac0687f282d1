//! Logging in with a password.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::{Kind, Token, UserId};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::answer;
use crate::authn::provider::{AuthProvider as _, Credentials, Local};
use crate::edge::{Body, RequestContext};
use crate::state::App;
use crate::tokens::{self, NewToken};

/// How long a login lasts when the request does not say: 16 hours.
const SESSION_MILLISECONDS: u64 = 16 * 3600 * 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    description: String,
    /// Milliseconds; 0: the default.
    #[serde(default)]
    ttl: u64,
}

/// `POST /v3-public/localProviders/local?action=login`
pub(super) async fn login(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
) -> Result<Response<Body>, ApiError> {
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let input: Input = answer::parse(&body)?;
    app.login_limits
        .check(context.connection.peer.ip(), &input.username)?;
    let local = Local::new(Arc::clone(&app.directory), app.passwords.clone());
    let credentials = Credentials::Password {
        name: input.username,
        password: input.password,
    };
    let account = local.authenticate(credentials).await?;
    let user = Local::user_of(&account.principal.id)
        .ok_or_else(|| ApiError::internal("an account of this server is no user"))?;
    let new = NewToken {
        user: user.to_string(),
        description: input.description,
        ttl: Some(if input.ttl == 0 {
            SESSION_MILLISECONDS
        } else {
            input.ttl
        }),
        ..NewToken::default()
    };
    let token = tokens::create(app, new).await?;
    Ok(crate::edge::json(StatusCode::CREATED, &shown(&token)))
}

/// A token in the shape of this face. `token` is the bearer token, shown this once.
pub(super) fn shown(token: &Token) -> serde_json::Value {
    let principal = (token.user_id.parse::<UserId>()).map(|user| user.local_principal());
    json!({
        "id": token.name(),
        "type": "token",
        "baseType": "token",
        "name": token.name(),
        "token": token.token,
        "userId": token.user_id,
        "userPrincipal": principal.unwrap_or_default(),
        "authProvider": "local",
        "description": token.description,
        "clusterId": token.cluster_name,
        "enabled": token.enabled,
        "expired": false,
        "expiresAt": token.expires_at,
        "isDerived": token.is_derived,
        "ttl": token.ttl,
        "created": token.metadata.creation_timestamp,
    })
}
