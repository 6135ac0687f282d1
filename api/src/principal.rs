//! People and groups as login providers know them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user or a group of a login provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// Its id on this server: provider, kind and the provider's own name of it, for example
    /// `openldap_group://cn=ops,dc=example`.
    #[schemars(length(min = 1, max = 1024))]
    pub id: String,
    /// Name shown to people.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Name used to log in at the provider.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub login_name: String,
    /// Whether it is a user or a group.
    pub principal_type: PrincipalType,
    /// Name of the provider's AuthConfig.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub provider: String,
}

/// What a principal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalType {
    /// One person or program.
    #[default]
    User,
    /// Several: a group, an organisation, a team.
    Group,
}
