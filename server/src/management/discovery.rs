//! The documents from which clients learn what there is.

use lariat_api::{Cluster, ClusterRegistrationToken, GROUP, Kind, Setting, Token, User, VERSION};
use serde_json::{Value, json};

/// The document at a path outside of the group's version.
pub(super) fn find(segments: &[&str]) -> Option<Value> {
    match segments {
        ["api"] => Some(json!({
            "kind": "APIVersions",
            // There is no core group.
            "versions": [],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => Some(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [group()],
        })),
        ["apis", name] if *name == GROUP => {
            let mut document = group();
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            Some(document)
        }
        _ => None,
    }
}

/// The kinds of the group.
pub(super) fn resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [
            resource::<Cluster>(),
            resource::<ClusterRegistrationToken>(),
            resource::<Setting>(),
            resource::<Token>(),
            resource::<User>(),
        ],
    })
}

fn group() -> Value {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

fn resource<K: Kind>() -> Value {
    json!({
        "name": K::PLURAL,
        "singularName": K::SINGULAR,
        "namespaced": K::NAMESPACED,
        "kind": K::KIND,
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        "shortNames": K::SHORT_NAMES,
    })
}
