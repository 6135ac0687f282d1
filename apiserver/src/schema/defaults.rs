//! Absent values take their defaults.

use serde_json::Value;

use super::{Kind, Schema};

/// Sets the defaults of `schema` in `value`, at every level where an object is there to hold them.
///
/// A field that is `null` and may not be counts as absent: it takes its default, or is dropped.
pub fn set_defaults(schema: &Schema, value: &mut Value) {
    drop_nulls(schema, value);
    fill(schema, value);
}

fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|name, field| {
            let Some(schema) = schema.field(name) else {
                return true;
            };
            if field.is_null() && !schema.nullable && schema.default.is_none() {
                return false;
            }
            drop_nulls(schema, field);
            true
        }),
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                for item in items {
                    drop_nulls(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn fill(schema: &Schema, value: &mut Value) {
    match (value, &schema.kind) {
        (Value::Object(fields), Kind::Object { properties, .. }) => {
            for (name, schema) in properties {
                let Some(default) = &schema.default else {
                    continue;
                };
                match fields.get_mut(name) {
                    Some(field) => fill_null(schema, field),
                    None => {
                        fields.insert(name.clone(), default.clone());
                    }
                }
            }
            for (name, field) in fields.iter_mut() {
                if let Some(schema) = schema.field(name) {
                    fill_null(schema, field);
                    fill(schema, field);
                }
            }
        }
        (Value::Array(list), Kind::List { items, .. }) => {
            for item in list {
                fill_null(items, item);
                fill(items, item);
            }
        }
        _ => {}
    }
}

fn fill_null(schema: &Schema, value: &mut Value) {
    if let (true, false, Some(default)) = (value.is_null(), schema.nullable, &schema.default) {
        *value = default.clone();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_set_wherever_an_object_holds_them() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {
            "n": {"type": "integer", "default": 3},
            "nullable": {"type": "string", "nullable": true, "default": "x"},
            "plain": {"type": "string"},
            "nested": {"type": "object", "default": {}, "properties": {
                "deep": {"type": "string", "default": "d"}}},
            "absent": {"type": "object", "properties": {
                "deep": {"type": "string", "default": "d"}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {
                "p": {"type": "string", "default": "TCP"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {
                "p": {"type": "string", "default": "TCP"}}}}
        }}}}))
        .unwrap();
        let table = [
            (json!({}), json!({})),
            (
                json!({"spec": {}}),
                json!({"spec": {"n": 3, "nullable": "x", "nested": {"deep": "d"}}}),
            ),
            (
                json!({"spec": {"n": null, "nullable": null, "plain": null, "nested": {"deep": null},
                    "list": [{}, {"p": "UDP"}, {"p": null}], "map": {"k": {}, "gone": null}}}),
                json!({"spec": {"n": 3, "nullable": null, "nested": {"deep": "d"},
                    "list": [{"p": "TCP"}, {"p": "UDP"}, {"p": "TCP"}], "map": {"k": {"p": "TCP"}}}}),
            ),
            (json!({"spec": "no object"}), json!({"spec": "no object"})),
        ];
        for (mut value, expected) in table {
            set_defaults(&schema, &mut value);
            assert_eq!(value, expected);
            set_defaults(&schema, &mut value);
            assert_eq!(value, expected, "set again");
        }
    }
}
