//! Typed access to the objects of the management API in the store.
//!
//! Keys and values are those of the API server, which serves the same objects.

mod event;

use std::sync::Arc;

use apiserver::error::ApiError;
use apiserver::keys;
use apiserver::object::{Object, random_uid};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::Kind;
use store::{Entry, Range, Revision, Store, Txn, TxnOutcome};

pub use event::{Event, EventError, Events};

use crate::clock::Clock;

/// Access to objects failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("{0} not found")]
    NotFound(String),
    /// There is one already.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// The object was changed since the resource version that the caller knows.
    #[error("{0} was changed in the meantime; read it again and repeat the change")]
    Conflict(String),
    /// The resource version that the caller names is not a number.
    #[error("resourceVersion {0:?} is not valid")]
    ResourceVersion(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is in the store does not parse.
    #[error("object {key} in the store does not parse: {detail}")]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        detail: String,
    },
}

/// Objects of one kind as they were at one revision.
#[derive(Clone, Debug)]
pub struct List<K> {
    /// The objects, in the order of their namespaces and names.
    pub items: Vec<K>,
    /// The revision. Watching from it misses nothing.
    pub revision: Revision,
    /// Where the next page begins, if there is one.
    pub next: Option<Bytes>,
    /// How many objects follow.
    pub remaining: usize,
}

/// What part of a list to read.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only objects in this namespace.
    pub namespace: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// [`List::next`] of the page before.
    pub after: Option<Bytes>,
    /// As they were at that revision.
    pub revision: Option<Revision>,
}

/// The objects of the management API. Clones share one store.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Objects {
    /// Objects in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The store under the objects.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// An object by its name; `namespace` is empty for kinds without.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] among others.
    pub async fn get<K: Kind>(&self, namespace: &str, name: &str) -> Result<K, ObjectError> {
        let entry = self.store.get(key::<K>(namespace, name).as_bytes()).await?;
        let entry = entry.ok_or_else(|| ObjectError::NotFound(shown::<K>(namespace, name)))?;
        decode(&entry)
    }

    /// Objects of a kind.
    ///
    /// # Errors
    /// When the revision is not kept, or the store fails.
    pub async fn list<K: Kind>(&self, options: &ListOptions) -> Result<List<K>, ObjectError> {
        let page = self
            .store
            .range(Range {
                prefix: prefix::<K>(options.namespace.as_deref()).into(),
                after: options.after.clone(),
                limit: options.limit,
                revision: options.revision,
            })
            .await?;
        let items = page.entries.iter().map(|entry| decode(entry));
        let last = page.entries.last().filter(|_| page.remaining > 0);
        Ok(List {
            items: items.collect::<Result<_, _>>()?,
            revision: page.revision,
            next: last.map(|entry| entry.key.clone()),
            remaining: page.remaining,
        })
    }

    /// Makes a new object. Its metadata gets uid, creation time, generation and resource version.
    ///
    /// # Errors
    /// [`ObjectError::AlreadyExists`] among others.
    pub async fn create<K: Kind>(&self, object: K) -> Result<K, ObjectError> {
        self.create_with(object, Txn::default()).await
    }

    /// The same, together with another transaction: all happens or nothing.
    ///
    /// # Errors
    /// [`ObjectError::AlreadyExists`] among others, also when a comparison of the other one fails.
    pub async fn create_with<K: Kind>(&self, mut object: K, others: Txn) -> Result<K, ObjectError> {
        let meta = object.meta_mut();
        meta.uid = Some(random_uid());
        meta.creation_timestamp = Some(Time(self.clock.now()));
        meta.generation = Some(1);
        meta.deletion_timestamp = None;
        let key = key::<K>(object.namespace(), object.name());
        let txn = joined(Txn::put_if(key, Revision::ZERO, encode(&object)?), others);
        match self.store.txn(txn).await? {
            TxnOutcome::Applied(revision) => Ok(stamped(object, revision)),
            TxnOutcome::Conflict(_) => Err(ObjectError::AlreadyExists(shown_object(&object))),
        }
    }

    /// Overwrites an object that is still at the resource version in its metadata. What of the
    /// metadata belongs to the server is taken from `stored`, the object as it was read.
    ///
    /// # Errors
    /// [`ObjectError::Conflict`] when it was changed or deleted since.
    pub async fn update<K: Kind>(&self, object: K, stored: &K) -> Result<K, ObjectError> {
        self.update_with(object, stored, Txn::default()).await
    }

    /// The same, together with another transaction: all happens or nothing.
    ///
    /// # Errors
    /// [`ObjectError::Conflict`] when it was changed or deleted since.
    pub async fn update_with<K: Kind>(
        &self,
        mut object: K,
        stored: &K,
        others: Txn,
    ) -> Result<K, ObjectError> {
        let txn = joined(update(&mut object, stored)?, others);
        match self.store.txn(txn).await? {
            TxnOutcome::Applied(revision) => Ok(stamped(object, revision)),
            TxnOutcome::Conflict(_) => Err(ObjectError::Conflict(shown_object(&object))),
        }
    }

    /// Reads, changes and writes an object, again as long as somebody else was faster. `change`
    /// returns whether there is something to write.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] among others.
    pub async fn modify<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        mut change: impl FnMut(&mut K) -> bool,
    ) -> Result<K, ObjectError> {
        loop {
            let stored: K = self.get(namespace, name).await?;
            let mut object = stored.clone();
            if !change(&mut object) {
                return Ok(stored);
            }
            match self.update(object, &stored).await {
                Err(ObjectError::Conflict(_)) => {}
                done => return done,
            }
        }
    }

    /// Deletes an object as it was read, together with another transaction. Returns the revision from
    /// which on it is gone.
    ///
    /// # Errors
    /// [`ObjectError::Conflict`] when it was changed or deleted since.
    pub async fn delete<K: Kind>(&self, stored: &K, others: Txn) -> Result<Revision, ObjectError> {
        let key = key::<K>(stored.namespace(), stored.name());
        let txn = joined(Txn::delete_if(key, revision_of(stored)?), others);
        match self.store.txn(txn).await? {
            TxnOutcome::Applied(revision) => Ok(revision),
            TxnOutcome::Conflict(_) => Err(ObjectError::Conflict(shown_object(stored))),
        }
    }

    /// Every change of objects of a kind after a revision.
    ///
    /// # Errors
    /// When the revision is not kept, or the store fails.
    pub async fn watch<K: Kind>(
        &self,
        namespace: Option<&str>,
        after: Revision,
    ) -> Result<Events<K>, ObjectError> {
        let prefix = prefix::<K>(namespace);
        Ok(Events::new(
            self.store.watch(prefix.as_bytes(), after).await?,
        ))
    }
}

