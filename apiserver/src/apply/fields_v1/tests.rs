use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::apply::path::Path;

#[test]
fn a_set_is_read_and_written_in_the_order_of_path_elements() {
    let encoded = json!({
        "f:spec": {
            ".": {},
            "v:2": {},
            "v:10": {},
            "k:{\"protocol\":\"TCP\",\"port\":80}": {"f:name": {}},
            "i:0": {},
        },
    });
    let set = FieldSet::decode(&encoded).unwrap();
    let printed: Vec<_> = set.paths().iter().map(Path::to_string).collect();
    assert_eq!(
        printed,
        [
            ".spec",
            ".spec[=2]",
            ".spec[=10]",
            ".spec[0]",
            r#".spec[port=80,protocol="TCP"].name"#,
        ]
    );
    assert_eq!(
        set.to_json(),
        r#"{"f:spec":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:name":{}},"v:2":{},"v:10":{},"i:0":{}}}"#
    );
}

#[test]
fn what_is_no_field_set_is_refused() {
    let not_an_object = FieldSet::decode(&json!([1]));
    assert_eq!(not_an_object, Err(FieldsError::NotAnObject("[1]".into())));
    for key in [
        "", "f", "name", "ff:x", "i:x", "v:", "v:x", "k:[]", "k:{", "ü",
    ] {
        let decoded = FieldSet::decode(&json!({key: {}}));
        assert_eq!(decoded, Err(FieldsError::Element(key.into())), "{key}");
    }
}

#[test]
fn elements_of_kinds_to_come_are_left_out() {
    let set = FieldSet::decode(&json!({"f:a": {"x:b": {"f:c": {}}}, "y:": {}})).unwrap();
    assert_eq!(set.encode(), json!({"f:a": {}}));
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |levels| (0..levels).fold(json!({}), |inner, _| json!({"f:a": inner}));
    assert!(FieldSet::decode(&nested(MAX_DEPTH - 1)).is_ok());
    let decoded = FieldSet::decode(&nested(MAX_DEPTH));
    assert_eq!(decoded, Err(FieldsError::Depth));

    let wide = (0..=MAX_KEYS).map(|number| (format!("i:{number}"), json!({})));
    let decoded = FieldSet::decode(&Value::Object(wide.collect()));
    assert_eq!(decoded, Err(FieldsError::Size));
}

fn element() -> impl Strategy<Value = PathElement> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let scalar = scalar.boxed();
    let key = prop::collection::btree_map("[a-c]", scalar.clone(), 1..3);
    prop_oneof![
        any::<String>().prop_map(PathElement::Field),
        key.prop_map(|fields| PathElement::key(fields.into_iter().collect())),
        scalar.prop_map(PathElement::Value),
        any::<i64>().prop_map(PathElement::Index),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    let path = prop::collection::vec(element(), 1..5).prop_map(Path);
    prop::collection::vec(path, 0..20).prop_map(|paths| paths.into_iter().collect())
}

/// JSON that resembles a field set, more or less.
fn garbage() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[fkvix.]:?.{0,6}",
        "[kv]:[\\[{\"0-9a:}\\]]{0,8}",
        Just(".".to_owned())
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        let fields = prop::collection::vec((key.clone(), inner), 0..5);
        fields.prop_map(|fields| Value::Object(fields.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn a_set_survives_its_encoding(set in set()) {
        prop_assert_eq!(FieldSet::decode(&set.encode()), Ok(set.clone()));
        let text: Value = serde_json::from_str(&set.to_json()).unwrap();
        prop_assert_eq!(text, set.encode());
    }

    #[test]
    fn no_encoding_makes_it_panic(value in garbage()) {
        if let Ok(set) = FieldSet::decode(&value) {
            prop_assert_eq!(FieldSet::decode(&set.encode()), Ok(set));
        }
    }

    #[test]
    fn difference_and_intersection_part_a_set(a in set(), b in set()) {
        let parts = a.difference(&b).union(&a.intersection(&b));
        prop_assert_eq!(&parts, &a);
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.union(&b).len(), a.len() + b.difference(&a).len());
    }
}
