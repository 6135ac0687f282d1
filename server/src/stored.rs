//! Objects of this server's kinds as they are in the store. What is written there beside a write of
//! the API is written as the API does it.

use apiserver::keys;
use apiserver::object::Object;
use bytes::Bytes;
use lariat_api::Kind;
use store::Entry;

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

/// The object in an entry.
pub(crate) fn decode<K: Kind>(entry: &Entry) -> Result<K, Damaged> {
    let mut object: K =
        serde_json::from_slice(&entry.value).map_err(|error| damaged(entry, &error))?;
    object.meta_mut().resource_version = Some(entry.modified.to_string());
    Ok(object)
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
