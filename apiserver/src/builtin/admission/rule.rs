//! Rules that say with which requests a policy deals.

use crate::builtin::rbac::list;
use crate::names;
use crate::schema::FieldError;
use serde_json::Value;
use std::collections::BTreeSet;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

pub(super) fn check(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = |field: &str| format!("{path}.{field}");
    let mut seen = BTreeSet::new();
    for (index, name) in texts(rule, "resourceNames").enumerate() {
        let path = format!("{path}.resourceNames[{index}]");
        if let Err(rule) = names::path_segment(name) {
            errors.push(FieldError::invalid(path.as_str(), name, rule));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    check_alone(rule, "operations", "operations", path, errors);
    for (index, operation) in texts(rule, "operations").enumerate() {
        if !OPERATIONS.contains(&operation) {
            let path = format!("{path}.operations[{index}]");
            errors.push(FieldError::not_supported(path, operation, &OPERATIONS));
        }
    }
    check_alone(rule, "apiGroups", "API groups", path, errors);
    check_alone(rule, "apiVersions", "API versions", path, errors);
    for (index, version) in texts(rule, "apiVersions").enumerate() {
        if version.is_empty() {
            let path = format!("{path}.apiVersions[{index}]");
            errors.push(FieldError::required(path, ""));
        }
    }
    check_resources(rule, &at("resources"), errors);
    let scope = rule.get("scope").and_then(Value::as_str);
    if let Some(scope) = scope.filter(|scope| !SCOPES.contains(scope)) {
        errors.push(FieldError::not_supported(at("scope"), scope, &SCOPES));
    }
}

/// There is something, and nothing beside a star.
fn check_alone(rule: &Value, field: &str, what: &str, path: &str, errors: &mut Vec<FieldError>) {
    let found = list(rule, field);
    let path = format!("{path}.{field}");
    if found.is_empty() {
        errors.push(FieldError::required(path.as_str(), ""));
    }
    if found.len() > 1 && found.iter().any(|one| one == "*") {
        let rule = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path, found.to_vec(), rule));
    }
}

fn check_resources(rule: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let all = list(rule, "resources");
    if all.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let (mut all_parts_of, mut part_of_all) = (BTreeSet::new(), BTreeSet::new());
    // The last one without a part decides, as upstream.
    let mut whole = false;
    for (index, both) in texts(rule, "resources").enumerate() {
        let path = format!("{path}[{index}]");
        if both.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let Some((resource, part)) = both.split_once('/') else {
            whole = both != "*";
            continue;
        };
        if all_parts_of.contains(resource) {
            let rule = format!("if '{resource}/*' is present, must not specify {both}");
            errors.push(FieldError::invalid(path.as_str(), both, rule));
        }
        if part_of_all.contains(part) {
            let rule = format!("if '*/{part}' is present, must not specify {both}");
            errors.push(FieldError::invalid(path, both, rule));
        }
        if part == "*" {
            all_parts_of.insert(resource);
        }
        if resource == "*" {
            part_of_all.insert(part);
        }
    }
    let has = |wanted: &str| all.iter().any(|one| one == wanted);
    if all.len() > 1 && has("*/*") {
        let rule = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, all.to_vec(), rule));
    }
    if has("*") && whole {
        let rule = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, all.to_vec(), rule));
    }
}

fn texts<'a>(rule: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    list(rule, field).iter().filter_map(Value::as_str)
}
