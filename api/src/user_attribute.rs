//! What login providers say of a user.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Named, resource, rule};
use crate::{ApiVersion, Column, Kind, KindName, Principal, UserId};

/// What login providers say of a user, and when they were asked. Its name is the user's id.
///
/// The server writes it. Others only ask for a refresh, and say when the account ends that nobody uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAttribute {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `UserAttribute`.
    pub kind: KindName<UserAttribute>,
    /// Standard object metadata.
    #[serde(default)]
    #[schemars(with = "Named<UserId>")]
    pub metadata: ObjectMeta,
    /// The groups of the user at each provider, by the provider's name. Only the server writes it.
    #[schemars(extend("maxProperties" = 20))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub group_principals: BTreeMap<String, Principals>,
    /// What each provider says besides, such as names for audit logs. Only the server writes it.
    #[schemars(extend("maxProperties" = 20))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_by_provider: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// When the providers were last asked. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refresh: Option<Time>,
    /// Whether the providers are to be asked soon. The server sets it back when it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_refresh: bool,
    /// When the user last logged in. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<Time>,
    /// After how long without a login the user is disabled, for example `720h`; `0s`: never. Empty: as the
    /// setting `disable-inactive-user-after` says.
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [duration()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub disable_after: String,
    /// After how long without a login the user is deleted, for example `2160h`; `0s`: never. Empty: as the
    /// setting `delete-inactive-user-after` says.
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = [duration()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub delete_after: String,
}

/// Groups at one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Principals {
    /// The groups, at most 2000.
    #[schemars(length(max = 2000))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Principal>,
}

fn duration() -> Value {
    let expression = "self == '' || self.matches('^([0-9]+(h|m|s))+$')";
    rule(
        expression,
        "must be a duration in hours, minutes and seconds, such as 720h",
    )
}

resource!(UserAttribute, ClusterResourceScope);

impl UserAttribute {
    /// In `extraByProvider`: the name used to log in at the provider.
    pub const USERNAME: &str = "username";
    /// In `extraByProvider`: the user as the provider knows them.
    pub const PRINCIPAL_ID: &str = "principalid";
    /// In `extraByProvider`: what stays the same at the provider when the person is renamed, and is never
    /// given to another.
    pub const STABLE_ID: &str = "stableid";

    /// What a provider says of the user besides groups.
    #[must_use]
    pub fn extra(&self, provider: &str, key: &str) -> Option<&str> {
        let values = self.extra_by_provider.get(provider)?.get(key)?;
        values.first().map(String::as_str)
    }
}

impl Kind for UserAttribute {
    const KIND: &'static str = "UserAttribute";
    const PLURAL: &'static str = "userattributes";
    const SINGULAR: &'static str = "userattribute";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Last Refresh",
            "date",
            ".lastRefresh",
            "When the providers were last asked",
        ),
        Column::field(
            "Last Login",
            "date",
            ".lastLogin",
            "When the user last logged in",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        let sent = std::mem::take(self);
        *self = Self {
            metadata: sent.metadata,
            needs_refresh: sent.needs_refresh,
            disable_after: sent.disable_after,
            delete_after: sent.delete_after,
            ..stored.cloned().unwrap_or_default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_do_not_say_which_groups_somebody_is_in() {
        let principals = Principals {
            items: vec![Principal {
                id: "openldap_group://cn=admins".to_owned(),
                ..Principal::default()
            }],
        };
        let mut sent = UserAttribute {
            group_principals: BTreeMap::from([("openldap".to_owned(), principals)]),
            last_login: Some(Time(jiff::Timestamp::UNIX_EPOCH)),
            needs_refresh: true,
            disable_after: "720h".to_owned(),
            ..UserAttribute::default()
        };
        let stored = sent.clone();
        sent.carry_server_fields(None);
        assert!(sent.group_principals.is_empty() && sent.last_login.is_none());
        assert!(sent.needs_refresh && sent.disable_after == "720h");
        sent.needs_refresh = false;
        sent.carry_server_fields(Some(&stored));
        assert_eq!(sent.group_principals, stored.group_principals);
        assert!(!sent.needs_refresh);
    }
}
