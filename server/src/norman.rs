//! The Rancher-shaped face: logins and their providers, logout, passwords, kubeconfig files, import
//! manifests.

mod answer;
mod auth_configs;
mod import;
mod kubeconfig;
mod login;
mod login_limits;
mod password;
mod people;
mod principals;
mod providers;
mod users;

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

pub(crate) use import::import;
pub use login_limits::LoginLimits;

use crate::edge::{Body, RequestContext, authenticate, empty, password_is_settled};
use crate::state::App;

/// Answers requests under `/v3` and `/v3-public`.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Response<Body> {
    let answered = match people::is_meant(&request, segments, public) {
        true => people::answer(app, request, context, segments, public).await,
        false => route(app, request, context, segments, public).await,
    };
    answered.unwrap_or_else(answer::error)
}

async fn route(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Result<Response<Body>, ApiError> {
    let action = answer::action(request.uri().query());
    if public {
        return Err(nothing_here());
    }
    let who = authenticate(app, request.headers(), context)?;
    match (segments, action.as_deref(), request.method()) {
        (["tokens"], Some("logout"), &Method::POST) => {
            crate::tokens::revoke(app, who.token.as_str()).await?;
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::OK;
            Ok(response)
        }
        (["users"], Some("changepassword"), &Method::POST) => {
            password::change(app, request, context, &who).await
        }
        (["clusters", id], Some("generateKubeconfig"), &Method::POST) => {
            password_is_settled(&who)?;
            kubeconfig::generate(app, request, &who, id).await
        }
        _ => Err(nothing_here()),
    }
}

fn nothing_here() -> ApiError {
    ApiError::no_such_path()
}
