//! What the agent does with the streams that the server opens.

use crate::{kube_proxy::Forwarder, policy, traces};
use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming as IncomingBody, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use telemetry::Traces;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug, debug_span};
use tunnel::http::{Asker, end_watch_when, is_watch};
use tunnel::session::{Inbound, Incoming, IncomingError, Session, Stream};
use tunnel_proto::stream::{RefusalReason, Target};

/// Serves streams of any number of sessions.
pub struct Streams {
    forwarder: Forwarder,
    policy: policy::Current,
    traces: Traces,
}

impl Streams {
    /// Streams to the API server that `forwarder` reaches, as far as the policy allows.
    pub fn new(forwarder: Forwarder, policy: policy::Current, traces: Traces) -> Self {
        Self {
            forwarder,
            policy,
            traces,
        }
    }

    /// Takes the session's streams until it is over. When `drain` is cancelled, watches end, and
    /// connections behind the request that they carry.
    pub async fn serve(
        self: Arc<Self>,
        session: Session,
        drain: CancellationToken,
        tasks: TaskTracker,
    ) {
        while let Some(incoming) = session.accept().await {
            let serving = Arc::clone(&self).serve_stream(incoming, drain.clone(), tasks.clone());
            tasks.spawn(serving.instrument(debug_span!("stream", session = session.id())));
        }
    }

    async fn serve_stream(
        self: Arc<Self>,
        incoming: Incoming,
        drain: CancellationToken,
        tasks: TaskTracker,
    ) {
        let inbound = match incoming.preamble().await {
            Ok(inbound) => inbound,
            Err(IncomingError::Ended(_)) => return,
            Err(error) => {
                debug!(%error, "stream came to nothing");
                return;
            }
        };
        match refusal(&inbound.open.target) {
            None => self.serve_kube_api(inbound, drain, tasks).await,
            Some((reason, message)) => inbound.refuse(reason, message).await,
        }
    }

    async fn serve_kube_api(
        self: Arc<Self>,
        inbound: Inbound,
        drain: CancellationToken,
        tasks: TaskTracker,
    ) {
        let Ok(stream) = inbound.accept().await else {
            return;
        };
        if let Err(error) = self.serve_http(stream, drain, tasks).await {
            // The server's clients hang up all the time.
            debug!(%error, "connection ended");
        }
    }

    async fn serve_http(
        &self,
        stream: Stream,
        drain: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<(), hyper::Error> {
        let service = service_fn(|mut request: Request<IncomingBody>| async {
            let asker = Asker::of(&mut request);
            let policy = self.policy.get();
            let watches = is_watch(request.uri().query().unwrap_or_default());
            let span = traces::begin(&self.traces, &request);
            let forwarded = self.forwarder.forward(request, &policy, &tasks, &span);
            let response = forwarded.instrument(span.in_log()).await;
            span.set_status(response.status());
            let response = response.map(|body| {
                let body = if watches {
                    end_watch_when(body, drain.clone()).boxed_unsync()
                } else {
                    body
                };
                traces::until_sent(body, span)
            });
            Ok::<_, std::convert::Infallible>(asker.answer(response, &tasks))
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // The server keeps connections for its next request.
            .header_read_timeout(None)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }
}

/// Why a stream to that is refused; `None` for the API server.
fn refusal(target: &Target) -> Option<(RefusalReason, String)> {
    match target {
        Target::KubeApi => None,
        Target::AgentApi | Target::ServerApi | Target::ServerListener => {
            let message = format!("this agent does not serve {target:?}");
            Some((RefusalReason::NotServed, message))
        }
        Target::Dial(address) => {
            let message = format!("the agent's policy does not allow dialling {address:?}");
            Some((RefusalReason::NotPermitted, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_reaches_the_api_server_and_dials_nothing_else() {
        assert_eq!(refusal(&Target::KubeApi), None);
        for address in [
            "169.254.169.254:80",
            "127.0.0.1:22",
            "kubernetes.default:443",
            "",
        ] {
            let (reason, message) = refusal(&Target::Dial(address.to_owned())).unwrap();
            assert_eq!(reason, RefusalReason::NotPermitted, "{address}");
            assert!(message.contains("does not allow"), "{message}");
        }
        for target in [Target::AgentApi, Target::ServerApi, Target::ServerListener] {
            assert_eq!(refusal(&target).unwrap().0, RefusalReason::NotServed);
        }
    }
}
