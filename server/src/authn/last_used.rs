//! When tokens were last used: noted in memory by requests, written to the store by one task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{Token, TokenName};
use serde_json::json;

use super::Directory;
use crate::management::answered;

/// How often what was noted is written.
const WRITE: Duration = Duration::from_secs(300);

/// Writes when tokens were last used. Does not return; to be dropped.
pub(crate) async fn keep(directory: Arc<Directory>, client: kube::Client) {
    let kept: Api<Token> = Api::all(client);
    let mut written: HashMap<TokenName, Timestamp> = HashMap::new();
    let mut ticks = tokio::time::interval(WRITE);
    // The first tick is at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let tokens = directory.tokens();
        written.retain(|name, _| tokens.iter().any(|token| token.name == *name));
        for token in tokens {
            let Some(used) = token.last_used() else {
                continue;
            };
            if written.insert(token.name.clone(), used) == Some(used) {
                continue;
            }
            let patch = Patch::Merge(json!({"lastUsedAt": Time(used)}));
            let params = PatchParams::default();
            let noted = kept.patch(token.name.as_str(), &params, &patch).await;
            // A token that was deleted in the meantime needs no more notes.
            if !answered(&noted, StatusCode::NOT_FOUND)
                && let Err(error) = noted
            {
                tracing::warn!(%error, "cannot note when a token was used");
            }
        }
    }
}
