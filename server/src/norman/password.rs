//! Passwords of local accounts: changed by their owners, set by who manages users.

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{AuthConfigType, User};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::caller::Caller;
use super::resource::View;
use super::{answer, item};
use crate::authz::Denied;
use crate::edge::Body;
use crate::management::failure;

const LOCAL: &str = AuthConfigType::Local.name();

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    current_password: SecretString,
    new_password: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    new_password: SecretString,
}

/// `POST /v3/users?action=changepassword`
pub(super) async fn change(
    caller: &Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let (app, who) = (&caller.app, &caller.who);
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let input: Change = answer::parse(&body)?;
    // A stolen token must not be a way to try passwords.
    app.login_limits
        .check(caller.context.connection.peer.ip(), LOCAL, &who.username)?;
    let hash = app.directory.password(&who.user);
    let right = app.passwords.check(hash, input.current_password).await;
    if !right.map_err(ApiError::internal)? {
        return Err(Denied("the current password is wrong".to_owned()).into());
    }
    check(&input.new_password)?;
    let users: Api<User> = Api::all(app.own.clone());
    let change = Patch::Merge(json!({
        "password": input.new_password.expose_secret(), "mustChangePassword": false,
    }));
    let params = PatchParams::default();
    let changed = users.patch(who.user.as_str(), &params, &change);
    changed.await.map_err(failure)?;
    Ok(crate::edge::json(StatusCode::OK, &json!({})))
}

/// `POST /v3/users/ID?action=setpassword`
pub(super) async fn set(
    view: &View<'_>,
    request: Request<Incoming>,
    id: &str,
) -> Result<Response<Body>, ApiError> {
    let body = collect(request.into_body(), view.caller.app.config.limits.body).await?;
    let input: Set = answer::parse(&body)?;
    check(&input.new_password)?;
    let (_, path) = item::find(view, id).await?;
    let change = json!({"password": input.new_password.expose_secret()});
    let changed = item::ask(view, Method::PATCH, &path, Some(&change)).await?;
    Ok(crate::edge::json(StatusCode::OK, &view.resource(&changed)))
}

fn check(password: &SecretString) -> Result<(), ApiError> {
    User::check_new_password(password.expose_secret())
        .map_err(|error| answer::invalid(format!("newPassword: {error}")))
}
