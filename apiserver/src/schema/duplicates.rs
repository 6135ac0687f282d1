//! Lists that are sets or maps hold nothing twice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::notation::json;
use super::path::{child, index, key};
use super::{FieldError, Kind, ListType, MAX_ERRORS, Schema};

/// One error for each value or key that a set or map in `value` has more than once, at its second
/// place.
pub(super) fn check(schema: &Schema, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    match (value, &schema.kind) {
        (
            Value::Object(fields),
            Kind::Object {
                properties,
                additional,
                ..
            },
        ) => {
            for (name, field) in fields {
                // A named field is checked as one of the others too, as in kube-apiserver.
                if let Some(schema) = additional {
                    check(schema, field, &key(path, name), errors);
                }
                if let Some(schema) = properties.get(name) {
                    check(schema, field, &child(path, name), errors);
                }
            }
        }
        (
            Value::Array(list),
            Kind::List {
                items,
                list: list_type,
            },
        ) => {
            match list_type {
                ListType::Atomic => {}
                ListType::Set => {
                    let texts = list.iter().map(json);
                    for at in repeated(texts).into_iter().take(MAX_ERRORS) {
                        errors.push(FieldError::duplicate(index(path, at), list[at].clone()));
                    }
                }
                ListType::Map(keys) => check_map(keys, list, path, errors),
            }
            for (at, item) in list.iter().enumerate() {
                check(items, item, &index(path, at), errors);
            }
        }
        _ => {}
    }
}

fn check_map(keys: &[String], list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let odd = list
        .iter()
        .position(|item| !item.is_object() && !item.is_null());
    if let Some(at) = odd {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(
            index(path, at),
            list[at].clone(),
            detail,
        ));
        return;
    }
    let values: Vec<_> = list.iter().map(|item| key_values(keys, item)).collect();
    for at in repeated(values.iter().map(json))
        .into_iter()
        .take(MAX_ERRORS)
    {
        errors.push(FieldError::duplicate(index(path, at), values[at].clone()));
    }
}

/// The fields that tell an item of a map apart.
fn key_values(keys: &[String], item: &Value) -> Value {
    let mut values = Map::new();
    for key in keys {
        if let Some(value) = item.get(key) {
            values.insert(key.clone(), value.clone());
        }
    }
    Value::Object(values)
}

/// Where texts are found for the second time.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut second = Vec::new();
    for (at, text) in texts.enumerate() {
        let times = seen.entry(text).or_default();
        *times += 1;
        if *times == 2 {
            second.push(at);
        }
    }
    second
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_and_maps_hold_nothing_twice() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}}}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {"type": "object", "required": ["port"], "properties": {
                    "port": {"type": "integer"},
                    "protocol": {"type": "string", "default": "TCP"}}}},
            "sets": {"type": "object", "additionalProperties": {
                "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}}
        }}))
        .unwrap();
        let table: [(Value, &[&str]); 6] = [
            (
                json!({"set": ["a", "b"], "map": [{"name": "a"}, {"name": "b"}]}),
                &[],
            ),
            (
                json!({"set": ["a", "b", "a", "a", "b"]}),
                &[
                    r#"set[2]: Duplicate value: "a""#,
                    r#"set[4]: Duplicate value: "b""#,
                ],
            ),
            (
                json!({"map": [{"name": "a"}, {"name": "a", "x": 1}]}),
                &[r#"map[1]: Duplicate value: {"name":"a"}"#],
            ),
            (
                json!({"ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"},
                    {"port": 1, "protocol": "UDP"}]}),
                &[r#"ports[2]: Duplicate value: {"port":1,"protocol":"UDP"}"#],
            ),
            (
                json!({"map": ["a"]}),
                &[r#"map[0]: Invalid value: "a": must be an object for an array of list-type map"#],
            ),
            (
                json!({"sets": {"k": [1, 1]}}),
                &["sets[k][1]: Duplicate value: 1"],
            ),
        ];
        for (value, expected) in table {
            let mut errors = Vec::new();
            check(&schema, &value, "", &mut errors);
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected, "{value}");
        }
    }
}
