//! Answers from values.

use super::Body;
use crate::error::ApiError;
use crate::media::Encoding;
use crate::protobuf;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{Response, StatusCode};
use serde_json::Value;

/// An answer with a body of JSON.
pub(super) fn json(code: StatusCode, body: Body) -> Response<Body> {
    typed(code, "application/json", body)
}

/// An answer with one value.
pub(super) fn value(code: StatusCode, encoding: Encoding, value: &Value) -> Response<Body> {
    match encoding {
        Encoding::Json => json(code, Body::whole(value.to_string())),
        Encoding::Protobuf => match protobuf::encode(value) {
            Some(body) => typed(code, protobuf::MEDIA_TYPE, Body::whole(body)),
            None => json(code, Body::whole(value.to_string())),
        },
        Encoding::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => typed(code, "application/yaml", Body::whole(text)),
            Err(error) => failure(ApiError::internal(error)),
        },
    }
}

/// The answer to a failed request.
pub(super) fn failure(error: ApiError) -> Response<Body> {
    error.into_response().map(Body::whole)
}

/// Writes a failure, if it is one, as the client takes it.
pub(super) fn write_failure_as(encoding: Encoding, response: &mut Response<Body>) {
    if encoding == Encoding::Json {
        return;
    }
    let Some(error) = response.extensions().get::<ApiError>() else {
        return;
    };
    let (parts, body) = value(error.code(), encoding, &error.to_status()).into_parts();
    *response.body_mut() = body;
    response.headers_mut().extend(parts.headers);
}

/// Adds a warning, which kubectl prints.
pub(super) fn warn(response: &mut Response<Body>, warning: &str) {
    let quoted = Value::from(warning);
    if let Ok(line) = HeaderValue::from_str(&format!("299 - {quoted}")) {
        response.headers_mut().append(WARNING, line);
    }
}

/// An answer with a body of some type.
pub(super) fn typed(code: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
