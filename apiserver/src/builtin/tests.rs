use super::*;
use crate::schema::{Extent, Kind, prune, set_defaults, validate};
use jiff::Timestamp;
use serde_json::json;

fn found(group: &str, plural: &str) -> Resource {
    let resources = resources().into_iter();
    let mut of = resources.filter(|one| one.group == group && one.plural == plural);
    of.next().unwrap()
}

/// An object after it was prepared, and what is wrong with it.
fn checked(group: &str, plural: &str, mut new: Value, old: Option<&Value>) -> (Value, Vec<String>) {
    let mut kinds = kinds::ALL.iter();
    let of = |kind: &&BuiltIn| kind.group == group && kind.plural == plural;
    let rules = kinds.find(of).unwrap().rules;
    (rules.prepare)(&mut new, old);
    let errors = (rules.validate)(&new, old);
    let errors = errors.iter().map(ToString::to_string).collect();
    (new, errors)
}

#[test]
fn every_kind_has_a_type_and_a_cell_for_each_column() {
    let now = Timestamp::UNIX_EPOCH;
    for resource in resources() {
        let version = &resource.versions[0];
        let Kind::Object { properties, .. } = &version.schema.kind else {
            panic!("{} is no object", resource.kind);
        };
        assert!(properties.contains_key("kind"), "{}", resource.kind);
        assert!(!properties.contains_key("metadata"), "{}", resource.kind);
        let empty = Object::new(json!({"metadata": {"name": "a"}})).unwrap();
        let row = version.printer.row(&empty, Default::default(), now);
        let table = version.printer.table(&json!({}), &[]);
        let columns = table["columnDefinitions"].as_array().unwrap();
        assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
        for column in columns {
            let text = column["description"].as_str().unwrap();
            assert!(text.contains(' '), "{}: {column}", resource.kind);
        }
    }
}

#[test]
fn objects_of_clients_pass_the_schemas() {
    for (group, plural, mut object) in [
        (
            "",
            "secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
            "data": {"a": "YQ=="}, "stringData": {"b": "c"}, "type": "Opaque"}),
        ),
        (
            "",
            "events",
            json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"},
            "involvedObject": {"kind": "Pod", "name": "p"}, "count": 3,
            "lastTimestamp": "2026-01-01T00:00:00Z", "eventTime": null}),
        ),
        (
            "rbac.authorization.k8s.io",
            "roles",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role", "metadata": {"name": "a"}, "rules": [{"verbs": ["get"],
            "apiGroups": [""], "resources": ["pods"]}]}),
        ),
        (
            "coordination.k8s.io",
            "leases",
            json!({"apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease", "metadata": {"name": "a"}, "spec": {"holderIdentity": "x",
            "renewTime": "2026-01-01T00:00:00.000000Z"}}),
        ),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "a"}, "spec": {"group": "g", "scope": "Cluster",
            "names": {"plural": "as", "kind": "A"}, "versions": [{"name": "v1", "served": true,
            "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "default": {"a": 1}}}}}}]}}),
        ),
    ] {
        let resource = found(group, plural);
        let schema = &resource.versions[0].schema;
        let given = object.clone();
        assert_eq!(
            prune(schema, &mut object, Extent::Resource),
            [""; 0],
            "{plural}"
        );
        assert_eq!(object, given, "{plural}");
        set_defaults(schema, &mut object);
        assert_eq!(validate(schema, &object, None), [], "{plural}");
    }
}

#[test]
fn secrets_keep_texts_as_data_and_their_type() {
    let secret = json!({"stringData": {"a": "b"}, "data": {"c": "ZA=="}});
    let (secret, errors) = checked("", "secrets", secret, None);
    assert_eq!(errors, [""; 0]);
    let expected = json!({"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}});
    assert_eq!(secret, expected);
    let other = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "a/b": ""}});
    let (_, errors) = checked("", "secrets", other, Some(&secret));
    let expected = [
        "type: Invalid value: \"kubernetes.io/tls\": field is immutable",
        "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        "data[tls.key]: Required value",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn config_maps_have_bounds_and_may_be_frozen() {
    let large = json!({"data": {"a": "x".repeat(1 << 20), "b": "y"}});
    let (_, errors) = checked("", "configmaps", large, None);
    assert_eq!(
        errors,
        ["<nil>: Too long: may not be more than 1048576 bytes"]
    );
    let old = json!({"immutable": true, "data": {"a": "b"}});
    let (_, errors) = checked("", "configmaps", json!({"data": {"a": "c"}}), Some(&old));
    let frozen = "Forbidden: field is immutable when `immutable` is set";
    assert_eq!(
        errors,
        [format!("immutable: {frozen}"), format!("data: {frozen}")]
    );
}

#[test]
fn namespaces_are_active_and_labelled() {
    let namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["x"]}});
    let (namespace, errors) = checked("", "namespaces", namespace, None);
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    assert_eq!(
        errors,
        [format!("spec.finalizers: Invalid value: \"x\": {detail}")]
    );
    assert_eq!(namespace["spec"]["finalizers"], json!(["x", "kubernetes"]));
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "a"
    );
    let changed =
        json!({"metadata": {"name": "a"}, "spec": {}, "status": {"phase": "Terminating"}});
    let (changed, errors) = checked("", "namespaces", changed, Some(&namespace));
    assert_eq!(changed["spec"], namespace["spec"]);
    let detail = "may only be 'Active' if `deletionTimestamp` is empty";
    assert_eq!(
        errors,
        [format!(
            "status.Phase: Invalid value: \"Terminating\": {detail}"
        )]
    );
}

#[test]
fn roles_and_bindings_say_what_they_must() {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"rules": [{"verbs": []}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]});
    let (_, errors) = checked(group, "roles", role, None);
    let expected = [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[0].resources: Required value: resource rules must supply at least one resource",
        "rules[1].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
    ];
    assert_eq!(errors, expected);
    let old = json!({
        "roleRef": {"kind": "ClusterRole", "name": "a"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
    });
    let (old, errors) = checked(group, "clusterrolebindings", old, None);
    assert_eq!(errors, ["subjects[1].namespace: Required value"]);
    assert_eq!(old["roleRef"]["apiGroup"], group);
    assert_eq!(old["subjects"][0]["apiGroup"], group);
    let new = json!({"roleRef": {"kind": "Role", "name": "a"}});
    let (_, errors) = checked(group, "clusterrolebindings", new, Some(&old));
    assert_eq!(errors.len(), 2);
    assert!(
        errors[0].starts_with("roleRef.kind: Unsupported value"),
        "{errors:?}"
    );
    assert!(errors[1].ends_with("cannot change roleRef"), "{errors:?}");
}

#[test]
fn leases_and_events_are_plausible() {
    let lease = json!({"spec": {"leaseDurationSeconds": 0}});
    let (_, errors) = checked("coordination.k8s.io", "leases", lease, None);
    let detail = "must be greater than 0";
    assert_eq!(
        errors,
        [format!(
            "spec.leaseDurationSeconds: Invalid value: 0: {detail}"
        )]
    );
    let event = json!({
        "metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"},
    });
    let (_, errors) = checked("", "events", event, None);
    let detail = "does not match event.namespace";
    assert_eq!(
        errors,
        [format!(
            "involvedObject.namespace: Invalid value: \"b\": {detail}"
        )]
    );
}
