//! Where providers send browsers back to.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::header::SET_COOKIE;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::AuthConfigType;

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
        return Ok(over(problem(context, &error)));
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
        let now = app.clock.now();
        if let Ok(flow) = app.flows.resume(request.headers(), &returned.state, now) {
            note_provider(context, &flow.provider);
        }
        let error = ApiError::unauthorized("the login provider refused the login");
        return Ok(over(problem(context, &error)));
    }
    let flow = match returned.resume(app, request.headers()) {
        Ok(flow) => flow,
        Err(error) => return Ok(over(problem(context, &error))),
    };
    note_provider(context, &flow.provider);
    let next = match &flow.purpose {
        // The page hands the code over to who is testing; the flow goes on.
        Purpose::Test => return Ok(shown(HTML, include_str!("test.html"))),
        Purpose::Session { next } => next.clone(),
    };
    let session = Session {
        description: "browser".to_owned(),
        ..Session::default()
    };
    let finished = logins::finish(app, flow, returned.code, session, &context.audit).await;
    let token = match finished {
        Ok(token) => token,
        Err(error) => {
            let message = error.log().unwrap_or_else(|| error.message());
            tracing::info!(id = %context.id, message, "a login by redirect was refused");
            return Ok(over(problem(context, &error)));
        }
    };
    let mut response = over(go_to(&next));
    for cookie in session::begin(&token.token).map_err(ApiError::internal)? {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn note_provider(context: &RequestContext, name: &str) {
    if let Some(type_) = AuthConfigType::of_name(name) {
        context.audit.set_login_provider(type_);
    }
}

/// Back to the login, with a word for what went wrong. The audit log is told the whole of it: the status
/// says only that the browser is sent on.
pub(super) fn problem(context: &RequestContext, error: &ApiError) -> Response<Body> {
    let message = error.log().unwrap_or_else(|| error.message());
    context.audit.set_failure(error.reason(), message);
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
