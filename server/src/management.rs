//! The Kubernetes-style face of the management API.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::authn::Identity;
use crate::edge::{ApiError, Body};
use crate::objects::ObjectError;
use crate::state::App;

/// Answers requests under `/api` and `/apis`.
pub(crate) async fn handle(
    _app: &Arc<App>,
    _request: Request<Incoming>,
    _identity: &Identity,
    _segments: &[&str],
) -> Result<Response<Body>, ApiError> {
    Err(ApiError::not_found(
        "the server could not find the requested resource",
    ))
}

/// Answers `/version`.
pub(crate) fn version() -> Result<Response<Body>, ApiError> {
    let version = env!("CARGO_PKG_VERSION");
    // kubectl compares itself with a version of Kubernetes; the API follows this one.
    let value = json!({
        "major": "1",
        "minor": "35",
        "gitVersion": format!("v1.35.0+lariat.{version}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    Ok(crate::edge::json(StatusCode::OK, &value))
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
