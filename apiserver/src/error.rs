//! What a client is told when its request fails: a Kubernetes `Status`, with the words and codes of
//! kube-apiserver.

use crate::apply::Conflicts;
use crate::schema::FieldError;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

/// Seconds after which a client may try again when the store takes no writes.
const STORE_FULL: u32 = 5;

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

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: nobody, or not who they say.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: known, but may not. `about` is empty for paths that are no resources.
    #[must_use]
    pub fn forbidden(about: About<'_>, why: &str) -> Self {
        let message = match about.name {
            "" if about.what.is_empty() => format!("forbidden: {why}"),
            "" => format!("{} is forbidden: {why}", about.qualified()),
            name => format!("{} {name:?} is forbidden: {why}", about.qualified()),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(about)
    }

    /// 404: there is no such object.
    #[must_use]
    pub fn not_found(about: About<'_>) -> Self {
        let message = format!("{} {:?} not found", about.qualified(), about.name);
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(about)
    }

    /// 404: nothing is served at that path.
    #[must_use]
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        let mut error = Self::new(StatusCode::NOT_FOUND, "NotFound", message);
        error.details = Some(json!({}));
        error
    }

    /// 405: not with this verb.
    #[must_use]
    pub fn method_not_supported(verb: &str, about: About<'_>) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind {:?}",
            about.qualified()
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(about)
    }

    /// 405: not with this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let code = StatusCode::METHOD_NOT_ALLOWED;
        let mut error = Self::new(code, "MethodNotAllowed", message);
        error.details = Some(json!({}));
        error
    }

    /// 406: not in a form that the client takes.
    #[must_use]
    pub fn not_acceptable(offered: &[&str]) -> Self {
        let offered = offered.join(", ");
        let message = format!("only the following media types are accepted: {offered}");
        Self::cannot_accept(message)
    }

    /// 406: not in the form that the client wants.
    pub fn cannot_accept(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 408: the body took too long.
    #[must_use]
    pub fn body_timeout(limit: Duration) -> Self {
        let message = format!("request body did not end within {} s", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// 409: what is to be deleted is not what the client means. `about` names the kind; `field` is
    /// `UID` or `ResourceVersion`.
    #[must_use]
    pub fn other_than_meant(about: About<'_>, field: &str, meant: &str, is: &str) -> Self {
        let happened = match field {
            "UID" => "deleted and then recreated",
            _ => "modified",
        };
        let why = format!(
            "the {field} in the precondition ({meant}) does not match the {field} in record ({is}). The object might have been {happened}"
        );
        Self::conflict(about, &why)
    }

    /// 409: changed since the client read it.
    #[must_use]
    pub fn conflict(about: About<'_>, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {:?}: {why}",
            about.qualified(),
            about.name
        );
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(about)
    }

    /// 409: others own what an apply would change.
    #[must_use]
    pub fn apply_conflict(conflicts: &Conflicts) -> Self {
        let causes = conflicts.0.iter().map(|conflict| {
            json!({
                "reason": "FieldManagerConflict",
                "message": conflict.message(),
                "field": conflict.path.to_string(),
            })
        });
        let causes: Vec<Value> = causes.collect();
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string());
        error.detail("causes", causes.into());
        error
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(about: About<'_>) -> Self {
        let message = format!("{} {:?} already exists", about.qualified(), about.name);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(about)
    }

    /// 410: that part of the history is gone; the client lists again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413: more than is read of a body, in bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        let code = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(code, "RequestEntityTooLarge", message)
    }

    /// 415: the body is in no form that is understood.
    #[must_use]
    pub fn unsupported_media_type(understood: &[&str]) -> Self {
        let understood = understood.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {understood}"
        );
        let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(code, "UnsupportedMediaType", message)
    }

    /// 422: understood, but fields break rules. `about` names the kind.
    #[must_use]
    pub fn invalid(about: About<'_>, errors: &[FieldError]) -> Self {
        let mut seen = HashSet::new();
        let messages = errors.iter().map(FieldError::to_string);
        let messages: Vec<String> = messages.filter(|text| seen.insert(text.clone())).collect();
        let why = match messages.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!("{} {:?} is invalid: {why}", about.qualified(), about.name);
        let mut error =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(about);
        let causes: Vec<Value> = errors.iter().map(cause).collect();
        error.detail("causes", causes.into());
        error
    }

    /// 429: too often. The client may ask again after so many seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let code = StatusCode::TOO_MANY_REQUESTS;
        Self::new(code, "TooManyRequests", message).retry_in(retry_after)
    }

    /// 503: not now. The client may ask again after so many seconds.
    pub fn unavailable(message: impl Into<String>, retry_after: u32) -> Self {
        let code = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(code, "ServiceUnavailable", message).retry_in(retry_after)
    }

    /// 500: our fault. The client learns no more than that; `log` is for the log.
    pub fn internal(log: impl std::fmt::Display) -> Self {
        let message = "Internal error occurred: the server's log has the reason";
        let code = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(code, "InternalError", message).with_log(log)
    }

    /// 504: a revision that has not happened yet.
    #[must_use]
    pub fn future_revision(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message);
        error.details = Some(json!({
            "causes": [{
                "reason": "ResourceVersionTooLarge",
                "message": "Too large resource version",
            }],
            "retryAfterSeconds": 1,
        }));
        error
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

/// 500 if a secret in the store cannot be opened; 503 if the store is away or takes no writes.
impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        match &error {
            store::Error::Sealed { .. } => {
                let mut failed = Self::internal(&error);
                failed.message = format!("Internal error occurred: {error}");
                failed
            }
            // Says nothing of when to try again, as clients would then repeat a write by themselves.
            store::Error::Unavailable => {
                let message =
                    "the store is not available; whether a write has happened is not known";
                let code = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(code, "ServiceUnavailable", message).with_log(error)
            }
            store::Error::Write(_) | store::Error::Refused(_) => {
                let message = "the store takes no writes; the server's log has the reason";
                Self::unavailable(message, STORE_FULL).with_log(error)
            }
            _ => Self::internal(error),
        }
    }
}

impl About<'_> {
    /// As messages name it: `clusters.management.cattle.io`.
    fn qualified(&self) -> String {
        match self.group {
            "" => self.what.to_owned(),
            group => format!("{}.{group}", self.what),
        }
    }
}

fn cause(error: &FieldError) -> Value {
    json!({"reason": error.reason(), "message": error.message(), "field": error.field()})
}

#[cfg(test)]
mod tests {
    use super::*;

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
