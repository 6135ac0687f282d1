//! Objects as clients of this face send them.

use apiserver::body::{self, Document, media_type};
use apiserver::error::ApiError;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::answer;
use super::field::fields_of;
use super::resource::{CREATOR, View};

/// What a client sends, as the fields of an object. Nothing is as good as `{}`.
///
/// # Errors
/// 400 for what does not parse or nests too deep, 422 for what is no object.
pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let yaml = media_type(headers).contains("yaml");
    let document = if yaml {
        Document::from_yaml(body)?
    } else {
        Document::from_json(body)?
    };
    if body::depth(&document.value) > body::MAX_DEPTH {
        return Err(body::too_deep());
    }
    match document.value {
        Value::Object(fields) => Ok(fields),
        _ => Err(answer::refused(
            "InvalidBodyContent",
            "",
            "the body must be an object with the fields of the resource",
        )),
    }
}

/// A new object in that namespace. Fields that the type does not have, or that clients do not set, are left
/// out, so that what was read can be sent back as it is.
///
/// # Errors
/// 422 if a field is missing.
pub(super) fn new_object(
    view: &View<'_>,
    namespace: &str,
    sent: &Map<String, Value>,
) -> Result<Value, ApiError> {
    let (api_version, kind) = view.of.kind();
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {}});
    for (name, field) in &view.described.fields {
        let value = sent.get(name).filter(|value| !value.is_null());
        if field.required && value.is_none_or(|value| value == "") {
            let message = format!("{name} is required");
            return Err(answer::refused("MissingRequired", name, &message));
        }
        if let Some(value) = value.filter(|_| field.create) {
            field.put(&mut object, own(view, name, value));
        }
    }
    let metadata = fields_of(&mut object["metadata"]);
    if !namespace.is_empty() {
        metadata.insert("namespace".into(), json!(namespace));
    }
    if let Some(begin) = name_begins(&view.of.id)
        && !metadata.contains_key("name")
    {
        metadata.insert("generateName".into(), json!(begin));
    }
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    fields_of(annotations).insert(CREATOR.into(), json!(view.caller.who.user.as_str()));
    Ok(object)
}

/// What is sent, put into the object that is there. With `replace`, fields that are not sent are taken out.
pub(super) fn changed(
    view: &View<'_>,
    mut object: Value,
    sent: &Map<String, Value>,
    replace: bool,
) -> Value {
    let before = object["metadata"]["annotations"].clone();
    for (name, field) in &view.described.fields {
        if !field.update {
            continue;
        }
        match sent.get(name) {
            Some(value) => field.put(&mut object, own(view, name, value)),
            None if replace && !field.write_only => field.put(&mut object, Value::Null),
            None => {}
        }
    }
    // Annotations that are fields stay, unless they were sent as such.
    for (name, field) in &view.described.fields {
        let is_annotation = field.path.get(1).is_some_and(|part| part == "annotations");
        let sent = field.update && (sent.contains_key(name) || replace);
        if let [_, _, annotation] = field.path.as_slice()
            && is_annotation
            && !sent
            && let Some(value) = before.get(annotation)
        {
            let metadata = fields_of(&mut object["metadata"]);
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            fields_of(annotations).insert(annotation.clone(), value.clone());
        }
    }
    object
}

/// A value as it is put into an object. Annotations that are fields are set as such, and not beside them.
fn own(view: &View<'_>, name: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if name == "annotations"
        && let Value::Object(annotations) = &mut value
    {
        for field in view.annotations_as_fields() {
            annotations.remove(field);
        }
    }
    value
}

/// What names begin with that the kind does not make up itself.
fn name_begins(id: &str) -> Option<&'static str> {
    match id {
        "globalRole" => Some("gr-"),
        "roleTemplate" => Some("rt-"),
        _ => None,
    }
}
