//! Owners that an object names.

use crate::object::Object;
use crate::schema::FieldError;
use serde_json::Value;

const PATH: &str = "metadata.ownerReferences";

/// What is wrong with them.
pub(super) fn check(object: &Object, errors: &mut Vec<FieldError>) {
    let owners = object.meta().get("ownerReferences");
    let owners = owners
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut controller: Option<&Value> = None;
    for owner in owners {
        check_one(owner, errors);
        if owner["controller"] != true {
            continue;
        }
        if let Some(first) = controller {
            let rule = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                called(first),
                called(owner)
            );
            // In the order of the fields of upstream's type.
            let shown: Vec<String> = owners.iter().map(ordered).collect();
            errors.push(invalid(&format!("[{}]", shown.join(",")), &rule));
        }
        controller = controller.or(Some(owner));
    }
}

fn check_one(owner: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["apiVersion", "kind", "name", "uid"].map(|field| (field, text(owner, field)));
    for (field, value) in fields {
        match (field, value) {
            ("apiVersion", "") => {
                let rule = "version must not be empty";
                errors.push(FieldError::invalid(format!("{PATH}.apiVersion"), "", rule));
            }
            (_, "") => {
                let path = format!("{PATH}.{field}");
                errors.push(FieldError::invalid(path, "", "must not be empty"));
            }
            ("kind", "Event") if matches!(text(owner, "apiVersion"), "v1" | "events.k8s.io/v1") => {
                let version = text(owner, "apiVersion");
                let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
                let rule =
                    format!("{group}/{version}, Kind=Event is disallowed from being an owner");
                errors.push(invalid(&ordered(owner), &rule));
            }
            _ => {}
        }
    }
}

/// What is wrong with a value that is shown as it is given here.
fn invalid(shown: &str, rule: &str) -> FieldError {
    let mut error = FieldError::invalid(PATH, Value::Null, format!("{shown}: {rule}"));
    error.value = None;
    error
}

fn called(owner: &Value) -> String {
    format!("{}/{}", text(owner, "kind"), text(owner, "name"))
}

/// As JSON, with the fields in upstream's order.
fn ordered(owner: &Value) -> String {
    let required = ["apiVersion", "kind", "name", "uid"].map(|field| (field, owner[field].clone()));
    let optional = ["controller", "blockOwnerDeletion"].map(|field| (field, owner[field].clone()));
    let optional = optional.into_iter().filter(|(_, value)| !value.is_null());
    let fields = required.into_iter().chain(optional);
    let fields: Vec<String> = fields
        .map(|(field, value)| match value {
            Value::Null => format!("\"{field}\":\"\""),
            value => format!("\"{field}\":{value}"),
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn text<'a>(owner: &'a Value, field: &str) -> &'a str {
    owner.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(owners: &Value) -> Vec<String> {
        let object = Object::new(json!({"metadata": {"ownerReferences": owners}})).unwrap();
        let mut errors = Vec::new();
        check(&object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_owner_is_named_in_full() {
        let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a"}]);
        let expected = "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty";
        assert_eq!(errors(&owner), [expected]);
    }

    #[test]
    fn only_one_owner_is_the_controller() {
        let owner = |name: &str| json!({"apiVersion": "v1", "kind": "K", "name": name, "uid": "u", "controller": true});
        assert_eq!(errors(&json!([owner("a")])), [""; 0]);
        let expected = "metadata.ownerReferences: Invalid value: \
            [{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"a\",\"uid\":\"u\",\"controller\":true},\
            {\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"b\",\"uid\":\"u\",\"controller\":true}]: \
            Only one reference can have Controller set to true. \
            Found \"true\" in references for K/a and K/b";
        assert_eq!(errors(&json!([owner("a"), owner("b")])), [expected]);
    }
}
