//! Where providers send browsers back to.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::header::SET_COOKIE;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{HTML, go_to, shown};
use crate::authn::session;
use crate::edge::{Body, RequestContext};
use crate::logins::{self, Purpose, Returned, Session};
use crate::state::App;

/// `GET /verify-auth?code=…&state=…`. Whoever comes back is logged in and sent on, or told what is wrong.
pub(super) async fn verify(
    app: &Arc<App>,
    request: &Request<Incoming>,
    context: &RequestContext,
) -> Result<Response<Body>, ApiError> {
    if let Err(error) = app.login_limits.check_address(context.connection.peer.ip()) {
        return Ok(over(problem(&error)));
    }
    let mut returned = Returned::default();
    let mut refused = false;
    let query = request.uri().query().unwrap_or_default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "code" => returned.code = value.into_owned().into(),
            "state" => returned.state = value.into_owned(),
            "error" => refused = true,
            _ => {}
        }
    }
    if refused {
        return Ok(over(login_page("refused")));
    }
    let flow = match returned.resume(app, request.headers()) {
        Ok(flow) => flow,
        Err(error) => return Ok(over(problem(&error))),
    };
    let next = match &flow.purpose {
        // The page hands the code over to who is testing; the flow goes on.
        Purpose::Test => return Ok(shown(HTML, include_str!("test.html"))),
        Purpose::Session { next } => next.clone(),
    };
    let session = Session {
        description: "browser".to_owned(),
        ..Session::default()
    };
    let token = match logins::finish(app, flow, returned.code, session).await {
        Ok(token) => token,
        Err(error) => {
            let message = error.log().unwrap_or_else(|| error.message());
            tracing::info!(id = %context.id, message, "a login by redirect was refused");
            return Ok(over(problem(&error)));
        }
    };
    let mut response = over(go_to(&next));
    for cookie in session::begin(&token.token).map_err(ApiError::internal)? {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Back to the login, with a word for what went wrong.
pub(super) fn problem(error: &ApiError) -> Response<Body> {
    login_page(match error.code() {
        StatusCode::BAD_REQUEST => "expired",
        StatusCode::UNAUTHORIZED => "refused",
        StatusCode::FORBIDDEN => "not-allowed",
        StatusCode::NOT_FOUND => "not-enabled",
        StatusCode::TOO_MANY_REQUESTS => "too-many",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "misconfigured",
    })
}

fn login_page(problem: &str) -> Response<Body> {
    go_to(&format!("/login?problem={problem}"))
}

/// The flow is over, however it ended.
fn over(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .append(SET_COOKIE, logins::forget_flow());
    response
}
