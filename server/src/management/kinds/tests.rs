use std::sync::LazyLock;

use apiserver::{crd, schema};
use serde_json::json;

use super::*;

mod access;
mod login_providers;

fn faults_of(kind: &str, new: Value, old: Option<Value>) -> Vec<String> {
    let whole = |mut object: Value| {
        object["apiVersion"] = "management.cattle.io/v3".into();
        object["kind"] = kind.into();
        object
    };
    static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| resources(None).unwrap());
    let resource = RESOURCES.iter().find(|one| one.kind == kind).unwrap();
    let schema = &resource.versions[0].schema;
    let mut new = whole(new);
    schema::set_defaults(schema, &mut new);
    let faults = schema::validate(schema, &new, old.map(whole).as_ref());
    let faults = faults.iter().map(ToString::to_string);
    faults
        .filter(|fault| !fault.contains("some validation rules were not checked"))
        .collect()
}

#[test]
fn every_kind_can_be_defined_in_another_api_server() {
    for resource in resources(None).unwrap() {
        let definition = Object::new(crd::definition(&resource)).unwrap();
        assert_eq!(crd::check(&definition, None), [], "{}", resource.kind);
        let defined = crd::resource(&definition).unwrap();
        assert_eq!(defined.kind, resource.kind);
        let (own, theirs) = (&resource.versions[0], &defined.versions[0]);
        assert_eq!(own.schema, theirs.schema, "{}", resource.kind);
    }
}

#[test]
fn every_field_is_explained() {
    fn check(path: &str, schema: &Value) {
        let fields = schema.get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            let path = format!("{path}.{name}");
            let inside_metadata = path.contains(".metadata.");
            let text = field["description"].as_str().unwrap_or_default();
            assert!(
                text.contains(' ') || inside_metadata || name == "metadata",
                "{path}"
            );
            check(&path, field);
        }
        if let Some(items) = schema.get("items") {
            check(&format!("{path}[]"), items);
        }
    }
    for resource in resources(None).unwrap() {
        check(&resource.kind, &resource.versions[0].schema.to_json());
    }
}

#[test]
fn all_faults_of_an_object_are_named() {
    let label = "must consist of lower-case letters, digits and '-', and start and end with a letter or digit";
    let cluster = json!({"metadata": {"name": "A"}, "spec": {
        "displayName": "a\u{7}", "localClusterAuthEndpoint": {"fqdn": "a b", "caCerts": "x"}}});
    let expected = [
        format!("metadata.name: Invalid value: \"A\": {label}"),
        "spec.displayName: Invalid value: \"a\\a\": must not contain control characters".into(),
        "spec.localClusterAuthEndpoint.caCerts: Invalid value: \"x\": must be certificates in PEM".into(),
        "spec.localClusterAuthEndpoint.fqdn: Invalid value: \"a b\": must be a name, with a port or without".into(),
    ];
    assert_eq!(faults_of("Cluster", cluster, None), expected);
    let long = "a".repeat(254);
    let template = json!({"metadata": {"name": "a"}, "context": "planet",
        "displayName": long, "rules": [{}]});
    let expected = [
        "context: Unsupported value: \"planet\": supported values: \"\", \"cluster\", \"project\"",
        "displayName: Too long: may not be more than 253 bytes",
        "rules[0].verbs: Required value",
    ];
    let found = faults_of("RoleTemplate", template, None);
    assert_eq!(found[..3], expected);
}

#[test]
fn a_password_is_a_good_one() {
    let user = json!({"metadata": {"name": "u-1"}, "username": "ann", "password": "hunter2"});
    let expected = "password: Invalid value: must have at least 12 characters";
    assert_eq!(faults_of("User", user, None), [expected]);
    let user =
        json!({"metadata": {"name": "u-1"}, "username": "ann", "password": "x".repeat(1025)});
    let found = faults_of("User", user, None);
    assert_eq!(
        found[0],
        "password: Too long: may not be more than 1024 bytes"
    );
}

#[test]
fn what_is_given_once_stays() {
    let old = json!({"metadata": {"name": "u-1"}, "username": "ann"});
    let new = json!({"metadata": {"name": "u-1"}, "username": "bob"});
    let expected = "username: Invalid value: cannot be changed";
    assert_eq!(faults_of("User", new, Some(old)), [expected]);
    let old =
        json!({"metadata": {"name": "token-1"}, "userId": "u-1", "ttl": 5, "clusterName": "a"});
    let new =
        json!({"metadata": {"name": "token-1"}, "userId": "u-2", "ttl": 6, "clusterName": "b"});
    let found = faults_of("Token", new, Some(old.clone()));
    let changed =
        |field: &str, value: &str| format!("{field}: Invalid value: {value}: cannot be changed");
    let expected = [
        changed("clusterName", "\"b\""),
        changed("ttl", "6"),
        changed("userId", "\"u-2\""),
    ];
    assert_eq!(found, expected);
    // What is left out stays as it is.
    let new = json!({"metadata": {"name": "token-1"}, "description": "laptop"});
    assert_eq!(faults_of("Token", new, Some(old)), [""; 0]);
    let token = |fields: Value| {
        let mut token = fields;
        token["metadata"] = json!({"name": "token-1"});
        token
    };
    for (before, after, stays) in [
        (json!({"readOnly": true}), json!({}), true),
        (json!({"readOnly": true}), json!({"readOnly": true}), true),
        (json!({"readOnly": true}), json!({"readOnly": false}), false),
        (json!({}), json!({"readOnly": true}), false),
        (json!({}), json!({"readOnly": false}), true),
    ] {
        let found = faults_of("Token", token(after), Some(token(before)));
        let expected: &[&str] = match stays {
            true => &[],
            false => &["readOnly: Invalid value: cannot be changed"],
        };
        assert_eq!(found, expected);
    }
    let token = |uses: u32| json!({"metadata": {"name": "crt-1"}, "spec": {"maxUses": uses}});
    let found = faults_of("ClusterRegistrationToken", token(2), Some(token(1)));
    assert_eq!(found, [changed("spec.maxUses", "2")]);
}

#[test]
fn numbers_have_bounds() {
    let token = json!({"metadata": {"name": "crt-1"}, "spec": {"ttl": 0, "maxUses": 1001}});
    let expected = [
        "spec.maxUses: Invalid value: 1001: spec.maxUses in body should be less than or equal to 1000",
        "spec.ttl: Invalid value: 0: spec.ttl in body should be greater than or equal to 1",
    ];
    assert_eq!(faults_of("ClusterRegistrationToken", token, None), expected);
    let found = faults_of(
        "Token",
        json!({"metadata": {"name": "t"}, "ttl": 31_536_000_001_u64}),
        None,
    );
    assert_eq!(found.len(), 1, "{found:?}");
}
