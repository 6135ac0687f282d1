//! What is copied from Kubernetes (`src/upstream`) is what Kubernetes publishes.
//!
//! With `LARIAT_UPDATE=1` in the environment the copies are written anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "harness/kubernetes.rs"]
mod kubernetes;

use serde_json::{Map, Value, json};
use std::path::Path;

const REFERENCE: &str = "#/components/schemas/";

/// The documents and the types of them that are served, without `io.k8s.`. All that these refer to
/// comes along.
const TYPES: [(&str, &[&str]); 9] = [
    (
        "api__v1",
        &[
            "api.core.v1.ConfigMap",
            "api.core.v1.Event",
            "api.core.v1.Namespace",
            "api.core.v1.Secret",
            "api.core.v1.ServiceAccount",
            "api.autoscaling.v1.Scale",
            "apimachinery.pkg.apis.meta.v1.DeleteOptions",
            "apimachinery.pkg.apis.meta.v1.Patch",
            "apimachinery.pkg.apis.meta.v1.Status",
        ],
    ),
    (
        "apis__admissionregistration.k8s.io__v1",
        &[
            "api.admissionregistration.v1.ValidatingAdmissionPolicy",
            "api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
        ],
    ),
    (
        "apis__apiextensions.k8s.io__v1",
        &["apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"],
    ),
    (
        "apis__authentication.k8s.io__v1",
        &[
            "api.authentication.v1.SelfSubjectReview",
            "api.authentication.v1.TokenReview",
        ],
    ),
    (
        "apis__authorization.k8s.io__v1",
        &[
            "api.authorization.v1.LocalSubjectAccessReview",
            "api.authorization.v1.SelfSubjectAccessReview",
            "api.authorization.v1.SelfSubjectRulesReview",
            "api.authorization.v1.SubjectAccessReview",
        ],
    ),
    (
        "apis__coordination.k8s.io__v1",
        &["api.coordination.v1.Lease"],
    ),
    ("apis__events.k8s.io__v1", &["api.events.v1.Event"]),
    (
        "apis__flowcontrol.apiserver.k8s.io__v1",
        &[
            "api.flowcontrol.v1.FlowSchema",
            "api.flowcontrol.v1.PriorityLevelConfiguration",
        ],
    ),
    (
        "apis__rbac.authorization.k8s.io__v1",
        &[
            "api.rbac.v1.ClusterRole",
            "api.rbac.v1.ClusterRoleBinding",
            "api.rbac.v1.Role",
            "api.rbac.v1.RoleBinding",
        ],
    ),
];

/// Where upstream shows the roles and bindings that every cluster has, and those of them that are of
/// use without nodes and controllers.
const ROLES: &str = "plugin/pkg/auth/authorizer/rbac/bootstrappolicy/testdata";
const KEPT_ROLES: [&str; 10] = [
    "admin",
    "cluster-admin",
    "edit",
    "system:aggregate-to-admin",
    "system:aggregate-to-edit",
    "system:aggregate-to-view",
    "system:basic-user",
    "system:discovery",
    "system:public-info-viewer",
    "view",
];

#[test]
fn the_roles_that_every_server_has_are_upstreams() {
    let mut found = Map::new();
    for (plural, file) in [
        ("clusterroles", "cluster-roles.yaml"),
        ("clusterrolebindings", "cluster-role-bindings.yaml"),
    ] {
        let text = kubernetes::file(&format!("{ROLES}/{file}"));
        let list: Value = serde_saphyr::from_str(&text).unwrap();
        let objects = list["items"].as_array().unwrap().iter();
        let kept = objects.filter(|object| {
            let name = object["metadata"]["name"].as_str().unwrap();
            KEPT_ROLES.contains(&name)
        });
        found.insert(plural.into(), kept.cloned().collect());
    }
    check("roles.json", found);
}

#[test]
fn the_copies_are_what_upstream_publishes() {
    let (mut definitions, mut parameters) = (Map::new(), Map::new());
    for (name, types) in TYPES {
        let document = kubernetes::document(name);
        let schemas = kubernetes::types(&document);
        for name in types {
            collect(&format!("io.k8s.{name}"), schemas, &mut definitions);
            let list = format!("io.k8s.{name}List");
            if schemas.contains_key(&list) {
                collect(&list, schemas, &mut definitions);
            }
        }
        collect_parameters(&document["paths"], &mut parameters);
    }
    check("definitions.json", definitions);
    check("parameters.json", parameters);
}

/// A type, and those that it refers to.
fn collect(name: &str, schemas: &Map<String, Value>, found: &mut Map<String, Value>) {
    if found.contains_key(name) {
        return;
    }
    let mut schema = schemas[name].clone();
    // The types of options are said to be kinds of every group that Kubernetes has.
    if let Some(Value::Array(kinds)) = schema.get_mut("x-kubernetes-group-version-kind")
        && kinds.len() > 1
    {
        kinds.retain(|kind| kind["group"] == "");
    }
    found.insert(name.to_owned(), schema.clone());
    let mut references = Vec::new();
    collect_references(&schema, &mut references);
    for name in references {
        collect(&name, schemas, found);
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field.as_str()) {
                    ("$ref", Some(target)) => {
                        found.push(target.strip_prefix(REFERENCE).unwrap().to_owned());
                    }
                    _ => collect_references(field, found),
                }
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// The query parameters of requests for objects.
fn collect_parameters(paths: &Value, found: &mut Map<String, Value>) {
    let paths = paths.as_object().unwrap().iter();
    let plain = paths.filter(|(path, _)| {
        // Subresources of pods and services have parameters of their own.
        !path.contains("{name}/") && !path.contains("/watch/")
    });
    let parts = plain.flat_map(|(_, item)| item.as_object().unwrap().iter());
    for (name, part) in parts {
        let parameters = match name.as_str() {
            "parameters" => part,
            _ => &part["parameters"],
        };
        for parameter in parameters.as_array().into_iter().flatten() {
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap();
                found.insert(name.to_owned(), parameter.clone());
            }
        }
    }
}

fn check(file: &str, expected: Map<String, Value>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/upstream")
        .join(file);
    let expected = Value::Object(expected);
    if std::env::var_os("LARIAT_UPDATE").is_some() {
        let text = serde_json::to_string_pretty(&expected).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read(&path).unwrap();
    let found: Value = serde_json::from_slice(&text).unwrap_or(json!(null));
    assert!(
        found == expected,
        "{file} is not what {} publishes: run this test with LARIAT_UPDATE=1",
        kubernetes::MODULE
    );
}
