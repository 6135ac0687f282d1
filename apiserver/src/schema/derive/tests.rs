use serde_json::json;

use super::*;
use crate::schema::Kind;

/// What schemars 1 derives, written out.
fn derived() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Thing",
        "description": "A thing.",
        "type": "object",
        "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "const": "things/v1"},
            "kind": {"type": "string", "enum": ["Thing"]},
            "metadata": {"$ref": "#/$defs/ObjectMeta", "default": {}},
            "spec": {"$ref": "#/$defs/Spec"},
            "status": {"anyOf": [{"$ref": "#/$defs/Status"}, {"type": "null"}], "default": null}
        },
        "$defs": {
            "ObjectMeta": {"type": "object", "properties": {"name": {"type": ["string", "null"]},
                "namespace": {"type": ["string", "null"]}}},
            "Spec": {
                "type": "object",
                "properties": {
                    "role": {"description": "Which.", "$ref": "#/$defs/Role", "default": "member"},
                    "maybe": {"anyOf": [{"$ref": "#/$defs/Role"}, {"type": "null"}]},
                    "count": {"type": "integer", "format": "uint32", "minimum": 0},
                    "share": {"type": ["number", "null"], "exclusiveMinimum": 0.0},
                    "tags": {"type": "array", "uniqueItems": true, "items": {"type": "string"}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "values": {"type": "object", "additionalProperties": true},
                    "any": true,
                    "source": {"$ref": "#/$defs/Source"},
                    "port": {"type": ["integer", "string"]}
                }
            },
            "Role": {"oneOf": [
                {"description": "One.", "type": "string", "const": "member"},
                {"description": "Two.", "type": "string", "enum": ["owner", "guest"]}
            ]},
            "Source": {"oneOf": [
                {"type": "object", "properties": {"git": {"type": "string"}}, "required": ["git"],
                    "additionalProperties": false},
                {"type": "object", "properties": {"type": {"type": "string", "const": "file"},
                    "path": {"type": "string"}}, "required": ["type"]},
                {"type": "object", "properties": {"type": {"type": "string", "const": "none"}},
                    "required": ["type"]}
            ]},
            "Status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}
        }
    })
}

#[test]
fn metadata_may_say_what_names_are() {
    let name = json!({"type": "string", "maxLength": 5});
    let derived = json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {"name": name}, "description": "Its name."}}});
    let schema = Schema::from_schemars(&derived).unwrap().to_json();
    let expected = json!({"type": "object", "properties": {"name": name}});
    assert_eq!(schema["properties"]["metadata"], expected);
}

#[test]
fn a_derived_schema_becomes_structural() {
    let schema = Schema::from_schemars(&derived()).unwrap();
    let expected = json!({
        "type": "object", "description": "A thing.", "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": {"type": "string", "enum": ["things/v1"]},
            "kind": {"type": "string", "enum": ["Thing"]},
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "role": {"type": "string", "description": "Which.", "default": "member",
                    "enum": ["member", "owner", "guest"]},
                "maybe": {"type": "string", "enum": ["member", "owner", "guest"]},
                "count": {"type": "integer", "format": "int64", "minimum": 0},
                "share": {"type": "number", "nullable": true, "minimum": 0, "exclusiveMinimum": true},
                "tags": {"type": "array", "x-kubernetes-list-type": "set",
                    "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "values": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "any": {"x-kubernetes-preserve-unknown-fields": true},
                "source": {"type": "object",
                    "properties": {"git": {"type": "string"}, "path": {"type": "string"},
                        "type": {"type": "string", "enum": ["file", "none"]}},
                    "oneOf": [
                        {"required": ["git"]},
                        {"required": ["type"], "properties": {"type": {"enum": ["file"]}}},
                        {"required": ["type"], "properties": {"type": {"enum": ["none"]}}}
                    ]},
                "port": {"x-kubernetes-int-or-string": true}
            }},
            "status": {"type": "object", "nullable": true,
                "properties": {"ready": {"type": "boolean"}}}
        }
    });
    assert_eq!(schema.to_json(), expected);
    assert!(matches!(schema.kind, Kind::Object { .. }));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let table = [
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}}),
            "must not hold itself",
        ),
        (
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
            "must not refer to itself",
        ),
        (
            json!({"type": "object", "properties": {"x": {"$ref": "#/none"}}}),
            "must refer to a part",
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": "array", "prefixItems": []}}}),
            "must not be a tuple",
        ),
        (
            json!({"type": "object", "properties": {"x": {"type": ["string", "boolean"]}}}),
            "must be one type",
        ),
        (
            json!({"type": "object", "properties": {"x": {"oneOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}},
                {"type": "object", "properties": {"a": {"type": "integer"}}}]}}}),
            "must mean the same",
        ),
        (
            json!({"type": "object", "properties": {"x": false}}),
            "must be a schema",
        ),
    ];
    for (schema, expected) in table {
        let errors = Schema::from_schemars(&schema).unwrap_err();
        assert!(
            errors.iter().any(|error| error.detail.contains(expected)),
            "{errors:?}"
        );
    }
}
