//! What machines ask the server about itself.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use http::{Response, StatusCode};

use super::body::{Body, text, with_type};
use crate::authn::Identity;
use crate::authz::Denied;
use crate::state::App;

/// How long a check may take.
const CHECK: Duration = Duration::from_secs(2);

pub(super) fn ping() -> Result<Response<Body>, ApiError> {
    Ok(text(StatusCode::OK, "pong"))
}

/// The process answers; that is all there is to being alive.
pub(super) fn live() -> Result<Response<Body>, ApiError> {
    Ok(text(StatusCode::OK, "ok"))
}

/// Whether requests can be served. With `?verbose` in the query, or when not, every check by name.
pub(super) async fn ready(app: &Arc<App>, query: Option<&str>) -> Result<Response<Body>, ApiError> {
    let store = tokio::time::timeout(CHECK, app.store.revision()).await;
    let revision = store.ok().and_then(Result::ok);
    let directory = match revision {
        Some(revision) => app.directory.wait_for(revision).await,
        None => false,
    };
    let checks = [
        ("store", revision.is_some()),
        ("directory", directory),
        ("accepting", !app.shutdown.is_cancelled()),
    ];
    let ready = checks.iter().all(|(_, passed)| *passed);
    let verbose = query.is_some_and(|query| query.split('&').any(|word| word == "verbose"));
    if ready && !verbose {
        return Ok(text(StatusCode::OK, "ok"));
    }
    let mut lines = String::new();
    for (name, passed) in checks {
        let (mark, word) = if passed { ('+', "ok") } else { ('-', "failed") };
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "[{mark}]{name} {word}");
    }
    lines.push_str(if ready {
        "readyz check passed\n"
    } else {
        "readyz check failed\n"
    });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(text(status, lines))
}

/// The CA certificates that clients must trust; empty when the platform's roots do.
pub(super) fn ca_certificates(app: &App) -> Result<Response<Body>, ApiError> {
    let pem = app.certificates.trusted().to_string();
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", pem))
}

pub(super) fn metrics(app: &App, identity: &Identity) -> Result<Response<Body>, ApiError> {
    if !identity.administrator {
        let why = "only administrators may read metrics";
        return Err(Denied(why.to_owned()).into());
    }
    let page = app.metrics.encode().map_err(ApiError::internal)?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(with_type(StatusCode::OK, media_type, page))
}
