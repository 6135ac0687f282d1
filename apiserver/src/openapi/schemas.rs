//! The schemas of a kind and of its lists.

use crate::registry::{Resource, Version};
use crate::upstream::{self, REFERENCE, SCALE, meta};
use serde_json::{Map, Value, json};

/// What says of which kind an object is.
const TYPE_META: [&str; 2] = ["apiVersion", "kind"];

/// Adds the schemas of a kind and of its lists, and those that they refer to.
pub(super) fn add(resource: &Resource, version: &Version, schemas: &mut Map<String, Value>) {
    let name = |kind: &str| resource.type_name(&version.name, kind);
    let (object, objects) = (name(&resource.kind), name(&resource.list_kind));
    if resource.built_in {
        upstream::collect(&object, schemas);
        upstream::collect(&objects, schemas);
        return;
    }
    schemas.insert(object, kind(resource, version));
    schemas.insert(objects, list(resource, version));
}

/// Adds the schemas that every document has.
pub(super) fn add_common(schemas: &mut Map<String, Value>) {
    for name in ["ObjectMeta", "ListMeta", "Status", "DeleteOptions", "Patch"] {
        upstream::collect(&meta(name), schemas);
    }
    upstream::collect(SCALE, schemas);
}

/// The schema of the objects of a kind.
fn kind(resource: &Resource, version: &Version) -> Value {
    let mut schema = match version.schema.to_json() {
        Value::Object(words) => words,
        _ => Map::new(),
    };
    schema.insert("type".into(), "object".into());
    publish(&mut schema);
    add_object_fields(&mut schema);
    identify(&mut schema, resource, version, &resource.kind);
    schema.into()
}

/// The schema of a list of them.
fn list(resource: &Resource, version: &Version) -> Value {
    let item = resource.type_name(&version.name, &resource.kind);
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("required".into(), json!(["items"]));
    let description = format!("{} is a list of {}", resource.list_kind, resource.kind);
    schema.insert("description".into(), description.into());
    let mut properties = type_meta();
    let description = format!(
        "List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
        resource.plural
    );
    properties.insert(
        "items".into(),
        json!({"type": "array", "description": description, "items": reference(&item)}),
    );
    let description = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
    properties.insert(
        "metadata".into(),
        described_reference(&meta("ListMeta"), description),
    );
    schema.insert("properties".into(), properties.into());
    identify(&mut schema, resource, version, &resource.list_kind);
    schema.into()
}

/// A reference to a schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{name}")})
}

/// Nothing may stand beside a reference, so that it is put into a list of one.
fn described_reference(name: &str, description: &str) -> Value {
    json!({"allOf": [reference(name)], "description": description})
}

/// Says of which kind a schema is.
fn identify(schema: &mut Map<String, Value>, resource: &Resource, version: &Version, kind: &str) {
    let gvk = json!([{"group": resource.group, "version": version.name, "kind": kind}]);
    schema.insert("x-kubernetes-group-version-kind".into(), gvk);
    if !version.selectable.is_empty() {
        let fields = version.selectable.iter();
        let fields: Vec<_> = fields.map(|path| json!({"fieldPath": path})).collect();
        schema.insert("x-kubernetes-selectable-fields".into(), fields.into());
    }
}

/// Says what is meant where a keyword of Kubernetes does.
fn publish(schema: &mut Map<String, Value>) {
    let is = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    if is("x-kubernetes-int-or-string") && !schema.contains_key("anyOf") {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        schema.insert("anyOf".into(), either);
    }
    for_each_part(schema, publish);
    if schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        add_object_fields(schema);
        let required = schema.entry("required").or_insert_with(|| json!([]));
        let required = required.as_array_mut().into_iter();
        required.for_each(|names| {
            let missing = TYPE_META
                .into_iter()
                .filter(|name| !names.contains(&json!(name)));
            let missing: Vec<_> = missing.map(Value::from).collect();
            names.extend(missing);
        });
    }
}

/// Every object of the API has these.
fn add_object_fields(schema: &mut Map<String, Value>) {
    let properties = schema
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    let Some(properties) = properties.as_object_mut() else {
        return;
    };
    properties.append(&mut type_meta());
    let description = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
    properties.insert(
        "metadata".into(),
        described_reference(&meta("ObjectMeta"), description),
    );
}

fn type_meta() -> Map<String, Value> {
    let status = upstream::definition(&meta("Status"));
    let fields = TYPE_META.iter();
    let described = fields.filter_map(|name| {
        let field = status?.get("properties")?.get(name)?;
        Some(((*name).to_owned(), field.clone()))
    });
    described.collect()
}

/// Does something to the schemas right below one.
pub(super) fn for_each_part(
    schema: &mut Map<String, Value>,
    mut change: impl FnMut(&mut Map<String, Value>) + Copy,
) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            change(property);
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(Value::Object(part)) = schema.get_mut(name) {
            change(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_of_kubernetes_are_spelled_out() {
        let mut schema = json!({"properties": {
            "port": {"x-kubernetes-int-or-string": true},
            "template": {
                "type": "object", "x-kubernetes-embedded-resource": true,
                "required": ["kind", "spec"], "properties": {"spec": {"type": "object"}},
                "x-kubernetes-validations": [{"rule": "true"}],
            },
        }});
        publish(schema.as_object_mut().unwrap());
        let port = &schema["properties"]["port"];
        assert_eq!(
            port["anyOf"],
            json!([{"type": "integer"}, {"type": "string"}])
        );
        let template = &schema["properties"]["template"];
        assert_eq!(template["required"], json!(["kind", "spec", "apiVersion"]));
        assert_eq!(template["properties"]["apiVersion"]["type"], "string");
        let rules = &template["x-kubernetes-validations"];
        assert_eq!(*rules, json!([{"rule": "true"}]));
    }
}
