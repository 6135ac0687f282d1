//! A connected cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{Named, printable, resource, rule};
use crate::{ApiVersion, ClusterId, Column, Condition, ConditionStatus, Kind, KindName, condition};

/// A Kubernetes cluster that an agent connects to the server.
///
/// Its name is its id: `c-xxxxx`, or what was given when it was created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `Cluster`.
    pub kind: KindName<Cluster>,
    /// Standard object metadata.
    #[serde(default)]
    #[schemars(with = "Named<ClusterId>")]
    pub metadata: ObjectMeta,
    /// What the cluster's owners ask for.
    #[serde(default)]
    pub spec: ClusterSpec,
    /// What the server sees. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterStatus>,
}

/// What the owners of a cluster ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// Name shown to people and used as the name of the kubectl context. Need not be unique.
    /// Defaults to the id. At most 253 characters, none of them a control character.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [printable()]))]
    pub display_name: String,
    /// Free text. At most 4096 characters.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether the next agent that presents a valid registration token takes the place of the
    /// agent that is bound now. For a cluster that lost the agent's key. The server sets it back
    /// to false as soon as an agent was bound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_agent_rebind: bool,
    /// Whether people reach the cluster's own API server with tokens of this server, also while this
    /// server is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_cluster_auth_endpoint: Option<LocalClusterAuthEndpoint>,
    /// Whether the API server's constrained impersonation (Kubernetes 1.36 and later) bounds what the agent passes on:
    /// then the import manifest gives the agent no other. Defaults to false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub constrained_impersonation: bool,
    /// Whether namespaces of one project are closed to pods of others. Defaults to false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enable_network_policy: bool,
    /// Name of the RoleTemplate, of the context `cluster`, that members of projects get in the cluster.
    /// Empty: none.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_cluster_role_for_project_members: String,
    /// What of people's sessions in containers is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_recording: Option<RecordingSettings>,
}

/// How people reach the cluster's own API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalClusterAuthEndpoint {
    /// Whether they do.
    pub enabled: bool,
    /// Name of the API server, or of a load balancer before it, with a port if that is not 443. Empty:
    /// the nodes of the control plane.
    #[schemars(length(max = 260), extend("x-kubernetes-validations" = [address()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fqdn: String,
    /// Certificates of the CA of that name, in PEM. Empty: the cluster's own CA.
    #[schemars(length(max = 65_536), extend("x-kubernetes-validations" = [certificates()]))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_certs: String,
}

/// What of people's sessions in containers (exec, attach) is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordingSettings {
    /// Whether all of them are, and are refused where they cannot be. Otherwise those of people whose
    /// role demands it.
    pub required: bool,
    /// Whether what is typed is recorded as well, with the passwords in it.
    pub input: bool,
}

fn address() -> Value {
    let expression =
        "self == '' || self.matches('^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?$')";
    rule(expression, "must be a name, with a port or without")
}

fn certificates() -> Value {
    let expression = "self == '' || self.contains('-----BEGIN CERTIFICATE-----')";
    rule(expression, "must be certificates in PEM")
}

/// What the server sees of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// `Connected` (a request went through the tunnel and back lately), `Ready` (connected, and the
    /// cluster's API server answers that it is ready), `RolesMaterialised` (the roles and bindings
    /// of the management API are in the cluster, or were when it was last connected) and
    /// `AuthorizedEndpoint` (so are the tokens of which it shall know).
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How the cluster came: `imported`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The agent that is bound to the cluster. Absent until one registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<BoundAgent>,
    /// Facts about the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<ClusterInfo>,
    /// Where the cluster's API servers say that they are. Only for clusters with an authorized endpoint.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_servers: Vec<ClusterApiServer>,
    /// The CA of those API servers: PEM in base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ca_cert: String,
}

/// One of a cluster's API servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterApiServer {
    /// Name of its node, or its address where no node has that.
    pub node: String,
    /// Its address, with the port.
    pub address: String,
}

/// The one agent that may open sessions for a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundAgent {
    /// Ed25519 public key in standard base64. Bound at registration.
    pub public_key: String,
    /// When the key was bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_at: Option<Time>,
    /// Identity of the agent's process; new at each of its starts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Version of the agent's software.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When the present session began, or the last one if none is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<Time>,
    /// When the last session ended. Absent while one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnected_at: Option<Time>,
}

