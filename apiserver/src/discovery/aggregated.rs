//! Everything in one answer.

use super::{of_version, ordered, remove, subresources, verbs};
use crate::registry::{Registry, Resource, Version};
use serde_json::{Value, json};

/// `/apis` and `/api` in one answer, as `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`.
/// `core`: for the core group alone, otherwise for all others.
#[must_use]
pub fn aggregated(registry: &Registry, core: bool) -> Value {
    let groups = ordered(registry);
    let wanted = groups.iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = wanted
        .map(|(group, versions)| {
            let versions = versions.iter().map(|version| {
                let resources = of_version(registry, group, version);
                let resources: Vec<Value> = resources
                    .map(|(resource, version)| discovered(resource, version))
                    .collect();
                json!({"version": version, "freshness": "Current", "resources": resources})
            });
            let versions: Vec<Value> = versions.collect();
            let meta = match group.as_str() {
                "" => json!({}),
                group => json!({"name": group}),
            };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

fn discovered(resource: &Resource, version: &Version) -> Value {
    let scope = match resource.namespaced {
        true => "Namespaced",
        false => "Cluster",
    };
    // Of its own kinds upstream leaves out what the list says anyway.
    let (group, of_version) = match resource.built_in {
        true => ("", ""),
        false => (resource.group.as_str(), version.name.as_str()),
    };
    let subresources: Vec<Value> = subresources(resource, version)
        .into_iter()
        .map(|part| {
            json!({
                "subresource": part.name, "verbs": part.verbs,
                "responseKind": {
                    "group": part.group.unwrap_or(group),
                    "version": part.version.unwrap_or(of_version),
                    "kind": part.kind,
                },
            })
        })
        .collect();
    let mut value = json!({
        "resource": resource.plural, "singularResource": resource.singular, "scope": scope,
        "responseKind": {
            "group": group, "version": of_version, "kind": resource.kind,
        },
        "verbs": verbs(resource), "shortNames": resource.short_names,
        "categories": resource.categories, "subresources": subresources,
    });
    for field in ["shortNames", "categories", "subresources"] {
        if value[field].as_array().is_some_and(Vec::is_empty) {
            remove(&mut value, &[field]);
        }
    }
    value
}
