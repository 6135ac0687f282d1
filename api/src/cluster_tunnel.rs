//! How a cluster's tunnel is doing: the subresource `tunnel` of a Cluster, which is made when it is asked for and
//! stored nowhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiVersion, Cluster, Condition, GROUP, Kind as _, VERSION};

/// The way from this server to a cluster's API server, as this server sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterTunnel {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `ClusterTunnel`.
    pub kind: String,
    /// Id of the cluster.
    pub cluster_name: String,
    /// The server that answers.
    pub server: TunnelServer,
    /// Sessions of the cluster's agents, the oldest first.
    pub sessions: Vec<TunnelSession>,
    /// Whether an agent has ever registered.
    pub registered: bool,
    /// When the last session ended, if there is none now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Time>,
    /// The conditions of the Cluster.
    pub conditions: Vec<Condition>,
    /// What went wrong lately, the oldest first. Forgotten when the server stops.
    pub problems: Vec<TunnelProblem>,
}

/// The server's side of all its tunnels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelServer {
    /// Which replica it is: the beginning of its tunnel key.
    pub replica: String,
    /// Its version.
    pub version: String,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How long a session outlives its connection, in seconds.
    pub resume_window_seconds: u64,
    /// What windows of streams have grown by, in all sessions together.
    pub windows: TunnelBudget,
    /// What is kept for replay beyond what each session has from the start, in all sessions together.
    pub replay: TunnelBudget,
    /// Agents that are shaking hands now.
    pub handshakes: u64,
    /// Most agents that may shake hands at once.
    pub handshakes_at_most: u64,
}

/// Memory for what peers may have unread or unacknowledged: of one session, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelBudget {
    /// Bytes that are taken.
    pub taken_bytes: u64,
    /// Bytes that there are.
    pub total_bytes: u64,
}

/// One session of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelSession {
    /// The id that both ends know it by.
    pub id: String,
    /// Whether the next request goes over it.
    pub in_use: bool,
    /// Which process the agent is.
    pub instance: String,
    /// What the agent says it is.
    pub software: String,
    /// Where its newest connection comes from: the agent, or what stands between.
    pub remote_address: String,
    /// Whether agent and server see one TLS connection; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_bound: Option<bool>,
    /// The multiplexer.
    pub mux: String,
    /// `Live`, `Draining` or `Closed`.
    pub phase: String,
    /// Why it is not live.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase_reason: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Time>,
    /// Whether it has a connection now.
    pub attached: bool,
    /// Since when it has one, or has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_since: Option<Time>,
    /// Connections that it has had, one after the other, without those for bulk.
    pub carriers: u64,
    /// Connections that it has lost, those included that were replaced.
    pub losses: u64,
    /// Of the lost ones, those of which nothing was heard any more.
    pub silences: u64,
    /// Of the lost ones, those that the agent replaced by another one.
    pub replaced: u64,
    /// What the last one was lost to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_loss: Option<TunnelProblem>,
    /// The last round trip between server and agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_milliseconds: Option<f64>,
    /// Bytes towards the agent since it began, without those for bulk.
    pub sent_bytes: u64,
    /// Bytes from the agent since it began, without those for bulk.
    pub received_bytes: u64,
    /// Bytes that the agent has not acknowledged; they are kept, to be sent again.
    pub unacknowledged_bytes: u64,
    /// Most bytes that are kept so; nothing more is sent then.
    pub replay_bound_bytes: u64,
    /// What the windows of its streams have grown by, of what they may.
    pub windows: TunnelBudget,
    /// What is kept for replay beyond what every session has, of what may be.
    pub replay: TunnelBudget,
    /// Streams of the server that are open.
    pub open_streams: u64,
    /// Streams that the server has opened since it began.
    pub opened_streams: u64,
    /// What the streams of its first connection are doing; absent where the multiplexer does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<TunnelStreams>,
    /// Its second connection, for what carries a lot; absent where the agent can have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk: Option<TunnelBulk>,
    /// What came of the last request to the cluster's API server by which the server looks after the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_server: Option<TunnelLook>,
}

