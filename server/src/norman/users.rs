//! What is done with users beyond writing them.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Response, StatusCode};
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{Kind as _, UserAttribute};
use serde_json::json;

use crate::authn::Identity;
use crate::authz::Denied;
use crate::edge::{Body, empty};
use crate::logins;
use crate::management::failure;
use crate::state::App;

/// `POST /v3/users/ID?action=refreshauthprovideraccess`: asks the login providers of a user again.
pub(super) async fn refresh(
    app: &Arc<App>,
    who: &Identity,
    id: &str,
) -> Result<Response<Body>, ApiError> {
    may_refresh(who)?;
    logins::refresh_user(app, id).await?;
    Ok(done())
}

/// `POST /v3/users?action=refreshauthprovideraccess`: has the login providers asked again about everybody,
/// soon.
pub(super) async fn refresh_all(
    app: &Arc<App>,
    who: &Identity,
) -> Result<Response<Body>, ApiError> {
    may_refresh(who)?;
    let attributes: Api<UserAttribute> = Api::all(app.own.clone());
    let soon = Patch::Merge(json!({"needsRefresh": true}));
    for user in app.directory.users_of_providers() {
        let params = PatchParams::default();
        let asked = attributes.patch(user.name(), &params, &soon).await;
        asked.map_err(failure)?;
    }
    Ok(done())
}

/// Whether somebody may have login providers asked again.
pub(super) fn may_refresh(who: &Identity) -> Result<(), Denied> {
    match who.administrator && who.only_cluster.is_none() {
        true => Ok(()),
        false => Err(Denied("only administrators refresh users".into())),
    }
}

fn done() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::OK;
    response
}
