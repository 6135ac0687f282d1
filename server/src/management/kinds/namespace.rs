//! The namespaces of what has one of its own: clusters, projects and users. They come and go with it.

use apiserver::error::ApiError;
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use lariat_api::{GROUP, Kind, VERSION};
use serde_json::json;
use store::{Revision, Store, Txn};

/// Which object owns another.
pub(super) fn owned_by<K: Kind>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: K::KIND.to_owned(),
        name: owner.name().to_owned(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

/// Makes a namespace that is not there yet.
pub(super) fn make(
    name: &str,
    owner: &OwnerReference,
    created: Option<&Time>,
) -> Result<Txn, ApiError> {
    let namespace = Object::new(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": random_uid(),
            "creationTimestamp": created,
            "labels": {"kubernetes.io/metadata.name": name},
            "ownerReferences": [owner],
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }));
    let namespace = namespace.map_err(ApiError::internal)?;
    Ok(Txn::put_if(key(name), Revision::ZERO, namespace.encode()))
}

/// Whether there is a namespace of that name.
pub(super) async fn exists(store: &dyn Store, name: &str) -> Result<bool, ApiError> {
    Ok(store.get(key(name).as_bytes()).await?.is_some())
}

/// Begins to delete a namespace, with all that is in it. One that is not there, or is being deleted, is
/// left as it is.
pub(super) async fn end(store: &dyn Store, name: &str, now: &Time) -> Result<Txn, ApiError> {
    let key = key(name);
    let Some(entry) = store.get(key.as_bytes()).await? else {
        return Ok(Txn::default());
    };
    let namespace = Object::decode(&entry.value, entry.modified.0);
    let mut namespace = namespace.map_err(ApiError::internal)?;
    if namespace.is_deleting() {
        return Ok(Txn::default());
    }
    namespace.set_meta("deletionTimestamp", json!(now));
    let fields = namespace.fields_mut();
    fields.insert("status".into(), json!({"phase": "Terminating"}));
    Ok(Txn::put_if(key, entry.modified, namespace.encode()))
}

fn key(name: &str) -> String {
    keys::resource("", "namespaces") + name
}
