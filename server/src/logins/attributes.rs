//! What providers say of users, written down: groups, names, and when they came.

use apiserver::error::ApiError;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lariat_api::{AuthConfigType, UserAttribute};
use serde_json::{Value, json};

use crate::authn::provider::Account;
use crate::management::{answered, failure};
use crate::state::App;

/// Somebody logged in.
///
/// # Errors
/// When the store fails.
pub(super) async fn note_login(
    app: &App,
    user: &str,
    type_: AuthConfigType,
    account: &Account,
) -> Result<(), ApiError> {
    let now = app.clock.now();
    let mut said = said(type_, account, now);
    said["lastLogin"] = json!(Time(now));
    write(app, user, said).await
}

/// What a provider says of somebody now.
///
/// # Errors
/// When the store fails.
pub(super) async fn note(
    app: &App,
    user: &str,
    type_: AuthConfigType,
    account: &Account,
) -> Result<(), ApiError> {
    write(app, user, said(type_, account, app.clock.now())).await
}

/// Somebody is in no group of a provider any more. What tells them from others who may get their name stays.
///
/// # Errors
/// When the store fails.
pub(super) async fn forget_groups(
    app: &App,
    user: &str,
    type_: AuthConfigType,
) -> Result<(), ApiError> {
    let provider = type_.name();
    let nothing = json!({
        "groupPrincipals": {provider: null},
        "lastRefresh": Time(app.clock.now()),
        "needsRefresh": false,
    });
    write(app, user, nothing).await
}

/// What a provider says of somebody.
fn said(type_: AuthConfigType, account: &Account, now: Timestamp) -> Value {
    let provider = type_.name();
    let principal = &account.principal;
    let mut extra = json!({
        UserAttribute::PRINCIPAL_ID: [principal.id],
        UserAttribute::USERNAME: [principal.login_name],
    });
    // Accounts of the server itself have their ids, and no groups.
    let groups = match type_ {
        AuthConfigType::Local => Value::Null,
        _ => {
            extra[UserAttribute::STABLE_ID] = json!(account.stable_id.as_slice());
            json!({"items": account.groups})
        }
    };
    json!({
        "groupPrincipals": {provider: groups},
        "extraByProvider": {provider: extra},
        "lastRefresh": Time(now),
        "needsRefresh": false,
    })
}

async fn write(app: &App, user: &str, said: Value) -> Result<(), ApiError> {
    let attributes: Api<UserAttribute> = Api::all(app.own.clone());
    let change = Patch::Merge(said);
    let params = PatchParams::default();
    let written = attributes.patch(user, &params, &change).await;
    if !answered(&written, StatusCode::NOT_FOUND) {
        return written.map(drop).map_err(failure);
    }
    let mut new = UserAttribute::default();
    new.metadata.name = Some(user.to_owned());
    let made = attributes.create(&PostParams::default(), &new).await;
    if !answered(&made, StatusCode::CONFLICT) {
        made.map_err(failure)?;
    }
    let written = attributes.patch(user, &params, &change).await;
    written.map(drop).map_err(failure)
}
