//! Changing one's own password.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{AuthConfigType, User};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::answer;
use crate::authn::Identity;
use crate::authz::Denied;
use crate::edge::{Body, RequestContext};
use crate::management::failure;
use crate::state::App;

const LOCAL: &str = AuthConfigType::Local.name();

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    current_password: SecretString,
    new_password: SecretString,
}

/// `POST /v3/users?action=changepassword`
pub(super) async fn change(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    who: &Identity,
) -> Result<Response<Body>, ApiError> {
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let input: Input = answer::parse(&body)?;
    // A stolen token must not be a way to try passwords.
    app.login_limits
        .check(context.connection.peer.ip(), LOCAL, &who.username)?;
    let hash = app.directory.password(&who.user);
    let right = app.passwords.check(hash, input.current_password).await;
    if !right.map_err(ApiError::internal)? {
        return Err(Denied("the current password is wrong".to_owned()).into());
    }
    User::check_new_password(input.new_password.expose_secret())
        .map_err(|error| answer::invalid(format!("newPassword: {error}")))?;
    let users: Api<User> = Api::all(app.own.clone());
    let change = Patch::Merge(json!({
        "password": input.new_password.expose_secret(), "mustChangePassword": false,
    }));
    let params = PatchParams::default();
    let changed = users.patch(who.user.as_str(), &params, &change);
    changed.await.map_err(failure)?;
    Ok(crate::edge::json(StatusCode::OK, &json!({})))
}
