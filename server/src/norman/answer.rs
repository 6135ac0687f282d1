//! How this face answers and what it reads.

use apiserver::error::ApiError;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::field::shown_name;
use crate::edge::{Body, full};

/// What this face calls complaints about fields, by the API's words.
const FIELD_CODES: [(&str, &str); 4] = [
    ("FieldValueRequired", "MissingRequired"),
    ("FieldValueNotSupported", "InvalidOption"),
    ("FieldValueDuplicate", "NotUnique"),
    ("FieldValueTooLong", "MaxLengthExceeded"),
];

/// The `action` in a query.
pub(super) fn action(query: Option<&str>) -> Option<String> {
    parameter(query, "action")
}

/// A parameter of a query.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// 422: a field breaks a rule.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidFormat", message)
}

/// 422 with a code of this face, and the field that is to blame; none if that is empty.
pub(super) fn refused(code: &'static str, field: &str, message: &str) -> ApiError {
    let error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, message);
    match field {
        "" => error,
        field => error.with_causes(json!([{"field": field}])),
    }
}

/// An error in the shape of this face.
pub(super) fn error(error: ApiError) -> Response<Body> {
    let status = error.to_status();
    let cause = &status["details"]["causes"][0];
    let code = match error.code() {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "PermissionDenied",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllow",
        StatusCode::BAD_REQUEST => "InvalidBodyContent",
        StatusCode::INTERNAL_SERVER_ERROR => "ServerError",
        StatusCode::UNPROCESSABLE_ENTITY if error.reason() == "Invalid" => code_of(cause),
        _ => error.reason(),
    };
    let mut shown = json!({
        "type": "error",
        "baseType": "error",
        "status": error.code().as_u16(),
        "code": code,
        "message": error.message(),
    });
    if let Some(field) = cause["field"].as_str().and_then(field_name) {
        shown["fieldName"] = json!(field);
    }
    error.into_response().map(|_| full(shown.to_string()))
}

fn code_of(cause: &Value) -> &'static str {
    let found = FIELD_CODES
        .iter()
        .find(|(reason, _)| cause["reason"] == *reason);
    found.map_or("InvalidFormat", |(_, code)| code)
}

/// The name here of a field of an object: `spec.displayName` is `name`.
fn field_name(path: &str) -> Option<String> {
    let own = ["spec.", "status.", "metadata."];
    let path = own
        .iter()
        .find_map(|part| path.strip_prefix(part))
        .unwrap_or(path);
    let first = path
        .split(['.', '['])
        .next()
        .filter(|first| !first.is_empty())?;
    Some(shown_name(first).to_owned())
}

/// Parses a JSON body; an empty one is as good as `{}`.
pub(super) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| {
        ApiError::bad_request(format!(
            "request body is not what is expected here: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_blamed_by_the_names_that_clients_know() {
        for (path, expected) in [
            ("spec.displayName", Some("name")),
            ("metadata.labels[a]", Some("labels")),
            ("roleTemplateName", Some("roleTemplateId")),
            ("spec.resourceQuota.limit", Some("resourceQuota")),
            ("", None),
        ] {
            assert_eq!(field_name(path).as_deref(), expected, "{path}");
        }
    }
}
