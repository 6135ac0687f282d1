//! Namespaces.

use super::Rules;
use crate::names;
use crate::schema::FieldError;
use serde_json::{Value, json};

/// Keeps a namespace until what is in it is gone.
const FINALIZER: &str = "kubernetes";

/// Every namespace has its name as a label, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) const RULES: Rules = Rules { prepare, validate };

fn prepare(namespace: &mut Value, old: Option<&Value>) {
    if !namespace["metadata"].is_object() {
        return;
    }
    let name = namespace["metadata"]["name"].clone();
    if name.is_string() {
        if !namespace["metadata"]["labels"].is_object() {
            namespace["metadata"]["labels"] = json!({});
        }
        namespace["metadata"]["labels"][NAME_LABEL] = name;
    }
    if !namespace["spec"].is_object() {
        namespace["spec"] = json!({});
    }
    match old {
        // They change at `finalize` alone.
        Some(old) => match old.pointer("/spec/finalizers") {
            Some(finalizers) => namespace["spec"]["finalizers"] = finalizers.clone(),
            None => {
                let spec = namespace["spec"].as_object_mut();
                spec.map(|spec| spec.remove("finalizers"));
            }
        },
        None => {
            let mut finalizers = match namespace["spec"]["finalizers"].take() {
                Value::Array(finalizers) => finalizers,
                _ => Vec::new(),
            };
            if !finalizers.iter().any(|one| one == FINALIZER) {
                finalizers.push(FINALIZER.into());
            }
            namespace["spec"]["finalizers"] = finalizers.into();
            namespace["status"] = json!({"phase": "Active"});
        }
    }
    if !namespace["status"].is_object() {
        namespace["status"] = json!({});
    }
    if namespace["status"]["phase"].is_null() || namespace["status"]["phase"] == "" {
        namespace["status"]["phase"] = "Active".into();
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_none() {
        check_finalizers(new, &mut errors);
    }
    let phase = new["status"]["phase"].as_str().unwrap_or_default();
    let deleting = new["metadata"].get("deletionTimestamp").is_some();
    let (expected, whether) = match deleting {
        true => ("Terminating", "not empty"),
        false => ("Active", "empty"),
    };
    let changed = old.is_some_and(|old| old["status"] != new["status"]);
    if changed && phase != expected {
        let detail = format!("may only be '{expected}' if `deletionTimestamp` is {whether}");
        errors.push(FieldError::invalid("status.Phase", phase, detail));
    }
    errors
}

fn check_finalizers(namespace: &Value, errors: &mut Vec<FieldError>) {
    let finalizers = namespace["spec"]["finalizers"].as_array();
    for finalizer in finalizers.into_iter().flatten().filter_map(Value::as_str) {
        let path = "spec.finalizers";
        if let Err(rule) = names::qualified(finalizer) {
            errors.push(FieldError::invalid(path, finalizer, rule));
        }
        if !finalizer.contains('/') && !names::STANDARD_FINALIZERS.contains(&finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer, detail));
        }
    }
}
