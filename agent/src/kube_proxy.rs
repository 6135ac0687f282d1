//! Requests to the cluster's API server: checked against the policy, given the agent's own
//! credentials, streamed through. The credentials never leave the cluster.

mod answer;

use crate::policy::Policy;
pub use answer::Body;
use answer::error_status;
use anyhow::Context as _;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header, uri};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::client::ConfigExt as _;
use std::time::Duration;
use telemetry::Span;
use tokio_util::task::TaskTracker;
use tower::{BoxError, ServiceExt as _, util::BoxCloneSyncService};
use tracing::{debug, warn};
use tunnel::http::{splice, strip_hop_by_hop};

/// How long an unused connection to the API server stays open. The API server's own limit is
/// minutes.
const IDLE: Duration = Duration::from_secs(60);

/// Forwards requests to the API server over kept TLS connections.
///
/// All of them are HTTP/1.1: upgrades need it, and hundreds of watches on one HTTP/2 connection
/// would share its stream limit and its one TCP connection.
#[derive(Clone)]
pub struct Forwarder {
    client: BoxCloneSyncService<Request<Incoming>, Response<Incoming>, BoxError>,
    scheme: uri::Scheme,
    authority: uri::Authority,
    base_path: String,
}

impl Forwarder {
    /// Reaches the API server as `config` says, with its credentials; a token file is read again
    /// when it changes.
    pub fn new(config: &kube::Config) -> anyhow::Result<Self> {
        let connector = config
            .rustls_https_connector()
            .context("cannot set up TLS to the API server")?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector)
            .map_err(BoxError::from);
        let auth = config
            .auth_layer()
            .context("cannot use the credentials for the API server")?;
        let client = tower::ServiceBuilder::new()
            .option_layer(auth)
            .service(client);
        let base = config.cluster_url.clone().into_parts();
        let authority = base
            .authority
            .context("the API server's address has no host")?;
        let base_path = config.cluster_url.path().trim_end_matches('/').to_owned();
        Ok(Self {
            client: BoxCloneSyncService::new(client.map_err(BoxError::from)),
            scheme: base.scheme.unwrap_or(uri::Scheme::HTTPS),
            authority,
            base_path,
        })
    }

    /// Answers one request, whose span is `span`; whatever goes wrong is a Kubernetes Status. An upgraded
    /// connection is carried on by a task of `tasks`.
    pub async fn forward(
        &self,
        request: Request<Incoming>,
        policy: &Policy,
        tasks: &TaskTracker,
        span: &Span,
    ) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        // Before the check: a header that `Connection` names would count there and be gone afterwards.
        let upgrades = strip_hop_by_hop(&mut parts.headers).is_some();
        if let Err(denied) = policy.check(&parts) {
            debug!(path = parts.uri.path(), %denied, "denied");
            let message = format!(
                "the cluster's agent policy (ConfigMap {}): {denied}",
                crate::policy::CONFIG_MAP
            );
            return error_status(StatusCode::FORBIDDEN, &message);
        }
        let mut request = Request::from_parts(parts, body);
        match self.target(request.uri()) {
            Ok(target) => *request.uri_mut() = target,
            Err(error) => return error_status(StatusCode::BAD_REQUEST, &error.to_string()),
        }
        let headers = request.headers_mut();
        headers.remove(header::AUTHORIZATION);
        headers.remove(header::HOST);
        forget_claims(headers);
        let asking = span.client("API server request");
        asking.set("http.request.method", request.method().as_str());
        asking.set("server.address", self.authority.host());
        asking.inject(request.headers_mut());
        let client_side = upgrades.then(|| hyper::upgrade::on(&mut request));
        match self.client.clone().oneshot(request).await {
            Ok(mut response) => {
                asking.set_status(response.status());
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let Some(client_side) = client_side else {
                        return error_status(
                            StatusCode::BAD_GATEWAY,
                            "the API server upgraded a request that did not ask for it",
                        );
                    };
                    let server_side = hyper::upgrade::on(&mut response);
                    let connection = span.child("connection");
                    let span = span.clone();
                    tasks.spawn(async move {
                        if let Err(error) = join(client_side, server_side).await {
                            connection.fail(&error);
                            debug!(%error, "upgraded connection ended");
                        }
                        drop((connection, span));
                    });
                }
                strip_hop_by_hop(response.headers_mut());
                response.map(|body| body.map_err(BoxError::from).boxed_unsync())
            }
            Err(error) => {
                let message = chain(&*error);
                asking.fail(&message);
                warn!(error = message, "API server does not answer");
                error_status(
                    StatusCode::BAD_GATEWAY,
                    &format!("the agent cannot reach the cluster's API server: {message}"),
                )
            }
        }
    }

    /// The same path and query, byte for byte, at the API server.
    fn target(&self, requested: &Uri) -> Result<Uri, http::Error> {
        let path = requested
            .path_and_query()
            .map_or("/", uri::PathAndQuery::as_str);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.base_path))
            .build()
    }
}

/// Takes away what an authenticating proxy in front of the API server would say of the user: whoever has the
/// request sent says it by `Impersonate-…`, which the policy checks.
fn forget_claims(headers: &mut HeaderMap) {
    let claims = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-remote-"));
    for name in claims.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

async fn join(left: OnUpgrade, right: OnUpgrade) -> std::io::Result<()> {
    let (left, right) = futures::future::try_join(left, right)
        .await
        .map_err(std::io::Error::other)?;
    splice(TokioIo::new(left), TokioIo::new(right)).await
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
