//! The kinds by which a cluster knows people, and what of their objects counts.

use kube::api::Api;
use kube::core::ObjectMeta;
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute, NAMESPACE, OWNED_LABEL};

use crate::controllers::object::{Kept, Print};

impl Kept for ClusterAuthToken {
    const KIND: &'static str = "ClusterAuthToken";
    const LABEL: &'static str = OWNED_LABEL;

    fn print(&self) -> Print {
        let said = (&self.user_name, self.enabled, &self.hash, &self.expires_at);
        Print::of(&(), &(owned(&self.metadata), said))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }

    fn everywhere(client: &kube::Client) -> Api<Self> {
        Api::namespaced(client.clone(), NAMESPACE)
    }
}

impl Kept for ClusterUserAttribute {
    const KIND: &'static str = "ClusterUserAttribute";
    const LABEL: &'static str = OWNED_LABEL;

    fn print(&self) -> Print {
        let said = (self.enabled, &self.groups, &self.extra_by_provider);
        Print::of(&(), &(owned(&self.metadata), said))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }

    fn everywhere(client: &kube::Client) -> Api<Self> {
        Api::namespaced(client.clone(), NAMESPACE)
    }
}

/// What the label says, without which `kube-api-auth` reads no object.
fn owned(meta: &ObjectMeta) -> Option<&String> {
    meta.labels.as_ref()?.get(OWNED_LABEL)
}
