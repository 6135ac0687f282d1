//! Objects of this server's kinds as they are in the store. What is written there beside a write of
//! the API is written as the API does it.

use apiserver::error::ApiError;
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::Kind;
use store::{Entry, Revision, Store, Txn};

/// What is in the store does not parse.
#[derive(Clone, Debug, thiserror::Error)]
#[error("object {key} in the store does not parse: {detail}")]
pub struct Damaged {
    /// Its key.
    pub key: String,
    /// Why.
    pub detail: String,
}

/// The prefix of the keys of a kind.
pub(crate) fn prefix<K: Kind>() -> String {
    keys::resource(lariat_api::GROUP, K::PLURAL)
}

/// The plural of the kind that a key of the store is of, and what is below the prefix of that kind, if the kind is one of
/// this server.
pub(crate) fn kind_of(key: &str) -> Option<(&str, &str)> {
    let prefix = keys::resource_of(key.as_bytes())?;
    let (group, plural) = keys::group_and_plural(prefix)?;
    (group == lariat_api::GROUP).then_some((plural, &key[prefix.len()..]))
}

/// An object by name, with its revision. `namespace` is empty for kinds without.
///
/// # Errors
/// When the store fails, or what is in it does not parse.
pub(crate) async fn find<K: Kind>(
    store: &dyn Store,
    namespace: &str,
    name: &str,
) -> Result<Option<(K, Revision)>, ApiError> {
    let key = prefix::<K>() + &keys::below(namespace, name);
    let found = store.get(key.as_bytes()).await?;
    let read = |entry: &Entry| Ok((decode(entry).map_err(ApiError::internal)?, entry.modified));
    found.as_ref().map(read).transpose()
}

/// All objects of a kind.
///
/// # Errors
/// When the store fails, or what is in it does not parse.
pub(crate) async fn all<K: Kind>(store: &dyn Store) -> Result<Vec<K>, ApiError> {
    let (entries, _) = store::read_all(store, &[prefix::<K>().into()]).await?;
    let objects = entries.iter().map(|entry| decode(entry));
    objects
        .collect::<Result<_, _>>()
        .map_err(ApiError::internal)
}

/// Makes one transaction of two.
pub(crate) fn join(txn: &mut Txn, other: Txn) {
    txn.compares.extend(other.compares);
    txn.ops.extend(other.ops);
}

/// Makes an object that is not there yet.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn new<K: Kind>(mut object: K, created: Option<&Time>) -> Result<Txn, ApiError> {
    let meta = object.meta_mut();
    meta.uid = Some(random_uid());
    meta.generation = Some(1);
    meta.creation_timestamp = created.cloned();
    let key = prefix::<K>() + &keys::below(object.namespace(), object.name());
    let value = serde_json::to_value(object).map_err(ApiError::internal)?;
    let object = Object::new(value).map_err(ApiError::internal)?;
    Ok(Txn::put_if(key, Revision::ZERO, object.encode()))
}

/// The object in an entry.
pub(crate) fn decode<K: Kind>(entry: &Entry) -> Result<K, Damaged> {
    let mut object: K =
        serde_json::from_slice(&entry.value).map_err(|error| damaged(entry, &error))?;
    object.meta_mut().resource_version = Some(entry.modified.to_string());
    Ok(object)
}

/// The object in an entry. One that does not parse is as good as none, and says so.
pub(crate) fn readable<K: Kind>(entry: &Entry) -> Option<K> {
    decode(entry)
        .inspect_err(|error| tracing::error!(%error, "ignoring an object"))
        .ok()
}

/// The value of an entry with another object.
pub(crate) fn encode<K: Kind>(object: &K, entry: &Entry) -> Result<Bytes, Damaged> {
    let value = serde_json::to_value(object).map_err(|error| damaged(entry, &error))?;
    let object = Object::new(value).map_err(|error| damaged(entry, &error))?;
    Ok(object.encode())
}

fn damaged(entry: &Entry, error: &dyn std::fmt::Display) -> Damaged {
    Damaged {
        key: String::from_utf8_lossy(&entry.key).into_owned(),
        detail: error.to_string(),
    }
}
