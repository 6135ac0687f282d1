//! A bearer token of a user.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{Named, resource, rule, rule_at, unchanged};
use crate::{ApiVersion, Column, Kind, KindName, TokenName};

/// Lets its bearer act as a user. Its name is the part of the bearer token before the colon.
///
/// The secret is in the answer to the create request and nowhere else: the server keeps its
/// SHA-256. Deleting the object revokes the token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_token()))]
pub struct Token {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `Token`.
    pub kind: KindName<Token>,
    /// Standard object metadata.
    #[serde(default)]
    #[schemars(with = "Named<TokenName>")]
    pub metadata: ObjectMeta,
    /// Id of the user. Defaults to the one who creates the token. Cannot be changed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [unchanged()]))]
    pub user_id: String,
    /// What the token is for, in a few words: at most 512 characters.
    #[schemars(length(max = 512))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Milliseconds from its creation until it expires. Defaults to 90 days; 0 and more than a
    /// year are refused. Cannot be changed.
    #[schemars(
        range(min = 1, max = Self::MAX_TTL_MILLISECONDS),
        extend("x-kubernetes-validations" = [unchanged()]),
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Id of the only cluster that the token is good for. Empty: everything that the user may do.
    /// Cannot be changed.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = [
        rule("self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be the id of a cluster"),
        unchanged(),
    ]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// Whether the token is good for reading only, whatever the user may do. It ends itself (logs out), and
    /// asks what its user may do. Cannot be changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Whether the token is accepted. Defaults to true.
    #[serde(default = "enabled_by_default")]
    pub enabled: bool,
    /// Whether the token came from another token (an API key, a kubeconfig) rather than from a
    /// login. Only the server writes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_derived: bool,
    /// Name of the login provider by which the user came, be it over the token from which this one was
    /// made. It ends with the provider. Only the server writes it.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub auth_provider: String,
    /// The user as that provider knows them. Only the server writes it.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_principal: String,
    /// The bearer token, `name:secret`. Present only in the answer to the create request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// SHA-256 of the secret in lower-case hexadecimal. Only the server writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_hash: String,
    /// When the token stops being accepted. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// About when the token was last used (written at most every few minutes, and not at all by a
    /// request). Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
}

fn enabled_by_default() -> bool {
    true
}

/// The rules of a token. Nobody is to believe that a token was narrowed which was not.
fn of_a_token() -> Value {
    let before = "(has(oldSelf.readOnly) && oldSelf.readOnly)";
    let same = format!("!has(self.readOnly) || self.readOnly == {before}");
    json!([rule_at(".readOnly", &same, "cannot be changed")])
}

impl Default for Token {
    fn default() -> Self {
        Self {
            api_version: ApiVersion,
            kind: KindName::default(),
            metadata: ObjectMeta::default(),
            user_id: String::new(),
            description: String::new(),
            ttl: None,
            cluster_name: String::new(),
            read_only: false,
            enabled: true,
            is_derived: false,
            auth_provider: String::new(),
            user_principal: String::new(),
            token: String::new(),
            token_hash: String::new(),
            expires_at: None,
            last_used_at: None,
        }
    }
}

impl Token {
    /// Milliseconds until expiry when none are given: 90 days.
    pub const DEFAULT_TTL_MILLISECONDS: u64 = 90 * 24 * 3600 * 1000;
    /// Most milliseconds until expiry: a year.
    pub const MAX_TTL_MILLISECONDS: u64 = 365 * 24 * 3600 * 1000;

    /// Milliseconds until expiry, with the default applied.
    #[must_use]
    pub fn ttl_milliseconds(&self) -> u64 {
        self.ttl.unwrap_or(Self::DEFAULT_TTL_MILLISECONDS)
    }
}

resource!(Token, ClusterResourceScope);

impl Kind for Token {
    const KIND: &'static str = "Token";
    const PLURAL: &'static str = "tokens";
    const SINGULAR: &'static str = "token";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const SECRET: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field("User", "string", ".userId", "Id of the user"),
        Column::field(
            "Description",
            "string",
            ".description",
            "What the token is for",
        ),
        Column::field(
            "Cluster",
            "string",
            ".clusterName",
            "The only cluster that the token is good for",
        ),
        Column::field(
            "Read Only",
            "boolean",
            ".readOnly",
            "Whether the token is good for reading only",
        )
        .wide(),
        Column::field(
            "Provider",
            "string",
            ".authProvider",
            "The login provider by which the user came",
        )
        .wide(),
        Column::field(
            "Expires",
            "date",
            ".expiresAt",
            "When the token stops being accepted",
        ),
        Column::field(
            "Last Used",
            "date",
            ".lastUsedAt",
            "About when the token was last used",
        )
        .wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        let Some(stored) = stored else {
            self.token = String::new();
            self.token_hash = String::new();
            self.is_derived = false;
            self.auth_provider = String::new();
            self.user_principal = String::new();
            self.expires_at = None;
            self.last_used_at = None;
            return;
        };
        // After its creation a token can be described, enabled and disabled, and nothing else.
        *self = Self {
            metadata: std::mem::take(&mut self.metadata),
            description: std::mem::take(&mut self.description),
            enabled: self.enabled,
            ..stored.clone()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_be_given_to_another_user_afterwards() {
        let stored = Token {
            user_id: "u-1".into(),
            token_hash: "ab".into(),
            read_only: true,
            ..Token::default()
        };
        let mut sent = Token {
            user_id: "u-2".into(),
            token_hash: "cd".into(),
            description: "laptop".into(),
            enabled: false,
            ..Token::default()
        };
        sent.carry_server_fields(Some(&stored));
        assert_eq!(
            (sent.user_id.as_str(), sent.token_hash.as_str()),
            ("u-1", "ab")
        );
        assert_eq!((sent.description.as_str(), sent.enabled), ("laptop", false));
        assert!(sent.read_only);
    }

    #[test]
    fn a_client_does_not_choose_the_hash_of_a_new_token() {
        let mut sent = Token {
            token_hash: "ab".into(),
            is_derived: true,
            auth_provider: "openldap".into(),
            user_principal: "openldap_user://uid=ann".into(),
            ..Token::default()
        };
        sent.carry_server_fields(None);
        assert_eq!(sent, Token::default());
    }
}
