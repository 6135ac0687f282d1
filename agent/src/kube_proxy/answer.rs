//! Answers that the agent itself gives, in the form that Kubernetes clients understand.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tower::BoxError;

/// A body that is streamed from the API server, or an answer of the agent's own.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Marks an answer as the agent's own, so that the server can tell it from the API server's.
pub const AGENT_HEADER: &str = "x-lariat-agent-error";

/// A Kubernetes Status with this code and message.
pub fn error_status(code: StatusCode, message: &str) -> Response<Body> {
    let reason = match code {
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::BAD_REQUEST => "BadRequest",
        _ => "InternalError",
    };
    let status = serde_json::json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code.as_u16(),
    });
    let body = Full::new(Bytes::from(status.to_string()))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    headers.insert(AGENT_HEADER, header::HeaderValue::from_static("true"));
    response
}
