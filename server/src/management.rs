//! The Kubernetes-style face of the management API.

mod discovery;
mod kinds;
mod list;
mod query;
mod resource;
mod table;
mod users;
mod watch;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::{Cluster, ClusterRegistrationToken, GROUP, Setting, Token, User, VERSION};
use serde_json::json;

pub(crate) use kinds::settings;
pub(crate) use users::claim;

use crate::authn::Identity;
use crate::edge::{ApiError, Body};
use crate::objects::ObjectError;
use crate::state::App;
use resource::Resource;

/// Answers requests under `/api` and `/apis`.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: Identity,
    segments: &[&str],
) -> Result<Response<Body>, ApiError> {
    let path = match segments {
        ["apis", group, version, rest @ ..] if *group == GROUP && *version == VERSION => rest,
        _ => return read_only(&request, discovery::find(segments)),
    };
    let (namespace, plural, name) = match path {
        [] => return read_only(&request, Some(discovery::resources())),
        [plural] => (None, *plural, None),
        [plural, name] => (None, *plural, Some(*name)),
        ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
        ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
        _ => return Err(no_such_resource()),
    };
    let target = Resource {
        app: Arc::clone(app),
        who,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    };
    match plural {
        "clusters" => target.answer::<Cluster>(request).await,
        "clusterregistrationtokens" => target.answer::<ClusterRegistrationToken>(request).await,
        "settings" => target.answer::<Setting>(request).await,
        "tokens" => target.answer::<Token>(request).await,
        "users" => target.answer::<User>(request).await,
        _ => Err(no_such_resource()),
    }
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

fn read_only(
    request: &Request<Incoming>,
    document: Option<serde_json::Value>,
) -> Result<Response<Body>, ApiError> {
    let document = document.ok_or_else(no_such_resource)?;
    match *request.method() {
        Method::GET | Method::HEAD => Ok(crate::edge::json(StatusCode::OK, &document)),
        _ => Err(ApiError::method_not_allowed("this can only be read")),
    }
}

fn no_such_resource() -> ApiError {
    ApiError::not_found("the server could not find the requested resource")
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