/// The second connection of a session, for what carries a lot. It is there while there is need of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelBulk {
    /// Whether the session keeps a second connection now, or waits for it.
    pub open: bool,
    /// Whether it is there now.
    pub attached: bool,
    /// How often there was need of one.
    pub begun: u64,
    /// How often one went with streams that were on it.
    pub lost: u64,
    /// Why the last of these did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_lost: String,
    /// Connections that there have been for it.
    pub carriers: u64,
    /// Connections of these that were lost.
    pub losses: u64,
    /// The last round trip between server and agent on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_milliseconds: Option<f64>,
    /// Bytes towards the agent.
    pub sent_bytes: u64,
    /// Bytes from the agent.
    pub received_bytes: u64,
    /// Bytes that the agent has not acknowledged.
    pub unacknowledged_bytes: u64,
    /// What the streams on it are doing; absent where the multiplexer does not say, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<TunnelStreams>,
}

/// What the streams of a connection are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelStreams {
    /// Each class, the most urgent first.
    pub classes: Vec<TunnelClass>,
    /// Streams that have bytes to send, and wait for the agent to take what it has.
    pub blocked: u64,
    /// Bytes of the agent that nobody here has read yet.
    pub unread_bytes: u64,
    /// The largest window that a stream has.
    pub widest_window_bytes: u64,
}

/// Streams of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelClass {
    /// `control`, `interactive`, `watch` or `bulk`.
    pub class: String,
    /// Streams that are open, of both sides.
    pub streams: u64,
    /// Written bytes that wait for their turn.
    pub queued_bytes: u64,
}

/// A request of the server's own to a cluster's API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelLook {
    /// When it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Time>,
    /// How long the answer took, with the way there and back; absent if none came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_milliseconds: Option<f64>,
    /// What was wrong; empty if nothing was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelProblem {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What: `ConnectionLost`, `SessionEnded`, or the reason of a condition.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// How long a connection that was lost had lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasted_seconds: Option<f64>,
}

/// Requests that went to a cluster lately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelRequestList {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `TunnelRequestList`.
    pub kind: String,
    /// The requests, the oldest first: those of everybody, or those of who asks.
    pub items: Vec<TunnelRequest>,
}

/// One request that somebody sent to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelRequest {
    /// Its id: the `Audit-Id` of the answer.
    pub id: String,
    /// The trace that it is a part of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trace_id: String,
    /// Id of the user.
    pub user_id: String,
    /// Name under which the user logs in.
    pub username: String,
    /// Method.
    pub method: String,
    /// Path in the cluster. What a query or a path behind `proxy` says is left out where it may be a secret.
    pub path: String,
    /// Its class in the tunnel.
    pub class: String,
    /// When it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Time>,
    /// The session that it went over; the first one, if it outlived that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// How long it waited for a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_milliseconds: Option<f64>,
    /// When the head of the cluster's answer came, since the request did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_milliseconds: Option<f64>,
    /// Status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes from the client.
    pub received_bytes: u64,
    /// Bytes to the client.
    pub sent_bytes: u64,
    /// How long it took, or has taken so far.
    pub lasted_milliseconds: f64,
    /// Whether it goes on.
    pub under_way: bool,
    /// Why it failed, or was cut.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl ClusterTunnel {
    /// Its kind.
    pub const KIND: &'static str = "ClusterTunnel";

    /// The subresource of a Cluster. `get` on it shows the tunnel and one's own requests, `list` everybody's.
    pub const SUBRESOURCE: &'static str = "tunnel";

    /// Where it is.
    #[must_use]
    pub fn path(cluster: &str) -> String {
        let (plural, tunnel) = (Cluster::PLURAL, Self::SUBRESOURCE);
        format!("/apis/{GROUP}/{VERSION}/{plural}/{cluster}/{tunnel}")
    }
}

impl TunnelRequestList {
    /// Its kind.
    pub const KIND: &'static str = "TunnelRequestList";

    /// Where it is. A request is below, under its id.
    #[must_use]
    pub fn path(cluster: &str) -> String {
        format!("{}/requests", ClusterTunnel::path(cluster))
    }
}
