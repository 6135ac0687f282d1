//! Requests to the API servers of clusters: authorised, given the user's name, and streamed
//! through the cluster's tunnel. Bodies are carried as they are, and not kept.

mod admission;
mod ask;
mod bodies;
mod browser;
mod class;
mod errors;
mod impersonation;
mod journal;
mod limits;
mod recording;
mod review;
mod upgrade;
mod watch;

pub(crate) use ask::{Asked, ask};
pub(crate) use bodies::{RequestBody, no_body};
pub(crate) use impersonation::refuse as refuse_impersonation;
pub(crate) use journal::Course;
pub use journal::Journal;
pub use limits::Limits;
pub(crate) use limits::Permit;
pub use watch::Watches;

use std::sync::Arc;
use std::time::Instant;

use apiserver::error::ApiError;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt as _;
use telemetry::Span;
use tunnel::http::{AnswerBody, ask_unframed, strip_hop_by_hop};
use tunnel_proto::stream::Class;

use crate::authn::session::CSRF_HEADER;
use crate::authz::{self, Ongoing};
use crate::edge::{Body, ProxyRequest, empty};
use crate::state::App;
use crate::tunnels::name_of;
use admission::{Admitted, admit};
use recording::Recording;

/// kube-apiserver takes over the id of a request that comes with one, so that its audit log and
/// ours can be joined.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Which way the request went, for the audit line.
const VIA: &str = "cluster-agent";

/// Forwards a request to a cluster.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: ProxyRequest,
) -> Result<Response<Body>, ApiError> {
    let ProxyRequest {
        mut request,
        cluster: id,
        rest,
        action,
        identity,
        context,
    } = request;
    let authorizing = context.trace.child("authorize");
    // What goes between the two is missed by neither.
    let roles = authz::roles_in(app, &identity, id.as_str());
    let Admitted {
        cluster,
        groups,
        names,
    } = admit(app, &identity, &id, &action, &context)?;
    let class = class::of(&action, query_of(&rest), request.headers());
    let course = app.journal.begin(
        &id,
        journal::Asked {
            id: &context.id,
            trace: context.trace.trace_id(),
            who: &identity,
            method: request.method(),
            path_and_query: &rest,
            action: &action,
            class,
            now: app.clock.now(),
        },
    );
    context.audit.follow(course.clone());
    let method = request.method().clone();
    let (headers, query) = (request.headers_mut(), query_of(&rest));
    let demanded = recording::demanded(app, &identity, &cluster, &action, &method, headers, query)?;
    drop(authorizing);
    let waiting = context.trace.child("wait for session");
    let waits_since = Instant::now();
    let tunnel = app.tunnels.ready(&id, &cluster).await;
    let tunnel = tunnel.map_err(|none| errors::not_connected(&cluster, &none))?;
    drop(waiting);
    course.goes_over(tunnel.session.id(), waits_since.elapsed());
    context.audit.set_via(VIA);
    let upgrades = prepare(&mut request, &id, &rest, &context.id)?;
    let client = tunnel.client(class);
    if let Some(needed) = review::needed(request.method(), &action.target) {
        let asks = tunnel.client(Class::Interactive);
        let checked = needed
            .check(asks, &cluster, &identity, names.clone(), &context.trace)
            .await;
        if let Err(refused) = checked {
            context.audit.set_decision(false, &refused.to_string());
            return Err(refused);
        }
    }
    // After this nothing of the client's decides which headers go on: what `Connection` names is gone.
    request.headers_mut().extend(names);
    let recording = match demanded {
        Some(asked) => Some(Recording::begin(app, &id, asked, &identity, &context).await?),
        None => None,
    };
    let client_side = upgrades.then(|| hyper::upgrade::on(&mut request));
    let is_watch = action.is_watch();
    let kept = is_watch.then(|| watch::Kept::of(&request)).flatten();
    let mut request = request.map(|body| bodies::request(body, context.audit.clone()));
    let asking = begin_asking(&context.trace, &mut request, class);
    let sent = if is_watch && !upgrades {
        ask_unframed(client, request).await
    } else {
        let sent = client.request(request).await;
        sent.map(|response| response.map(AnswerBody::Framed))
    };
    let mut response = sent.map_err(|error| {
        asking.fail(&error);
        errors::failed(&cluster, &error)
    })?;
    asking.set_status(response.status());
    course.answered();
    // The agent says so itself if it cannot reach the API server.
    if response.status() != StatusCode::BAD_GATEWAY {
        tunnel.answered();
    }
    // What follows the head of the answer is a part of its own.
    drop(asking);
    if identity.by_browser {
        browser::contain(response.headers_mut());
    }
    let ongoing = Ongoing {
        app: Arc::clone(app),
        who: identity,
        cluster: id,
        action,
        groups,
        roles,
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client_side) = client_side else {
            let message = "the cluster upgraded a request that did not ask for it";
            return Err(errors::bad_gateway(message));
        };
        if let Some(recording) = &recording {
            recording.accept(response.headers())?;
        }
        let cluster_side = hyper::upgrade::on(&mut response);
        upgrade::carry(ongoing, client_side, cluster_side, context, recording);
        strip_hop_by_hop(response.headers_mut());
        return Ok(response.map(|_| empty()));
    }
    strip_hop_by_hop(response.headers_mut());
    let ongoing = Arc::new(ongoing);
    let (parts, body) = response.into_parts();
    let body = if is_watch {
        watch::response(kept, &parts, body, tunnel, ongoing)
    } else {
        bodies::response(body, ongoing).boxed_unsync()
    };
    Ok(Response::from_parts(parts, body))
}

