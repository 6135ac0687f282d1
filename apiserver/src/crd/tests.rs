#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use super::*;
use crate::schema::FieldError;

fn crontabs() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {
                "plural": "crontabs", "singular": "crontab", "kind": "CronTab",
                "listKind": "CronTabList", "shortNames": ["ct"],
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                }},
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                ],
                "selectableFields": [{"jsonPath": ".spec.replicas"}],
            }],
        },
    })
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_definition_is_read_and_written() {
    let written = crontabs();
    let object = Object::new(written.clone()).unwrap();
    assert_eq!(check(&object, None), []);
    let resource = resource(&object).unwrap();
    assert!(resource.namespaced && resource.versions[0].status);
    assert_eq!(resource.versions[0].selectable, ["spec.replicas"]);
    assert_eq!(definition(&resource), written);
}

#[test]
fn what_is_left_out_is_filled_in() {
    let mut value = crontabs();
    value["spec"]["names"] = json!({"plural": "crontabs", "kind": "CronTab"});
    let mut object = Object::new(value).unwrap();
    set_defaults(&mut object);
    assert_eq!(text(&object, "/spec/names/singular"), "crontab");
    assert_eq!(text(&object, "/spec/names/listKind"), "CronTabList");
    assert_eq!(check(&object, None), []);
}

#[test]
fn one_that_is_deleted_is_kept_until_its_objects_are_gone() {
    let mut object = Object::new(crontabs()).unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let accepted = status(&object, None, now);
    object.fields_mut().insert("status".into(), accepted);
    mark(&mut object, now);
    assert_eq!(object.finalizers().collect::<Vec<_>>(), [CLEANUP]);
    let conditions = &status(&object, None, now)["conditions"];
    assert_eq!(conditions[2]["type"], "Terminating");
}

#[test]
fn groups_of_kubernetes_need_an_approval() {
    let mut value = crontabs();
    value["spec"]["group"] = "crons.k8s.io".into();
    value["metadata"]["name"] = "crontabs.crons.k8s.io".into();
    let object = Object::new(value.clone()).unwrap();
    let found = lines(&check(&object, None)).join("\n");
    assert!(found.contains("api-approved.kubernetes.io"), "{found}");
    value["metadata"]["annotations"] =
        json!({"api-approved.kubernetes.io": "https://example.org/pull/1"});
    assert_eq!(check(&Object::new(value).unwrap(), None), []);
}

#[test]
fn what_is_wrong_is_named() {
    let mut value = crontabs();
    value["spec"]["scope"] = "Galaxy".into();
    value["spec"]["names"]["plural"] = "cron_tabs".into();
    value["spec"]["versions"][0]["storage"] = false.into();
    value["spec"]["versions"][0]["additionalPrinterColumns"][0]["type"] = "colour".into();
    let object = Object::new(value).unwrap();
    let found = lines(&check(&object, None)).join("\n");
    for part in [
        "metadata.name: Invalid value",
        "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        "spec.names.plural: Invalid value: \"cron_tabs\"",
        "must have exactly one version marked as storage version",
        "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"colour\"",
    ] {
        assert!(found.contains(part), "{part} in\n{found}");
    }
}

#[test]
fn a_bad_schema_is_found_at_its_place() {
    let mut value = crontabs();
    value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({});
    let errors = resource(&Object::new(value).unwrap()).unwrap_err();
    let found = lines(&errors).join("\n");
    let place = "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value";
    assert!(found.contains(place), "{found}");
}

#[test]
fn the_status_says_what_was_accepted_and_since_when() {
    let mut object = Object::new(crontabs()).unwrap();
    let first = "2026-01-01T00:00:00Z".parse().unwrap();
    let accepted = status(&object, None, first);
    assert_eq!(accepted["storedVersions"], json!(["v1"]));
    assert_eq!(accepted["conditions"][1]["status"], "True");
    object
        .fields_mut()
        .insert("status".into(), accepted.clone());
    let later = "2026-01-02T00:00:00Z".parse().unwrap();
    assert_eq!(status(&object, None, later), accepted);
    let refused = status(&object, Some("\"CronTab\" is already in use"), later);
    assert_eq!(refused["conditions"][0]["status"], "False");
    assert_eq!(
        refused["conditions"][0]["lastTransitionTime"],
        "2026-01-02T00:00:00Z"
    );
}

#[test]
fn what_others_rely_on_stays() {
    let old = Object::new(crontabs()).unwrap();
    let mut value = crontabs();
    value["spec"]["scope"] = "Cluster".into();
    let found = lines(&check(&Object::new(value).unwrap(), Some(&old)));
    assert_eq!(
        found,
        ["spec.scope: Invalid value: \"Cluster\": field is immutable"]
    );
}
