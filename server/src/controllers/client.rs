//! Connected clusters, as any Kubernetes client sees them. The transport is the tunnel.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{CONNECTION, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use kube::client::Body;
use lariat_api::{ClusterId, USER_CONTROLLERS};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use tunnel::http::ask_unframed;
use tunnel_proto::stream::Class;

use crate::edge::{self, BoxError, full};
use crate::state::App;
use crate::tunnels::Tunnel;
use crate::turns;

/// Under this name the controllers own the fields that they write.
pub(super) const MANAGER: &str = "lariat-controllers";

/// How long an API server may take for an answer, or to begin that to a watch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer that is read, and longest event of a watch, in bytes. A page of 500 objects is shorter, and
/// so is any one object.
pub(super) const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Requests to all clusters that are asked at the same time, for each core.
const ASKED_PER_CORE: usize = 16;

/// In what turn clusters are asked. When thousands of agents have come back at once there is much to ask, and who calls the
/// server meanwhile has to be answered.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        let asked = turns::cores().saturating_mul(ASKED_PER_CORE);
        Self(Semaphore::new(asked))
    }
}

impl Turns {
    /// Asks when it is its turn; until then nothing of it is there. That is a task of its own: who follows a cluster leaves
    /// its watches alone while it writes there, and a turn that fell to one of them meanwhile would be lost for as long. The
    /// future is the task's owner.
    fn take<Answer, Asking>(
        self: &Arc<Self>,
        ask: impl FnOnce() -> Asking + Send + 'static,
    ) -> BoxFuture<'static, Result<Answer, BoxError>>
    where
        Answer: Send + 'static,
        Asking: Future<Output = Result<Answer, BoxError>> + Send + 'static,
    {
        let turns = Arc::clone(self);
        let asked = async move {
            let turn = turns.0.acquire().await?;
            // Boxed, as thousands may wait for their turn.
            Box::pin(turns::take(turn, ask())).await
        };
        let asked = AbortOnDropHandle::new(tokio::spawn(asked.in_current_span()));
        Box::pin(async move { asked.await? })
    }
}

/// An answer that comes when it is the request's turn.
type Answering = BoxFuture<'static, Result<Response<edge::Body>, BoxError>>;

/// The API server of a connected cluster.
#[derive(Clone)]
pub(super) struct Remote {
    cluster: ClusterId,
    tunnel: Arc<Tunnel>,
    turns: Arc<Turns>,
}

impl Remote {
    pub(super) fn new(app: &App, cluster: &ClusterId, tunnel: &Arc<Tunnel>) -> Self {
        Self {
            cluster: cluster.clone(),
            tunnel: Arc::clone(tunnel),
            turns: app.controllers.turns(),
        }
    }

    /// A client for what the server itself does there. It costs 12 KiB, so that it is made for some work and not kept.
    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(tower::service_fn(self.sender()), "default")
    }

    /// The way that requests go. An answer may be a refusal.
    pub(super) fn sender(&self) -> impl Fn(Request<Body>) -> Answering + Send + use<> {
        let remote = self.clone();
        move |request| {
            let (cluster, tunnel) = (remote.cluster.clone(), Arc::clone(&remote.tunnel));
            let ask = move || async move { ask(&cluster, &tunnel, request).await };
            remote.turns.take(ask)
        }
    }
}

async fn ask(
    cluster: &ClusterId,
    tunnel: &Tunnel,
    request: Request<Body>,
) -> Result<Response<edge::Body>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("http://{cluster}{path}");
    let watches = parts.uri.query().is_some_and(tunnel::http::is_watch);
    parts.uri = uri.parse::<Uri>()?;
    let name = HeaderName::from_static("impersonate-user");
    let user = HeaderValue::from_static(USER_CONTROLLERS);
    parts.headers.insert(name, user);
    let agent = HeaderValue::from_static(MANAGER);
    parts.headers.insert(USER_AGENT, agent);
    let class = if watches {
        Class::Watch
    } else {
        // A kept connection costs buffers while nothing changes, and a session that ends waits for it.
        let close = HeaderValue::from_static("close");
        parts.headers.insert(CONNECTION, close);
        Class::Interactive
    };
    let body = Full::new(body.collect_bytes().await?);
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let request = Request::from_parts(parts, body);
    let answered = async {
        if watches {
            let answer = ask_unframed(tunnel.client(class), request).await?;
            return Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()));
        }
        let (parts, body) = tunnel.client(class).request(request).await?.into_parts();
        let whole = Limited::new(body, MAX_ANSWER).collect().await?;
        Ok::<_, BoxError>(Response::from_parts(parts, full(whole.to_bytes())))
    };
    let answered = timeout(PATIENCE, answered).await;
    answered.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::future::pending;
    use std::pin::pin;

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_not_kept_by_one_that_nobody_asks_about() {
        let turns = Arc::new(Turns(Semaphore::new(1)));
        let mut slow = pin!(turns.take(pending::<Result<(), BoxError>>));
        assert!(poll!(&mut slow).is_pending());
        let mut left_alone = pin!(turns.take(async || Ok(1)));
        assert!(poll!(&mut left_alone).is_pending());
        let asked = timeout(Duration::from_secs(10), turns.take(async || Ok(2)));
        assert_eq!(asked.await.unwrap().unwrap(), 2);
        assert_eq!(left_alone.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_any_more_is_not_asked() {
        let turns = Arc::new(Turns(Semaphore::new(1)));
        let kept = Arc::new(());
        let held = Arc::clone(&kept);
        let asked = turns.take(async move || {
            pending::<()>().await;
            drop(held);
            Ok(())
        });
        tokio::task::yield_now().await;
        drop(asked);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&kept), 1);
        turns.take(async || Ok(())).await.unwrap();
    }
}
