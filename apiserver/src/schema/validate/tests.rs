use serde_json::json;

use super::*;

fn texts(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut texts: Vec<_> = validate(schema, new, old)
        .iter()
        .map(ToString::to_string)
        .collect();
    texts.sort();
    texts
}

/// What is said of a field `a` with this schema and value.
fn of_field(schema: &Value, value: &Value) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"a": schema}});
    texts(&Schema::parse(&schema).unwrap(), &json!({"a": value}), None)
}

/// Schema of a field `a`, its value, and what is said of it.
type Row = (Value, Value, &'static [&'static str]);

fn check_table(table: &[Row]) {
    for (schema, value, expected) in table {
        assert_eq!(of_field(schema, value), *expected, "{schema} {value}");
    }
}

#[test]
fn types_are_told_apart() {
    check_table(&[
        (json!({"type": "integer"}), json!(3), &[]),
        (json!({"type": "integer"}), json!(3.0), &[]),
        (
            json!({"type": "integer"}),
            json!(3.5),
            &[r#"a: Invalid value: "number": a in body must be of type integer: "number""#],
        ),
        (
            json!({"type": "integer"}),
            json!("3"),
            &[r#"a: Invalid value: "string": a in body must be of type integer: "string""#],
        ),
        (json!({"type": "number"}), json!(3), &[]),
        (
            json!({"type": "boolean"}),
            json!(null),
            &[r#"a: Invalid value: "null": a in body must be of type boolean: "null""#],
        ),
        (
            json!({"type": "boolean", "nullable": true}),
            json!(null),
            &[],
        ),
        (
            json!({"type": "object"}),
            json!([]),
            &[r#"a: Invalid value: "array": a in body must be of type object: "array""#],
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("80%"),
            &[],
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!(80), &[]),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &[
                r#"a: Invalid value: "boolean": a in body must be of type integer,string: "boolean""#,
            ],
        ),
        (
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!([1]),
            &[],
        ),
        (
            json!({"type": "string", "format": "date"}),
            json!(5),
            &[r#"a: Invalid value: "int64": a in body must be of type date: "int64""#],
        ),
    ]);
}

#[test]
fn numbers_have_bounds() {
    check_table(&[
        (json!({"type": "integer", "maximum": 10}), json!(10), &[]),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(11),
            &["a: Invalid value: 11: a in body should be less than or equal to 10"],
        ),
        (
            json!({"type": "integer", "maximum": 10, "exclusiveMaximum": true}),
            json!(10),
            &["a: Invalid value: 10: a in body should be less than 10"],
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            &["a: Invalid value: 0: a in body should be greater than or equal to 1"],
        ),
        (
            json!({"type": "number", "minimum": 0.5, "exclusiveMinimum": true}),
            json!(0.5),
            &["a: Invalid value: 0.5: a in body should be greater than 0.5"],
        ),
        // Bounds of integers are cut.
        (json!({"type": "integer", "minimum": 0.5}), json!(0), &[]),
        (json!({"type": "integer", "minimum": 0}), json!(-0.0), &[]),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            &["a: Invalid value: 7: a in body should be a multiple of 5"],
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.3),
            &[],
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.35),
            &["a: Invalid value: 0.35: a in body should be a multiple of 0.1"],
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(5_000_000_000_i64),
            &[],
        ),
    ]);
}

