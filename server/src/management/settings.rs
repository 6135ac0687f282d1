//! What clients ask of the server, as Settings.

use futures::future::try_join_all;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::Setting;
use serde_json::json;

use super::client::MANAGER;
use crate::config::Config;
use crate::edge::CertificateKeeper;

/// Namespaces that clusters themselves need, and what usually runs in them for all.
const SYSTEM_NAMESPACES: &str = "kube-system,kube-public,kube-node-lease,cattle-system,\
    cattle-fleet-system,cattle-fleet-local-system,cattle-monitoring-system,cattle-logging-system,\
    cattle-gatekeeper-system,cattle-resources-system,cattle-neuvector-system,cis-operator-system,\
    longhorn-system,calico-system,calico-apiserver,tigera-operator,ingress-nginx,cert-manager,\
    metallb-system,istio-system";

/// Shows as Settings what clients ask there: the server's URL, its CA and its version. And makes those that
/// can be changed.
///
/// # Errors
/// When the store fails.
pub(crate) async fn ensure(
    client: &kube::Client,
    config: &Config,
    certificates: &CertificateKeeper,
) -> kube::Result<()> {
    let settings: Api<Setting> = Api::all(client.clone());
    let apply = PatchParams::apply(MANAGER).force();
    let url = config.server_url.as_str().trim_end_matches('/').to_owned();
    let shown = [
        ("cacerts", certificates.trusted().to_string()),
        ("server-url", url),
        ("server-version", format!("v{}", env!("CARGO_PKG_VERSION"))),
    ];
    let made = shown.map(|(name, value)| {
        let wanted = json!({
            "apiVersion": "management.cattle.io/v3", "kind": "Setting",
            "metadata": {"name": name}, "default": value, "source": "config",
        });
        let (settings, apply) = (&settings, &apply);
        async move { settings.patch(name, apply, &Patch::Apply(wanted)).await }
    });
    try_join_all(made).await?;
    // Where its value comes from is left as it is.
    let name = Setting::SYSTEM_NAMESPACES;
    let wanted = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "Setting",
        "metadata": {"name": name}, "default": SYSTEM_NAMESPACES,
    });
    let made = settings.patch(name, &apply, &Patch::Apply(wanted)).await;
    made.map(drop)
}
