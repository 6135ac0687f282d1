//! Requests to the API servers of clusters.

use std::sync::Arc;

use http::Response;

use crate::edge::{ApiError, Body, ProxyRequest};
use crate::state::App;

/// Forwards a request to a cluster.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: ProxyRequest,
) -> Result<Response<Body>, ApiError> {
    let cluster = crate::authz::cluster(app, &request)?;
    let name = cluster.display_name();
    Err(ApiError::unavailable(
        format!("cluster {name:?} is not connected"),
        10,
    ))
}
