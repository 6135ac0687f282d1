//! What a client is told when its cluster cannot be reached.

use apiserver::error::ApiError;
use http::StatusCode;
use lariat_api::Cluster;
use tunnel::http::{Cause, cause_of};
use tunnel::session::OpenError;
use tunnel_proto::stream::RefusalReason;

use crate::tunnels::NoTunnel;

/// An agent that lost its connection dials again at once, and client-go waits as long as it is
/// told to, ten times.
const RETRY_SECONDS: u32 = 1;

/// 503: no session.
pub(super) fn not_connected(cluster: &Cluster, none: &NoTunnel) -> ApiError {
    let name = cluster.display_name();
    let message = match (none, cluster.agent()) {
        (NoTunnel::Detached { lost }, _) => format!(
            "the connection of cluster {name:?} was lost and has not come back within {} s: {lost}",
            NoTunnel::PATIENCE.as_secs(),
        ),
        (NoTunnel::NoSession, None) => format!(
            "cluster {name:?} is not connected: no agent has registered yet (lariat cluster import {})",
            cluster.metadata.name.as_deref().unwrap_or(name),
        ),
        (NoTunnel::NoSession, Some(agent)) => match &agent.disconnected_at {
            Some(since) => format!("cluster {name:?} is not connected since {}", since.0),
            None => format!("cluster {name:?} is not connected: its agent has not come back yet"),
        },
    };
    ApiError::unavailable(message, RETRY_SECONDS)
}

/// The tunnel or the agent failed.
pub(super) fn failed(cluster: &Cluster, error: &(impl std::error::Error + 'static)) -> ApiError {
    let name = cluster.display_name();
    let log = chain(error);
    match cause_of(error) {
        Cause::Open(OpenError::TooManyStreams(most)) => {
            let message = format!("cluster {name:?} has all {most} streams of its tunnel in use");
            ApiError::too_many_requests(message, 1).with_log(log)
        }
        Cause::Open(OpenError::Draining | OpenError::Closed) => {
            let message = format!("the tunnel to cluster {name:?} is being replaced");
            ApiError::unavailable(message, 1).with_log(log)
        }
        Cause::Refused(refusal) if refusal.reason == RefusalReason::Busy => {
            let message = format!("the agent of cluster {name:?} is busy: {}", refusal.message);
            ApiError::unavailable(message, RETRY_SECONDS).with_log(log)
        }
        Cause::Refused(refusal) => {
            let message = format!("the agent of cluster {name:?} refused: {refusal}");
            bad_gateway(message).with_log(log)
        }
        Cause::Open(OpenError::Preamble(_)) | Cause::Broken => {
            let message = format!("the tunnel to cluster {name:?} broke before the answer came");
            bad_gateway(message).with_log(log)
        }
    }
}

/// 502: the other side failed.
pub(super) fn bad_gateway(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "BadGateway", message)
}

fn chain(error: &(impl std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
