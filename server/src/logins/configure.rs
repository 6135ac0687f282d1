//! Setting a provider up: what was said is saved once somebody has logged in with it.

use apiserver::error::ApiError;
use http::StatusCode;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lariat_api::{AuthConfig, AuthConfigType, Kind as _};
use secrecy::SecretString;
use serde_json::json;

use super::flow::{Flow, Purpose};
use super::redirect::{Begun, begin, redirects};
use super::{accounts, admission, attributes, grants, status};
use crate::authn::Identity;
use crate::authn::provider::{Account, Credentials, LoginError};
use crate::authz::Denied;
use crate::management::{self, answered, failure};
use crate::state::App;

/// How often settings are saved again that somebody else wrote at the same time.
const ATTEMPTS: u32 = 5;

/// How the one who tries settings shows that they work.
pub(crate) enum Proof {
    /// A name and a password.
    Credentials(Credentials),
    /// What the provider sent the browser back with, in the flow that a test began.
    Code(Flow, SecretString),
}

/// Begins the test of settings of a provider to which browsers are sent.
///
/// # Errors
/// 403 for who does not administer the server, 422 with what is wrong with the settings, 503 when the
/// provider does not answer.
pub(crate) async fn configure_test(
    app: &App,
    who: &Identity,
    config: &AuthConfig,
) -> Result<Begun, ApiError> {
    is_allowed(who)?;
    let provider = app.providers.make(config, secret(app, config).await?);
    let provider = provider.map_err(told)?;
    provider.check().await.map_err(told)?;
    begin(app, config.type_, &*provider, Purpose::Test).await
}

/// Tries settings with a login, and saves and enables them if that succeeds. Who does it is from then on
/// also known by what the provider calls them, and let in whatever the access mode.
///
/// # Errors
/// 403 for who does not administer the server, 409 when the account is another user, 422 with what is wrong
/// with the settings or the login, 503 when the directory does not answer. Then nothing is changed.
pub(crate) async fn test_and_apply(
    app: &App,
    who: &Identity,
    mut config: AuthConfig,
    shown: Proof,
) -> Result<AuthConfig, ApiError> {
    is_allowed(who)?;
    let type_ = config.type_;
    config.enabled = true;
    config.fill_in();
    let account = try_out(app, &config, shown).await?;
    let user = app.directory.user(who.user.as_str());
    let user = user.ok_or_else(|| ApiError::internal("who asks is no user"))?;
    accounts::may_link(app, type_, &account, &user)?;
    if !admission::is_admitted(app, &config, &account, Some(&user)) {
        config
            .allowed_principal_ids
            .push(account.principal.id.clone());
    }
    let saved = save(app, who, &config).await?;
    accounts::link(app, type_, &account, &user).await?;
    if let Some(grant) = &account.grant {
        grants::keep(app, &user, type_, grant).await?;
    }
    attributes::note(app, user.name(), type_, &account).await?;
    status::tested(app, &saved).await?;
    Ok(saved)
}

/// Lets nobody log in by a provider any more, and ends what people do who came by it.
///
/// # Errors
/// 403 for who does not administer the server, 404 when there are no settings.
pub(crate) async fn disable(
    app: &App,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<AuthConfig, ApiError> {
    is_allowed(who)?;
    let configs = configs(app, who);
    let change = Patch::Merge(json!({"enabled": false}));
    let params = PatchParams::default();
    let changed = configs.patch(type_.name(), &params, &change).await;
    changed.map_err(failure)
}

/// Only administrators say who people are, and only they make the server talk to others.
fn is_allowed(who: &Identity) -> Result<(), Denied> {
    match who.administrator && who.only_cluster.is_none() {
        true => Ok(()),
        false => Err(Denied("only administrators set up login providers".into())),
    }
}

async fn try_out(app: &App, config: &AuthConfig, shown: Proof) -> Result<Account, ApiError> {
    let provider = app.providers.make(config, secret(app, config).await?);
    let provider = provider.map_err(told)?;
    provider.check().await.map_err(told)?;
    match shown {
        Proof::Credentials(shown) => provider.authenticate(shown).await.map_err(told),
        Proof::Code(flow, code) => {
            let provider = redirects(config.type_, &*provider)?;
            let proved = provider.finish(&flow.secrets, &code).await;
            proved.map_err(told)
        }
    }
}

/// The secret that was said, or the one that is kept.
async fn secret(app: &App, config: &AuthConfig) -> Result<SecretString, ApiError> {
    let of = |config: &AuthConfig| {
        let field = config.type_.secret();
        let mut secrets = config.secrets().into_iter();
        let found = secrets.find(|(name, _)| Some(*name) == field);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let said = of(config);
    let stored = app.directory.auth_config(config.name());
    if !said.is_empty() && stored.is_none_or(|stored| of(&stored) != said) {
        return Ok(said.into());
    }
    let kept = app.providers.secret(config.type_).await?;
    Ok(kept.map(|(secret, _)| secret).unwrap_or_default())
}

/// What went wrong, for somebody who may know the settings.
fn told(error: LoginError) -> ApiError {
    match error {
        LoginError::Unavailable { .. } => {
            ApiError::unavailable(format!("the login provider does not answer: {error}"), 5)
        }
        LoginError::Password(_) => error.into(),
        LoginError::Refused { reason } => {
            let message =
                format!("the test failed: the provider did not confirm the login: {reason}");
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        }
        error => {
            let message = format!("the test failed: {error}");
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        }
    }
}

/// As the one who asks: the management API decides whether they may. What the server has written down about the
/// provider in between, in the status, is no reason to refuse.
async fn save(app: &App, who: &Identity, config: &AuthConfig) -> Result<AuthConfig, ApiError> {
    let configs = configs(app, who);
    let params = PostParams::default();
    if config.metadata.resource_version.is_none() {
        return configs.create(&params, config).await.map_err(failure);
    }
    let mut config = config.clone();
    let mut attempts = 1;
    loop {
        let saved = configs.replace(config.name(), &params, &config).await;
        if !answered(&saved, StatusCode::CONFLICT) || attempts == ATTEMPTS {
            return saved.map_err(failure);
        }
        let found = configs.get(config.name()).await.map_err(failure)?;
        if found.metadata.generation != config.metadata.generation {
            return saved.map_err(failure);
        }
        config.metadata.resource_version = found.metadata.resource_version;
        attempts += 1;
    }
}

fn configs(app: &App, who: &Identity) -> Api<AuthConfig> {
    Api::all(app.client(&management::user(who)))
}
