//! The code with which an agent registers once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kind::{resource, unchanged};
use crate::{ApiVersion, Column, Kind, KindName};

/// Lets one agent register with a cluster, for a limited time and a limited number of times.
///
/// It lives in the namespace named like the cluster. The token itself is in the answer to the
/// create request and nowhere else: the server keeps its SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRegistrationToken {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `ClusterRegistrationToken`.
    pub kind: KindName<ClusterRegistrationToken>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the token is good for.
    #[serde(default)]
    pub spec: ClusterRegistrationTokenSpec,
    /// The token and the commands to use it. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterRegistrationTokenStatus>,
}

/// What a registration token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRegistrationTokenSpec {
    /// Id of the cluster. The same as the namespace, which is also its default.
    #[schemars(length(max = 63))]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// Minutes from its creation until it expires. Defaults to 1440 (a day); at most 525600 (a
    /// year). Cannot be changed.
    #[schemars(
        range(min = 1, max = Self::MAX_TTL_MINUTES),
        extend("x-kubernetes-validations" = [unchanged()]),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// How often an agent may register with it, from 1 to 1000. Defaults to 1. A registered agent
    /// that comes back with the same key does not use it up. Cannot be changed.
    #[schemars(
        range(min = 1, max = 1000),
        extend("x-kubernetes-validations" = [unchanged()]),
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
}

/// The token and the commands to use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRegistrationTokenStatus {
    /// The token. Present only in the answer to the create request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The command to run against the cluster. Present only in the answer to the create request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The same for a server whose certificate the machine does not trust; it checks the
    /// downloaded CA against a fingerprint first. Present only in the answer to the create
    /// request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub insecure_command: String,
    /// Where the manifest is. Present only in the answer to the create request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest_url: String,
    /// SHA-256 of the token in lower-case hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_hash: String,
    /// When the token stops being accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// How often an agent registered with it.
    pub uses: u32,
}

impl ClusterRegistrationTokenSpec {
    /// Minutes until expiry when none are given: a day.
    pub const DEFAULT_TTL_MINUTES: u32 = 24 * 60;
    /// Most minutes until expiry: a year.
    pub const MAX_TTL_MINUTES: u32 = 365 * 24 * 60;

    /// Minutes until expiry, with the default applied.
    #[must_use]
    pub fn ttl_minutes(&self) -> u32 {
        self.ttl.unwrap_or(Self::DEFAULT_TTL_MINUTES)
    }

    /// Number of registrations allowed, with the default applied.
    #[must_use]
    pub fn max_uses(&self) -> u32 {
        self.max_uses.unwrap_or(1)
    }
}

resource!(ClusterRegistrationToken, NamespaceResourceScope);

impl Kind for ClusterRegistrationToken {
    const KIND: &'static str = "ClusterRegistrationToken";
    const PLURAL: &'static str = "clusterregistrationtokens";
    const SINGULAR: &'static str = "clusterregistrationtoken";
    const SHORT_NAMES: &'static [&'static str] = &["crt"];
    const NAMESPACED: bool = true;
    const SECRET: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Uses",
            "integer",
            ".status.uses",
            "How often an agent registered with it",
        ),
        Column::computed(
            "Max Uses",
            "integer",
            |token: &Self| json!(token.spec.max_uses()),
            "How often an agent may register with it",
        ),
        Column::field(
            "Expires",
            "date",
            ".status.expiresAt",
            "When the token stops being accepted",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
        if let Some(stored) = stored {
            self.spec = stored.spec.clone();
        }
    }
}
