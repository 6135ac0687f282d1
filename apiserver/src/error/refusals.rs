//! The ways in which requests fail, by their codes.

use super::{About, ApiError};
use crate::apply::Conflicts;
use crate::schema::FieldError;
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

/// Seconds after which a client may try again when the store takes no writes.
const STORE_FULL: u32 = 5;

impl ApiError {
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

    /// Whether it is the object's own name that is taken.
    pub(crate) fn is_name_taken(&self) -> bool {
        self.reason == "AlreadyExists" && self.details.is_some()
    }

    /// Says of a name that is taken that it was made up, as was every other one that was tried.
    pub(crate) fn no_name_found(mut self) -> Self {
        self.message += ", the server was not able to generate a unique name for the object";
        self
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
}

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

fn cause(error: &FieldError) -> Value {
    json!({"reason": error.reason(), "message": error.message(), "field": error.field()})
}
