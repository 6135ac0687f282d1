//! Which user somebody is whom a provider knows.
//!
//! A provider knows people by a name that changes with them, and may be given to another, and by
//! something that stays. Both are compared: who was renamed stays the same user, and who has the name
//! of somebody who left does not become them.

use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use http::StatusCode;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lariat_api::{AuthConfigType, Kind as _, User, UserAttribute, UserId};
use serde_json::json;

use super::attributes;
use crate::authn::provider::{Account, Local};
use crate::management::{answered, failure};
use crate::state::App;
use crate::{random, tokens};

/// How often it is looked again when somebody else has written in between.
const ATTEMPTS: usize = 8;
/// How long it may take until what somebody else has written is known here.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Who somebody is here.
enum Found {
    /// This user.
    Same(Arc<User>),
    /// This user, under another name.
    Renamed(Arc<User>),
    /// Nobody; another who had the name before is this user.
    Taken(Arc<User>),
    Nobody,
}

/// The user who somebody is, if they were here before.
pub(super) fn known(app: &App, type_: AuthConfigType, account: &Account) -> Option<Arc<User>> {
    match find(app, type_, account) {
        Found::Same(user) | Found::Renamed(user) => Some(user),
        Found::Taken(_) | Found::Nobody => None,
    }
}

/// The user who somebody is, made if they were never here.
///
/// # Errors
/// When the store fails.
pub(super) async fn settle(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
) -> Result<Arc<User>, ApiError> {
    for _ in 0..ATTEMPTS {
        let mut changes = app.directory.changes();
        let settled = match find(app, type_, account) {
            Found::Same(user) => return Ok(user),
            Found::Renamed(user) => rename(app, type_, account, &user).await,
            Found::Taken(user) => leave(app, type_, account, &user).await,
            Found::Nobody => make(app, account).await,
        };
        match settled {
            Ok(()) => {}
            // Somebody else was faster, and is known here in a moment.
            Err(error) if error.code() == StatusCode::CONFLICT => {
                let _ = tokio::time::timeout(CATCH_UP, changes.changed()).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::internal("a user changes all the time"))
}

/// Whether what a provider calls somebody can become a name of a user who is here already.
///
/// # Errors
/// 409 when another user has it.
pub(super) fn may_link(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
    user: &User,
) -> Result<(), ApiError> {
    let other = known(app, type_, account).filter(|known| known.name() != user.name());
    let Some(other) = other else {
        return Ok(());
    };
    let (name, other) = (&account.principal.login_name, other.name());
    let message = format!(
        "{name:?} is user {other:?} of this server already; test with your own account at the provider"
    );
    Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message))
}

/// Adds what a provider calls somebody to the names of a user who is here already.
///
/// # Errors
/// 409 when another user has the name.
pub(super) async fn link(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
    user: &User,
) -> Result<(), ApiError> {
    may_link(app, type_, account, user)?;
    // Whoever had the name before and is somebody else loses it.
    if let Found::Taken(before) = find(app, type_, account) {
        leave(app, type_, account, &before).await?;
    }
    let user = app.directory.user(user.name());
    let user = user.ok_or_else(|| ApiError::internal("a user is gone"))?;
    let principal = &account.principal.id;
    if user.principal_ids.contains(principal) {
        return Ok(());
    }
    let mut names = user.principal_ids.clone();
    names.push(principal.clone());
    write(app, &user, &names).await
}

fn find(app: &App, type_: AuthConfigType, account: &Account) -> Found {
    let (directory, principal) = (&app.directory, &account.principal.id);
    if type_ == AuthConfigType::Local {
        let user = Local::user_of(principal).and_then(|id| directory.user(id.as_str()));
        return user.map_or(Found::Nobody, Found::Same);
    }
    let provider = type_.name();
    let named = directory.user_of_principal(principal);
    if let Some((_, user)) = named {
        let attribute = directory.attribute(&user);
        let known = attribute.as_deref();
        let known = known.filter(|one| {
            let of = one.extra(provider, UserAttribute::PRINCIPAL_ID);
            of == Some(principal)
        });
        let then = known.and_then(|one| one.extra(provider, UserAttribute::STABLE_ID));
        return match (then, account.stable_id.as_deref()) {
            (Some(then), Some(now)) if then != now => Found::Taken(user),
            _ => Found::Same(user),
        };
    }
    let stable = account.stable_id.as_deref();
    match stable.and_then(|stable| directory.user_of_stable_id(provider, stable)) {
        Some((_, user)) => Found::Renamed(user),
        None => Found::Nobody,
    }
}

/// The same user has another name from now on.
async fn rename(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
    user: &User,
) -> Result<(), ApiError> {
    let principal = &account.principal.id;
    let attribute = app.directory.attribute(user);
    let before = attribute
        .as_deref()
        .and_then(|one| one.extra(type_.name(), UserAttribute::PRINCIPAL_ID));
    let mut names = user.principal_ids.clone();
    names.retain(|name| Some(name.as_str()) != before);
    names.push(principal.clone());
    tracing::info!(user = user.name(), principal, "a user was renamed");
    write(app, user, &names).await
}

/// The user who had the name before is no longer known by it, nor let in.
async fn leave(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
    user: &User,
) -> Result<(), ApiError> {
    let principal = &account.principal.id;
    tracing::warn!(
        user = user.name(),
        principal,
        "the name of a user belongs to somebody else at the login provider"
    );
    tokens::revoke_of(app, user.name(), type_.name()).await?;
    attributes::forget_groups(app, user.name(), type_).await?;
    write(app, user, &without(user, principal)).await
}

/// A new user, known by what the provider calls them.
async fn make(app: &App, account: &Account) -> Result<(), ApiError> {
    let mut user = User::new(&UserId::from_random(random::bits()), "");
    user.display_name
        .clone_from(&account.principal.display_name);
    user.principal_ids.push(account.principal.id.clone());
    let users: Api<User> = Api::all(app.own.clone());
    let made = users.create(&PostParams::default(), &user).await;
    made.map(drop).map_err(failure)
}

/// The names of a user but for one.
fn without(user: &User, principal: &str) -> Vec<String> {
    let names = user.principal_ids.iter();
    names.filter(|name| *name != principal).cloned().collect()
}

/// 409 when the user was changed meanwhile, or another has one of the names.
async fn write(app: &App, user: &User, names: &[String]) -> Result<(), ApiError> {
    let users: Api<User> = Api::all(app.own.clone());
    let change = Patch::Merge(json!({
        "metadata": {"resourceVersion": user.metadata.resource_version},
        "principalIds": names,
    }));
    let params = PatchParams::default();
    let written = users.patch(user.name(), &params, &change).await;
    if answered(&written, StatusCode::NOT_FOUND) {
        let message = "the user was deleted";
        return Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message));
    }
    written.map(drop).map_err(failure)
}
