use serde_json::json;

use super::*;

fn object(managed_fields: Value) -> Value {
    let mut object = json!({"metadata": {}});
    object["metadata"]["managedFields"] = managed_fields;
    object
}

fn entry(manager: &str, operation: &str, time: &str) -> Value {
    json!({
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {}},
    })
}

#[test]
fn entries_are_sorted_by_operation_time_and_name() {
    let sorted = [
        entry("b", "Apply", "2020-01-01T00:00:00Z"),
        entry("a", "Apply", "2021-01-01T00:00:00Z"),
        entry("c", "Update", "2019-01-01T00:00:00Z"),
        entry("a", "Update", "2020-01-01T00:00:00Z"),
        entry("b", "Update", "2020-01-01T00:00:00Z"),
    ];
    let mut shuffled = sorted.clone();
    shuffled.reverse();
    let managers = Managers::of(&object(json!(shuffled))).unwrap();
    assert_eq!(managers.encode(), sorted);
}

#[test]
fn an_entry_that_cannot_be_read_says_why() {
    let mut wrong = entry("a", "Apply", "2020-01-01T00:00:00Z");
    let mut read = |field: &str, value: Value| {
        let before = wrong[field].clone();
        wrong[field] = value;
        let result = Managers::of(&object(json!([wrong])));
        wrong[field] = before;
        result.map(|_| ())
    };
    assert_eq!(
        read("operation", json!("Patch")),
        Err(ManagersError::Operation)
    );
    assert_eq!(
        read("apiVersion", json!("")),
        Err(ManagersError::ApiVersion)
    );
    assert_eq!(read("time", json!("now")), Err(ManagersError::Shape));
    assert_eq!(read("manager", json!(1)), Err(ManagersError::Shape));
    let missing = ManagersError::MissingFieldsType(0);
    assert_eq!(read("fieldsType", Value::Null), Err(missing));
    let other = ManagersError::FieldsType(0, "FieldsV2".to_owned());
    assert_eq!(read("fieldsType", json!("FieldsV2")), Err(other));
    let fields = ManagersError::Fields(0, FieldsError::Element("x".to_owned()));
    assert_eq!(read("fieldsV1", json!({"x": {}})), Err(fields));
    assert_eq!(read("subresource", json!("status")), Ok(()));
}

#[test]
fn who_updates_in_another_version_is_another_manager() {
    let id = |operation, version| ManagerId::new("a", operation, version, "");
    assert_eq!(id(Operation::Apply, "v1"), id(Operation::Apply, "v2"));
    assert_ne!(id(Operation::Update, "v1"), id(Operation::Update, "v2"));
    assert_eq!(
        ManagerId::new("", Operation::Apply, "v1", "").name,
        "unknown"
    );
}

#[test]
fn an_object_without_managers_has_no_such_field() {
    let mut written = object(json!([entry("a", "Apply", "2020-01-01T00:00:00Z")]));
    Managers::default().write_to(&mut written);
    assert_eq!(written, json!({"metadata": {}}));
}
