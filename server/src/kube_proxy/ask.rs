//! Requests that the server makes to a cluster in somebody's name: the same rights decide, by the same way, as
//! for what they send themselves. The answer is read whole, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use lariat_api::{Cluster, ClusterId};
use telemetry::Span;
use tunnel::http::StreamClient;
use tunnel_proto::stream::Class;

use super::admission::{Admitted, admit};
use super::{RequestBody, VIA, begin_asking, errors, prepare};
use crate::authn::Identity;
use crate::authz::Action;
use crate::edge::RequestContext;
use crate::state::App;

/// Longest answer, in bytes.
const LONGEST: usize = 32 * 1024 * 1024;

/// How long a cluster may take for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// Which cluster is asked. It need not exist.
    pub(crate) cluster: &'a ClusterId,
    /// The method.
    pub(crate) method: Method,
    /// Path and query for its API server.
    pub(crate) path_and_query: &'a str,
    /// JSON; a merge patch where the method is `PATCH`.
    pub(crate) body: Option<Bytes>,
}

/// Asks a cluster, and returns its answer, be it a refusal. Nothing is sent if the future is dropped before.
///
/// # Errors
/// 403 for who may not reach it, 404 and 503 for a cluster that is not there, 502 and 504 for one that does
/// not answer as it should.
pub(crate) async fn ask(
    app: &Arc<App>,
    who: &Identity,
    context: &RequestContext,
    asked: Asked<'_>,
) -> Result<(StatusCode, Bytes), ApiError> {
    let path = asked.path_and_query;
    let action = Action::parse(&asked.method, path);
    let Admitted { cluster, names, .. } = admit(app, who, asked.cluster, &action, context)?;
    let media_type = match asked.method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = Full::new(asked.body.unwrap_or_default());
    let mut request = Request::builder()
        .method(asked.method)
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, media_type)
        .body(body.map_err(|never| match never {}).boxed_unsync())
        .map_err(ApiError::internal)?;
    let tunnel = app.tunnels.ready(asked.cluster, &cluster).await;
    let tunnel = tunnel.map_err(|none| errors::not_connected(&cluster, &none))?;
    context.audit.set_via(VIA);
    prepare(&mut request, asked.cluster, path, &context.id)?;
    request.headers_mut().extend(names);
    let client = tunnel.client(Class::Interactive);
    whole(
        client,
        &cluster,
        request,
        (LONGEST, PATIENCE),
        &context.trace,
    )
    .await
}

/// Sends a request as a part of that trace, and reads the answer: `most` bytes in `patience`.
///
/// # Errors
/// 502 to 504 for a cluster that does not answer as it should.
pub(super) async fn whole(
    client: &StreamClient<RequestBody>,
    cluster: &Cluster,
    mut request: Request<RequestBody>,
    (most, patience): (usize, Duration),
    trace: &Span,
) -> Result<(StatusCode, Bytes), ApiError> {
    let name = cluster.display_name();
    let asking = begin_asking(trace, &mut request, Class::Interactive);
    let answered = async {
        let sent = client.request(request).await;
        let response = sent.map_err(|error| {
            asking.fail(&error);
            errors::failed(cluster, &error)
        })?;
        asking.set_status(response.status());
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| {
            let message = format!("the answer of cluster {name:?} broke off or is too long");
            errors::bad_gateway(message).with_log(error)
        })?;
        Ok((parts.status, body.to_bytes()))
    };
    let answered = tokio::time::timeout(patience, answered).await;
    answered.unwrap_or_else(|_| {
        let seconds = patience.as_secs();
        asking.fail("it took too long");
        let message = format!("cluster {name:?} did not answer within {seconds} s");
        let code = StatusCode::GATEWAY_TIMEOUT;
        Err(ApiError::new(code, "Timeout", message))
    })
}
