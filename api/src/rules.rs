//! Rules of roles: what they allow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::rule;

/// Allows some verbs on some resources, or on some URLs, as in a ClusterRole of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_rule()))]
pub struct PolicyRule {
    /// What may be done: `get`, `list` and so on; `*` for everything. At least one.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 253)))]
    pub verbs: Vec<String>,
    /// Groups of the resources: empty text for the core group, `*` for all. At least one, unless the rule
    /// is about URLs.
    #[schemars(length(max = 100), inner(length(max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources in the plural, or parts of them (`pods/log`); `*` for all. At least one, unless the rule
    /// is about URLs.
    #[schemars(length(max = 500), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names of the only objects that the rule is about. Empty: all.
    #[schemars(length(max = 500), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths of the API that are no resources, for example `/metrics`; a `*` at the end stands for
    /// anything. Only in rules of whole clusters, and not beside resources.
    #[schemars(length(max = 100), inner(length(min = 1, max = 1024)))]
    #[serde(
        default,
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// A few of them, as many as there are for a namespace.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct FewRules(#[schemars(length(max = 100))] Vec<PolicyRule>);

fn of_a_rule() -> Value {
    let some = |field: &str| format!("has(self.{field}) && self.{field}.size() > 0");
    let urls = some("nonResourceURLs");
    let resources = ["apiGroups", "resources", "resourceNames"].map(some);
    let any = format!("({})", resources.join(" || "));
    let complete = format!("({} && {})", resources[0], resources[1]);
    Value::Array(vec![
        rule(
            &format!("!({urls}) || !{any}"),
            "must not be about both resources and URLs",
        ),
        rule(
            &format!("({urls}) || {complete}"),
            "must name apiGroups and resources, or nonResourceURLs",
        ),
    ])
}
