//! Clusters: made with an id, an owner and a namespace, which goes with them and with all that is in
//! it.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use kube::Resource as _;
use lariat_api::{Cluster, ClusterId, ClusterMember, ClusterRole, ClusterStatus, Kind as _};
use serde_json::json;
use store::{Revision, Txn};

use super::{Context, Managed};
use crate::authz::is_administrator;
use crate::random;

impl Managed for Cluster {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(ClusterId::from_random(random::bits()).to_string())
    }

    /// A key that is bound uses up the permission to take another one.
    fn admit_status(&mut self, old: &Self) {
        let key = |cluster: &Self| cluster.agent().map(|agent| agent.public_key.clone());
        if key(self) != key(old) {
            self.spec.allow_agent_rebind = false;
        }
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if self.spec.display_name.is_empty() {
            self.spec.display_name = self.name().to_owned();
        }
        if old.is_some() {
            return Ok(Effects::default());
        }
        self.status = Some(ClusterStatus {
            driver: "imported".to_owned(),
            ..ClusterStatus::default()
        });
        if !is_administrator(write.user)
            && let Ok(user_id) = write.user.name.parse()
            && self.role_of(&user_id).is_none()
        {
            self.spec.members.push(ClusterMember {
                user_id,
                role: ClusterRole::Owner,
            });
        }
        Ok(Effects {
            txn: namespace_of(self, context).await?,
            ..Effects::default()
        })
    }
}

/// Makes the namespace of a cluster, unless there is one of that name. It is owned by the cluster.
async fn namespace_of(cluster: &Cluster, context: &Context) -> Result<Txn, ApiError> {
    let name = cluster.name();
    let key = keys::resource("", "namespaces") + name;
    if context.store.get(key.as_bytes()).await?.is_some() {
        return Ok(Txn::default());
    }
    let namespace = Object::new(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": random_uid(),
            "creationTimestamp": cluster.metadata.creation_timestamp,
            "labels": {"kubernetes.io/metadata.name": name},
            "ownerReferences": [{
                "apiVersion": Cluster::api_version(&()),
                "kind": Cluster::KIND,
                "name": name,
                "uid": cluster.metadata.uid,
            }],
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }));
    let namespace = namespace.map_err(ApiError::internal)?;
    Ok(Txn::put_if(key, Revision::ZERO, namespace.encode()))
}
