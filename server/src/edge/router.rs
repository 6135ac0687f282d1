//! The way of a request: id, audit, route, authentication, handler.

use std::convert::Infallible;
use std::sync::Arc;

use apiserver::error::ApiError;
use http::header::{USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use lariat_api::ClusterId;
use telemetry::Span;
use tracing::Instrument as _;

use super::body::{Body, full};
use super::context::{Audited, Connection, RequestContext};
use super::credentials::authenticate;
use super::probes;
use super::route::{PathError, Route};
use crate::audit::{Audit, Begin};
use crate::authn::Identity;
use crate::authz::{Action, Denied};
use crate::state::App;
use crate::{kube_proxy, management, norman, pages, random, recordings, traces, tunnels};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// So much of a client's name is recorded, in bytes: kube-apiserver's limit.
const MAX_USER_AGENT: usize = 1024;

/// Parameters of queries to this server's own pages whose values are recorded.
const SHOWN: [&str; 6] = ["action", "limit", "marker", "order", "sort", "type"];

/// A request to the API server of a cluster, authenticated but not yet authorised.
#[derive(Debug)]
pub struct ProxyRequest {
    /// The request as it came, upgrades included. Its URI is the client's; use `rest` instead.
    pub request: Request<Incoming>,
    /// The cluster. It need not exist.
    pub cluster: ClusterId,
    /// Path and query for the cluster's API server, byte for byte. Begins with a slash and has no
    /// segment that climbs.
    pub rest: String,
    /// What it does there.
    pub action: Action,
    /// Who asks.
    pub identity: Arc<Identity>,
    /// Id, connection and audit record.
    pub context: RequestContext,
}

/// Answers a request.
pub(super) async fn answer(
    app: Arc<App>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let id: Arc<str> = request_id().into();
    let uri = request.uri().clone();
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let route = Route::parse(target, connection.cluster.as_ref());
    let shown = shown_uri(&uri, connection.cluster.is_some());
    let trace = match &route {
        Ok(route) => traces::begin(&app.traces, &request, route, &id, &shown),
        Err(_) => Span::none(),
    };
    let begin = Begin {
        id: &id,
        from: connection.peer.ip().to_canonical(),
        method: request.method().as_str(),
        uri: shown,
        user_agent: user_agent(request.headers()),
    };
    let audit = Audit::begin(&app.audit, app.clock.now(), begin);
    if let Some(id) = trace.trace_id() {
        audit.set_trace(id);
    }
    let context = RequestContext {
        id: Arc::clone(&id),
        connection,
        audit: audit.clone(),
        trace: trace.clone(),
    };
    let in_log = trace.in_log();
    let answered = dispatch(&app, request, target, route, context)
        .instrument(in_log.clone())
        .await;
    let mut response = answered.unwrap_or_else(|error| error.into_response().map(full));
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        in_log.in_scope(|| note(&id, &audit, &error));
        if error.code() == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"lariat\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, how);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    audit.set_status(response.status().as_u16());
    trace.set_status(response.status());
    app.metrics.answered(response.status());
    Ok(response.map(|body| Audited::new(body, audit, trace).boxed_unsync()))
}

async fn dispatch(
    app: &Arc<App>,
    request: Request<Incoming>,
    target: &str,
    route: Result<Route<'_>, PathError>,
    context: RequestContext,
) -> Result<Response<Body>, ApiError> {
    let query = target.split_once('?').map(|(_, query)| query);
    match route.map_err(|error| ApiError::bad_request(error.to_string()))? {
        Route::Ping => probes::ping(),
        Route::Probe { probe, check } => probes::probe(app, probe, check, query).await,
        Route::CaCertificates => probes::ca_certificates(app),
        Route::Version => Ok(management::version()),
        Route::Metrics => {
            let identity = authenticate(app, &request, &context)?;
            probes::metrics(app, &identity)
        }
        Route::Connect => tunnels::connect(app, request, context).await,
        Route::Import { file } => norman::import(app, file, query).await,
        Route::ApiPage { file } => norman::asset(request.method(), file),
        Route::Norman { segments, public } => {
            Ok(norman::handle(app, request, &context, &segments, public).await)
        }
        Route::Management => {
            let action = Action::parse(request.method(), target);
            context.audit.set_action(&action);
            let identity = authenticate(app, &request, &context)?;
            password_is_settled(&identity)?;
            if let Some(recording) = recordings::asked_for(&action) {
                let (method, audit) = (request.method(), &context.audit);
                return recordings::read(app, method, &identity, recording, audit).await;
            }
            if let Some(about) = tunnels::asked_for(&action, target) {
                let (method, audit) = (request.method(), &context.audit);
                return tunnels::explain(app, method, &identity, &about, audit);
            }
            Ok(management::handle(app, request, identity, &context.audit).await)
        }
        Route::Cluster { id, rest } => {
            context.audit.set_cluster(&id);
            let action = Action::parse(request.method(), rest);
            context.audit.set_action(&action);
            let identity = authenticate(app, &request, &context)?;
            password_is_settled(&identity)?;
            let request = ProxyRequest {
                cluster: id,
                rest: rest.to_owned(),
                action,
                identity: Arc::new(identity),
                request,
                context,
            };
            kube_proxy::handle(app, request).await
        }
        Route::Page(page) => pages::handle(app, &request, &context, page).await,
        Route::NotFound => Err(ApiError::no_such_path()),
    }
}

/// Who must change the password may do nothing else before.
pub(crate) fn password_is_settled(identity: &Identity) -> Result<(), ApiError> {
    if identity.must_change_password {
        let why = "change your password first: lariat passwd";
        return Err(Denied(why.to_owned()).into());
    }
    Ok(())
}

/// Tells the logs why a request failed.
fn note(id: &str, audit: &Audit, error: &ApiError) {
    let message = error.log().unwrap_or_else(|| error.message());
    audit.set_failure(error.reason(), message);
    let code = error.code();
    if code.is_server_error() {
        let (message, log) = (error.message(), error.log().unwrap_or_default());
        tracing::warn!(id, status = code.as_u16(), message, log, "request failed");
    }
}

/// Path and query for the audit log. The token in an import URL is left out, and so is what a query
/// may hold where it is not one of Kubernetes: codes of logins, what somebody searches for.
fn shown_uri(uri: &Uri, chosen: bool) -> String {
    let (path, query) = (uri.path(), uri.query());
    let beneath = |folder: &str| {
        let rest = path.strip_prefix(folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let kubernetes = [
        "/k8s", "/api", "/apis", "/openapi", "/livez", "/readyz", "/healthz",
    ];
    if chosen || kubernetes.into_iter().any(beneath) {
        return uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string);
    }
    if beneath("/v3/import") {
        return "/v3/import/(hidden)".to_owned();
    }
    let Some(query) = query else {
        return path.to_owned();
    };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SHOWN.contains(&name) => pair.to_owned(),
        Some((name, _)) => format!("{name}=(hidden)"),
        None => "(hidden)".to_owned(),
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

fn user_agent(headers: &HeaderMap) -> &str {
    let shown = headers.get(USER_AGENT).map(HeaderValue::to_str);
    let shown = shown.and_then(Result::ok).unwrap_or_default();
    shown.get(..MAX_USER_AGENT).unwrap_or(shown)
}

fn request_id() -> String {
    let bits = u128::from(random::bits()) << 64 | u128::from(random::bits());
    format!("{bits:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_an_address_is_recorded() {
        for (uri, expected) in [
            ("/v3/import/TOKEN_c-1.yaml?x=1", "/v3/import/(hidden)"),
            (
                "/v3/users?action=changepassword&limit=5",
                "/v3/users?action=changepassword&limit=5",
            ),
            (
                "/verify-auth?code=SECRET&state=x",
                "/verify-auth?code=(hidden)&state=(hidden)",
            ),
            ("/v3/connect?token=SECRET", "/v3/connect?token=(hidden)"),
            ("/v3?SECRET", "/v3?(hidden)"),
            (
                "/k8s/clusters/c-1/api/v1/pods?watch=1",
                "/k8s/clusters/c-1/api/v1/pods?watch=1",
            ),
            ("/apis?x=1", "/apis?x=1"),
            ("/apisx?x=1", "/apisx?x=(hidden)"),
        ] {
            assert_eq!(shown_uri(&uri.parse().unwrap(), false), expected);
        }
        let uri = "/v3/import/x?code=1".parse().unwrap();
        assert_eq!(
            shown_uri(&uri, true),
            "/v3/import/x?code=1",
            "a path of the cluster"
        );
    }
}
