//! OpenAPI v2: all kinds in one document, made of the parts of version 3.

use super::INFO;
use super::schemas::{add_common, for_each_part};
use super::v3::Parts;
use crate::registry::Registry;
use crate::upstream::REFERENCE;
use serde_json::{Map, Value, json};

/// The document.
pub(super) fn document(registry: &Registry) -> Value {
    let mut definitions = Map::new();
    add_common(&mut definitions);
    let mut paths = Map::new();
    for (_, mut parts) in Parts::of(registry) {
        definitions.append(&mut parts.schemas);
        paths.append(&mut parts.paths);
    }
    for definition in definitions.values_mut().filter_map(Value::as_object_mut) {
        convert_root(definition);
    }
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for (name, part) in item.iter_mut() {
            match name.as_str() {
                "parameters" => convert_parameters(part),
                _ => convert_operation(part),
            }
        }
    }
    json!({"swagger": "2.0", "info": *INFO, "paths": paths, "definitions": definitions})
}

/// Of a kind that keeps unknown fields nothing is said, as kubectl would refuse what is not named.
fn convert_root(schema: &mut Map<String, Value>) {
    if is(schema, "x-kubernetes-preserve-unknown-fields") {
        schema.retain(|name, _| name == "x-kubernetes-group-version-kind");
    } else {
        convert(schema);
    }
    // An array or a scalar stays what it is.
    schema.entry("type").or_insert_with(|| "object".into());
}

/// Leaves out what version 2 does not know, and what kubectl does not understand beside it.
fn convert(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(all)) = schema.get("allOf")
        && let Some(reference) = all.first().and_then(|one| one.get("$ref")).cloned()
    {
        schema.insert("$ref".into(), reference);
        // Beside a reference only the description counts.
        schema.retain(|name, _| name == "$ref" || name == "description");
    }
    if let Some(Value::String(reference)) = schema.get_mut("$ref") {
        *reference = reference.replacen(REFERENCE, "#/definitions/", 1);
    }
    for name in ["allOf", "anyOf", "oneOf", "not"] {
        schema.remove(name);
    }
    let open = is(schema, "x-kubernetes-preserve-unknown-fields");
    if is(schema, "nullable") || open {
        for name in ["type", "items", "properties"] {
            schema.remove(name);
        }
    }
    drop_nullable_from_required(schema);
    schema.remove("nullable");
    if schema.get("type").is_some_and(|name| name == "array") && !schema.contains_key("items") {
        schema.remove("type");
    }
    for_each_part(schema, convert);
}

fn drop_nullable_from_required(schema: &mut Map<String, Value>) {
    let Some(Value::Array(mut required)) = schema.remove("required") else {
        return;
    };
    required.retain(|name| {
        let name = name.as_str().unwrap_or_default();
        let property = schema.get("properties").and_then(|all| all.get(name));
        property.and_then(|property| property.get("nullable")) != Some(&Value::Bool(true))
    });
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
}

fn is(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

/// Bodies become parameters, and media types lists of their own.
fn convert_operation(operation: &mut Value) {
    let Some(fields) = operation.as_object_mut() else {
        return;
    };
    let mut consumes = json!(["*/*"]);
    let mut parameters = Vec::new();
    if let Some(body) = fields.remove("requestBody") {
        let content = body["content"].as_object();
        let types = content.into_iter().flat_map(Map::keys);
        consumes = types.map(|name| Value::from(name.as_str())).collect();
        let schema = content.and_then(|content| content.values().next());
        let schema = schema.map(|media| converted(&media["schema"]));
        let mut parameter = json!({"in": "body", "name": "body", "schema": schema});
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        parameters.push(parameter);
    }
    if let Some(mut others) = fields.remove("parameters") {
        convert_parameters(&mut others);
        parameters.extend(others.as_array().into_iter().flatten().cloned());
    }
    let mut produces = Value::Array(Vec::new());
    if let Some(Value::Object(responses)) = fields.get_mut("responses") {
        for response in responses.values_mut() {
            let content = response.get_mut("content").map(Value::take);
            let Some(Value::Object(content)) = content else {
                continue;
            };
            produces = content
                .keys()
                .map(|name| Value::from(name.as_str()))
                .collect();
            let schema = content
                .values()
                .next()
                .map(|media| converted(&media["schema"]));
            *response = json!({"description": response["description"], "schema": schema});
        }
    }
    fields.insert("consumes".into(), consumes);
    fields.insert("produces".into(), produces);
    fields.insert("schemes".into(), json!(["https"]));
    if !parameters.is_empty() {
        fields.insert("parameters".into(), parameters.into());
    }
}

/// What a parameter is stands beside its name.
fn convert_parameters(parameters: &mut Value) {
    let parameters = parameters.as_array_mut().into_iter().flatten();
    for parameter in parameters.filter_map(Value::as_object_mut) {
        if let Some(Value::Object(mut schema)) = parameter.remove("schema") {
            parameter.append(&mut schema);
        }
    }
}

fn converted(schema: &Value) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    convert(&mut schema);
    schema.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_version_2_cannot_say_is_left_out() {
        let schema = json!({
            "type": "object", "required": ["maybe", "name"],
            "properties": {
                "maybe": {"type": "string", "nullable": true},
                "name": {"type": "string", "anyOf": [{"pattern": "a"}]},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"a": {"type": "string"}}},
                "metadata": {"default": {}, "description": "text",
                    "allOf": [{"$ref": "#/components/schemas/Meta"}]},
            },
        });
        let expected = json!({
            "type": "object", "required": ["name"],
            "properties": {
                "maybe": {},
                "name": {"type": "string"},
                "open": {"x-kubernetes-preserve-unknown-fields": true},
                "metadata": {"$ref": "#/definitions/Meta", "description": "text"},
            },
        });
        assert_eq!(converted(&schema), expected);
    }
}
