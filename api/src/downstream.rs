//! What the server keeps in a connected cluster, so that the cluster knows the server's users while the
//! server is away: kinds of `cluster.cattle.io/v3`, in one namespace of the cluster.
//!
//! [`ClusterAuthToken`] says whose a token is and holds the hash of its secret, [`ClusterUserAttribute`] says
//! who the user is in the cluster. The server writes them; `kube-api-auth`, the token webhook of the
//! cluster's API server, reads them and writes nothing.
//!
//! Names are those of Rancher. Unlike there, hashes are in no Secrets: those of 256 random bits are worth
//! nothing to who reads them, and neither the server nor the webhook needs rights over the Secrets of a
//! namespace in which the agent keeps its key. Unlike the kinds of the management API, objects are read with what is missing
//! taken for "no": what was written by somebody else, or by another version, lets nobody in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::{Deserialize, Serialize, Serializer};

/// The API group of the kinds here.
pub const GROUP: &str = "cluster.cattle.io";

/// The only version of that group.
pub const VERSION: &str = "v3";

/// The namespace in which they are, which is the agent's as well.
pub const NAMESPACE: &str = "cattle-system";

/// On every object here that the server has made. Only what has it is changed or deleted by the server, and
/// read by `kube-api-auth`.
pub const OWNED_LABEL: &str = "cluster.cattle.io/authorized-endpoint";

/// The value of [`OWNED_LABEL`].
pub const OWNED: &str = "true";

/// The `apiVersion` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiVersion;

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{GROUP}/{VERSION}"))
    }
}

/// A token that this cluster accepts. Its name is the part of the bearer token before the colon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, tag = "kind")]
pub struct ClusterAuthToken {
    /// Always that of this group.
    #[serde(skip_deserializing)]
    pub api_version: ApiVersion,
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// Id of the user, who has a [`ClusterUserAttribute`] of that name.
    pub user_name: String,
    /// Whether the token is accepted.
    pub enabled: bool,
    /// Hash of the secret: `$2:SALT:HASH`, salt and hash in base64 without padding, the hash a SHA-256 of the
    /// salt followed by the secret. The salt may be empty, as a secret of 256 random bits needs none.
    pub hash: String,
    /// When it stops being accepted (RFC 3339). Empty: never.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expires_at: String,
}

/// Who a user is in this cluster. Its name is the user's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, tag = "kind")]
pub struct ClusterUserAttribute {
    /// Always that of this group.
    #[serde(skip_deserializing)]
    pub api_version: ApiVersion,
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// Whether the user's tokens are accepted.
    pub enabled: bool,
    /// The groups under which the cluster sees the user, the same as through the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// More about the user, for the cluster's audit log, by who says it and by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_by_provider: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Implements [`kube::Resource`] for a kind of this group.
macro_rules! resource {
    ($kind:ident, $plural:literal) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                VERSION.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(ClusterAuthToken, "clusterauthtokens");
resource!(ClusterUserAttribute, "clusteruserattributes");

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_lets_nobody_in() {
        let token: ClusterAuthToken =
            serde_json::from_value(json!({"metadata": {"name": "token-1"}, "hash": "$1:old"}))
                .unwrap();
        assert!(!token.enabled && token.user_name.is_empty());
        let user: ClusterUserAttribute =
            serde_json::from_value(json!({"metadata": {"name": "u-1"}, "needsRefresh": false}))
                .unwrap();
        assert!(!user.enabled && user.groups.is_empty());
    }

    #[test]
    fn objects_say_what_they_are() {
        let written = serde_json::to_value(ClusterAuthToken::default()).unwrap();
        assert_eq!(written["apiVersion"], "cluster.cattle.io/v3");
        assert_eq!(written["kind"], "ClusterAuthToken");
        let read: ClusterAuthToken = serde_json::from_value(written).unwrap();
        assert_eq!(read, ClusterAuthToken::default());
    }
}
