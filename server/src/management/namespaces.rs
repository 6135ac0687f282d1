//! The namespaces that every server has.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::client::MANAGER;

pub(super) const NAMES: [&str; 4] = [
    "default",
    "kube-system",
    "cattle-system",
    "cattle-global-data",
];

/// Makes those that are not there.
///
/// # Errors
/// When the store fails.
pub(crate) async fn ensure(client: &kube::Client) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let apply = PatchParams::apply(MANAGER);
    let made = NAMES.map(|name| {
        let wanted = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let (namespaces, apply) = (&namespaces, &apply);
        async move { namespaces.patch(name, apply, &Patch::Apply(wanted)).await }
    });
    try_join_all(made).await.map(drop)
}
