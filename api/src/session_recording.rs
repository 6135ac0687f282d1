//! A recorded session in a container.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::resource;
use crate::{ApiVersion, Column, Kind, KindName};

/// A session in a container (exec, attach) that was recorded. It lives in the namespace of its cluster;
/// only the server makes and changes it. What was printed is in its subresource `cast`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecording {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `SessionRecording`.
    pub kind: KindName<SessionRecording>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who did what, and where.
    #[serde(default)]
    pub spec: SessionRecordingSpec,
    /// How it went.
    #[serde(default)]
    pub status: SessionRecordingStatus,
}

/// Who did what in which container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionRecordingSpec {
    /// Id of the user.
    pub user_id: String,
    /// Name under which the user logs in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Name of the token that was shown.
    pub token: String,
    /// Address that the request came from.
    pub source_ip: String,
    /// Id of the request in the audit logs of the server and of the cluster.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// Id of the cluster. The same as the namespace.
    pub cluster_name: String,
    /// Namespace of the pod in the cluster.
    pub pod_namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; empty if the request left the choice to the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// `exec` or `attach`.
    pub action: String,
    /// What was run, by exec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Whether it had a terminal.
    pub terminal: bool,
    /// Whether what was typed is recorded as well.
    pub input: bool,
}

/// How a recorded session went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionRecordingStatus {
    /// Whether it goes on.
    pub phase: RecordingPhase,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The exit code of the command, if the cluster told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, if not because the command did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long the recording is, in bytes.
    pub size: i64,
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordingPhase {
    /// It is being recorded.
    #[default]
    Recording,
    /// It has ended, and all of it is recorded.
    Complete,
    /// The server ended before the session did; what was recorded until then is there.
    Interrupted,
}

resource!(SessionRecording, NamespaceResourceScope);

impl Kind for SessionRecording {
    const KIND: &'static str = "SessionRecording";
    const PLURAL: &'static str = "sessionrecordings";
    const SINGULAR: &'static str = "sessionrecording";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::computed("User", "string", user, "Who it was"),
        Column::computed("Pod", "string", pod, "Namespace and name of the pod"),
        Column::computed(
            "Command",
            "string",
            |recording: &Self| json!(recording.spec.shown()),
            "What was run",
        ),
        Column::field("Phase", "string", ".status.phase", "Whether it goes on"),
        Column::field(
            "Exit",
            "integer",
            ".status.exitCode",
            "Exit code of the command",
        ),
        Column::field("Reason", "string", ".status.reason", "Why it ended").wide(),
        Column::field("Size", "integer", ".status.size", "Bytes of the recording").wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        if let Some(stored) = stored {
            self.spec = stored.spec.clone();
            self.status = stored.status.clone();
        }
    }
}

impl SessionRecordingSpec {
    /// What was run, on one line.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.command.as_slice() {
            [] => self.action.clone(),
            command => command.join(" "),
        }
    }
}

fn user(recording: &SessionRecording) -> Value {
    let spec = &recording.spec;
    json!(match spec.username.as_str() {
        "" => &spec.user_id,
        username => username,
    })
}

fn pod(recording: &SessionRecording) -> Value {
    let spec = &recording.spec;
    json!(format!("{}/{}", spec.pod_namespace, spec.pod))
}
