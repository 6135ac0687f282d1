//! Where a watch comes from: the cluster's session, or the next one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use tracing::debug;
use tunnel::http::{AnswerBody, ask_unframed};
use tunnel_proto::stream::Class;

use super::asked::Again;
use super::body::{Answer, Reply, Source};
use super::events::Format;
use crate::authz::Ongoing;
use crate::edge::BoxError;
use crate::kube_proxy::bodies::no_body;
use crate::tunnels::Tunnel;

/// A cluster, asked in somebody's name.
pub(super) struct Origin(Arc<Known>);

struct Known {
    ongoing: Arc<Ongoing>,
    headers: Headers,
    /// Of the agent. Another one may be in another cluster, which numbers its changes anew.
    key: Arc<[u8]>,
    format: Format,
}

/// The headers of a request, among them those that say who asks.
pub(super) struct Headers(Box<[(HeaderName, HeaderValue)]>);

impl Headers {
    /// Copies them; those that came are parts of a connection's buffer, and would keep it.
    pub(super) fn copy(headers: &HeaderMap) -> Option<Self> {
        let copied = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            Some((name.clone(), value))
        });
        copied.collect::<Option<_>>().map(Self)
    }

    fn map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            headers.append(name, value.clone());
        }
        headers
    }
}

impl Origin {
    /// The cluster behind that session.
    pub(super) fn new(
        ongoing: Arc<Ongoing>,
        headers: Headers,
        tunnel: &Tunnel,
        format: Format,
    ) -> Self {
        Self(Arc::new(Known {
            ongoing,
            headers,
            key: Arc::clone(&tunnel.key),
            format,
        }))
    }
}

impl Source for Origin {
    type Body = Carried;

    fn ask(&self, again: Again) -> BoxFuture<'static, Reply<Carried>> {
        let known = Arc::clone(&self.0);
        Box::pin(async move { known.ask(&again).await })
    }
}

impl Known {
    /// Waits for a session, and asks by it.
    async fn ask(&self, again: &Again) -> Reply<Carried> {
        let Ongoing { app, cluster, .. } = &*self.ongoing;
        let tunnel = app.tunnels.wait(cluster).await;
        if tunnel.key != self.key || !self.ongoing.is_allowed() {
            return Reply::Refused;
        }
        let Some(path_and_query) = again.path_and_query(Instant::now()) else {
            return Reply::Over;
        };
        let uri = format!("http://{cluster}{path_and_query}");
        let Ok(mut request) = Request::get(uri).body(no_body()) else {
            return Reply::Refused;
        };
        *request.headers_mut() = self.headers.map();
        let sent = ask_unframed(tunnel.client(Class::Watch), request).await;
        match sent {
            Ok(response) => self.reply(response, tunnel),
            Err(error) => {
                debug!(%cluster, %error, "a watch could not be asked for again");
                Reply::Later(Duration::ZERO)
            }
        }
    }

    fn reply(&self, response: Response<AnswerBody>, tunnel: Arc<Tunnel>) -> Reply<Carried> {
        let (parts, body) = response.into_parts();
        match parts.status {
            StatusCode::OK if super::format_of(&parts) == Some(self.format) => {
                Reply::GoesOn(Carried { body, tunnel })
            }
            StatusCode::GONE => Reply::Expired,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Reply::Later(retry_after(&parts.headers)),
            status => {
                debug!(cluster = %self.ongoing.cluster, %status, "a watch was refused when it was to go on");
                Reply::Refused
            }
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| {
        let seconds = value.to_str().ok()?;
        seconds.parse().ok()
    });
    Duration::from_secs(seconds.unwrap_or_default())
}

/// An answer, and the session that it comes by.
pub(super) struct Carried {
    body: AnswerBody,
    tunnel: Arc<Tunnel>,
}

impl Carried {
    /// The first answer.
    pub(super) fn new(body: AnswerBody, tunnel: Arc<Tunnel>) -> Self {
        Self { body, tunnel }
    }
}

impl Answer for Carried {
    fn is_leaving(&self) -> bool {
        !self.tunnel.is_live()
    }
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }
}
