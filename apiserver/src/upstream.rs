//! What is copied from Kubernetes: the types of its own kinds and of what every kind has, and the
//! parameters of requests, as its OpenAPI v3 documents have them. See `upstream/README.md`.

use serde_json::{Map, Value};
use std::sync::LazyLock;

/// What stands before the name of a type in a reference.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("upstream/definitions.json")).expect("a test reads it")
});

static PARAMETERS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("upstream/parameters.json")).expect("a test reads it")
});

/// A type, for example `io.k8s.api.core.v1.Secret`.
pub(crate) fn definition(name: &str) -> Option<&'static Value> {
    DEFINITIONS.get(name)
}

/// The name of the type that a schema refers to, if it does.
pub(crate) fn referred(schema: &Value) -> Option<&str> {
    let reference = schema.get("$ref").or_else(|| match schema.get("allOf") {
        // Nothing may stand beside a reference, so that it is put into a list of one.
        Some(Value::Array(all)) if all.len() == 1 => all[0].get("$ref"),
        _ => None,
    });
    reference?.as_str()?.strip_prefix(REFERENCE)
}

/// Adds a type, and those that it refers to, to others.
pub(crate) fn collect(name: &str, found: &mut Map<String, Value>) {
    let Some(schema) = definition(name).filter(|_| !found.contains_key(name)) else {
        return;
    };
    found.insert(name.to_owned(), schema.clone());
    collect_referred(schema, found);
}

fn collect_referred(value: &Value, found: &mut Map<String, Value>) {
    if let Some(name) = referred(value) {
        collect(name, found);
    }
    match value {
        Value::Object(fields) => fields
            .values()
            .for_each(|field| collect_referred(field, found)),
        Value::Array(items) => items.iter().for_each(|item| collect_referred(item, found)),
        _ => {}
    }
}

/// What a field of a type of `meta/v1` is for; empty if there is none.
pub(crate) fn description_of(kind: &str, field: &str) -> String {
    let schema = definition(&meta(kind));
    let field = schema.and_then(|schema| schema.get("properties")?.get(field));
    let description = field.and_then(|field| field.get("description")?.as_str());
    description.unwrap_or_default().to_owned()
}

/// A query parameter.
pub(crate) fn parameter(name: &str) -> Option<&'static Value> {
    PARAMETERS.get(name)
}

/// The full name of a type of `meta/v1`, for example of `ObjectMeta`.
pub(crate) fn meta(kind: &str) -> String {
    format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")
}

/// The full name of the type of `scale`.
pub(crate) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_bring_what_they_refer_to() {
        let mut found = Map::new();
        collect(SCALE, &mut found);
        collect(&meta("Status"), &mut found);
        for name in ["ObjectMeta", "OwnerReference", "Time", "StatusCause"] {
            assert!(found.contains_key(&meta(name)), "{name}");
        }
        assert!(parameter("fieldValidation").is_some());
    }
}
