//! Objects of any shape: what is stored may be damaged, and what is sent may be anything.

use apiserver::apply::{FieldSet, Managers, Writer, applied_by, apply, try_update, update};
use apiserver::schema::{Kind, ListType, Ownership, Schema};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

fn of(kind: Kind) -> Schema {
    Schema {
        kind,
        ..Schema::default()
    }
}

fn schema() -> Schema {
    let object = |names: &[&str], items: &Schema, additional: Option<Box<Schema>>| {
        let properties = names.iter();
        of(Kind::Object {
            properties: properties
                .map(|name| ((*name).to_owned(), items.clone()))
                .collect(),
            additional,
            required: vec![],
            ownership: Ownership::Granular,
        })
    };
    let scalar = of(Kind::IntOrString);
    let inner = object(&["a", "b"], &scalar, None);
    let map = of(Kind::List {
        items: Box::new(inner),
        list: ListType::Map(vec!["a".to_owned()]),
    });
    let set = of(Kind::List {
        items: Box::new(scalar),
        list: ListType::Set,
    });
    let spec = object(&["a", "b"], &map, Some(Box::new(set)));
    object(&["spec"], &spec, Some(Box::new(of(Kind::Any))))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[a-c]".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let name = prop_oneof!["[a-c]", "f:[a-c]", "k:\\{\"a\":[0-2]\\}", "v:[0-2]"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// An object whose parts are anything, or something else.
fn any_object() -> impl Strategy<Value = Value> {
    let parts = (any_value(), any_value(), any_value(), any::<bool>());
    let object = parts.prop_map(|(spec, metadata, fields, has_entry)| {
        let entry = json!({
            "manager": "a",
            "operation": "Apply",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        });
        let stated = json!({"managedFields": [entry], "uid": "u"});
        let metadata = if has_entry { stated } else { metadata };
        json!({"apiVersion": "v1", "kind": "Thing", "metadata": metadata, "spec": spec})
    });
    prop_oneof![9 => object, 1 => any_value()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_object_makes_it_panic(live in any_object(), new in any_object(), force in any::<bool>()) {
        let (schema, reset) = (schema(), FieldSet::default());
        let by = Writer {
            manager: "a",
            schema: &schema,
            api_version: "v1",
            kind: "Thing",
            subresource: "",
            reset: &reset,
            now: Timestamp::UNIX_EPOCH,
        };
        let updated = update(Some(&live), new.clone(), &by);
        if let Ok(object) = try_update(Some(&live), new.clone(), &by) {
            prop_assert_eq!(&updated, &object);
        }
        if updated.is_object() {
            prop_assert!(Managers::of(&updated).is_ok());
        }
        let _ = applied_by(&live, &by);
        if let Ok(object) = apply(Some(&live), &new, &by, force) {
            prop_assert!(Managers::of(&object).is_ok());
        }
    }
}
