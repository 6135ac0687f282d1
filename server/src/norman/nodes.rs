//! Nodes of connected clusters, as the clusters themselves know them. They are read here and changed there.

use serde_json::{Map, Value, json};

use super::field::{Described, Field};
use super::place::Scope;
use super::state::{Change, State, condition};

/// Labels of nodes that say what runs there, with the field for each.
const ROLES: [(&str, &[&str]); 3] = [
    (
        "controlPlane",
        &[
            "node-role.kubernetes.io/control-plane",
            "node-role.kubernetes.io/master",
            "node-role.kubernetes.io/controlplane",
        ],
    ),
    ("etcd", &["node-role.kubernetes.io/etcd"]),
    ("worker", &["node-role.kubernetes.io/worker"]),
];

/// The fields of nodes.
pub(super) fn described() -> Described {
    let read = Field::shown_only;
    let fields = [
        ("id", read("string", &[], "Cluster and name")),
        (
            "name",
            read("string", &["metadata", "name"], "Name of the node"),
        ),
        (
            "nodeName",
            read("string", &["metadata", "name"], "Name of the node"),
        ),
        (
            "clusterId",
            read("reference[cluster]", &[], "The cluster of the node"),
        ),
        ("hostname", read("string", &[], "Name of the machine")),
        (
            "ipAddress",
            read("string", &[], "Address within the cluster"),
        ),
        (
            "externalIpAddress",
            read("string", &[], "Address for others"),
        ),
        (
            "controlPlane",
            read("boolean", &[], "Whether it is of the control plane"),
        ),
        (
            "etcd",
            read("boolean", &[], "Whether it keeps the state of the cluster"),
        ),
        (
            "worker",
            read("boolean", &[], "Whether it is for work alone"),
        ),
        (
            "unschedulable",
            read(
                "boolean",
                &["spec", "unschedulable"],
                "Whether it takes no new pods",
            ),
        ),
        (
            "podCidr",
            read("string", &["spec", "podCIDR"], "Addresses of its pods"),
        ),
        (
            "providerId",
            read(
                "string",
                &["spec", "providerID"],
                "Its name at a provider of machines",
            ),
        ),
        (
            "taints",
            read("array[json]", &["spec", "taints"], "What keeps pods away"),
        ),
        (
            "capacity",
            read("map[string]", &["status", "capacity"], "What it has"),
        ),
        (
            "allocatable",
            read(
                "map[string]",
                &["status", "allocatable"],
                "What pods may take of it",
            ),
        ),
        (
            "conditions",
            read(
                "array[json]",
                &["status", "conditions"],
                "What was seen of it",
            ),
        ),
        ("info", read("json", &[], "Versions of what it runs")),
        (
            "labels",
            read(
                "map[string]",
                &["metadata", "labels"],
                "What selectors find it by",
            ),
        ),
        (
            "annotations",
            read(
                "map[string]",
                &["metadata", "annotations"],
                "What others keep with it",
            ),
        ),
        (
            "created",
            read("date", &["metadata", "creationTimestamp"], "When it joined"),
        ),
        (
            "createdTS",
            read("int", &[], "The same, in milliseconds since 1970"),
        ),
        (
            "uuid",
            read(
                "string",
                &["metadata", "uid"],
                "Unique among all objects that ever were",
            ),
        ),
        (
            "state",
            read("string", &[], "active, cordoned or unavailable"),
        ),
        (
            "transitioning",
            read("enum", &[], "Whether the state is an error"),
        ),
        ("transitioningMessage", read("string", &[], "Why")),
    ];
    Described {
        fields: fields.map(|(name, field)| (name.to_owned(), field)).into(),
        ..Described::default()
    }
}

/// Adds what is made of several fields. Returns the state.
pub(super) fn compute(
    object: &Value,
    scope: &Scope,
    shown: &mut Map<String, Value>,
) -> Option<State> {
    let address = |type_: &str| {
        let mut all = object["status"]["addresses"]
            .as_array()
            .into_iter()
            .flatten();
        let found = all.find(|one| one["type"] == type_);
        found.and_then(|one| one["address"].as_str())
    };
    for (field, type_) in [
        ("hostname", "Hostname"),
        ("ipAddress", "InternalIP"),
        ("externalIpAddress", "ExternalIP"),
    ] {
        if let Some(address) = address(type_) {
            shown.insert(field.into(), json!(address));
        }
    }
    let labels = &object["metadata"]["labels"];
    let mut any = false;
    for (field, names) in ROLES {
        let has = names.iter().any(|name| labels.get(name).is_some());
        any |= has;
        shown.insert(field.into(), json!(has));
    }
    // What is for nothing in particular is for work.
    if !any {
        shown.insert("worker".into(), json!(true));
    }
    if let Some(cluster) = scope.cluster() {
        shown.insert("clusterId".into(), json!(cluster.as_str()));
    }
    let runs = &object["status"]["nodeInfo"];
    let info = json!({
        "kubernetes": {
            "kubeletVersion": runs["kubeletVersion"],
            "kubeProxyVersion": runs["kubeProxyVersion"],
        },
        "os": {
            "dockerVersion": runs["containerRuntimeVersion"],
            "kernelVersion": runs["kernelVersion"],
            "operatingSystem": runs["osImage"],
        },
        "cpu": {"count": count(&object["status"]["capacity"]["cpu"])},
    });
    shown.insert("info".into(), info);
    let ready = condition(object, "Ready");
    let message = ready.and_then(|ready| ready["message"].as_str());
    Some(match ready.and_then(|ready| ready["status"].as_str()) {
        Some("True") if object["spec"]["unschedulable"] == true => {
            State::new("cordoned", Change::No, "")
        }
        Some("True") => State::active(),
        _ => State::new("unavailable", Change::Error, message.unwrap_or_default()),
    })
}

/// Whole processors of a quantity.
fn count(quantity: &Value) -> Value {
    let count: Option<u64> = quantity.as_str().and_then(|text| text.parse().ok());
    count.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_what_it_is_for_and_how_it_is() {
        let node = |labels: Value, unschedulable: bool, ready: &str| {
            let object = json!({
                "metadata": {"name": "n", "labels": labels},
                "spec": {"unschedulable": unschedulable},
                "status": {
                    "conditions": [{"type": "Ready", "status": ready, "message": "said"}],
                    "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                    "capacity": {"cpu": "4"},
                },
            });
            let mut shown = Map::new();
            let scope = Scope::Cluster("c-1".parse().unwrap());
            let state = compute(&object, &scope, &mut shown).unwrap();
            (shown, state)
        };
        let (shown, state) = node(
            json!({"node-role.kubernetes.io/control-plane": ""}),
            false,
            "True",
        );
        assert_eq!(
            (&shown["controlPlane"], &shown["worker"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(shown["ipAddress"], "10.0.0.1");
        assert_eq!(shown["clusterId"], "c-1");
        assert_eq!(shown["info"]["cpu"]["count"], 4);
        assert_eq!(state, State::active());
        let (shown, state) = node(json!({}), true, "True");
        assert_eq!(shown["worker"], true);
        assert_eq!(state.name, "cordoned");
        let (_, state) = node(json!({}), false, "Unknown");
        assert_eq!(state, State::new("unavailable", Change::Error, "said"));
    }
}
