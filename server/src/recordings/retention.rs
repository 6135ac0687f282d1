//! How recordings go: when they are old, when somebody deletes the object; and what is said of those
//! that the server did not see the end of.

use std::collections::HashSet;
use std::fs;
use std::io;

use apiserver::error::ApiError;
use http::StatusCode;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use lariat_api::{Kind as _, RecordingPhase, SessionRecording};
use serde_json::json;

use super::Recordings;
use crate::management::{answered, failure};
use crate::state::App;

/// Most objects that are asked for at a time.
const PAGE: u32 = 500;

/// Deletes the recordings that are too old, and the files of those that somebody has deleted.
///
/// # Errors
/// When the store or the disk fails.
pub async fn sweep(app: &App) -> Result<(), ApiError> {
    // Before the objects: what is begun meanwhile has an object before it has a file.
    let recordings = app.recordings.clone();
    let files = blocking(move || recordings.files()).await?;
    let now = app.clock.now();
    let days = i64::from(app.config.recordings.max_age_days);
    let mut kept = HashSet::new();
    for recording in all(app).await? {
        let (cluster, name) = (recording.namespace(), recording.name());
        let ended = recording.status.ended_at.as_ref();
        let old = ended.is_some_and(|end| end.0 + SignedDuration::from_hours(24 * days) < now);
        if days > 0 && old {
            forget(app, cluster, name).await?;
            tracing::info!(cluster, name, "deleted an old recording");
        } else {
            kept.insert((cluster.to_owned(), name.to_owned()));
        }
    }
    let recordings = app.recordings.clone();
    blocking(move || {
        for (cluster, name, path) in files {
            if !kept.contains(&(cluster, name)) {
                remove(&path)?;
            }
        }
        recordings.measure()
    })
    .await
}

/// Says of the recordings that an earlier server did not see the end of that they are interrupted. To
/// be called before there are new ones.
///
/// # Errors
/// When the store fails.
pub async fn end_interrupted(own: &kube::Client, recordings: &Recordings) -> kube::Result<()> {
    let all: Api<SessionRecording> = Api::all(own.clone());
    let listed = all.list(&ListParams::default()).await?;
    for recording in listed {
        if recording.status.phase != RecordingPhase::Recording {
            continue;
        }
        let (cluster, name) = (recording.namespace(), recording.name());
        // When it was last written to is when somebody last saw something.
        let metadata = tokio::fs::metadata(recordings.path(cluster, name))
            .await
            .ok();
        let size = metadata.as_ref().map_or(0, fs::Metadata::len);
        let written = metadata.and_then(|metadata| metadata.modified().ok());
        let written = written.and_then(|time| jiff::Timestamp::try_from(time).ok());
        let ended = written.map(Time).or(recording.status.started_at.clone());
        let status = json!({
            "phase": RecordingPhase::Interrupted, "endedAt": ended, "size": size,
            "reason": "the server ended before the session did",
        });
        let patch = Patch::Merge(json!({"status": status}));
        let of_cluster: Api<SessionRecording> = Api::namespaced(own.clone(), cluster);
        let patched = of_cluster
            .patch(name, &PatchParams::default(), &patch)
            .await;
        if !answered(&patched, StatusCode::NOT_FOUND) {
            patched?;
        }
    }
    Ok(())
}

/// Deletes the object of a recording, if it is there.
///
/// # Errors
/// When the store fails.
pub(crate) async fn forget(app: &App, cluster: &str, name: &str) -> Result<(), ApiError> {
    let of_cluster: Api<SessionRecording> = Api::namespaced(app.own.clone(), cluster);
    let deleted = of_cluster.delete(name, &DeleteParams::default()).await;
    if answered(&deleted, StatusCode::NOT_FOUND) {
        return Ok(());
    }
    deleted.map(drop).map_err(failure)
}

/// All of them, a page at a time.
async fn all(app: &App) -> Result<Vec<SessionRecording>, ApiError> {
    let all: Api<SessionRecording> = Api::all(app.own.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = all.list(&params).await.map_err(failure)?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(ApiError::internal)?
        .map_err(ApiError::internal)
}