/// Makes a request of the client one for the agent. Returns whether it asks for an upgrade.
fn prepare<B>(
    request: &mut Request<B>,
    cluster: &lariat_api::ClusterId,
    rest: &str,
    id: &str,
) -> Result<bool, ApiError> {
    *request.uri_mut() = format!("http://{cluster}{rest}")
        .parse::<Uri>()
        .map_err(|error| ApiError::bad_request(format!("path cannot be forwarded: {error}")))?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    let upgrades = strip_hop_by_hop(headers).is_some();
    for name in [
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::FORWARDED,
        CSRF_HEADER,
    ] {
        headers.remove(name);
    }
    impersonation::forget_claims(headers);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(AUDIT_ID, id);
    }
    Ok(upgrades)
}

/// Begins the span of a request to an agent, which ends with the head of the answer, and tells the agent of it.
fn begin_asking<B>(trace: &Span, request: &mut Request<B>, class: Class) -> Span {
    let asking = trace.client("tunnel request");
    asking.set("http.request.method", request.method().as_str());
    asking.set("lariat.class", name_of(class));
    asking.inject(request.headers_mut());
    asking
}

fn query_of(path_and_query: &str) -> &str {
    path_and_query
        .split_once('?')
        .map_or("", |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_forwarded_byte_for_byte() {
        for rest in [
            "/",
            "/api/v1/namespaces/a%2Fb/pods?x=%20y&&z",
            "/api//v1/",
            "/a;b/~!$&'()*+,=",
        ] {
            let mut request = Request::get("/k8s/clusters/c-1/x").body(()).unwrap();
            let cluster = "c-1".parse().unwrap();
            assert!(!prepare(&mut request, &cluster, rest, "id").unwrap());
            assert_eq!(request.uri().path_and_query().unwrap(), rest);
        }
    }

    #[test]
    fn credentials_of_the_client_stay_here() {
        let mut request = Request::get("/")
            .header("authorization", "Bearer token-1:secret")
            .header("cookie", "R_SESS=x")
            .header("x-api-csrf", "x")
            .header("X-Remote-User", "system:admin")
            .header("X-REMOTE-GROUP", "system:masters")
            .header("x-remote-extra-scopes", "all")
            .header("host", "lariat")
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .body(())
            .unwrap();
        assert!(prepare(&mut request, &"c-1".parse().unwrap(), "/", "7").unwrap());
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["connection", "upgrade", "audit-id"]);
    }
}
