//! The Rancher-shaped face: login, actions, import manifests.

mod answer;
mod login;
mod login_limits;

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;

pub use login_limits::LoginLimits;

use crate::edge::{ApiError, Body, RequestContext};
use crate::state::App;

/// Answers requests under `/v3` and `/v3-public`.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Result<Response<Body>, ApiError> {
    let result = route(app, request, context, segments, public).await;
    result.or_else(|error| {
        context
            .audit
            .set_reason(error.log().unwrap_or_else(|| error.message()));
        Ok(answer::error(&error))
    })
}

async fn route(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Result<Response<Body>, ApiError> {
    let action = answer::action(request.uri().query());
    let post = request.method() == Method::POST;
    match (segments, action.as_deref()) {
        (["localProviders", "local"], Some("login")) if public && post => {
            login::login(app, request, context).await
        }
        _ => Err(ApiError::not_found("there is no such resource or action")),
    }
}

/// Answers with the manifest that connects a cluster.
pub(crate) async fn import(
    _app: &Arc<App>,
    _file: &str,
    _query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    Err(ApiError::not_found("there is no such registration token"))
}
