//! Requests that the server makes to a cluster in somebody's name: the same rights decide, by the same way, as
//! for what they send themselves. The answer is read whole, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use lariat_api::ClusterId;
use tunnel_proto::stream::Class;

use super::{VIA, errors, impersonation, prepare};
use crate::authn::Identity;
use crate::authz::{self, Action, Denied};
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
    let cluster = authz::find_cluster(app, asked.cluster)?;
    let decided = authz::in_cluster(app, who, &cluster, &action);
    let refused = decided.as_ref().err().map(|Denied(why)| why.as_str());
    context
        .audit
        .set_decision(refused.is_none(), refused.unwrap_or_default());
    let at_providers = (app.controllers).groups_in(asked.cluster, &who.provider_groups);
    let mut groups: Vec<&str> = decided?;
    groups.extend(at_providers.iter().map(String::as_str));
    let (user, id) = (who.user.as_str(), asked.cluster.as_str());
    context.audit.hold(app.proxy_limits.admit(user, id, false)?);
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
    let Some(tunnel) = app.tunnels.get(asked.cluster) else {
        return Err(errors::not_connected(&cluster));
    };
    context.audit.set_via(VIA);
    prepare(&mut request, asked.cluster, path, &context.id)?;
    impersonation::name(request.headers_mut(), who, &groups)?;
    let answered = async {
        let response = tunnel.client(Class::Interactive).request(request).await;
        let response = response.map_err(|error| errors::failed(&cluster, &error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LONGEST)
            .collect()
            .await
            .map_err(|error| {
                let name = cluster.display_name();
                let message = format!("the answer of cluster {name:?} broke off or is too long");
                errors::bad_gateway(message).with_log(error)
            })?;
        Ok((parts.status, body.to_bytes()))
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answered) => answered,
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            let message = format!(
                "cluster {:?} did not answer within {seconds} s",
                cluster.display_name()
            );
            Err(ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                message,
            ))
        }
    }
}
