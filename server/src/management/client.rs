//! The management API in process, as any Kubernetes client sees it.

use std::sync::Arc;

use apiserver::error::ApiError;
use apiserver::serve::{ApiServer, Unjudged, User};
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use kube::client::Body;

/// Under this name the server owns the fields that it writes.
pub(crate) const MANAGER: &str = "lariat-server";

/// A client that acts as `user`: no socket and no TLS, but the same requests and answers as from
/// outside, so that a controller runs here as it would against any cluster. Policies are not asked
/// about what the server itself does: nobody could take one away any more who cannot log in.
pub(crate) fn client(api: &Arc<ApiServer>, user: &User) -> kube::Client {
    let (api, user) = (Arc::clone(api), user.clone());
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (api, user) = (Arc::clone(&api), user.clone());
        let agent = request.headers_mut().entry(USER_AGENT);
        agent.or_insert(HeaderValue::from_static(MANAGER));
        if user.is_master() {
            request.extensions_mut().insert(Unjudged);
        }
        async move {
            let answer = api.answer(user, request).await;
            if let Some(log) = answer.extensions().get().and_then(ApiError::log) {
                tracing::error!("{log}");
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    kube::Client::new(service, "default")
}

/// Whether the API answered with that code.
pub(crate) fn answered<T>(result: &kube::Result<T>, code: StatusCode) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == code.as_u16())
}

/// What the API answered, for the client on whose behalf it was asked.
pub(crate) fn failure(error: kube::Error) -> ApiError {
    match error {
        kube::Error::Api(status) => match StatusCode::from_u16(status.code) {
            Ok(code) => ApiError::new(code, status.reason, status.message),
            Err(_) => ApiError::internal(status.message),
        },
        other => ApiError::internal(other),
    }
}
