//! The Kubernetes-style face of the management API: [`apiserver`] with the kinds of this server.

mod client;
mod kinds;
mod settings;

use std::sync::Arc;

use apiserver::cache::Cache;
use apiserver::registry::{Registry, Served};
use apiserver::serve::{ApiServer, Authorizer, User};
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Incoming;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub(crate) use client::client;
pub(crate) use kinds::{Context, claim};
pub(crate) use settings::settings;

use crate::authn::Identity;
use crate::edge::Body;
use crate::state::App;

/// A server of the management API's objects, over what `cache` follows.
pub(crate) fn api_server(
    context: Context,
    cache: Arc<Cache>,
    authorizer: Arc<dyn Authorizer>,
    shutdown: CancellationToken,
) -> anyhow::Result<ApiServer> {
    let clock = context.clock.clone();
    let mut registry = Registry::default();
    for resource in kinds::resources(context)? {
        registry.insert(resource);
    }
    let clock = Arc::new(move || clock.now());
    let served = Served::new(registry);
    Ok(ApiServer::new(served, cache, authorizer, clock, shutdown))
}

/// Answers requests under `/api` and `/apis`. A watch ends in order when the user's token does.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: Identity,
) -> Response<Body> {
    let answer = app.api.answer(user(&who), request).await;
    let clock = app.clock.clone();
    answer.map(|body| {
        if body.size_hint().exact().is_some() {
            return body.map_err(|never| match never {}).boxed_unsync();
        }
        let ended = async move { who.until_ended(&clock).await };
        let frames = BodyStream::new(body).take_until(Box::pin(ended));
        let frames = frames.map(|frame| frame.map_err(|never| match never {}));
        StreamBody::new(frames).boxed_unsync()
    })
}

/// Somebody as the API server knows users.
pub(crate) fn user(who: &Identity) -> User {
    let mut extra = who.extra.clone();
    if let Some(cluster) = &who.only_cluster {
        extra.insert(crate::authz::ONLY_CLUSTER.into(), vec![cluster.to_string()]);
    }
    User {
        name: who.user.to_string(),
        groups: who.groups.clone(),
        extra,
    }
}

/// Answers `/version`.
pub(crate) fn version() -> Response<Body> {
    let version = env!("CARGO_PKG_VERSION");
    // kubectl compares itself with a version of Kubernetes; the API follows this one.
    let value = json!({
        "major": "1",
        "minor": "35",
        "gitVersion": format!("v1.35.0+lariat.{version}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    crate::edge::json(StatusCode::OK, &value)
}