/// Facts about a cluster, told by its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInfo {
    /// Version of the cluster's API server, for example `v1.35.1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// Uid of the namespace `kube-system`, which tells clusters apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Cluster {
    /// The condition that the roles and bindings of the management API are in the cluster.
    pub const ROLES_MATERIALISED: &str = "RolesMaterialised";

    /// The condition that the cluster knows the tokens that are good for it. Only on clusters with an
    /// authorized endpoint, and on those in which something of one is left.
    pub const AUTHORIZED_ENDPOINT: &str = "AuthorizedEndpoint";

    /// A cluster of that display name. It gets its id when it is created, unless
    /// `metadata.name` is set before.
    #[must_use]
    pub fn new(display_name: &str) -> Self {
        Self {
            spec: ClusterSpec {
                display_name: display_name.to_owned(),
                ..ClusterSpec::default()
            },
            ..Self::default()
        }
    }

    /// The display name, or the id when there is none.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.spec.display_name.is_empty() {
            self.name()
        } else {
            &self.spec.display_name
        }
    }

    /// How people reach the cluster's own API server with tokens of this server, if they do.
    #[must_use]
    pub fn endpoint(&self) -> Option<&LocalClusterAuthEndpoint> {
        let endpoint = self.spec.local_cluster_auth_endpoint.as_ref();
        endpoint.filter(|endpoint| endpoint.enabled)
    }

    /// The agent bound to the cluster.
    #[must_use]
    pub fn agent(&self) -> Option<&BoundAgent> {
        self.status.as_ref()?.agent.as_ref()
    }

    /// One word for the state: `Pending` (no agent registered yet), `Ready`, `NotReady`
    /// (connected, but the API server is not ready) or `Disconnected`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.agent().is_none() {
            return "Pending";
        }
        let holds = |type_| self.condition_status(type_) == Some(ConditionStatus::True);
        match (holds("Connected"), holds("Ready")) {
            (false, _) => "Disconnected",
            (true, false) => "NotReady",
            (true, true) => "Ready",
        }
    }

    /// When the present session began, if one is open.
    fn connected_since(&self) -> Option<&Time> {
        let agent = self.agent()?;
        let connected = agent.disconnected_at.is_none();
        agent.connected_at.as_ref().filter(|_| connected)
    }

    fn condition_status(&self, type_: &str) -> Option<ConditionStatus> {
        let status = self.status.as_ref()?;
        Some(condition(&status.conditions, type_)?.status)
    }
}

resource!(Cluster, ClusterResourceScope);

impl Kind for Cluster {
    const KIND: &'static str = "Cluster";
    const PLURAL: &'static str = "clusters";
    const SINGULAR: &'static str = "cluster";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Display Name",
            "string",
            ".spec.displayName",
            "Name shown to people",
        ),
        Column::computed(
            "State",
            "string",
            |cluster: &Self| json!(cluster.state()),
            "Pending, Ready, NotReady or Disconnected",
        ),
        Column::field(
            "Kubernetes",
            "string",
            ".status.info.kubernetesVersion",
            "Version of the cluster's API server",
        ),
        Column::field(
            "Agent",
            "string",
            ".status.agent.version",
            "Version of the cluster agent",
        )
        .wide(),
        Column::computed(
            "Connected Since",
            "date",
            |cluster: &Self| json!(cluster.connected_since()),
            "Start of the present session",
        )
        .wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_reads_back_as_written() {
        let text = r#"{"apiVersion":"management.cattle.io/v3","kind":"Cluster",
            "metadata":{"name":"c-abc12"},
            "spec":{"displayName":"prod"},
            "status":{"conditions":[{"type":"Ready","status":"True"}]}}"#;
        let cluster: Cluster = serde_json::from_str(text).unwrap();
        let written = serde_json::to_value(&cluster).unwrap();
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(written, expected);
    }

    #[test]
    fn another_kind_is_refused() {
        let text = r#"{"apiVersion":"management.cattle.io/v3","kind":"User","metadata":{}}"#;
        let error = serde_json::from_str::<Cluster>(text).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("kind is \"User\", expected \"Cluster\"")
        );
    }

    #[test]
    fn clients_do_not_write_the_status() {
        let stored = Cluster {
            status: Some(ClusterStatus::default()),
            ..Cluster::new("a")
        };
        let mut sent = Cluster::new("b");
        sent.carry_server_fields(Some(&stored));
        assert!(sent.status.is_some());
        sent.carry_server_fields(None);
        assert!(sent.status.is_none());
    }

    #[test]
    fn the_schema_says_what_each_field_is_for() {
        let schema = serde_json::to_value(schemars::schema_for!(ClusterSpec)).unwrap();
        for (field, schema) in schema["properties"].as_object().unwrap() {
            assert!(
                schema["description"].is_string(),
                "{field} has no description"
            );
        }
    }
}
