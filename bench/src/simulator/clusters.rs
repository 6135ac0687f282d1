//! Clusters for simulated agents: made in the management API, many at once, and deleted again.

use anyhow::Context as _;
use e2e::lariat::Api;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;

/// What an agent needs to register.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Id of the cluster.
    pub id: String,
    /// The import token.
    pub token: String,
}

/// Makes `count` clusters named after `prefix`, with an import token each, `at_once` at the same time. `progress` is
/// told how many there are.
///
/// # Errors
/// When the server refuses.
pub async fn register(
    api: &Api,
    prefix: &str,
    count: usize,
    at_once: usize,
    progress: impl Fn(usize),
) -> anyhow::Result<Vec<Registration>> {
    let made = (1..=count).map(|number| async move {
        let id = api.create_cluster(&format!("{prefix}-{number}")).await?;
        let token = api.import(&id).await?.token;
        anyhow::Ok(Registration { id, token })
    });
    let mut made = futures::stream::iter(made).buffer_unordered(at_once);
    let mut all = Vec::with_capacity(count);
    while let Some(one) = made.try_next().await? {
        all.push(one);
        progress(all.len());
    }
    Ok(all)
}

/// Deletes clusters, `at_once` at the same time.
///
/// # Errors
/// When the server refuses; the others are deleted all the same.
pub async fn delete(
    api: &Api,
    registrations: &[Registration],
    at_once: usize,
) -> anyhow::Result<()> {
    let deleted = registrations.iter().map(|registration| async move {
        let id = &registration.id;
        let path = format!("/apis/management.cattle.io/v3/clusters/{id}");
        let deleted = api.call(Method::DELETE, &path, None).await;
        deleted.with_context(|| format!("cluster {id} stays"))
    });
    let deleted = futures::stream::iter(deleted).buffer_unordered(at_once);
    let failed = deleted.filter_map(|one| async move { one.err() });
    let failed: Vec<_> = failed.collect().await;
    match failed.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
