//! Sessions of agents.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::edge::{ApiError, Body, RequestContext};
use crate::state::App;

/// An agent opens a tunnel.
pub(crate) async fn connect(
    _app: &Arc<App>,
    _request: Request<Incoming>,
    _context: RequestContext,
) -> Result<Response<Body>, ApiError> {
    Err(ApiError::unavailable(
        "this server does not accept tunnels",
        60,
    ))
}
