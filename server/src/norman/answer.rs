//! How this face answers and what it reads.

use apiserver::error::ApiError;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::edge::{Body, full};

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
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
}

/// An error in the shape of this face.
pub(super) fn error(error: ApiError) -> Response<Body> {
    let code = match error.code() {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "PermissionDenied",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllow",
        StatusCode::UNPROCESSABLE_ENTITY => "InvalidFormat",
        StatusCode::BAD_REQUEST => "InvalidBodyContent",
        StatusCode::INTERNAL_SERVER_ERROR => "ServerError",
        _ => error.reason(),
    };
    let shown = json!({
        "type": "error",
        "baseType": "error",
        "status": error.code().as_u16(),
        "code": code,
        "message": error.message(),
    });
    error.into_response().map(|_| full(shown.to_string()))
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
