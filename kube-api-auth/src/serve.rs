//! Answers the API server and probes, over plain HTTP on loopback.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::known::{Known, Refusal};
use crate::metrics::Metrics;
use crate::review::Question;

/// Connections at the same time; more wait.
const CONNECTIONS: usize = 256;

/// How long a connection may be without a request, and a head may take. An API server keeps an unused
/// connection for 90 seconds.
const IDLE: Duration = Duration::from_secs(120);

/// Largest body, in bytes: a TokenReview with the largest token that an API server takes in a header.
const MOST_BODY: usize = 64 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits between attempts after an error of `accept`, such as no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

/// What answers.
pub struct Webhook {
    /// Whom the cluster knows.
    pub known: Arc<Known>,
    /// What is counted.
    pub metrics: Metrics,
    /// What time it is.
    pub now: fn() -> Timestamp,
}

/// Answers until `stop`, then lets open requests end, for at most `drain`. Returns how many connections had
/// to be cut.
pub async fn serve(
    listener: TcpListener,
    webhook: Arc<Webhook>,
    stop: CancellationToken,
    drain: Duration,
) -> usize {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (room, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let serving = connection(stream, Arc::clone(&webhook), stop.clone());
        let cut = cut.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
            drop(room);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(drain, tasks.wait()).await.is_ok() {
        return 0;
    }
    let left = tasks.len();
    cut.cancel();
    left
}

async fn connection(stream: TcpStream, webhook: Arc<Webhook>, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let webhook = Arc::clone(&webhook);
        async move { Ok::<_, Infallible>(webhook.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

impl Webhook {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/v1/authenticate") => self.authenticate(request.into_body()).await,
            (&Method::GET, "/healthcheck" | "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/readyz") if self.known.is_ready() => {
                text(StatusCode::OK, "ok\n".to_owned())
            }
            (&Method::GET, "/readyz") => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{}\n", Refusal::NotReady),
            ),
            (&Method::GET, "/metrics") => match self.metrics.encode() {
                Ok(page) => text(StatusCode::OK, page),
                Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            (_, "/v1/authenticate" | "/healthcheck" | "/healthz" | "/readyz" | "/metrics") => {
                let message = "there are POST /v1/authenticate and GETs of the rest";
                failure(StatusCode::METHOD_NOT_ALLOWED, message)
            }
            _ => {
                let message =
                    "there are /v1/authenticate, /healthcheck, /healthz, /readyz and /metrics";
                failure(StatusCode::NOT_FOUND, message)
            }
        }
    }

    async fn authenticate(&self, body: Incoming) -> Answer {
        let body = Limited::new(body, MOST_BODY).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("body is longer than {MOST_BODY} bytes");
                return failure(StatusCode::PAYLOAD_TOO_LARGE, &message);
            }
            Ok(Err(error)) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
            Err(_) => {
                let message = format!("body took longer than {} s", PATIENCE.as_secs());
                return failure(StatusCode::REQUEST_TIMEOUT, &message);
            }
        };
        let question = match Question::parse(&body) {
            Ok(question) => question,
            Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let found = self.known.authenticate(&question.token, (self.now)());
        self.metrics.answered(&found);
        match &found {
            Ok(user) => debug!(user = user.username, "authenticated"),
            Err(why) => {
                let name = question.token.split_once(':').map(|(name, _)| name);
                debug!(token = name, %why, "not authenticated");
            }
        }
        // It knows in a moment, and the API server asks again.
        if found == Err(Refusal::NotReady) {
            return failure(
                StatusCode::SERVICE_UNAVAILABLE,
                &Refusal::NotReady.to_string(),
            );
        }
        json(StatusCode::OK, &question.answer(&found))
    }
}

fn text(code: StatusCode, text: String) -> Answer {
    response(code, "text/plain; charset=utf-8", text)
}

fn json(code: StatusCode, value: &Value) -> Answer {
    response(code, "application/json", value.to_string())
}

/// An error in the form of Kubernetes.
fn failure(code: StatusCode, message: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code.as_u16(),
        "message": message,
    });
    json(code, &status)
}

fn response(code: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
