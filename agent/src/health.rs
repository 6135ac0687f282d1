//! `/healthz`: the agent does its work. `/readyz`: it has a live session with the server.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// No step of an attempt to connect takes this long: the agent hangs.
const STUCK: Duration = Duration::from_secs(120);

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the connection to the server is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Reading its credentials or dialling.
    Connecting {
        /// Since when.
        since: Instant,
    },
    /// Waiting for the next attempt.
    Waiting {
        /// Until when.
        until: Instant,
        /// Why the last attempt failed.
        reason: String,
    },
    /// In a session.
    Live {
        /// Its id.
        session: String,
    },
    /// In a session that has lost its connection and waits for another one.
    Resuming {
        /// Its id.
        session: String,
        /// What the connection was lost to.
        lost: String,
    },
    /// Finishing what runs.
    Stopping,
}

/// What the agent is doing, for its probes; clones share it.
#[derive(Clone, Debug)]
pub struct Status(Arc<watch::Sender<Doing>>);

impl Status {
    /// Connecting, from now on.
    pub fn new() -> Self {
        let doing = Doing::Connecting {
            since: Instant::now(),
        };
        Self(Arc::new(watch::Sender::new(doing)))
    }

    /// Says what is being done now.
    pub fn set(&self, doing: Doing) {
        self.0.send_replace(doing);
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        let doing = self.0.borrow().clone();
        match path {
            "/healthz" => match health(&doing, Instant::now()) {
                Ok(()) => (StatusCode::OK, "ok".into()),
                Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem.into()),
            },
            "/readyz" => match doing {
                Doing::Live { session } => (StatusCode::OK, format!("ok: session {session}")),
                Doing::Connecting { .. } => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "connecting to the server".into(),
                ),
                Doing::Waiting { reason, .. } => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("not connected: {reason}"),
                ),
                Doing::Resuming { session, lost } => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("session {session} waits for another connection: {lost}"),
                ),
                Doing::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping".into()),
            },
            _ => (
                StatusCode::NOT_FOUND,
                "there are /healthz and /readyz".into(),
            ),
        }
    }
}

/// Whether the connection loop moves. A server that cannot be reached is no reason to restart.
fn health(doing: &Doing, now: Instant) -> Result<(), &'static str> {
    match doing {
        Doing::Connecting { since } if now > *since + STUCK => Err("an attempt to connect hangs"),
        Doing::Waiting { until, .. } if now > *until + STUCK => Err("the connection loop hangs"),
        Doing::Connecting { .. }
        | Doing::Waiting { .. }
        | Doing::Live { .. }
        | Doing::Resuming { .. }
        | Doing::Stopping => Ok(()),
    }
}

/// Answers probes until `stop`.
pub async fn serve(listener: TcpListener, status: Status, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "cannot accept a probe");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let status = status.clone();
        tasks.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (code, text) = status.answer(request.uri().path());
                let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
                *response.status_mut() = code;
                async { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(2 * PATIENCE, connection).await {
                debug!(%error, "probe ended");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_only_in_a_session_and_healthy_unless_stuck() {
        let status = Status::new();
        let code = |path| status.answer(path).0.as_u16();
        assert_eq!((code("/healthz"), code("/readyz")), (200, 503));
        status.set(Doing::Live {
            session: "s".into(),
        });
        assert_eq!((code("/healthz"), code("/readyz")), (200, 200));
        let until = Instant::now() + Duration::from_secs(600);
        status.set(Doing::Waiting {
            until,
            reason: "refused".into(),
        });
        assert_eq!((code("/healthz"), code("/readyz")), (200, 503));
        assert!(status.answer("/readyz").1.contains("refused"));
        tokio::time::advance(Duration::from_secs(600) + STUCK * 2).await;
        assert_eq!((code("/healthz"), code("/readyz")), (503, 503));
        assert_eq!(code("/metrics"), 404);
    }
}
