//! Schemas in the words of OpenAPI v3, as a CustomResourceDefinition has them.

use apiserver::schema::{Kind, ListType, Ownership, Schema};
use serde_json::{Map, Value, json};

pub fn openapi(schema: &Schema) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    if schema.preserve_unknown_fields {
        put("x-kubernetes-preserve-unknown-fields", json!(true));
    }
    if schema.embedded_resource {
        put("x-kubernetes-embedded-resource", json!(true));
    }
    if let Some(default) = &schema.default {
        put("default", default.clone());
    }
    if let Some(format) = &schema.checks.format {
        put("format", json!(format));
    }
    match &schema.kind {
        Kind::Any => {}
        Kind::IntOrString => put("x-kubernetes-int-or-string", json!(true)),
        Kind::String => put("type", json!("string")),
        Kind::Integer => put("type", json!("integer")),
        Kind::Number => put("type", json!("number")),
        Kind::Boolean => put("type", json!("boolean")),
        Kind::Object {
            properties,
            additional,
            ownership,
            ..
        } => {
            put("type", json!("object"));
            if !properties.is_empty() {
                let properties = properties.iter();
                let properties: Map<_, _> = properties
                    .map(|(name, schema)| (name.clone(), openapi(schema)))
                    .collect();
                put("properties", Value::Object(properties));
            }
            if let Some(additional) = additional {
                put("additionalProperties", openapi(additional));
            }
            if *ownership == Ownership::Atomic {
                put("x-kubernetes-map-type", json!("atomic"));
            }
        }
        Kind::List { items, list } => {
            put("type", json!("array"));
            put("items", openapi(items));
            match list {
                ListType::Atomic => put("x-kubernetes-list-type", json!("atomic")),
                ListType::Set => put("x-kubernetes-list-type", json!("set")),
                ListType::Map(keys) => {
                    put("x-kubernetes-list-type", json!("map"));
                    put("x-kubernetes-list-map-keys", json!(keys));
                }
            }
        }
    }
    Value::Object(out)
}
