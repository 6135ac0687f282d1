//! What the agent can say of its cluster.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use std::time::Duration;
use tracing::debug;
use tunnel_proto::hello::AgentKind;

/// The cluster may be sick; the hello does not wait for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the cluster who it is. What it does not say in time is left out.
pub async fn gather(kube: &Client) -> AgentKind {
    let uid = async {
        let namespace = Api::<Namespace>::all(kube.clone())
            .get_metadata("kube-system")
            .await?;
        Ok::<_, kube::Error>(namespace.metadata.uid)
    };
    let version = async { Ok::<_, kube::Error>(Some(kube.apiserver_version().await?.git_version)) };
    let (cluster_uid, kubernetes_version) = futures::future::join(
        limited("uid of kube-system", uid),
        limited("version", version),
    )
    .await;
    AgentKind::Cluster {
        cluster_uid,
        kubernetes_version,
    }
}

async fn limited(
    what: &str,
    ask: impl Future<Output = Result<Option<String>, kube::Error>>,
) -> Option<String> {
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(fact)) => fact,
        Ok(Err(error)) => {
            debug!(what, %error, "the cluster does not say");
            None
        }
        Err(_) => {
            debug!(what, "the cluster does not answer in time");
            None
        }
    }
}
