//! What a client is told when its request fails, and what the log is told.

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Body, full};
use crate::objects::ObjectError;

/// A failed request: one message for the client, a Kubernetes `Status`, and one for the log.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    reason: &'static str,
    message: String,
    log: Option<String>,
    retry_after: Option<u32>,
    details: Option<Value>,
}

impl ApiError {
    /// A failure with that status. `reason` is one of the API's words, for example `NotFound`.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            log: None,
            retry_after: None,
            details: None,
        }
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: nobody, or not who they say.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: known, but may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 404: it is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 405: not with this method.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 409: changed in the meantime.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
    }

    /// 410: that part of the history is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 422: understood, but a field breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 429: too often. Ask again after so many seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
        }
    }

    /// 502: the other side failed.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "BadGateway", message)
    }

    /// 503: not now. Ask again after so many seconds.
    pub fn unavailable(message: impl Into<String>, retry_after: u32) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message,
            )
        }
    }

    /// 500: our fault. The client learns no more than that.
    pub fn internal(log: impl std::fmt::Display) -> Self {
        let message = "the server failed; its log has the reason under the Audit-Id of this answer";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).with_log(log)
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn with_log(mut self, log: impl std::fmt::Display) -> Self {
        self.log = Some(log.to_string());
        self
    }

    /// Adds the `details` of the Status.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The API's word for it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What only the log is told.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// The answer as a Kubernetes `Status` object.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let mut status = self.status_object();
        if let Some(seconds) = self.retry_after {
            status["details"]["retryAfterSeconds"] = json!(seconds);
        }
        self.respond_with(&status)
    }

    /// The same as [`Self::into_response`], as a value.
    #[must_use]
    pub fn status_object(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details.clone().unwrap_or_else(|| json!({})),
            "code": self.status.as_u16(),
        })
    }

    /// The answer with another body; status and headers as they belong to the failure.
    #[must_use]
    pub fn respond_with(&self, body: &Value) -> Response<Body> {
        let mut response = Response::new(full(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"lariat\""),
            );
        }
        response
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        let message = error.to_string();
        match error {
            ObjectError::NotFound(_) => Self::not_found(message),
            ObjectError::AlreadyExists(_) => Self::already_exists(message),
            ObjectError::Conflict(_) => Self::conflict(message),
            ObjectError::ResourceVersion(_) => Self::bad_request(message),
            ObjectError::Store(store::Error::Compacted { .. }) => Self::expired(message),
            ObjectError::Store(store::Error::ValueLength(_)) => Self::invalid(message),
            ObjectError::Store(
                store::Error::FutureRevision { .. } | store::Error::KeyLength(_),
            ) => Self::bad_request(message),
            ObjectError::Store(store::Error::Unavailable | store::Error::Write(_)) => {
                Self::unavailable("the store cannot be written", 5).with_log(message)
            }
            ObjectError::Store(_) | ObjectError::Damaged { .. } => Self::internal(message),
        }
    }
}
