//! What a cluster has, as its watches tell: of each object only what is needed to see whether it is as it
//! shall be.

use std::collections::HashMap;

use kube::ResourceExt as _;
use kube::runtime::watcher::Event;

/// Most objects of a kind that are kept of one cluster. A cluster can tell what it likes.
const MAX_OBJECTS: usize = 500_000;

/// Namespace and name. Those of whole clusters have no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    /// That of an object in no namespace.
    pub(super) fn whole(name: &str) -> Self {
        Self::within("", name)
    }

    pub(super) fn within(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn of(object: &impl kube::Resource) -> Self {
        let namespace = object.namespace().unwrap_or_default();
        Self::within(&namespace, &object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// A cluster has more objects than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster has more than {MAX_OBJECTS} objects of a kind")]
pub(super) struct TooMany;

/// The objects of a kind.
#[derive(Debug)]
pub(super) struct Mirror<T> {
    known: HashMap<Key, T>,
    /// What a list has told so far that is not complete yet.
    arriving: Option<HashMap<Key, T>>,
    /// Whether a list was complete.
    complete: bool,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            arriving: None,
            complete: false,
        }
    }
}

impl<T: PartialEq> Mirror<T> {
    /// Whether everything is known.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.known.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.known.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in what a watch tells. What `read` makes nothing of is as good as not there. Returns whether
    /// it was news.
    pub(super) fn take<K: kube::Resource>(
        &mut self,
        event: Event<K>,
        read: impl Fn(&K) -> Option<T>,
    ) -> Result<bool, TooMany> {
        match event {
            Event::Init => {
                self.arriving = Some(HashMap::new());
                Ok(false)
            }
            Event::InitApply(object) => {
                let arriving = self.arriving.get_or_insert_default();
                if let Some(read) = read(&object) {
                    bounded(arriving)?.insert(Key::of(&object), read);
                }
                Ok(false)
            }
            Event::InitDone => {
                let arrived = self.arriving.take().unwrap_or_default();
                let news = !self.complete || self.known != arrived;
                (self.known, self.complete) = (arrived, true);
                Ok(news)
            }
            Event::Apply(object) => match read(&object) {
                Some(read) => self.put(Key::of(&object), read),
                None => Ok(self.remove(&Key::of(&object))),
            },
            Event::Delete(object) => Ok(self.remove(&Key::of(&object))),
        }
    }

    /// An object is as given. Returns whether that is news.
    pub(super) fn put(&mut self, key: Key, object: T) -> Result<bool, TooMany> {
        let news = self.known.get(&key) != Some(&object);
        bounded(&mut self.known)?.insert(key, object);
        Ok(news)
    }

    /// An object is gone. Returns whether that is news.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        self.known.remove(key).is_some()
    }
}

fn bounded<T>(known: &mut HashMap<Key, T>) -> Result<&mut HashMap<Key, T>, TooMany> {
    match known.len() < MAX_OBJECTS {
        true => Ok(known),
        false => Err(TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;

    fn namespace(name: &str, uid: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace.metadata.uid = Some(uid.to_owned());
        namespace
    }

    fn take(mirror: &mut Mirror<String>, event: Event<Namespace>) -> bool {
        mirror.take(event, |it| it.metadata.uid.clone()).unwrap()
    }

    #[test]
    fn a_list_replaces_what_was_known_when_it_is_complete() {
        let mut mirror = Mirror::default();
        assert!(!take(&mut mirror, Event::Init));
        assert!(!take(&mut mirror, Event::InitApply(namespace("a", "1"))));
        assert!(!mirror.is_complete() && mirror.len() == 0);
        assert!(take(&mut mirror, Event::InitDone));
        assert!(mirror.is_complete());
        // The same again is no news.
        take(&mut mirror, Event::Init);
        take(&mut mirror, Event::InitApply(namespace("a", "1")));
        assert!(!take(&mut mirror, Event::InitDone));
        take(&mut mirror, Event::Init);
        assert_eq!(mirror.len(), 1);
        assert!(take(&mut mirror, Event::InitDone));
        assert_eq!(mirror.len(), 0);
    }

    #[test]
    fn what_is_told_twice_is_news_once() {
        let mut mirror = Mirror::default();
        assert!(take(&mut mirror, Event::Apply(namespace("a", "1"))));
        assert!(!take(&mut mirror, Event::Apply(namespace("a", "1"))));
        assert!(take(&mut mirror, Event::Apply(namespace("a", "2"))));
        assert_eq!(mirror.get(&Key::whole("a")).unwrap(), "2");
        assert!(take(&mut mirror, Event::Delete(namespace("a", "2"))));
        assert!(!take(&mut mirror, Event::Delete(namespace("a", "2"))));
    }
}
