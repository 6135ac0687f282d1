//! The definition of a resource, for a server that does not know it.

use super::GROUP;
use crate::registry::{Column, Resource, Version};
use serde_json::{Map, Value, json};

/// The CustomResourceDefinition that makes another API server serve the same kind. What hooks do is
/// not in it, nor is what columns compute.
#[must_use]
pub fn definition(resource: &Resource) -> Value {
    let versions: Vec<Value> = resource
        .versions
        .iter()
        .map(|each| version(each, each.name == resource.storage))
        .collect();
    let mut names = json!({
        "plural": resource.plural, "singular": resource.singular,
        "kind": resource.kind, "listKind": resource.list_kind,
    });
    for (field, words) in [
        ("shortNames", &resource.short_names),
        ("categories", &resource.categories),
    ] {
        if !words.is_empty() {
            names[field] = json!(words);
        }
    }
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", resource.plural, resource.group)},
        "spec": {
            "group": resource.group,
            "names": names,
            "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
            "versions": versions,
        },
    })
}

fn version(version: &Version, storage: bool) -> Value {
    let mut value = json!({
        "name": version.name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": version.schema.to_json()},
    });
    let mut subresources = Map::new();
    if version.status {
        subresources.insert("status".into(), json!({}));
    }
    if let Some(scale) = &version.scale {
        let mut paths = json!({
            "specReplicasPath": scale.spec_replicas, "statusReplicasPath": scale.status_replicas,
        });
        if let Some(selector) = &scale.selector {
            paths["labelSelectorPath"] = selector.as_str().into();
        }
        subresources.insert("scale".into(), paths);
    }
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    let columns: Vec<Value> = version
        .printer
        .columns()
        .iter()
        .filter(|column| !column.path.is_empty())
        .map(column)
        .collect();
    if !columns.is_empty() {
        value["additionalPrinterColumns"] = columns.into();
    }
    if !version.selectable.is_empty() {
        let fields = version
            .selectable
            .iter()
            .map(|path| json!({"jsonPath": format!(".{path}")}));
        value["selectableFields"] = fields.collect();
    }
    if let Some(warning) = &version.deprecation {
        value["deprecated"] = true.into();
        value["deprecationWarning"] = warning.as_str().into();
    }
    value
}

fn column(column: &Column) -> Value {
    let mut value = json!({"name": column.name, "type": column.kind, "jsonPath": column.path});
    for (field, text) in [
        ("format", &column.format),
        ("description", &column.description),
    ] {
        if !text.is_empty() {
            value[field] = text.as_str().into();
        }
    }
    if column.priority != 0 {
        value["priority"] = column.priority.into();
    }
    value
}
