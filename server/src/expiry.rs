//! Tokens that are no longer good are deleted after a while, and so are old recordings, so that they
//! do not pile up.

use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use http::StatusCode;
use jiff::SignedDuration;
use kube::api::{Api, DeleteParams, ListParams};
use lariat_api::{ClusterRegistrationToken, Kind as _};

use crate::management::{answered, failure};
use crate::recordings;
use crate::state::App;
use crate::tokens;

/// How often they are looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// How long an expired token is kept, so that its user is told that it expired rather than that it
/// is not known.
const KEEP_TOKENS: SignedDuration = SignedDuration::from_hours(24);
/// How long an expired registration token is kept.
const KEEP_REGISTRATION_TOKENS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Deletes what has expired for as long as the server runs. Does not return; to be dropped.
pub(crate) async fn keep_swept(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&app).await {
            let log = error.log().unwrap_or_else(|| error.message());
            tracing::warn!(error = log, "cannot delete expired tokens");
        }
        if let Err(error) = recordings::sweep(&app).await {
            let log = error.log().unwrap_or_else(|| error.message());
            tracing::warn!(error = log, "cannot tidy up the recordings of sessions");
        }
    }
}

/// Deletes the tokens that have been expired for a while.
///
/// # Errors
/// When the store fails.
pub async fn sweep(app: &App) -> Result<(), ApiError> {
    let now = app.clock.now();
    for token in app.directory.tokens() {
        if token.expires_at.is_some_and(|end| end + KEEP_TOKENS < now) {
            tokens::revoke(app, token.name.as_str()).await?;
        }
    }
    let all: Api<ClusterRegistrationToken> = Api::all(app.own.clone());
    for token in all.list(&ListParams::default()).await.map_err(failure)? {
        let end = token
            .status
            .as_ref()
            .and_then(|status| status.expires_at.as_ref());
        if end.is_none_or(|end| end.0 + KEEP_REGISTRATION_TOKENS >= now) {
            continue;
        }
        let beside: Api<ClusterRegistrationToken> =
            Api::namespaced(app.own.clone(), token.namespace());
        let deleted = beside.delete(token.name(), &DeleteParams::default()).await;
        // Somebody else may have been faster.
        if !answered(&deleted, StatusCode::NOT_FOUND) {
            deleted.map_err(failure)?;
            tracing::debug!(token = token.name(), "deleted a registration token");
        }
    }
    Ok(())
}
