//! What a server has: groups, versions, resources and their verbs, in the plain form and in the
//! aggregated one that clients prefer.

mod aggregated;

pub use aggregated::aggregated;

use crate::builtin;
use crate::crd;
use crate::namespaces;
use crate::registry::{Registry, Resource, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// The verbs of a resource.
const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The same as upstream lists them for kinds that are not its own.
const OTHER_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// The verbs of namespaces.
const NAMESPACE_VERBS: [&str; 7] = [
    "create", "delete", "get", "list", "patch", "update", "watch",
];

/// The verbs of `status` and `scale`.
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Groups of Kubernetes in the order in which upstream lists them, before all others.
const FIRST_GROUPS: [&str; 8] = [
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// How many bytes of the hash of the stored version are told.
const HASH_BYTES: usize = 8;

/// `/api`: the versions of the core group.
#[must_use]
pub fn core_versions(registry: &Registry) -> Value {
    let versions = registry.groups().remove("").unwrap_or_default();
    json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": []})
}

/// `/apis`: all other groups.
#[must_use]
pub fn groups(registry: &Registry) -> Value {
    let mut groups = ordered(registry);
    // As upstream, which looks at the names of API services here.
    groups.sort_by_cached_key(|(group, versions)| {
        let services = versions.iter().map(|version| format!("{version}.{group}"));
        (place(group), services.min())
    });
    let named = groups.iter().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = named
        .map(|(group, versions)| api_group(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` if there is no such group.
#[must_use]
pub fn group(registry: &Registry, group: &str) -> Option<Value> {
    let versions = registry.groups().remove(group)?;
    let mut value = api_group(group, &versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// `/apis/GROUP/VERSION` and `/api/v1`; `None` if there is no such version.
#[must_use]
pub fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for (resource, version) in of_version(registry, group, version) {
        resources.push(api_resource(resource));
        for part in subresources(resource, version) {
            resources.push(json!({
                "name": format!("{}/{}", resource.plural, part.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": part.kind,
                "group": part.group, "version": part.version, "verbs": part.verbs,
            }));
        }
    }
    for resource in &mut resources {
        // Only a scale is of another group.
        if resource["group"].is_null() {
            remove(resource, &["group", "version"]);
        }
    }
    let any = !resources.is_empty();
    any.then(|| {
        let mut list = json!({
            "kind": "APIResourceList", "groupVersion": group_version(group, version),
            "resources": resources,
        });
        // Upstream does not say it of the core group.
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        list
    })
}

/// All groups with their versions, in the order in which clients look for a kind in them.
fn ordered(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<_> = registry.groups().into_iter().collect();
    // Stable: others stay in the order of their names.
    groups.sort_by_key(|(group, _)| place(group));
    groups
}

/// The place of a group among the [`FIRST_GROUPS`], or behind them.
fn place(group: &str) -> usize {
    let place = FIRST_GROUPS.iter().position(|first| *first == group);
    place.unwrap_or(FIRST_GROUPS.len())
}

fn of_version<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Resource, &'a Version)> {
    let resources = registry
        .iter()
        .filter(move |resource| resource.group == group);
    resources.filter_map(move |resource| Some((&**resource, &**resource.version(version)?)))
}

fn api_group(group: &str, versions: &[String]) -> Value {
    let version = |version: &String| json!({"groupVersion": group_version(group, version), "version": version});
    let preferred = versions.first().map(version);
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

fn api_resource(resource: &Resource) -> Value {
    let mut value = json!({
        "name": resource.plural, "singularName": resource.singular, "kind": resource.kind,
        "namespaced": resource.namespaced, "verbs": verbs(resource),
        "shortNames": resource.short_names, "categories": resource.categories,
    });
    if !resource.hooks.is_review() {
        value["storageVersionHash"] = storage_version_hash(resource).into();
    }
    for (field, names) in [
        ("shortNames", &resource.short_names),
        ("categories", &resource.categories),
    ] {
        if names.is_empty() {
            remove(&mut value, &[field]);
        }
    }
    value
}

/// Changes when objects are stored in another version, which controllers that migrate them look for.
fn storage_version_hash(resource: &Resource) -> String {
    let (group, _) = builtin::kept_as(resource);
    // Upstream still keeps definitions in the version before.
    let version = match crd::are(resource) {
        true => "v1beta1",
        false => resource.storage.as_str(),
    };
    let text = format!("{group}/{version}/{}", resource.kind);
    let hash = Sha256::digest(text.as_bytes());
    STANDARD.encode(&hash[..HASH_BYTES])
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    match resource.hooks.is_review() {
        true => &VERBS[..1],
        false if namespaces::are(resource) => &NAMESPACE_VERBS,
        false if resource.built_in => &VERBS,
        false => &OTHER_VERBS,
    }
}

/// A subresource, with the kind that it answers with; group and version only where they are others
/// than the resource's.
struct Subresource<'a> {
    name: &'static str,
    group: Option<&'static str>,
    version: Option<&'static str>,
    kind: &'a str,
    verbs: &'static [&'static str],
}

fn subresources<'a>(resource: &'a Resource, version: &Version) -> Vec<Subresource<'a>> {
    let own = |name, verbs| Subresource {
        name,
        group: None,
        version: None,
        kind: resource.kind.as_str(),
        verbs,
    };
    let mut found = Vec::new();
    if namespaces::are(resource) {
        found.push(own("finalize", &SUBRESOURCE_VERBS[2..]));
    }
    if version.status {
        found.push(own("status", &SUBRESOURCE_VERBS));
    }
    if version.scale.is_some() {
        found.push(Subresource {
            group: Some("autoscaling"),
            version: Some("v1"),
            kind: "Scale",
            ..own("scale", &SUBRESOURCE_VERBS)
        });
    }
    found
}

fn group_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    }
}

fn remove(value: &mut Value, fields: &[&str]) {
    let mut none = Map::new();
    let object = value.as_object_mut().unwrap_or(&mut none);
    for field in fields {
        object.remove(*field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Naming, Scale};
    use crate::schema::Schema;
    use crate::table::Printer;
    use std::sync::Arc;

    fn registry() -> Registry {
        let version = |name: &str| Version {
            name: name.into(),
            schema: Arc::new(Schema::default()),
            printer: Printer::new(&[]).unwrap(),
            status: true,
            scale: Some(Scale {
                spec_replicas: ".spec.n".into(),
                status_replicas: ".status.n".into(),
                selector: None,
            }),
            selectable: Vec::new(),
            deprecation: None,
            evolved: false,
        };
        let mut registry = Registry::default();
        for (group, versions) in [("", vec!["v1"]), ("example.org", vec!["v1beta1", "v1"])] {
            registry.insert(Resource {
                group: group.into(),
                plural: "widgets".into(),
                singular: "widget".into(),
                kind: "Widget".into(),
                list_kind: "WidgetList".into(),
                short_names: vec!["wd".into()],
                categories: Vec::new(),
                namespaced: true,
                defined: false,
                built_in: false,
                secret: false,
                naming: Naming::Subdomain,
                versions: versions.into_iter().map(version).map(Arc::new).collect(),
                storage: "v1".into(),
                hooks: Arc::new(crate::admission::NoHooks),
            });
        }
        registry
    }

    #[test]
    fn groups_and_versions_are_listed() {
        let registry = registry();
        assert_eq!(core_versions(&registry)["versions"], json!(["v1"]));
        let groups = groups(&registry);
        assert_eq!(groups["groups"].as_array().unwrap().len(), 1);
        let preferred = &groups["groups"][0]["preferredVersion"];
        assert_eq!(preferred["groupVersion"], "example.org/v1");
        assert_eq!(group(&registry, "example.org").unwrap()["kind"], "APIGroup");
        assert_eq!(group(&registry, "nobody.org"), None);
    }

    #[test]
    fn resources_are_listed_with_their_subresources() {
        let registry = registry();
        let list = resources(&registry, "example.org", "v1").unwrap();
        let names = list["resources"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|resource| resource["name"].as_str()).collect();
        let expected = ["widgets", "widgets/status", "widgets/scale"];
        assert_eq!(names, expected.map(Some));
        assert_eq!(list["resources"][0]["shortNames"], json!(["wd"]));
        assert_eq!(list["resources"][2]["group"], "autoscaling");
        assert!(list["resources"][1].get("group").is_none());
        assert_eq!(resources(&registry, "example.org", "v7"), None);
        let all = aggregated(&registry, false);
        let resource = &all["items"][0]["versions"][0]["resources"][0];
        assert_eq!(resource["responseKind"]["version"], "v1");
        assert_eq!(resource["subresources"][1]["responseKind"]["kind"], "Scale");
        assert_eq!(
            aggregated(&registry, true)["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
}
