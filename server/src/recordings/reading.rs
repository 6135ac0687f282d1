//! Reading a recording: the subresource `cast` of the object. Its bytes come from the file, so that the
//! API library has no part in it; RBAC decides all the same.

use std::io;
use std::sync::Arc;

use apiserver::error::{About, ApiError};
use apiserver::request::Target;
use apiserver::serve::{Attributes, Decision, ResourceAttributes};
use futures::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kube::api::Api;
use lariat_api::{GROUP, Kind as _, SessionRecording, VERSION};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::audit::Audit;
use crate::authn::Identity;
use crate::authz::Action;
use crate::edge::{Body, BoxError, empty};
use crate::management::{self, failure};
use crate::state::App;

const SUBRESOURCE: &str = "cast";

/// How much is read of a file at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// The cluster and the name of the recording that a request asks for; `None` if it asks for something
/// else.
pub(crate) fn asked_for(action: &Action) -> Option<(&str, &str)> {
    match &action.target {
        Target::Resource {
            group,
            version,
            namespace: Some(cluster),
            resource,
            name: Some(name),
            subresource: Some(subresource),
            deeper: false,
            watch: false,
        } if (group.as_str(), version.as_str()) == (GROUP, VERSION)
            && (resource.as_str(), subresource.as_str())
                == (SessionRecording::PLURAL, SUBRESOURCE) =>
        {
            Some((cluster, name))
        }
        _ => None,
    }
}

/// Answers with a recording, as far as it has come.
pub(crate) async fn read(
    app: &Arc<App>,
    method: &Method,
    who: &Identity,
    (cluster, name): (&str, &str),
    audit: &Audit,
) -> Result<Response<Body>, ApiError> {
    let about = About {
        group: GROUP,
        what: SessionRecording::PLURAL,
        name,
    };
    let what = Attributes::Resource(ResourceAttributes {
        verb: "get",
        group: GROUP,
        resource: SessionRecording::PLURAL,
        subresource: SUBRESOURCE,
        namespace: cluster,
        name,
    });
    match app.authorizer.authorize(&management::user(who), &what) {
        Decision::Allow | Decision::AllowAs(_) => audit.set_decision(true, ""),
        Decision::AllowSome(_) => return Err(ApiError::forbidden(about, "no role gives it")),
        Decision::Deny(why) => {
            audit.set_decision(false, &why);
            return Err(ApiError::forbidden(about, &why));
        }
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let message = "a recording is read with GET, and deleted with its SessionRecording";
        let code = StatusCode::METHOD_NOT_ALLOWED;
        return Err(ApiError::new(code, "MethodNotAllowed", message));
    }
    // There is one of that name, so that the name is safe as that of a file.
    let all: Api<SessionRecording> = Api::namespaced(app.own.clone(), cluster);
    let recording = all.get(name).await.map_err(failure)?;
    let path = app.recordings.path(cluster, recording.name());
    let file = match File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ApiError::not_found(about).with_log(format!("no {}", path.display())));
        }
        Err(error) => return Err(ApiError::internal(error)),
    };
    // Not what is added while it is read: the length is promised.
    let length = file.metadata().await.map_err(ApiError::internal)?.len();
    let body = match *method {
        Method::HEAD => empty(),
        _ => {
            let file = tokio::io::AsyncReadExt::take(file, length);
            let pieces = ReaderStream::with_capacity(file, PIECE);
            let pieces = pieces.map_ok(Frame::data).map_err(BoxError::from);
            StreamBody::new(pieces).boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/x-asciicast");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, length.into());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recording_itself_is_asked_for() {
        let path = "/apis/management.cattle.io/v3/namespaces/c-1/sessionrecordings/s-1/cast";
        let action = |path: &str| Action::parse(&Method::GET, path);
        assert_eq!(asked_for(&action(path)), Some(("c-1", "s-1")));
        for other in [
            path.trim_end_matches("/cast").to_owned(),
            format!("{path}/more"),
            path.replace("namespaces/c-1/", ""),
            path.replace("cast", "status"),
            path.replace("v3", "v1"),
            path.replace("management", "example"),
        ] {
            assert_eq!(asked_for(&action(&other)), None, "{other}");
        }
    }
}
