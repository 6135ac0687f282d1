//! When tokens were last used: noted in memory by requests, written to the store by one task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{Token, TokenName};

use super::Directory;
use crate::objects::{ObjectError, Objects};

/// How often what was noted is written.
const WRITE: Duration = Duration::from_secs(300);

/// Writes when tokens were last used. Does not return; to be dropped.
pub(crate) async fn keep(directory: Arc<Directory>, objects: Objects) {
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
            let write = |token: &mut Token| {
                token.last_used_at = Some(Time(used));
                true
            };
            match objects
                .modify::<Token>("", token.name.as_str(), write)
                .await
            {
                // A token that was deleted in the meantime needs no more notes.
                Ok(_) | Err(ObjectError::NotFound(_)) => {}
                Err(error) => tracing::warn!(%error, "cannot note when a token was used"),
            }
        }
    }
}
