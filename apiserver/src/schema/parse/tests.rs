use serde_json::json;

use super::*;

fn errors(schema: &Value) -> Vec<String> {
    match Schema::parse(schema) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            let mut texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            texts.sort();
            texts
        }
    }
}

/// A schema whose field `a` is this.
#[allow(
    clippy::needless_pass_by_value,
    reason = "taken from json! where it is called"
)]
fn field(schema: Value) -> Value {
    json!({"type": "object", "properties": {"a": schema}})
}

#[test]
fn every_level_has_a_type() {
    let table: [(Value, &[&str]); 10] = [
        (
            json!({}),
            &["type: Required value: must not be empty at the root"],
        ),
        (
            json!({"type": "string"}),
            &[r#"type: Invalid value: "string": must be object at the root"#],
        ),
        (
            field(json!({})),
            &["properties[a].type: Required value: must not be empty for specified object fields"],
        ),
        (
            field(json!({"type": "array", "items": {}})),
            &[
                "properties[a].items.type: Required value: must not be empty for specified array items",
            ],
        ),
        (
            field(json!({"type": "array"})),
            &["properties[a].items: Required value: must be specified"],
        ),
        (
            field(json!({"type": "array", "items": null})),
            &["properties[a].items: Required value: must be specified"],
        ),
        (
            field(json!({"type": "array", "items": true})),
            &["properties[a].items: Invalid value: true: must be an object"],
        ),
        (
            field(json!({"type": "null"})),
            &[
                "properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative",
                r#"properties[a].type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            ],
        ),
        (
            field(json!({"x-kubernetes-preserve-unknown-fields": true})),
            &[],
        ),
        (field(json!({"x-kubernetes-int-or-string": true})), &[]),
    ];
    for (schema, expected) in table {
        assert_eq!(errors(&schema), expected, "{schema}");
    }
}

#[test]
fn what_is_not_structural_is_refused() {
    let table: [(Value, &[&str]); 14] = [
        (
            field(json!({"$ref": "#", "type": "object"})),
            &["properties[a].$ref: Forbidden: $ref is not supported"],
        ),
        (
            json!({"type": "object", "nullable": true}),
            &["nullable: Forbidden: nullable cannot be true at the root"],
        ),
        (
            field(
                json!({"type": "object", "properties": {"b": {"type": "string"}},
                "additionalProperties": {"type": "string"}}),
            ),
            &[
                "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            &["additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            field(json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}})),
            &[
                "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        ),
        (
            field(json!({"type": "string", "anyOf": [{"type": "string"}]})),
            &["properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            field(
                json!({"type": "object", "not": {"default": 1, "nullable": true, "description": "x"}}),
            ),
            &[
                "properties[a].not.default: Forbidden: must be undefined to be structural",
                "properties[a].not.description: Forbidden: must be empty to be structural",
                "properties[a].not.nullable: Forbidden: must be false to be structural",
            ],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
            &["properties[b]: Required value: because it is defined in anyOf[0].properties[b]"],
        ),
        (
            field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
            &[
                "properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ],
        ),
        (
            field(json!({"x-kubernetes-int-or-string": true,
                "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^[0-9]+$"}]})),
            &[],
        ),
        (
            field(json!({"x-kubernetes-int-or-string": true, "oneOf": [{"type": "integer"}]})),
            &["properties[a].oneOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object",
                "properties": {"labels": {"type": "object"}}}}}),
            &[
                "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object",
                "properties": {"name": {"type": "string", "maxLength": 5}}},
                "kind": {"type": "integer"}}}),
            &[r#"properties[kind].type: Invalid value: "integer": must be string"#],
        ),
        (
            field(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            &[
                "properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            ],
        ),
    ];
    for (schema, expected) in table {
        assert_eq!(errors(&schema), expected, "{schema}");
    }
}

