//! The namespaces of what has one of its own: clusters, projects and users. They come and go with it.

use std::time::Duration;

use apiserver::admission::Write;
use apiserver::error::{About, ApiError};
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use lariat_api::{Cluster, GROUP, Kind, VERSION};
use serde::Deserialize as _;
use serde_json::json;
use store::{Entry, Revision, Store, Txn};
use tokio::time::Instant;

use super::Context;
use crate::authz::is_administrator;
use crate::management::namespaces;
use crate::stored;

/// How long a new object waits for the namespace of one that had its name to be gone: what is deleted and
/// made again at once, as a release that is rolled back, is not refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

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

/// Gives a new object the namespace of its name: a new one, or one that is there and belongs to nobody,
/// which only administrators make an object's own. One that is being deleted is waited for.
pub(super) async fn take<K: Kind>(
    object: &K,
    owner: &OwnerReference,
    created: Option<&Time>,
    context: &Context,
    write: &Write<'_>,
) -> Result<Txn, ApiError> {
    let (store, name) = (&*context.store, object.name());
    let refused = |why: &str| ApiError::conflict(about(object), why);
    let patience = if write.dry_run {
        Duration::ZERO
    } else {
        PATIENCE
    };
    let until = Instant::now() + patience;
    loop {
        let Some(entry) = store.get(key(name).as_bytes()).await? else {
            return make(name, owner, created);
        };
        let found = stored::find::<K>(store, object.namespace(), name).await?;
        if found.is_some() {
            return Err(ApiError::already_exists(about(object)));
        }
        let namespace = Object::decode(&entry.value, entry.modified.0);
        let namespace = namespace.map_err(ApiError::internal)?;
        if is_ending(store, &namespace).await? {
            if Instant::now() >= until {
                let why = "the namespace of its name is still being deleted; try again";
                return Err(refused(why));
            }
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if let Some(other) = owners(&namespace)?.first() {
            let (kind, other) = (&other.kind, &other.name);
            let why =
                format!("there is a namespace of its name, which belongs to {kind} {other:?}");
            return Err(refused(&why));
        }
        if namespaces::NAMES.contains(&name) {
            return Err(refused("the namespace of its name is the server's own"));
        }
        // Whoever owns it may read all that is in it, and take it along.
        if !is_administrator(write.user) {
            let why =
                "there is a namespace of its name already, which only administrators give away";
            return Err(refused(why));
        }
        return Ok(adopt(namespace, &entry, owner));
    }
}

/// Lets a namespace go with its new owner.
fn adopt(mut namespace: Object, entry: &Entry, owner: &OwnerReference) -> Txn {
    namespace.set_meta("ownerReferences", json!([owner]));
    Txn::put_if(entry.key.clone(), entry.modified, namespace.encode())
}

/// Whether a namespace is being deleted, or will be as its cluster is gone.
async fn is_ending(store: &dyn Store, namespace: &Object) -> Result<bool, ApiError> {
    if namespace.is_deleting() {
        return Ok(true);
    }
    let owners = owners(namespace)?;
    for owner in &owners {
        let is_cluster =
            owner.kind == Cluster::KIND && owner.api_version == format!("{GROUP}/{VERSION}");
        if !is_cluster {
            return Ok(false);
        }
        let cluster = stored::find::<Cluster>(store, "", &owner.name).await?;
        if cluster.is_some_and(|(found, _)| found.metadata.uid.as_ref() == Some(&owner.uid)) {
            return Ok(false);
        }
    }
    Ok(!owners.is_empty())
}

fn owners(namespace: &Object) -> Result<Vec<OwnerReference>, ApiError> {
    let owners = namespace.meta().get("ownerReferences");
    let owners = owners.map(Vec::deserialize).transpose();
    Ok(owners.map_err(ApiError::internal)?.unwrap_or_default())
}

fn about<K: Kind>(object: &K) -> About<'_> {
    About {
        group: GROUP,
        what: K::PLURAL,
        name: object.name(),
    }
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
