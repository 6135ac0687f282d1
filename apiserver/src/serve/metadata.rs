//! What the server does with the metadata of an object before it is written.

mod owners;

use super::Call;
use crate::crd;
use crate::error::ApiError;
use crate::names;
use crate::object::{Object, random_uid};
use crate::schema::FieldError;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most bytes in all annotations of an object together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Letters and digits of made-up names: none that form words.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Longest beginning of a made-up name.
const MAX_GENERATE_NAME: usize = 58;

/// Fields of the metadata that only the server sets.
const SERVERS: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Fields that never change after they were set.
const FIXED: [&str; 4] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Puts an object where the URL says.
pub(super) fn place(call: &Call, object: &mut Object) -> Result<(), ApiError> {
    let wanted = call.namespace.as_deref().unwrap_or_default();
    let said = object.namespace();
    if !said.is_empty() && said != wanted {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    match wanted {
        "" => drop(object.meta_mut().remove("namespace")),
        namespace => object.set_meta("namespace", namespace),
    }
    if let Some(name) = &call.name
        && object.name() != name
    {
        let message = match object.name() {
            "" => format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            ),
            said => format!(
                "the name of the object ({said}) does not match the name on the URL ({name})"
            ),
        };
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// Gives a new object what makes it one.
pub(super) fn begin(object: &mut Object, now: Timestamp) -> Result<(), ApiError> {
    if !object.meta_text("resourceVersion").is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::bad_request(message));
    }
    let meta = object.meta_mut();
    for field in SERVERS.into_iter().chain(["selfLink", "resourceVersion"]) {
        meta.remove(field);
    }
    object.set_meta("uid", random_uid());
    object.set_meta("creationTimestamp", seconds(now));
    if object.name().is_empty() && !object.meta_text("generateName").is_empty() {
        let name = made_up(object.meta_text("generateName"));
        object.set_meta("name", name);
    }
    Ok(())
}

/// Whether changes of what people want are counted: of Kubernetes' own kinds only for some groups.
pub(super) fn has_generation(call: &Call) -> bool {
    const COUNTED: [&str; 3] = [
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "flowcontrol.apiserver.k8s.io",
    ];
    !call.resource.built_in || COUNTED.contains(&call.resource.group.as_str())
}

/// Counts a change of what people want.
pub(super) fn count_change(call: &Call, object: &mut Object, old: &Object) {
    if has_generation(call) {
        let generation = old.meta().get("generation").and_then(Value::as_i64);
        object.set_meta("generation", generation.unwrap_or_default() + 1);
    }
}

/// Refuses metadata whose fields are of other types than they must be.
pub(super) fn check_types(call: &Call, value: &Value) -> Result<(), ApiError> {
    let Some(meta) = value.get("metadata").filter(|meta| !meta.is_null()) else {
        return Ok(());
    };
    let unfit = |found: &Value, what: &str| {
        let (kind, version) = (&call.resource.kind, &call.version.name);
        let found = go_type(found);
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal {found} into Go {what}"
        ))
    };
    let Some(meta) = meta.as_object() else {
        return Err(unfit(meta, "value of type v1.ObjectMeta"));
    };
    let check = |field: &str, value: &Value, wanted: &str| {
        if value.is_null() || go_type(value) == wanted {
            return Ok(());
        }
        let of_field = |wanted: &str| format!("struct field ObjectMeta.{field} of type {wanted}");
        Err(unfit(
            value,
            &match (field, wanted) {
                ("labels" | "annotations", "object") => of_field("map[string]string"),
                ("finalizers", "array") => of_field("[]string"),
                ("ownerReferences", "array") => of_field("[]v1.OwnerReference"),
                ("ownerReferences", "object") => of_field("v1.OwnerReference"),
                (_, wanted) => of_field(wanted),
            },
        ))
    };
    for (field, value) in meta {
        let field = field.as_str();
        match field {
            "name" | "generateName" | "namespace" | "uid" | "resourceVersion" | "selfLink" => {
                check(field, value, "string")?;
            }
            "labels" | "annotations" => {
                check(field, value, "object")?;
                for entry in value.as_object().into_iter().flat_map(Map::values) {
                    check(field, entry, "string")?;
                }
            }
            "finalizers" | "ownerReferences" => {
                check(field, value, "array")?;
                let wanted = match field {
                    "finalizers" => "string",
                    _ => "object",
                };
                for item in value.as_array().into_iter().flatten() {
                    check(field, item, wanted)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What Go's decoder of JSON calls a value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Gives a changed object what only the server sets, as it was.
pub(super) fn carry(object: &mut Object, old: &Object) {
    for field in SERVERS {
        let is_said = object
            .meta()
            .get(field)
            .is_some_and(|value| !value.is_null());
        match old.meta().get(field) {
            Some(value) if !is_said || field == "generation" => {
                object.set_meta(field, value.clone());
            }
            None if field == "generation" => drop(object.meta_mut().remove(field)),
            _ => {}
        }
    }
    object.meta_mut().remove("selfLink");
}

/// What is wrong with the metadata of an object.
pub(super) fn check(call: &Call, object: &Object, old: Option<&Object>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object.name();
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::required("metadata.name", detail));
    } else if let Err(rule) = call.resource.naming.check(name) {
        errors.push(FieldError::invalid("metadata.name", name, rule));
    }
    if !object.namespace().is_empty()
        && let Err(rule) = names::dns_label(object.namespace())
    {
        let namespace = object.namespace();
        errors.push(FieldError::invalid("metadata.namespace", namespace, rule));
    }
    check_labels(object, &mut errors);
    check_annotations(object, &mut errors);
    owners::check(object, &mut errors);
    check_finalizers(call, object, &mut errors);
    if let Some(old) = old {
        check_fixed(object, old, &mut errors);
    }
    errors
}

/// What who wrote an object is warned of. Kubernetes' own kinds refuse the same.
pub(super) fn warnings(call: &Call, object: &Object, old: Option<&Object>) -> Vec<String> {
    if call.resource.built_in {
        return Vec::new();
    }
    let known: Vec<&str> = old.into_iter().flat_map(Object::finalizers).collect();
    let added: BTreeSet<&str> = object.finalizers().collect();
    let plain = added.into_iter().filter(|name| {
        !name.contains('/') && !names::STANDARD_FINALIZERS.contains(name) && !known.contains(name)
    });
    plain
        .map(|name| {
            let how = if name.contains('.') { " including a path (/)" } else { "" };
            format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{how} to avoid accidental conflicts with other finalizer writers"
            )
        })
        .collect()
}

fn check_finalizers(call: &Call, object: &Object, errors: &mut Vec<FieldError>) {
    // Definitions are checked by another library upstream.
    let is_core = call.resource.built_in && !crd::are(&call.resource);
    for (at, finalizer) in object.finalizers().enumerate() {
        let path = format!("metadata.finalizers[{at}]");
        if let Err(rule) = names::qualified(finalizer) {
            errors.push(FieldError::invalid(&path, finalizer, rule));
        }
        if is_core && !finalizer.contains('/') && !names::STANDARD_FINALIZERS.contains(&finalizer) {
            let rule = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer, rule));
        }
    }
}

