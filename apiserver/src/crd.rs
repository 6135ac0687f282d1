//! User-defined kinds: CustomResourceDefinitions and what they define.

mod check;
mod follow;
mod hooks;
mod read;
mod write;

pub use check::check;
pub use follow::follow;
pub use hooks::Definitions;
pub use read::resource;
pub use write::definition;

use crate::object::Object;
use crate::registry::Resource;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Their group.
pub const GROUP: &str = "apiextensions.k8s.io";

/// Their plural.
pub const PLURAL: &str = "customresourcedefinitions";

/// The condition of one that is being deleted.
const TERMINATING: &str = "Terminating";

/// The finalizer that keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether the objects of a resource are definitions.
pub(crate) fn are(resource: &Resource) -> bool {
    (resource.group.as_str(), resource.plural.as_str()) == (GROUP, PLURAL)
}

/// Keeps a definition that is deleted until its objects are gone.
pub(crate) fn mark(definition: &mut Object, now: Timestamp) {
    if !definition.finalizers().any(|name| name == CLEANUP) {
        let finalizers = definition.finalizers().chain([CLEANUP]);
        let finalizers: Vec<Value> = finalizers.map(Value::from).collect();
        definition.set_meta("finalizers", finalizers);
    }
    let condition = json!({
        "type": TERMINATING, "status": "True", "reason": "InstanceDeletionPending",
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    });
    let status = definition.fields_mut().get_mut("status");
    let conditions = status.and_then(|status| status.get_mut("conditions")?.as_array_mut());
    if let Some(conditions) = conditions {
        conditions.push(condition);
    }
}

/// Fills in what a definition leaves out: the singular, the kind of lists and the conversion.
pub fn set_defaults(definition: &mut Object) {
    let kind = text(definition, "/spec/names/kind").to_owned();
    let Some(spec) = definition.fields_mut().get_mut("spec") else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let absent =
            |value: Option<&Value>| value.and_then(Value::as_str).is_none_or(str::is_empty);
        if absent(names.get("singular")) {
            names.insert("singular".into(), kind.to_lowercase().into());
        }
        if absent(names.get("listKind")) && !kind.is_empty() {
            names.insert("listKind".into(), format!("{kind}List").into());
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        let conversion = spec.entry("conversion").or_insert(Value::Null);
        if conversion.is_null() {
            *conversion = json!({"strategy": "None"});
        }
    }
}

/// The status of a definition. `conflict` says why its names cannot be served.
#[must_use]
pub fn status(definition: &Object, conflict: Option<&str>, now: Timestamp) -> Value {
    let old = definition.as_value().pointer("/status/conditions");
    let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let before = old
            .iter()
            .find(|old| old["type"] == kind && old["status"] == status);
        let since = before.map_or_else(
            || now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
            |before| before["lastTransitionTime"].clone(),
        );
        json!({
            "type": kind, "status": status, "lastTransitionTime": since,
            "reason": reason, "message": message,
        })
    };
    let mut conditions = match conflict {
        None => json!([
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]),
        Some(why) => json!([
            condition("NamesAccepted", false, "NamesConflict", why),
            condition(
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted"
            ),
        ]),
    };
    let terminating = old.iter().find(|old| old["type"] == TERMINATING);
    if let (Some(terminating), Some(conditions)) = (terminating, conditions.as_array_mut()) {
        conditions.push(terminating.clone());
    }
    let names = match conflict {
        None => definition.as_value().pointer("/spec/names").cloned(),
        Some(_) => None,
    };
    json!({
        "acceptedNames": names.unwrap_or_else(|| json!({"kind": "", "plural": ""})),
        "conditions": conditions,
        "storedVersions": stored_versions(definition),
    })
}

/// The versions in which objects may be stored: those of the status, and the one of now.
fn stored_versions(definition: &Object) -> Vec<Value> {
    let stored = definition.as_value().pointer("/status/storedVersions");
    let mut stored = stored
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let now = versions(definition).find(|version| version["storage"] == true);
    if let Some(name) = now.map(|version| version["name"].clone())
        && !stored.contains(&name)
    {
        stored.push(name);
    }
    stored
}

fn versions(definition: &Object) -> impl Iterator<Item = &Value> {
    let versions = definition.as_value().pointer("/spec/versions");
    versions.and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(definition: &'a Object, at: &str) -> &'a str {
    let value = definition.as_value().pointer(at);
    value.and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
