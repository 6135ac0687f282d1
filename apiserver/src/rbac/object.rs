//! Roles and bindings as they are written.

use super::Rule;
use super::rule::listed;
use crate::selector::LabelSelector;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A Role or a ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Role {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "listed")]
    pub(super) rules: Vec<Rule>,
    #[serde(default)]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "listed")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[serde(default, deserialize_with = "listed")]
    cluster_role_selectors: Vec<Selector>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default, deserialize_with = "listed")]
    match_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "listed")]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default, deserialize_with = "listed")]
    values: Vec<String>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Binding {
    pub(super) role_ref: RoleRef,
    #[serde(default, deserialize_with = "listed")]
    pub(super) subjects: Vec<Subject>,
}

/// The role that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct RoleRef {
    pub(super) kind: String,
    pub(super) name: String,
}

/// To whom it is bound.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Subject {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default, deserialize_with = "listed")]
    namespace: String,
}

/// How a subject is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    User(String),
    Group(String),
}

impl Role {
    /// Whether the rules are put together from those of others.
    pub(super) fn is_aggregated(&self) -> bool {
        let rule = self.aggregation_rule.as_ref();
        rule.is_some_and(|rule| !rule.cluster_role_selectors.is_empty())
    }

    /// Which ones: those that any of the selectors means.
    pub(super) fn selectors(&self) -> impl Iterator<Item = LabelSelector> {
        let rule = self.aggregation_rule.iter();
        let selectors = rule.flat_map(|rule| &rule.cluster_role_selectors);
        // A selector that is none was refused when it was written, and means nothing.
        selectors.filter_map(|selector| selector.text().parse().ok())
    }

    /// Whether a selector means this role.
    pub(super) fn is_meant(&self, selector: &LabelSelector) -> bool {
        selector.selects(|label| self.metadata.labels.get(label).map(String::as_str))
    }
}

impl Selector {
    fn text(&self) -> String {
        let equal = self.match_labels.iter();
        let equal = equal.map(|(key, value)| format!("{key}={value}"));
        let others = self.match_expressions.iter().map(|expression| {
            let (key, values) = (&expression.key, expression.values.join(","));
            match expression.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.clone(),
                "DoesNotExist" => format!("!{key}"),
                other => format!("{key} {other}"),
            }
        });
        equal.chain(others).collect::<Vec<_>>().join(",")
    }
}

impl Subject {
    /// How the subject of a binding in a namespace is known; `None` if nobody can be it.
    pub(super) fn known(&self, namespace: &str) -> Option<Known> {
        match self.kind.as_str() {
            "User" => Some(Known::User(self.name.clone())),
            "Group" => Some(Known::Group(self.name.clone())),
            "ServiceAccount" => {
                let namespace = self.place(namespace);
                let user = format!("system:serviceaccount:{namespace}:{}", self.name);
                (!namespace.is_empty()).then_some(Known::User(user))
            }
            _ => None,
        }
    }

    /// As reasons name it.
    pub(super) fn shown(&self, namespace: &str) -> String {
        match self.kind.as_str() {
            "ServiceAccount" => {
                let name = format!("{}/{}", self.name, self.place(namespace));
                format!("{} {name:?}", self.kind)
            }
            _ => format!("{} {:?}", self.kind, self.name),
        }
    }

    fn place<'a>(&'a self, namespace: &'a str) -> &'a str {
        match self.namespace.as_str() {
            "" => namespace,
            own => own,
        }
    }
}
