//! Bindings of policies of admission.

use super::{check_match, drop_null, prepare_match};
use crate::builtin::Rules;
use crate::builtin::rbac::{check_selector, list, text};
use crate::names;
use crate::schema::FieldError;
use serde_json::Value;

pub(in crate::builtin) const BINDING: Rules = Rules {
    prepare: |binding, _| {
        if binding["spec"].is_object() {
            prepare_match(&mut binding["spec"]["matchResources"]);
            drop_null(&mut binding["spec"], "matchResources");
        }
    },
    validate: |new, _| check_binding(&new["spec"]),
};

fn check_binding(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = text(spec, "policyName");
    if policy.is_empty() {
        errors.push(FieldError::required("spec.policyName", ""));
    } else if let Err(rule) = names::subdomain(policy) {
        errors.push(FieldError::invalid("spec.policyName", policy, rule));
    }
    if let Some(reference) = spec.get("paramRef") {
        check_param_ref(reference, "spec.paramRef", &mut errors);
    }
    if let Some(resources) = spec.get("matchResources") {
        check_match(resources, "spec.matchResources", &mut errors);
    }
    check_actions(list(spec, "validationActions"), &mut errors);
    errors
}

fn check_param_ref(reference: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (name, selector) = (text(reference, "name"), reference.get("selector"));
    let exclusive = "name and selector are mutually exclusive";
    let at = |field: &str| format!("{path}.{field}");
    if !name.is_empty() {
        if let Err(rule) = names::path_segment(name) {
            errors.push(FieldError::invalid(at("name"), name, rule));
        }
        if selector.is_some() {
            errors.push(FieldError::forbidden(at("name"), exclusive));
        }
    }
    if let Some(selector) = selector {
        check_selector(selector, &at("selector"), errors);
        if !name.is_empty() {
            errors.push(FieldError::forbidden(at("selector"), exclusive));
        }
    }
    if name.is_empty() && selector.is_none() {
        let detail = "one of name or selector must be specified";
        errors.push(FieldError::required(path, detail));
    }
    match text(reference, "parameterNotFoundAction") {
        "" => errors.push(FieldError::required(at("parameterNotFoundAction"), "")),
        "Deny" | "Allow" => {}
        other => {
            let known = ["Deny", "Allow"];
            let path = at("parameterNotFoundAction");
            errors.push(FieldError::not_supported(path, other, &known));
        }
    }
}

fn check_actions(actions: &[Value], errors: &mut Vec<FieldError>) {
    let path = "spec.validationActions";
    let known = ["Audit", "Deny", "Warn"];
    for (at, action) in actions.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if !known.iter().any(|known| action == known) {
            let error = FieldError::not_supported(path.as_str(), action.clone(), &known);
            errors.push(error);
        }
        if actions[..at].contains(action) {
            errors.push(FieldError::duplicate(path, action.clone()));
        }
    }
    let has = |action: &str| actions.iter().any(|found| found == action);
    if has("Deny") && has("Warn") {
        let rule = "must not contain both Deny and Warn (repeating the same validation failure \
                    information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, actions.to_vec(), rule));
    }
    if actions.is_empty() {
        let detail = "at least one validation action is required";
        errors.push(FieldError::required(path, detail));
    }
}
