//! The management API in process, as any Kubernetes client sees it.

use std::sync::Arc;

use apiserver::error::ApiError;
use apiserver::serve::{ApiServer, User};
use http::Request;
use kube::client::Body;

/// A client that acts as `user`: no socket and no TLS, but the same requests and answers as from
/// outside, so that a controller runs here as it would against any cluster.
pub(crate) fn client(api: &Arc<ApiServer>, user: &User) -> kube::Client {
    let (api, user) = (Arc::clone(api), user.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (api, user) = (Arc::clone(&api), user.clone());
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