#[test]
fn strings_have_lengths_patterns_and_formats() {
    check_table(&[
        (json!({"type": "string", "maxLength": 2}), json!("éé"), &[]),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            &["a: Too long: may not be more than 2 bytes"],
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("é"),
            &[r#"a: Invalid value: "é": a in body should be at least 2 chars long"#],
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            &[r#"a: Invalid value: "b": a in body should match '^a+$'"#],
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("today"),
            &[r#"a: Invalid value: "today": a in body must be of type date-time: "today""#],
        ),
        (
            json!({"type": "string", "format": "unheard-of"}),
            json!("x"),
            &[],
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            &[r#"a: Unsupported value: "c": supported values: "a", "b""#],
        ),
        (
            json!({"type": "string", "nullable": true, "enum": ["a"]}),
            json!(null),
            &[r#"a: Unsupported value: null: supported values: "a""#],
        ),
    ]);
}

#[test]
fn lists_and_objects_have_sizes() {
    check_table(&[
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            &["a: Too many: 2: must have at most 1 item"],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            &["a: Invalid value: 0: a in body should have at least 1 items"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}),
            json!({"a": "", "b": ""}),
            &["a: Too many: 2: must have at most 1 item"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
            json!({}),
            &["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (
            json!({"type": "object", "required": ["x", "y"], "properties": {"x": {"type": "string"}}}),
            json!({"x": 1}),
            &[
                r#"a.x: Invalid value: "integer": a.x in body must be of type string: "integer""#,
                "a.y: Required value",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "integer"}}}),
            json!([{"k": 1}, {"k": "x"}]),
            &[
                r#"a[1].k: Invalid value: "string": a[1].k in body must be of type integer: "string""#,
            ],
        ),
    ]);
}

#[test]
fn clauses_hold_together() {
    let schema = |clauses: Value| {
        let mut schema = json!({"type": "object", "properties": {"x": {"type": "integer"},
            "y": {"type": "integer"}}});
        if let (Some(words), Some(clauses)) = (schema.as_object_mut(), clauses.as_object()) {
            words.extend(clauses.clone());
        }
        schema
    };
    check_table(&[
        (
            schema(json!({"anyOf": [{"required": ["x"]}, {"required": ["y"]}]})),
            json!({"x": 1}),
            &[],
        ),
        (
            schema(json!({"anyOf": [{"required": ["x"]}, {"required": ["y"]}]})),
            json!({}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)"#,
                "a.x: Required value",
            ],
        ),
        (
            schema(json!({"oneOf": [{"required": ["x"]}, {"required": ["y"]}]})),
            json!({"x": 1, "y": 1}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        ),
        (
            schema(json!({"oneOf": [{"required": ["x"]}, {"required": ["y"]}]})),
            json!({}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid"#,
                "a.x: Required value",
            ],
        ),
        (
            schema(json!({"allOf": [{"required": ["x"]}, {"properties": {"x": {"minimum": 1}}}]})),
            json!({"x": 0}),
            &[
                r#"<nil>: Invalid value: "": "a" must validate all the schemas (allOf)"#,
                "a.x: Invalid value: 0: a.x in body should be greater than or equal to 1",
            ],
        ),
        (
            schema(json!({"not": {"required": ["x"]}})),
            json!({"x": 1}),
            &[r#"<nil>: Invalid value: "": "a" must not validate the schema (not)"#],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!(true),
            &[
                r#"<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)"#,
                r#"a: Invalid value: "boolean": a in body must be of type integer,string: "boolean""#,
                r#"a: Invalid value: "boolean": a in body must be of type integer: "boolean""#,
            ],
        ),
    ]);
}

#[test]
fn the_root_has_no_name() {
    let schema = Schema::parse(&json!({"type": "object", "required": ["spec"],
        "properties": {"spec": {"type": "object"}}, "maxProperties": 1}))
    .unwrap();
    assert_eq!(texts(&schema, &json!({}), None), ["spec: Required value"]);
    assert_eq!(
        texts(&schema, &json!("x"), None),
        [r#"<nil>: Invalid value: "string":  in body must be of type object: "string""#]
    );
}

#[test]
fn what_an_update_leaves_as_it_was_is_let_pass() {
    let schema = Schema::parse(&json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string", "maxLength": 1},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {
                "k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "list": {"type": "array", "items": {"type": "integer", "maximum": 1}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}}}))
    .unwrap();
    let old =
        json!({"a": "long", "b": "x", "map": [{"k": "1", "v": 5}], "list": [5], "set": [1, 1]});
    let table: [(Value, &[&str]); 6] = [
        (old.clone(), &[]),
        (json!({"a": "long", "b": "y"}), &[]),
        (
            json!({"a": "longer"}),
            &["a: Too long: may not be more than 1 byte"],
        ),
        (
            json!({"map": [{"k": "0", "v": 0}, {"k": "1", "v": 5}], "list": [5]}),
            &[],
        ),
        (
            json!({"map": [{"k": "0", "v": 5}], "list": [5, 1]}),
            &[
                "list[0]: Invalid value: 5: list[0] in body should be less than or equal to 1",
                "map[0].v: Invalid value: 5: map[0].v in body should be less than or equal to 1",
            ],
        ),
        (json!({"set": [2, 2]}), &[]),
    ];
    for (new, expected) in table {
        assert_eq!(texts(&schema, &new, Some(&old)), expected, "{new}");
    }
    assert_eq!(
        texts(&schema, &json!({"set": [2, 2]}), None),
        ["set[1]: Duplicate value: 2"]
    );
}