fn check_labels(object: &Object, errors: &mut Vec<FieldError>) {
    for (key, value) in entries(object, "labels") {
        if let Err(rule) = names::qualified(key) {
            errors.push(FieldError::invalid("metadata.labels", key.as_str(), rule));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(rule) = names::label_value(value) {
            errors.push(FieldError::invalid("metadata.labels", value, rule));
        }
    }
}

fn check_annotations(object: &Object, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in entries(object, "annotations") {
        if let Err(rule) = names::qualified(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                key.as_str(),
                rule,
            ));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        let most = i64::try_from(MAX_ANNOTATIONS).unwrap_or(i64::MAX);
        errors.push(FieldError::too_long("metadata.annotations", most));
    }
}

fn check_fixed(object: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    for field in FIXED {
        let (now, before) = (object.meta().get(field), old.meta().get(field));
        if now != before {
            let value = now.cloned().unwrap_or(Value::Null);
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(path, value, "field is immutable"));
        }
    }
    if old.is_deleting() {
        let added = object
            .finalizers()
            .find(|finalizer| !old.finalizers().any(|known| known == *finalizer));
        if let Some(added) = added {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{added:?}}}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
}

fn entries<'a>(object: &'a Object, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let entries = object.meta().get(field).and_then(Value::as_object);
    entries.into_iter().flat_map(Map::iter)
}

/// A time as objects carry it.
pub(super) fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn made_up(beginning: &str) -> String {
    let mut end = beginning.len().min(MAX_GENERATE_NAME);
    while !beginning.is_char_boundary(end) {
        end -= 1;
    }
    let suffix = rand::random::<[u8; 5]>().map(|byte| {
        let at = usize::from(byte) % SUFFIX.len();
        char::from(SUFFIX[at])
    });
    beginning[..end].chars().chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_object_gets_what_makes_it_one() {
        let mut object = Object::new(json!({
            "metadata": {"generateName": "a-", "uid": "mine", "deletionTimestamp": "x"},
        }))
        .unwrap();
        begin(&mut object, "2026-01-02T03:04:05.6Z".parse().unwrap()).unwrap();
        assert_eq!(object.name().len(), 7);
        assert_ne!(object.uid(), "mine");
        assert!(!object.is_deleting());
        assert_eq!(
            object.meta_text("creationTimestamp"),
            "2026-01-02T03:04:05Z"
        );
        object.set_meta("resourceVersion", "1");
        assert!(begin(&mut object, Timestamp::UNIX_EPOCH).is_err());
    }

    #[test]
    fn what_the_server_set_stays() {
        let old = json!({"metadata": {"uid": "u", "creationTimestamp": "t", "generation": 3}});
        let old = Object::new(old).unwrap();
        let mut new = Object::new(json!({"metadata": {"uid": "other", "generation": 9}})).unwrap();
        carry(&mut new, &old);
        assert_eq!(new.meta()["generation"], 3);
        assert_eq!(new.meta()["creationTimestamp"], "t");
        let mut errors = Vec::new();
        check_fixed(&new, &old, &mut errors);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].path, "metadata.uid");
    }
}
