//! Policies and bindings as they are written.

use crate::error::ApiError;
use crate::object::Object;
use crate::selector::LabelSelector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PolicySpec {
    failure_policy: Option<String>,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) match_constraints: Option<MatchResources>,
    pub(super) match_conditions: Vec<MatchCondition>,
    pub(super) variables: Vec<Variable>,
    pub(super) validations: Vec<Validation>,
    pub(super) audit_annotations: Vec<AuditAnnotation>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MatchResources {
    pub(super) namespace_selector: Selector,
    pub(super) object_selector: Selector,
    pub(super) resource_rules: Vec<Rule>,
    pub(super) exclude_resource_rules: Vec<Rule>,
    match_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) resource_names: Vec<String>,
    pub(super) operations: Vec<String>,
    pub(super) api_groups: Vec<String>,
    pub(super) api_versions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) scope: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct MatchCondition {
    pub(super) expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Validation {
    pub(super) expression: String,
    pub(super) message: String,
    pub(super) message_expression: String,
    pub(super) reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AuditAnnotation {
    pub(super) key: String,
    pub(super) value_expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BindingSpec {
    pub(super) policy_name: String,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) match_resources: Option<MatchResources>,
    pub(super) validation_actions: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Selector>,
    parameter_not_found_action: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Requirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl ParamKind {
    /// The group, empty for the core group, and the version.
    pub(super) fn group_and_version(&self) -> (&str, &str) {
        let parts = self.api_version.split_once('/');
        parts.unwrap_or(("", &self.api_version))
    }
}

impl PolicySpec {
    /// Whether what goes wrong refuses the request.
    pub(super) fn fails(&self) -> bool {
        self.failure_policy.as_deref() != Some("Ignore")
    }
}

impl MatchResources {
    /// Whether a request is also meant if it comes for another version of the resource.
    pub(super) fn is_equivalent(&self) -> bool {
        self.match_policy.as_deref() != Some("Exact")
    }
}

impl ParamRef {
    /// Whether a request is refused if there are no parameters.
    pub(super) fn denies_without(&self) -> bool {
        self.parameter_not_found_action == "Deny"
    }
}

impl Selector {
    pub(super) fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// The selector of requests that says the same.
    ///
    /// # Errors
    /// When it is none; the validation does not let that pass.
    pub(super) fn parsed(&self) -> Result<LabelSelector, String> {
        let labels = self.match_labels.iter();
        let labels = labels.map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(Requirement::text);
        let parts: Vec<_> = labels.chain(expressions).collect();
        let parsed = parts.join(",").parse::<LabelSelector>();
        parsed.map_err(|error| error.to_string())
    }
}

impl Requirement {
    fn text(&self) -> String {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    }
}

/// The `spec` of an object.
///
/// # Errors
/// When its schema was not met.
pub(super) fn spec<T: DeserializeOwned>(object: &Object) -> Result<T, ApiError> {
    let spec: Value = object.fields().get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).map_err(ApiError::internal)
}
