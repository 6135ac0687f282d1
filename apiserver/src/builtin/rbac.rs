//! Roles and bindings.

use super::Rules;
use crate::names;
use crate::schema::FieldError;
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) const ROLE: Rules = Rules {
    prepare: |_, _| {},
    validate: |new, _| rules(new, true),
};

pub(super) const CLUSTER_ROLE: Rules = Rules {
    prepare: |_, _| {},
    validate: |new, _| {
        let mut errors = rules(new, false);
        check_aggregation(new, &mut errors);
        errors
    },
};

pub(super) const ROLE_BINDING: Rules = Rules {
    prepare: |binding, _| prepare(binding),
    validate: |new, old| binding(new, old, &["Role", "ClusterRole"]),
};

pub(super) const CLUSTER_ROLE_BINDING: Rules = Rules {
    prepare: |binding, _| prepare(binding),
    validate: |new, old| binding(new, old, &["ClusterRole"]),
};

fn rules(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (at, rule) in list(role, "rules").iter().enumerate() {
        check_rule(rule, namespaced, &format!("rules[{at}]"), &mut errors);
    }
    errors
}

fn check_rule(rule: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let has = |field: &str| !list(rule, field).is_empty();
    let mut require = |field: &str, detail: &str| {
        if !has(field) {
            errors.push(FieldError::required(format!("{path}.{field}"), detail));
        }
    };
    require("verbs", "verbs must contain at least one value");
    if !has("nonResourceURLs") {
        require(
            "apiGroups",
            "resource rules must supply at least one api group",
        );
        require(
            "resources",
            "resource rules must supply at least one resource",
        );
        return;
    }
    let mut refuse = |detail: &str| {
        let urls = rule["nonResourceURLs"].clone();
        let path = format!("{path}.nonResourceURLs");
        errors.push(FieldError::invalid(path, urls, detail));
    };
    if namespaced {
        refuse("namespaced rules cannot apply to non-resource URLs");
    }
    if has("apiGroups") || has("resources") || has("resourceNames") {
        refuse("rules cannot apply to both regular resources and non-resource URLs");
    }
}

fn check_aggregation(role: &Value, errors: &mut Vec<FieldError>) {
    let Some(rule) = role.get("aggregationRule") else {
        return;
    };
    let path = "aggregationRule.clusterRoleSelectors";
    let selectors = list(rule, "clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path, detail));
    }
    for (at, selector) in selectors.iter().enumerate() {
        let (path, before) = (format!("{path}[{at}]"), errors.len());
        check_selector(selector, &path, errors);
        if errors.len() > before {
            let detail = "invalid label selector.";
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
    }
}

pub(super) fn check_selector(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let labels = selector["matchLabels"].as_object();
    for (key, value) in labels.into_iter().flatten() {
        let path = format!("{path}.matchLabels");
        if let Err(rule) = names::qualified(key) {
            errors.push(FieldError::invalid(path.as_str(), key.as_str(), rule));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(rule) = names::label_value(value) {
            errors.push(FieldError::invalid(path, value, rule));
        }
    }
    for (at, wanted) in list(selector, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let (key, values) = (text(wanted, "key"), list(wanted, "values"));
        let operator = text(wanted, "operator");
        let at_values = format!("{path}.values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                at_values,
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                at_values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        if let Err(rule) = names::qualified(key) {
            errors.push(FieldError::invalid(format!("{path}.key"), key, rule));
        }
    }
}

/// Roles, users and groups are of this group unless somebody says otherwise.
fn prepare(binding: &mut Value) {
    if let Some(role) = binding.get_mut("roleRef").and_then(Value::as_object_mut)
        && role.get("apiGroup").is_none_or(|group| group == "")
    {
        role.insert("apiGroup".into(), GROUP.into());
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if matches!(text(subject, "kind"), "User" | "Group") && text(subject, "apiGroup").is_empty()
        {
            subject["apiGroup"] = GROUP.into();
        }
    }
}

fn binding(new: &Value, old: Option<&Value>, kinds: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let role = &new["roleRef"];
    let (group, kind, name) = (
        text(role, "apiGroup"),
        text(role, "kind"),
        text(role, "name"),
    );
    if group != GROUP {
        errors.push(FieldError::not_supported(
            "roleRef.apiGroup",
            group,
            &[GROUP],
        ));
    }
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", kind, kinds));
    }
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else if let Err(rule) = names::path_segment(name) {
        errors.push(FieldError::invalid("roleRef.name", name, rule));
    }
    let namespaced = kinds.contains(&"Role");
    for (at, subject) in list(new, "subjects").iter().enumerate() {
        check_subject(subject, namespaced, &format!("subjects[{at}]"), &mut errors);
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        // Upstream shows a type of its own, with the names that Go gives the fields.
        let shown = json!({"APIGroup": group, "Kind": kind, "Name": name});
        errors.push(FieldError::invalid(
            "roleRef",
            shown,
            "cannot change roleRef",
        ));
    }
    errors
}

fn check_subject(subject: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let (kind, name) = (text(subject, "kind"), text(subject, "name"));
    let group = text(subject, "apiGroup");
    let at = |field: &str| format!("{path}.{field}");
    if name.is_empty() {
        errors.push(FieldError::required(at("name"), ""));
    }
    match kind {
        "ServiceAccount" => {
            if !name.is_empty()
                && let Err(rule) = names::subdomain(name)
            {
                errors.push(FieldError::invalid(at("name"), name, rule));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(at("apiGroup"), group, &[""]));
            }
            if !namespaced && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(at("namespace"), ""));
            }
        }
        "User" | "Group" if group == GROUP => {}
        "User" | "Group" => {
            errors.push(FieldError::not_supported(at("apiGroup"), group, &[GROUP]));
        }
        other => {
            let known = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(at("kind"), other, &known));
        }
    }
}

pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value.get(field).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
