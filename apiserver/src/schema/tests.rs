//! What holds for all schemas and values.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Any JSON, of names and values that schemas speak of.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from),
        "\\PC{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("c".to_owned()),
        Just("metadata".to_owned()),
        Just("kind".to_owned()),
        Just("apiVersion".to_owned()),
        "[a-z.]{0,4}",
    ]
}

/// JSON that looks like a schema, with keywords in right and in wrong places.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "default": "x"})),
        Just(json!({"type": "string", "enum": ["a", "b"], "nullable": true})),
        Just(json!({"type": "string", "pattern": "^a*$", "maxLength": 2, "format": "date"})),
        Just(json!({"type": "integer", "default": 3, "minimum": -2, "maximum": 4.5})),
        Just(json!({"type": "integer", "default": "wrong"})),
        Just(json!({"type": "number", "multipleOf": 0.5, "exclusiveMinimum": true, "minimum": 0})),
        Just(json!({"type": "boolean", "default": false})),
        Just(json!({"x-kubernetes-int-or-string": true, "default": 80})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
        Just(json!({"type": "object", "additionalProperties": true, "maxProperties": 2})),
        Just(
            json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true})
        ),
        Just(json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]})),
        Just(json!({"not": {"required": ["a"]}})),
        any_value(),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            (
                prop::collection::btree_map(name(), inner.clone(), 0..4),
                any::<bool>(),
                prop::option::of(inner.clone())
            )
                .prop_map(|(properties, preserve, default)| {
                    let mut schema = json!({"type": "object", "properties": properties,
                        "required": ["a"], "anyOf": [{"required": ["b"]}, {"minProperties": 1}]});
                    if preserve {
                        schema["x-kubernetes-preserve-unknown-fields"] = true.into();
                    }
                    if default.is_some() {
                        schema["default"] = json!({"a": {}});
                    }
                    schema
                }),
            inner
                .clone()
                .prop_map(|field| json!({"type": "object", "additionalProperties": field})),
            (inner, prop_oneof![Just("set"), Just("map"), Just("atomic")]).prop_map(
                |(items, list)| {
                    let mut schema = json!({"type": "array", "items": items, "maxItems": 3,
                        "x-kubernetes-list-type": list});
                    if list == "map" {
                        schema["x-kubernetes-list-map-keys"] = json!(["a"]);
                    }
                    schema
                }
            ),
        ]
    })
}

/// A schema that is taken, with a little of everything.
fn taken() -> Schema {
    Schema::parse(&json!({"type": "object", "properties": {
        "a": {"type": "object", "default": {}, "properties": {
            "a": {"type": "integer", "default": 3, "minimum": 1},
            "b": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "c": {"type": "array", "items": {"type": "object", "properties": {
                "a": {"type": "boolean", "default": true}}}}}},
        "b": {"type": "object", "additionalProperties": {"type": "string", "format": "date"}},
        "c": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
            "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"},
                "b": {"x-kubernetes-preserve-unknown-fields": true}}}},
        "kind": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "has(self.a) || size(self.c) > 0"}]}))
    .unwrap()
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_done_stays_done(json in any_schema(), value in any_value(), old in any_value()) {
        let schema = match Schema::parse(&json) {
            Ok(schema) => schema,
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                let _ = Schema::from_schemars(&json);
                return Ok(());
            }
        };
        check_all(&schema, value, &old)?;
    }

    #[test]
    fn a_taken_schema_does_its_work_once(value in any_value(), old in any_value()) {
        check_all(&taken(), value, &old)?;
    }
}

fn check_all(schema: &Schema, mut value: Value, old: &Value) -> Result<(), TestCaseError> {
    let _ = validate(schema, &value, Some(old));
    prune(schema, &mut value, Extent::Resource);
    let pruned = value.clone();
    prop_assert!(prune(schema, &mut value, Extent::Resource).is_empty());
    prop_assert_eq!(&value, &pruned);
    set_defaults(schema, &mut value);
    let defaulted = value.clone();
    set_defaults(schema, &mut value);
    prop_assert_eq!(&value, &defaulted);
    let _ = validate(schema, &value, None);
    prop_assert!(check_unchanged_passes(schema, &value));
    let again = Schema::parse(&schema.to_json());
    prop_assert_eq!(again.as_ref(), Ok(schema));
    Ok(())
}

/// What stays as it was is let pass, but for embedded resources, which always count.
fn check_unchanged_passes(schema: &Schema, value: &Value) -> bool {
    validate(schema, value, Some(value)).iter().all(|error| {
        error.path.ends_with("apiVersion")
            || error.path.ends_with("kind")
            || error.path.ends_with("metadata")
            // An expression that fails is not let pass.
            || error.detail.contains("rule")
    })
}

#[test]
fn defaults_that_were_checked_are_valid() {
    let schema = taken();
    let mut value = json!({"a": {}});
    set_defaults(&schema, &mut value);
    assert_eq!(value, json!({"a": {"a": 3, "b": "a"}}));
    assert!(validate(&schema, &value, None).is_empty());
}

#[test]
fn schemas_that_nest_too_deep_are_refused() {
    let nest = |levels: usize| {
        (0..levels).fold(
            json!({"type": "string"}),
            |inner, _| json!({"type": "object", "properties": {"a": inner}}),
        )
    };
    assert!(Schema::parse(&nest(MAX_DEPTH)).is_ok());
    let errors = Schema::parse(&nest(MAX_DEPTH + 1)).unwrap_err();
    assert!(
        errors[0].detail.contains("must not nest deeper"),
        "{errors:?}"
    );
    let nots = (0..200).fold(json!({}), |inner, _| json!({"not": inner}));
    let schema = json!({"type": "object", "not": nots});
    assert!(Schema::parse(&schema).is_err());
}
