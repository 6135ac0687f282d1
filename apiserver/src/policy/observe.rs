//! The status of policies: that they are in force.

use super::{GROUP, POLICIES, Policies};
use crate::serve::{ApiServer, is_settled};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before what went wrong is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who the managed fields say it was, as upstream.
const MANAGER: &str = "validatingadmissionpolicy-status";

/// Writes into the status of policies which generation is in force, for ever; to be dropped. Of types
/// it says nothing, as none are checked.
pub async fn observe(server: Arc<ApiServer>, policies: Policies) {
    let mut in_force = policies.0.in_force.subscribe();
    loop {
        in_force.mark_unchanged();
        let mut done = true;
        for (name, generation) in policies.unobserved() {
            let path = format!("/apis/{GROUP}/v1/{POLICIES}/{name}/status?fieldManager={MANAGER}");
            let patch = json!({"status": {"observedGeneration": generation}});
            let written = server.ask(Method::PATCH, &path, &patch).await;
            if !is_settled(&written) {
                tracing::warn!(name, "the status of a policy cannot be written");
                done = false;
            }
        }
        if done {
            if in_force.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(RETRY).await;
        }
    }
}
