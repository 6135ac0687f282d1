//! Fields that a schema does not name are dropped.

use serde_json::Value;

use super::Schema;
use super::path::{child, index};

/// What a value is that is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// An object of the API: `apiVersion`, `kind` and `metadata` are kept whatever the schema says,
    /// and `metadata` keeps the fields of `ObjectMeta`.
    Resource,
    /// What a schema describes, and no more.
    Value,
}

/// Fields of `ObjectMeta` (apimachinery, `meta/v1/types.go`).
const OBJECT_META: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// So many of them are named.
const MAX_NAMED: usize = 100;

/// Drops from `value` all fields that `schema` does not name, and returns their paths, sorted; of very many
/// only the first.
///
/// A request with `fieldValidation=Strict` fails with one `unknown field "PATH"` for each, one with
/// `Warn` gets them as warnings. Fields below a schema with `preserve_unknown_fields` stay, unless
/// they are below a named field whose schema is without.
pub fn prune(schema: &Schema, value: &mut Value, extent: Extent) -> Vec<String> {
    let mut dropped = Vec::new();
    walk(Some(schema), value, extent, "", &mut dropped);
    dropped.sort();
    dropped
}

fn walk(
    schema: Option<&Schema>,
    value: &mut Value,
    extent: Extent,
    path: &str,
    dropped: &mut Vec<String>,
) {
    let preserves = schema.is_some_and(|schema| schema.preserve_unknown_fields);
    let is_resource =
        extent == Extent::Resource || schema.is_some_and(|schema| schema.embedded_resource);
    match value {
        Value::Object(fields) => fields.retain(|name, field| {
            if is_resource && is_meta(name) {
                if name == "metadata" {
                    prune_metadata(field, &child(path, name), dropped);
                }
                return true;
            }
            if let Some(schema) = schema.and_then(|schema| schema.field(name)) {
                walk(
                    Some(schema),
                    field,
                    Extent::Value,
                    &child(path, name),
                    dropped,
                );
                return true;
            }
            let is_silent = preserves || (path.is_empty() && is_meta(name));
            if !is_silent && dropped.len() < MAX_NAMED {
                dropped.push(child(path, name));
            }
            preserves
        }),
        Value::Array(items) => {
            // Without a schema of their own, items of a preserved list are preserved.
            let of_items = schema.and_then(Schema::items);
            if of_items.is_none() && preserves {
                return;
            }
            for (at, item) in items.iter_mut().enumerate() {
                match of_items {
                    Some(schema) if preserves && !schema.preserve_unknown_fields => {
                        walk_preserved(schema, item, &index(path, at), dropped);
                    }
                    _ => walk(of_items, item, Extent::Value, &index(path, at), dropped),
                }
            }
        }
        _ => {}
    }
}

/// Items of a list that preserves unknown fields preserve their own; what they name is pruned.
fn walk_preserved(schema: &Schema, item: &mut Value, path: &str, dropped: &mut Vec<String>) {
    match item {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if schema.embedded_resource && is_meta(name) {
                    continue;
                }
                if let Some(schema) = schema.field(name) {
                    walk(
                        Some(schema),
                        field,
                        Extent::Value,
                        &child(path, name),
                        dropped,
                    );
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                for (at, item) in items.iter_mut().enumerate() {
                    walk_preserved(schema, item, &index(path, at), dropped);
                }
            }
        }
        _ => {}
    }
}

fn prune_metadata(metadata: &mut Value, path: &str, dropped: &mut Vec<String>) {
    if let Value::Object(fields) = metadata {
        fields.retain(|name, _| {
            let known = OBJECT_META.binary_search(&name.as_str()).is_ok();
            if !known && dropped.len() < MAX_NAMED {
                dropped.push(child(path, name));
            }
            known
        });
    }
}

fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_without_a_schema_are_dropped_and_named() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "a": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {
                    "x": {"type": "integer"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object",
                    "properties": {"y": {"type": "integer"}}}},
                "any": {"type": "object", "additionalProperties": true},
                "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"strict": {"type": "object", "properties": {}}}},
                "embedded": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "properties": {"spec": {"type": "object"}}}
            }}
        }});
        let schema = Schema::parse(&schema).unwrap();
        let mut value = json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "nope": 1}, "extra": {},
            "spec": {
                "a": "a", "b": 1,
                "list": [{"x": 1}, {"x": 2, "z": 3}],
                "map": {"k": {"y": 1, "z": 2}},
                "any": {"scalar": 1, "object": {"gone": 1}},
                "kept": {"free": {"x": 1}, "strict": {"gone": 1}},
                "embedded": {"apiVersion": "v1", "kind": "E", "metadata": {"name": "e"}, "status": 1}
            }
        });
        let dropped = prune(&schema, &mut value, Extent::Resource);
        assert_eq!(
            dropped,
            [
                "extra",
                "metadata.nope",
                "spec.any.object.gone",
                "spec.b",
                "spec.embedded.status",
                "spec.kept.strict.gone",
                "spec.list[1].z",
                "spec.map.k.z",
            ]
        );
        let expected = json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n"},
            "spec": {
                "a": "a",
                "list": [{"x": 1}, {"x": 2}],
                "map": {"k": {"y": 1}},
                "any": {"scalar": 1, "object": {}},
                "kept": {"free": {"x": 1}, "strict": {}},
                "embedded": {"apiVersion": "v1", "kind": "E", "metadata": {"name": "e"}}
            }
        });
        assert_eq!(value, expected);
        assert!(prune(&schema, &mut value, Extent::Resource).is_empty());
    }

    #[test]
    fn the_names_of_object_meta_are_sorted() {
        assert!(OBJECT_META.is_sorted());
    }
}
