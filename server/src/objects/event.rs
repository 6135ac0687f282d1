//! Changes of objects of one kind.

use std::marker::PhantomData;
use std::sync::Arc;

use lariat_api::Kind;
use store::{Change, Entry, Revision, Watch, WatchError};

use super::{ObjectError, decode};

/// An object changed.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// It came into being.
    Added(K),
    /// It was changed.
    Modified(K),
    /// It was deleted. As it was last, with the resource version of its deletion.
    Deleted(K),
}

/// A stream of [`Event`]s.
#[derive(Debug)]
pub struct Events<K> {
    watch: Watch,
    waiting: std::vec::IntoIter<Arc<Change>>,
    kind: PhantomData<fn() -> K>,
}

/// A stream of events ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EventError {
    /// The watch ended. List again and watch from there.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// What is in the store does not parse.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

impl<K: Kind> Events<K> {
    pub(super) fn new(watch: Watch) -> Self {
        Self {
            watch,
            waiting: Vec::new().into_iter(),
            kind: PhantomData,
        }
    }

    /// The next event; `None` after an error. Cancellation-safe.
    ///
    /// # Errors
    /// When the watch was cut off or the store stopped.
    pub async fn next(&mut self) -> Option<Result<Event<K>, EventError>> {
        loop {
            if let Some(change) = self.waiting.next() {
                return Some(event(&change).map_err(EventError::from));
            }
            match self.watch.next().await? {
                Ok(changes) => self.waiting = changes.changes.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

fn event<K: Kind>(change: &Change) -> Result<Event<K>, ObjectError> {
    match (&change.current, &change.previous) {
        (Some(current), None) => Ok(Event::Added(decode(current)?)),
        (Some(current), Some(_)) => Ok(Event::Modified(decode(current)?)),
        (None, Some(previous)) => deleted(previous, change.revision).map(Event::Deleted),
        (None, None) => Err(ObjectError::Damaged {
            key: String::from_utf8_lossy(&change.key).into_owned(),
            detail: "a change without an object".to_owned(),
        }),
    }
}

fn deleted<K: Kind>(previous: &Entry, revision: Revision) -> Result<K, ObjectError> {
    let mut object: K = decode(previous)?;
    object.meta_mut().resource_version = Some(revision.to_string());
    Ok(object)
}