/// The transaction that overwrites an object; see [`Objects::update`].
///
/// # Errors
/// When the object's resource version is not one of ours.
pub fn update<K: Kind>(object: &mut K, stored: &K) -> Result<Txn, ObjectError> {
    let expected = match &object.meta().resource_version {
        Some(version) => parse_revision(version)?,
        None => revision_of(stored)?,
    };
    let (old, new) = (stored.meta(), object.meta_mut());
    new.uid.clone_from(&old.uid);
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    new.generation = old.generation;
    if desired(object)? != desired(stored)? {
        let generation = &mut object.meta_mut().generation;
        *generation = Some(generation.unwrap_or_default() + 1);
    }
    let key = key::<K>(object.namespace(), object.name());
    Ok(Txn::put_if(key, expected, encode(object)?))
}

/// What people want of an object, which its generation counts: all but metadata and status.
fn desired<K: Kind>(object: &K) -> Result<serde_json::Value, ObjectError> {
    let mut value = serde_json::to_value(object).map_err(|error| damaged(object, &error))?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("metadata");
        fields.remove("status");
    }
    Ok(value)
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        let message = error.to_string();
        match error {
            ObjectError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "NotFound", message),
            ObjectError::AlreadyExists(_) => {
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
            }
            ObjectError::Conflict(_) => Self::new(StatusCode::CONFLICT, "Conflict", message),
            ObjectError::Store(store::Error::Unavailable | store::Error::Write(_)) => {
                Self::unavailable("the store cannot be written", 5).with_log(message)
            }
            _ => Self::internal(message),
        }
    }
}

fn damaged<K: Kind>(object: &K, error: &dyn std::fmt::Display) -> ObjectError {
    ObjectError::Damaged {
        key: shown_object(object),
        detail: error.to_string(),
    }
}

fn joined(mut txn: Txn, other: Txn) -> Txn {
    txn.compares.extend(other.compares);
    txn.ops.extend(other.ops);
    txn
}

/// The revision at which an object was read.
///
/// # Errors
/// When its resource version is not one of ours.
pub fn revision_of<K: Kind>(object: &K) -> Result<Revision, ObjectError> {
    parse_revision(
        object
            .meta()
            .resource_version
            .as_deref()
            .unwrap_or_default(),
    )
}

/// Parses a resource version.
///
/// # Errors
/// When it is not a number.
pub fn parse_revision(text: &str) -> Result<Revision, ObjectError> {
    let number = text
        .parse()
        .map_err(|_| ObjectError::ResourceVersion(text.to_owned()))?;
    Ok(Revision(number))
}

/// The object in an entry.
pub(crate) fn decode<K: Kind>(entry: &Entry) -> Result<K, ObjectError> {
    let object = serde_json::from_slice(&entry.value).map_err(|error| ObjectError::Damaged {
        key: String::from_utf8_lossy(&entry.key).into_owned(),
        detail: error.to_string(),
    })?;
    Ok(stamped(object, entry.modified))
}

/// The prefix of the keys of a kind.
pub(crate) fn prefix<K: Kind>(namespace: Option<&str>) -> String {
    let prefix = keys::resource(lariat_api::GROUP, K::PLURAL);
    match namespace.filter(|_| K::NAMESPACED) {
        Some(namespace) => format!("{prefix}{namespace}/"),
        None => prefix,
    }
}

fn key<K: Kind>(namespace: &str, name: &str) -> String {
    prefix::<K>(Some(namespace)) + name
}

fn encode<K: Kind>(object: &K) -> Result<Bytes, ObjectError> {
    let value = serde_json::to_value(object).map_err(|error| damaged(object, &error))?;
    let encoded = Object::new(value).map_err(|error| damaged(object, &error))?;
    Ok(encoded.encode())
}

fn stamped<K: Kind>(mut object: K, revision: Revision) -> K {
    object.meta_mut().resource_version = Some(revision.to_string());
    object
}

fn shown_object<K: Kind>(object: &K) -> String {
    shown::<K>(object.namespace(), object.name())
}

/// As kube-apiserver names objects in messages.
fn shown<K: Kind>(namespace: &str, name: &str) -> String {
    let place = if K::NAMESPACED {
        format!("{namespace}/")
    } else {
        String::new()
    };
    format!("{}.{} \"{place}{name}\"", K::PLURAL, lariat_api::GROUP)
}

/// A random number from the system.
#[must_use]
pub fn random_bits() -> u64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Fills a buffer with random bytes fit for secrets.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .expect("the system's source of randomness does not fail once it is seeded");
}
