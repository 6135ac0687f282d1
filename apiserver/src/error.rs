//! What a client is told when its request fails: a Kubernetes `Status`, with the words and codes of
//! kube-apiserver.

mod refusals;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The resource that a failure is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// What is named in the message: the plural of a resource, or a kind.
    pub what: &'a str,
    /// Name of the object.
    pub name: &'a str,
}

/// A failed request.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    code: StatusCode,
    reason: Cow<'static, str>,
    message: String,
    details: Option<Value>,
    continues: Option<Box<str>>,
    log: Option<Box<str>>,
}

impl ApiError {
    /// A failure with that code. `reason` is one of the API's words, for example `NotFound`.
    pub fn new(
        code: StatusCode,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            continues: None,
            log: None,
        }
    }

    fn about(mut self, about: About<'_>) -> Self {
        let mut details = serde_json::Map::new();
        for (field, value) in [
            ("name", about.name),
            ("group", about.group),
            ("kind", about.what),
        ] {
            if !value.is_empty() {
                details.insert(field.into(), value.into());
            }
        }
        self.details = Some(details.into());
        self
    }

    /// Adds the uid of the object to the details.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        self.detail("uid", uid.into());
        self
    }

    /// The same words with another code and reason.
    #[must_use]
    pub fn said_as(mut self, code: StatusCode, reason: &'static str) -> Self {
        self.code = code;
        self.reason = reason.into();
        self
    }

    /// Adds what exactly is wrong, as a list of causes.
    #[must_use]
    pub fn with_causes(mut self, causes: Value) -> Self {
        self.detail("causes", causes);
        self
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn with_log(mut self, log: impl std::fmt::Display) -> Self {
        self.log = Some(log.to_string().into());
        self
    }

    fn retry_in(mut self, seconds: u32) -> Self {
        self.detail("retryAfterSeconds", seconds.into());
        self
    }

    /// Adds a token with which the list can go on all the same.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.continues = Some(token.into());
        self
    }

    fn detail(&mut self, field: &str, value: Value) {
        let details = self.details.get_or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            details.insert(field.into(), value);
        }
    }

    /// The status code.
    #[must_use]
    pub fn code(&self) -> StatusCode {
        self.code
    }

    /// The API's word for it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
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

    /// After how many seconds the client may try again, if that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.details.as_ref()?.get("retryAfterSeconds")?.as_u64()
    }

    /// The answer to the request that failed: a `Status` in JSON. Its extensions hold the failure, for
    /// who writes logs.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(self.to_status().to_string().into());
        *response.status_mut() = self.code;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after() {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(self);
        response
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        if let Some(token) = &self.continues {
            status["metadata"]["continue"] = Value::from(&**token);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl About<'_> {
    /// As messages name it: `clusters.management.cattle.io`.
    fn qualified(&self) -> String {
        match self.group {
            "" => self.what.to_owned(),
            group => format!("{}.{group}", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::FieldError;

    #[test]
    fn a_failure_is_a_status_object() {
        let about = About {
            group: "example.org",
            what: "widgets",
            name: "a",
        };
        let status = ApiError::not_found(about).to_status();
        assert_eq!(status["message"], "widgets.example.org \"a\" not found");
        assert_eq!(
            status["details"],
            json!({"name": "a", "group": "example.org", "kind": "widgets"})
        );
        let cause = |field: &str| FieldError::required(field, "");
        let kind = About {
            what: "Widget",
            ..about
        };
        let error = ApiError::invalid(kind, &[cause("spec.a"), cause("spec.b"), cause("spec.a")]);
        assert_eq!(
            error.message(),
            "Widget.example.org \"a\" is invalid: [spec.a: Required value, spec.b: Required value]"
        );
        assert_eq!(error.to_status()["details"]["causes"][1]["field"], "spec.b");
        assert_eq!(ApiError::future_revision(9, 5).retry_after(), Some(1));
    }
}
