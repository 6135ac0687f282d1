//! How this face answers and what it reads.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::edge::{ApiError, Body};

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

/// An error in the shape of this face.
pub(super) fn error(error: &ApiError) -> Response<Body> {
    if error.status().is_server_error() {
        let (message, log) = (error.message(), error.log().unwrap_or_default());
        tracing::warn!(
            status = error.status().as_u16(),
            message,
            log,
            "request failed"
        );
    }
    let code = match error.status() {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "PermissionDenied",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllow",
        StatusCode::UNPROCESSABLE_ENTITY => "InvalidFormat",
        StatusCode::BAD_REQUEST => "InvalidBodyContent",
        StatusCode::INTERNAL_SERVER_ERROR => "ServerError",
        _ => error.reason(),
    };
    error.respond_with(&json!({
        "type": "error",
        "baseType": "error",
        "status": error.status().as_u16(),
        "code": code,
        "message": error.message(),
    }))
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
