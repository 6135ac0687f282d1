//! Following the objects of a resource for ever.

use super::{Cache, Event, Filter, RETRY, Snapshot, WatchStart, Watcher};
use std::sync::Arc;

/// The objects of a resource, and then what happens to them. It does not end: what was cut off
/// begins again.
#[derive(Debug)]
pub struct Follow {
    cache: Arc<Cache>,
    group: String,
    plural: String,
    watcher: Option<Watcher>,
}

/// What there is to know.
#[derive(Debug)]
pub enum Followed {
    /// All objects, in place of those that were known before.
    All(Snapshot),
    /// What happened to one.
    Event(Arc<Event>),
}

impl Follow {
    /// Begins with all objects.
    #[must_use]
    pub fn new(cache: Arc<Cache>, group: &str, plural: &str) -> Self {
        Self {
            cache,
            group: group.to_owned(),
            plural: plural.to_owned(),
            watcher: None,
        }
    }

    /// What is next to know. Cancellation-safe.
    pub async fn next(&mut self) -> Followed {
        if let Some(watcher) = &mut self.watcher {
            if let Some((_, event)) = watcher.next().await {
                return Followed::Event(event);
            }
            self.watcher = None;
        }
        loop {
            match self.cache.kind(&self.group, &self.plural, &[]).await {
                Ok(kind) => {
                    let revision = self.cache.revision();
                    let started = kind.watch(Filter::default(), WatchStart::Objects, revision);
                    if let Ok((snapshot, watcher)) = started {
                        self.watcher = Some(watcher);
                        return Followed::All(snapshot);
                    }
                }
                Err(error) => {
                    let resource = &self.plural;
                    tracing::warn!(%error, %resource, "objects cannot be read; trying again");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
