//! ClusterRoles whose rules are those of others.

use super::{GROUP, Rbac};
use crate::serve::{ApiServer, is_settled};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before what went wrong is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who the managed fields say it was, as upstream.
const MANAGER: &str = "clusterrole-aggregation-controller";

/// Gives aggregated ClusterRoles the rules of those that they select, for ever; to be dropped.
pub async fn aggregate(server: Arc<ApiServer>, rbac: Rbac) {
    let mut in_force = rbac.shared.in_force.subscribe();
    loop {
        in_force.mark_unchanged();
        let mut done = true;
        let stale = rbac.read().stale();
        for (name, rules) in stale {
            let path = format!("/apis/{GROUP}/v1/clusterroles/{name}?fieldManager={MANAGER}");
            let patch = json!({"rules": rules});
            let given = server.ask(Method::PATCH, &path, &patch).await;
            if !is_settled(&given)
                && let Err(error) = given
            {
                tracing::warn!(name, %error, "a role cannot be given the rules that it selects");
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
