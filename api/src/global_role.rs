//! A role in the management API.

use std::collections::BTreeMap;

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{ObjectNames, printable, resource, rule};
use crate::rules::FewRules;
use crate::{ApiVersion, Column, Kind, KindName, PolicyRule, RoleStatus};

/// What somebody may do in the management API, and in every cluster. A GlobalRoleBinding gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GlobalRole {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `GlobalRole`.
    pub kind: KindName<GlobalRole>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Name shown to people. At most 253 characters, none of them a control character.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [printable()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text. At most 4096 characters.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it allows in the management API. At most 1000.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyRule>,
    /// Whether new users get it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_user_default: bool,
    /// Whether it comes with the server, which keeps its rules as they are. Only the server writes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub builtin: bool,
    /// Names of RoleTemplates of the context `cluster` that it gives in every connected cluster. At
    /// most 50.
    #[schemars(with = "ObjectNames<50>")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited_cluster_roles: Vec<String>,
    /// What it allows in single namespaces of the management API: at most 50, each with at most 100 rules.
    #[schemars(
        with = "BTreeMap<String, FewRules>",
        extend("maxProperties" = 50, "x-kubernetes-validations" = [no_urls()]),
    )]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaced_rules: BTreeMap<String, Vec<PolicyRule>>,
    /// How far the server has come with it. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RoleStatus>,
}

fn no_urls() -> Value {
    let none = "!has(rule.nonResourceURLs) || rule.nonResourceURLs.size() == 0";
    rule(
        &format!("self.all(name, self[name].all(rule, {none}))"),
        "must not be about URLs, which are in no namespace",
    )
}

resource!(GlobalRole, ClusterResourceScope);

impl Kind for GlobalRole {
    const KIND: &'static str = "GlobalRole";
    const PLURAL: &'static str = "globalroles";
    const SINGULAR: &'static str = "globalrole";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Display Name",
            "string",
            ".displayName",
            "Name shown to people",
        ),
        Column::computed(
            "Builtin",
            "boolean",
            |role: &Self| json!(role.builtin),
            "Whether it comes with the server",
        ),
        Column::computed(
            "New User Default",
            "boolean",
            |role: &Self| json!(role.new_user_default),
            "Whether new users get it",
        ),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.builtin = stored.is_some_and(|stored| stored.builtin);
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}
