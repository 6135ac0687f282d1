use super::*;
use serde_json::json;

fn service_account() -> Schema {
    let name = "io.k8s.api.core.v1.ServiceAccount";
    crate::builtin::schema(name, &upstream::definition).unwrap()
}

#[test]
fn lists_are_merged_by_key_and_in_the_order_that_is_said() {
    let account = json!({
        "metadata": {"finalizers": ["a", "b"]},
        "secrets": [{"name": "x"}, {"name": "y"}],
    });
    let patch = json!({
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]},
        "$setElementOrder/secrets": [{"name": "z"}, {"name": "y"}],
        "secrets": [{"name": "z"}, {"name": "x", "$patch": "delete"}],
    });
    let merged = apply(account, patch, &service_account()).unwrap();
    let expected = json!({
        "metadata": {"finalizers": ["b"]},
        "secrets": [{"name": "z"}, {"name": "y"}],
    });
    assert_eq!(merged, expected);
}

#[test]
fn what_does_not_fit_is_refused() {
    let account = json!({"secrets": [{"name": "x"}]});
    for (patch, expected) in [
        (json!([]), Error::Expected("fields")),
        (json!({"$patch": 1}), Error::Directive("1".into())),
        (json!({"secrets": [{}]}), Error::MergeKey("name".into())),
        (json!({"secrets": [null]}), Error::ElementTypes),
        (json!({"$setElementOrder": []}), Error::SetElementOrder),
        (
            json!({"$deleteFromPrimitiveListX": []}),
            Error::PrimitiveList,
        ),
        (json!({"$retainKeys": [], "a": 1}), Error::RetainKeys),
        (
            json!({"$setElementOrder/nothing": []}),
            Error::UnknownField("nothing".into()),
        ),
    ] {
        let found = apply(account.clone(), patch.clone(), &service_account());
        assert_eq!(found, Err(expected), "{patch}");
    }
}
