//! How Kubernetes' own kinds are written, where they differ from others: the strategies of upstream's
//! `pkg/registry`, and what its Go types make of absent values.

use crate::object::Object;
use crate::registry::Resource;
use serde_json::{Map, Value, json};

/// How objects of a kind are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strategy {
    /// Replacing an object that is not there makes it.
    pub(crate) creates_on_update: bool,
    /// Replacing an object without saying which version replaces the one that is there.
    pub(crate) updates_any_version: bool,
    /// The answer to a delete is the object, not a Status.
    pub(crate) returns_deleted: bool,
}

/// How objects of a resource are written.
pub(crate) fn strategy(resource: &Resource) -> Strategy {
    if !resource.built_in {
        return Strategy::default();
    }
    let group = resource.group.as_str();
    let rbac = group == "rbac.authorization.k8s.io";
    let plural = resource.plural.as_str();
    let core = group.is_empty();
    let kept = ["configmaps", "secrets", "serviceaccounts", "namespaces"];
    let returned = ["serviceaccounts", "namespaces"];
    Strategy {
        creates_on_update: rbac
            || matches!(plural, "leases" | "events")
            || group == "flowcontrol.apiserver.k8s.io",
        updates_any_version: rbac || plural == "events" || (core && kept.contains(&plural)),
        returns_deleted: core && returned.contains(&plural),
    }
}

/// What upstream takes for an object of which nothing has been said: its Go type without any value.
/// Who says the same owns nothing by it.
pub(crate) fn empty(resource: &Resource, api_version: &str) -> Value {
    let mut empty = json!({"apiVersion": api_version, "kind": resource.kind});
    if resource.built_in {
        let said = match resource.kind.as_str() {
            "Role" | "ClusterRole" => json!({"rules": null}),
            "RoleBinding" | "ClusterRoleBinding" => {
                json!({"roleRef": {"apiGroup": "", "kind": "", "name": ""}})
            }
            "Lease" => json!({"spec": {}}),
            "Namespace" => json!({"spec": {}, "status": {}}),
            "Event" => empty_event(&resource.group),
            "CustomResourceDefinition" => json!({
                "spec": {"group": "", "names": {"plural": "", "kind": ""}, "scope": "", "versions": null},
                "status": {
                    "conditions": null, "acceptedNames": {"plural": "", "kind": ""},
                    "storedVersions": null,
                },
            }),
            "FlowSchema" => {
                json!({"spec": {"priorityLevelConfiguration": {"name": ""}}, "status": {}})
            }
            "PriorityLevelConfiguration" => json!({"spec": {"type": ""}, "status": {}}),
            "ValidatingAdmissionPolicy" => json!({"spec": {}, "status": {}}),
            "ValidatingAdmissionPolicyBinding" => json!({"spec": {}}),
            "LocalSubjectAccessReview" | "SelfSubjectAccessReview" | "SubjectAccessReview" => {
                json!({"spec": {}, "status": {"allowed": false}})
            }
            "SelfSubjectReview" => json!({"status": {"userInfo": {}}}),
            "SelfSubjectRulesReview" => json!({
                "spec": {},
                "status": {"resourceRules": null, "nonResourceRules": null, "incomplete": false},
            }),
            "TokenReview" => json!({"spec": {}, "status": {"user": {}}}),
            _ => json!({}),
        };
        for (field, value) in said.as_object().into_iter().flatten() {
            empty[field] = value.clone();
        }
    }
    empty
}

fn empty_event(group: &str) -> Value {
    match group {
        "" => json!({
            "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        }),
        _ => json!({
            "eventTime": null, "regarding": {}, "deprecatedSource": {},
            "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
        }),
    }
}

/// Leaves out of an object the empty values that its Go type leaves out.
pub(crate) fn trim(resource: &Resource, object: &mut Object) {
    for field in ["annotations", "finalizers", "labels", "ownerReferences"] {
        drop_empty(object.meta_mut(), field);
    }
    if !resource.built_in {
        return;
    }
    let fields = object.fields_mut();
    match resource.kind.as_str() {
        "ConfigMap" => ["data", "binaryData"]
            .iter()
            .for_each(|field| drop_empty(fields, field)),
        "Secret" => drop_empty(fields, "data"),
        "ServiceAccount" => ["secrets", "imagePullSecrets"]
            .iter()
            .for_each(|field| drop_empty(fields, field)),
        "RoleBinding" | "ClusterRoleBinding" => drop_empty(fields, "subjects"),
        _ => {}
    }
}

/// Gives an object the empty values that its Go type always has.
pub(crate) fn settle(resource: &Resource, object: &mut Object) {
    if !resource.built_in {
        return;
    }
    let fields = object.fields_mut();
    match resource.kind.as_str() {
        "Role" | "ClusterRole" => {
            drop_empty(fields, "rules");
            fields.entry("rules").or_insert(Value::Null);
        }
        "Event" => settle_event(&resource.group, fields),
        _ => {}
    }
}

/// What is always said of an event of that group.
pub(super) fn settle_event(group: &str, fields: &mut Map<String, Value>) {
    let empty = empty_event(group);
    for (field, value) in empty.as_object().into_iter().flatten() {
        fields.entry(field).or_insert_with(|| value.clone());
    }
}

fn drop_empty(fields: &mut Map<String, Value>, field: &str) {
    let is_empty = match fields.get(field) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if is_empty {
        fields.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::resources;

    fn resource(plural: &str) -> Resource {
        let all = resources().into_iter();
        let mut named = all.filter(|resource| resource.plural == plural);
        named.next().unwrap()
    }

    #[test]
    fn only_some_kinds_are_made_by_replacing() {
        assert!(strategy(&resource("leases")).creates_on_update);
        assert!(!strategy(&resource("leases")).updates_any_version);
        assert!(strategy(&resource("roles")).updates_any_version);
        assert_eq!(
            strategy(&resource("configmaps")),
            Strategy {
                updates_any_version: true,
                ..Strategy::default()
            }
        );
    }

    #[test]
    fn empty_values_are_as_go_has_them() {
        let mut role = Object::new(json!({"metadata": {"labels": {}}, "rules": []})).unwrap();
        trim(&resource("roles"), &mut role);
        settle(&resource("roles"), &mut role);
        assert_eq!(*role.as_value(), json!({"metadata": {}, "rules": null}));
        let mut map = Object::new(json!({"data": {}, "binaryData": {"a": "Yg=="}})).unwrap();
        trim(&resource("configmaps"), &mut map);
        let expected = json!({"metadata": {}, "binaryData": {"a": "Yg=="}});
        assert_eq!(*map.as_value(), expected);
    }
}
