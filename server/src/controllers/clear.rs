//! Taking away again what was made in a cluster.

use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::ObjectMeta;
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute};

use super::apply::{AT_ONCE, FORBIDDEN, Failure};
use super::object::Kept;
use crate::management::answered;

/// Objects in one answer to a list.
const PAGE: u32 = 200;

/// How long a cluster may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Deletes all that is ours in a cluster, what lets people in first. Returns how many objects there were.
pub(super) async fn everything(client: &kube::Client) -> Result<usize, Failure> {
    let mut count = match people(client).await {
        // Without the import manifest's part for it there is no endpoint, and nobody may look for one.
        Err(failure) if failure.reason == FORBIDDEN => 0,
        done => done?,
    };
    count += all_of::<ClusterRoleBinding>(client).await?;
    count += all_of::<RoleBinding>(client).await?;
    count += all_of::<ClusterRole>(client).await?;
    count += all_of::<ResourceQuota>(client).await?;
    count += all_of::<LimitRange>(client).await?;
    count += all_of::<NetworkPolicy>(client).await?;
    Ok(count)
}

/// Deletes all tokens and users that a cluster knows. Returns how many there were.
pub(super) async fn people(client: &kube::Client) -> Result<usize, Failure> {
    let tokens = all_of::<ClusterAuthToken>(client).await?;
    let users = all_of::<ClusterUserAttribute>(client).await?;
    Ok(tokens + users)
}

/// Deletes all objects of a kind that are ours. In a cluster that has no such kind there are none. Returns how
/// many there were.
async fn all_of<K: Kept>(client: &kube::Client) -> Result<usize, Failure> {
    let mut count = 0;
    let page = ListParams::default().labels(K::LABEL).limit(PAGE);
    loop {
        let listed = K::everywhere(client);
        let listed = in_time::<K, _>(listed.list_metadata(&page)).await?;
        if answered(&listed, StatusCode::NOT_FOUND) {
            return Ok(count);
        }
        let listed = listed.map_err(|error| Failure::new(K::KIND, &error))?;
        // What somebody's finalizer holds is gone as far as it can be.
        let left = listed.items.into_iter().map(|one| one.metadata);
        let left = left.filter(|meta| meta.deletion_timestamp.is_none());
        let left = left.map(|meta| delete::<K>(client, meta));
        let mut done = futures::stream::iter(left).buffer_unordered(AT_ONCE);
        let before = count;
        while let Some(deleted) = done.next().await {
            deleted?;
            count += 1;
        }
        if count == before {
            return Ok(count);
        }
    }
}

async fn delete<K: Kept>(client: &kube::Client, meta: ObjectMeta) -> Result<(), Failure> {
    let namespace = meta.namespace.unwrap_or_default();
    let name = meta.name.unwrap_or_default();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: meta.uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let api = K::api(client, &namespace);
    let deleted = in_time::<K, _>(api.delete(&name, &params)).await?;
    // Another object of that name is in the next list, if it is ours.
    let gone = [StatusCode::NOT_FOUND, StatusCode::CONFLICT];
    if gone.iter().any(|code| answered(&deleted, *code)) {
        return Ok(());
    }
    let failed = |error| Failure::new(format_args!("{} {name}", K::KIND), &error);
    deleted.map(drop).map_err(failed)
}

async fn in_time<K: Kept, F: Future>(asked: F) -> Result<F::Output, Failure> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        Failure::other(format!("{}: no answer within {seconds} s", K::KIND))
    })
}
