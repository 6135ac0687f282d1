//! Changing one's own password.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::User;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use store::Txn;

use super::answer;
use crate::authn::Identity;
use crate::authz::Denied;
use crate::edge::{Body, RequestContext, collect};
use crate::objects::revision_of;
use crate::state::App;

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
        .check(context.connection.peer.ip(), &who.username)?;
    let hash = app.directory.password(&who.user);
    let right = app.passwords.check(hash, input.current_password).await;
    if !right.map_err(ApiError::internal)? {
        return Err(Denied("the current password is wrong".to_owned()).into());
    }
    User::check_new_password(input.new_password.expose_secret())
        .map_err(|error| answer::invalid(format!("newPassword: {}", error.rule)))?;
    let set = app.passwords.set(&who.user, input.new_password).await;
    let stored: User = app.objects.get("", who.user.as_str()).await?;
    let mut user = stored.clone();
    user.must_change_password = false;
    let txn = Txn {
        compares: Vec::new(),
        ops: vec![set.map_err(ApiError::internal)?],
    };
    let written = app.objects.update_with(user, &stored, txn).await?;
    app.directory.wait_for(revision_of(&written)?).await;
    Ok(crate::edge::json(StatusCode::OK, &json!({})))
}
