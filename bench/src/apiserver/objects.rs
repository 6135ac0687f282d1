//! The kind of which all objects are, and the objects.

use bytes::Bytes;
use serde_json::{Value, json};

/// The definition of the kind.
pub(super) const DEFINITION: &str = "notes.bench.example.org";
/// Where definitions are.
pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// The kind's group and its plural, for roles.
pub(super) const RESOURCE: (&str, &str) = ("bench.example.org", "notes");

/// Objects are in so many parts; selectors choose one of them.
const PARTS: usize = 10;
/// Bytes of an object as it is sent.
const SIZE: usize = 1024;

/// The definition of the kind, with what selectors need.
pub(super) fn definition() -> Value {
    let (group, plural) = RESOURCE;
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": "note", "kind": "Note"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.part"}],
                "additionalPrinterColumns":
                    [{"name": "Part", "type": "string", "jsonPath": ".spec.part"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["part"],
                            "properties": {
                                "part": {"type": "string", "maxLength": 20},
                                "stamp": {"type": "integer", "format": "int64", "default": 0},
                                "text": {"type": "string", "maxLength": 4096},
                                "replicas": {"type": "integer", "minimum": 0},
                            },
                            "x-kubernetes-validations":
                                [{"rule": "!has(self.replicas) || self.replicas < 1000"}],
                        },
                        "status": {"type": "object", "properties": {"seen": {"type": "boolean"}}},
                    },
                }},
            }],
        },
    })
}

/// The objects of a namespace.
pub(super) fn collection(namespace: &str) -> String {
    let (group, plural) = RESOURCE;
    format!("/apis/{group}/v1/namespaces/{namespace}/{plural}")
}

/// The name of an object.
pub(super) fn name(number: usize) -> String {
    format!("note-{number:07}")
}

/// The selectors of one part of the objects: by label, and by field.
pub(super) fn selectors() -> [&'static str; 2] {
    ["labelSelector=part%3Dp3", "fieldSelector=spec.part%3Dp3"]
}

/// An object of 1 KiB.
pub(super) fn object(namespace: &str, number: usize) -> Value {
    let part = format!("p{}", number % PARTS);
    let mut object = json!({
        "apiVersion": "bench.example.org/v1",
        "kind": "Note",
        "metadata": {
            "name": name(number),
            "namespace": namespace,
            "labels": {"part": part, "app.kubernetes.io/name": "bench"},
        },
        "spec": {"part": part, "stamp": 0, "text": ""},
    });
    let short = object.to_string().len();
    object["spec"]["text"] = "n".repeat(SIZE.saturating_sub(short)).into();
    object
}

/// A value as the body of a request.
pub(super) fn body(value: &Value) -> Bytes {
    value.to_string().into()
}

/// The text between `before` and the next quote or comma in a line of JSON; of an object's own
/// fields, managed fields have a prefix.
pub(super) fn after<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let rest = &line[line.find(before)? + before.len()..];
    rest.split(['"', ',', '}']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_sent_as_one_kibibyte() {
        assert_eq!(body(&object("many", 17)).len(), 1024);
    }

    #[test]
    fn what_a_watcher_looks_for_is_found_in_a_line() {
        let line = r#"{"f:stamp":{},"resourceVersion":"17","spec":{"part":"p1","stamp":42}}"#;
        assert_eq!(after(line, "\"stamp\":"), Some("42"));
        assert_eq!(after(line, "\"resourceVersion\":\""), Some("17"));
        assert_eq!(after(line, "\"none\":"), None);
    }
}