#[test]
fn lists_that_are_maps_name_scalars_that_are_there() {
    let list = |keys: Value, items: Value| {
        field(json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": keys, "items": items}))
    };
    let table: [(Value, &[&str]); 7] = [
        (
            list(
                json!(["k"]),
                json!({"type": "object", "properties": {"k": {"type": "string"}}}),
            ),
            &[
                "properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            list(
                json!(["k"]),
                json!({"type": "object", "required": ["k"], "properties": {}}),
            ),
            &[
                r#"properties[a].x-kubernetes-list-map-keys: Invalid value: ["k"]: entries must all be names of item properties"#,
            ],
        ),
        (
            list(json!([]), json!({"type": "object"})),
            &[
                "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ],
        ),
        (
            list(json!(["k"]), json!({"type": "string"})),
            &[
                r#"properties[a].items.type: Invalid value: "string": must be object if parent array's x-kubernetes-list-type is map"#,
            ],
        ),
        (
            field(json!({"type": "object", "x-kubernetes-list-type": "set"})),
            &[
                r#"properties[a].type: Invalid value: "object": must be array if x-kubernetes-list-type is specified"#,
            ],
        ),
        (
            field(
                json!({"type": "array", "x-kubernetes-list-type": "bag", "items": {"type": "string"}}),
            ),
            &[
                r#"properties[a].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map""#,
            ],
        ),
        (
            field(json!({"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "object", "x-kubernetes-map-type": "granular"}})),
            &[
                "properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
    ];
    for (schema, expected) in table {
        assert_eq!(errors(&schema), expected, "{schema}");
    }
}

#[test]
fn defaults_are_values_of_their_schemas() {
    let table: [(Value, &[&str]); 5] = [
        (
            field(json!({"type": "integer", "default": "x"})),
            // A message has the path below the default, and so none here.
            &[
                r#"properties[a].default: Invalid value: "string":  in body must be of type integer: "string""#,
            ],
        ),
        (
            field(json!({"type": "object", "default": {"b": 1}})),
            &[r#"properties[a].default: Invalid value: {"b":1}: must not have unknown fields"#],
        ),
        (
            field(json!({"type": "integer", "default": 0,
                "x-kubernetes-validations": [{"rule": "self > 0", "message": "too small"}]})),
            &["properties[a].default: Invalid value: 0: too small"],
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "string", "default": "K"}}}),
            &["properties[kind].default: Forbidden: must not be set in top-level kind"],
        ),
        (
            field(
                json!({"type": "object", "default": {"b": 1}, "properties": {"b": {"type": "integer"}}}),
            ),
            &[],
        ),
    ];
    for (schema, expected) in table {
        assert_eq!(errors(&schema), expected, "{schema}");
    }
}

#[test]
fn rules_are_read_when_the_schema_is() {
    let rule = |rule: Value| {
        field(json!({"type": "array", "items": {"type": "object",
            "properties": {"b": {"type": "string"}}, "x-kubernetes-validations": [rule]}}))
    };
    let at = "properties[a].items.x-kubernetes-validations[0]";
    let table = [
        (json!({"rule": "self.b != ''"}), None),
        (json!({"rule": " "}), Some("rule: Required value: rule is not specified".to_owned())),
        (
            json!({"rule": "true", "message": "a\nb"}),
            Some(r#"message: Invalid value: "a\nb": must not contain line breaks"#.to_owned()),
        ),
        (
            json!({"rule": "true\n&& true"}),
            Some("message: Required value: message must be specified if rule contains line breaks".to_owned()),
        ),
        (
            json!({"rule": "true", "reason": "Whim"}),
            Some(r#"reason: Unsupported value: "Whim": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired""#.to_owned()),
        ),
        (
            json!({"rule": "true", "fieldPath": ".c"}),
            Some(r#"fieldPath: Invalid value: ".c": must be a valid path"#.to_owned()),
        ),
        (
            json!({"rule": "self.b == oldSelf.b"}),
            Some(r#"rule: Invalid value: "self.b == oldSelf.b": oldSelf cannot be used on the uncorrelatable portion of the schema within properties[a]"#.to_owned()),
        ),
        (
            json!({"rule": "self.b == ''", "optionalOldSelf": true}),
            Some("optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule".to_owned()),
        ),
    ];
    for (json, expected) in table {
        let expected: Vec<_> = expected.iter().map(|text| format!("{at}.{text}")).collect();
        assert_eq!(errors(&rule(json.clone())), expected, "{json}");
    }
    let found = errors(&rule(json!({"rule": "self.b =="})));
    assert!(found[0].contains("compilation failed"), "{found:?}");
}
