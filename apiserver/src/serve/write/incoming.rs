//! The object that a request brings.

use crate::body::Document;
use crate::error::{About, ApiError};
use crate::object::Object;
use crate::request::{FieldValidation, Verb, WriteOptions};
use crate::schema::{self, Extent, FieldError};
use crate::serve::{Call, Sent, metadata};
use serde_json::Value;

use super::invalid;

/// An object that was read from a body.
pub(super) struct Incoming {
    pub(super) object: Object,
    pub(super) warnings: Vec<String>,
}

/// The object in a body, put where the URL says.
pub(super) fn placed(
    call: &Call,
    sent: &Sent,
    options: &WriteOptions,
) -> Result<Incoming, ApiError> {
    let document = Document::parse(&sent.headers, &sent.body, call.message().as_ref())?;
    let mut found = incoming(call, document, options.validation)?;
    metadata::place(call, &mut found.object)?;
    Ok(found)
}

/// The object in a document: of the kind that is asked for, with the fields that its kind has.
pub(super) fn incoming(
    call: &Call,
    document: Document,
    validation: FieldValidation,
) -> Result<Incoming, ApiError> {
    let duplicates = duplicates_of(&document);
    let mut value = document.value;
    if call.resource.built_in {
        set_kind(call, &mut value);
    }
    check_kind(call, &value)?;
    metadata::check_types(call, &value).map_err(|error| match call.verb {
        Verb::Patch => {
            let name = call.name.as_deref().unwrap_or_default();
            let error = FieldError::invalid("patch", "", error.message());
            invalid(call, name, &[error])
        }
        _ => error,
    })?;
    let unknown = schema::prune(&call.version.schema, &mut value, Extent::Resource);
    let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let found: Vec<String> = duplicates.into_iter().chain(unknown).collect();
    let object = Object::new(value).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Incoming {
        warnings: judged(call, object.name(), found, validation)?,
        object,
    })
}

/// What an apply states, with all its fields: one that its kind does not have is refused.
pub(super) fn unpruned(call: &Call, value: Value) -> Result<Object, ApiError> {
    metadata::check_types(call, &value)?;
    Object::new(value).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The fields of an apply that are named twice, if they are only warned of.
pub(super) fn duplicates(
    call: &Call,
    document: &Document,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    judged(call, name, duplicates_of(document), validation)
}

fn duplicates_of(document: &Document) -> Vec<String> {
    let duplicates = document.duplicates.iter();
    duplicates
        .map(|path| format!("duplicate field {path:?}"))
        .collect()
}

/// Fields that there should not be: an error, warnings or nothing.
fn judged(
    call: &Call,
    name: &str,
    found: Vec<String>,
    validation: FieldValidation,
) -> Result<Vec<String>, ApiError> {
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !found.is_empty() => {
            let found = format!("strict decoding error: {}", found.join(", "));
            if call.verb == Verb::Patch {
                let error = FieldError::invalid("patch", "", found);
                return Err(invalid(call, name, &[error]));
            }
            Err(unhandled(call, &found))
        }
        _ => Ok(found),
    }
}

/// 400: what was sent is no object of the kind.
pub(super) fn unhandled(call: &Call, why: &str) -> ApiError {
    let (kind, version) = (&call.resource.kind, &call.version.name);
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}

/// What Kubernetes' own kinds are need not be said.
fn set_kind(call: &Call, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (field, text) in [
        ("apiVersion", call.api_version()),
        ("kind", call.resource.kind.clone()),
    ] {
        let said = fields.get(field).and_then(Value::as_str);
        if said.is_none_or(str::is_empty) {
            fields.insert(field.into(), text.into());
        }
    }
}

fn check_kind(call: &Call, value: &Value) -> Result<(), ApiError> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() {
        return Err(unrecognized(call, "Object 'Kind' is missing"));
    }
    let expected = call.api_version();
    if !call.resource.built_in {
        let must = [
            ("apiVersion", version, expected.as_str()),
            ("kind", kind, call.resource.kind.as_str()),
        ];
        let must = must.into_iter().filter(|(_, is, must)| is != must);
        let errors: Vec<_> = must
            .map(|(field, is, must)| FieldError::invalid(field, is, format!("must be {must}")))
            .collect();
        let is_patch = call.verb == Verb::Patch;
        if !errors.is_empty() && (is_patch || version == expected) {
            let name = value.pointer("/metadata/name").and_then(Value::as_str);
            let about = About {
                what: kind,
                ..call.about(name.unwrap_or_default())
            };
            return Err(ApiError::invalid(about, &errors));
        }
    }
    if version != expected {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        );
        return Err(ApiError::bad_request(message));
    }
    if kind != call.resource.kind {
        let message = format!(
            "{kind} in version {:?} cannot be handled as a {}: the object is of another kind",
            call.version.name, call.resource.kind
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// 400: what was sent is no object.
fn unrecognized(call: &Call, why: &str) -> ApiError {
    let kind = &call.resource.kind;
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why}"
    ))
}
