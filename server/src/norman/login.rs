//! Logging in with a name and a password, here or at a directory.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::{Request, Response};
use hyper::body::Incoming;
use lariat_api::{AuthConfigType, Kind as _, Token, UserId};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::session::{self, ResponseType};
use super::{answer, providers};
use crate::authn::provider::Credentials;
use crate::edge::{Body, RequestContext, site};
use crate::logins::{self, Returned, Session};
use crate::state::App;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    /// The provider, where the path does not say it.
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretString,
    #[serde(default)]
    description: String,
    /// What a provider sent the browser back with, where browsers are sent.
    #[serde(default)]
    code: SecretString,
    #[serde(default)]
    state: String,
    #[serde(default)]
    response_type: ResponseType,
    /// Milliseconds, at most what the setting says; 0: that.
    #[serde(default)]
    ttl: u64,
}

/// `POST /v3-public/openLdapProviders/openldap?action=login` and its like, for which the path says the
/// provider, and `POST /v1-public/login`, for which the body does.
pub(super) async fn login(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    provider: Option<AuthConfigType>,
) -> Result<Response<Body>, ApiError> {
    let site = site(app, &request);
    let (parts, body) = request.into_parts();
    let body = collect(body, app.config.limits.body).await?;
    let input: Input = answer::parse(&body)?;
    let provider = match provider {
        Some(provider) => provider,
        None => providers::of_type(&input.type_).ok_or_else(|| {
            let known: Vec<_> = AuthConfigType::ALL.map(providers::type_of).into();
            answer::invalid(format!("type: must be one of {}", known.join(", ")))
        })?,
    };
    let audit = &context.audit;
    audit.set_login_provider(provider);
    if !provider.redirects() {
        audit.set_login_name(&input.username);
    }
    input.response_type.may_be_given_to(site)?;
    let address = context.connection.peer.ip();
    let session = Session {
        description: input.description,
        ttl: input.ttl,
    };
    if provider.redirects() {
        app.login_limits.check_address(address)?;
        app.providers.get(provider).await?;
        let returned = Returned {
            code: input.code,
            state: input.state,
        };
        let flow = returned.resume(app, &parts.headers)?;
        if flow.provider != provider.name() {
            return Err(answer::invalid("state: is of a login by another provider"));
        }
        let token = logins::finish(app, flow, returned.code, session, audit).await?;
        return session::logged_in(&token, input.response_type);
    }
    app.login_limits
        .check(address, provider.name(), &input.username)?;
    let credentials = Credentials::Password {
        name: input.username,
        password: input.password,
    };
    let token = logins::by_credentials(app, provider, credentials, session, audit).await?;
    session::logged_in(&token, input.response_type)
}

/// A token in the shape of this face. `token` is the bearer token, shown this once.
pub(super) fn shown(token: &Token) -> serde_json::Value {
    let local = (token.user_id.parse::<UserId>()).map(|user| user.local_principal());
    // Tokens of earlier versions do not say it.
    let (provider, principal) = match token.auth_provider.as_str() {
        "" => (AuthConfigType::Local.name(), local.unwrap_or_default()),
        provider => (provider, token.user_principal.clone()),
    };
    json!({
        "id": token.name(),
        "type": "token",
        "baseType": "token",
        "name": token.name(),
        "token": token.token,
        "userId": token.user_id,
        "userPrincipal": principal,
        "authProvider": provider,
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
