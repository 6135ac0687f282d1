//! All objects in memory, as of a known revision, and the streams of their changes.
//!
//! One task follows the store; each change is read once, whatever the number of watchers. Values
//! are shared with the store and stay as they were written: only what selectors look at is parsed.

mod follow;
mod item;
mod kind;
mod watcher;

pub use follow::{Follow, Followed};
pub use item::{Item, Selectable};
pub use kind::{KindCache, KindLoad, Snapshot, TooOld};
pub use watcher::{Event, Filter, Seen, Visible, WatchStart, Watcher, watch_line};

use crate::keys;
use crate::registry::Resource;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{Change, Changes, Range, Revision, Store, WatchError};
use tokio::sync::watch;

/// How many entries are read from the store at once.
const PAGE: usize = 10_000;

/// How long to wait before the store is asked again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// All objects of a store.
#[derive(Debug)]
pub struct Cache {
    store: Arc<dyn Store>,
    /// Held while a resource is read for the first time.
    loading: tokio::sync::Mutex<()>,
    kinds: RwLock<HashMap<String, Arc<KindCache>>>,
    /// Everything up to this revision has been applied.
    revision: watch::Sender<u64>,
}

impl Cache {
    /// A cache that knows nothing until it is [followed](Self::follow).
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            loading: tokio::sync::Mutex::default(),
            kinds: RwLock::default(),
            revision: watch::Sender::new(0),
        }
    }

    /// The store under it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The objects of a resource. `fields` are the paths that field selectors may name besides
    /// name and namespace. A resource that was not known before is read from the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn kind(
        &self,
        group: &str,
        plural: &str,
        fields: &[String],
    ) -> Result<Arc<KindCache>, store::Error> {
        let prefix = keys::resource(group, plural);
        let loaded = || self.find(&prefix).filter(|kind| kind.is_loaded());
        if let Some(kind) = loaded() {
            return Ok(kind);
        }
        let _loading = self.loading.lock().await;
        if let Some(kind) = loaded() {
            return Ok(kind);
        }
        let kind = Arc::new(KindCache::new(prefix.clone(), fields.to_vec()));
        self.write_kinds().insert(prefix.clone(), Arc::clone(&kind));
        self.load_kind(&kind).await?;
        Ok(kind)
    }

    /// The objects of a resource if they are in memory. If not, they are read while the caller goes
    /// on.
    #[must_use]
    pub fn loaded(self: &Arc<Self>, resource: &Arc<Resource>) -> Option<Arc<KindCache>> {
        let found = self.find(&keys::resource(&resource.group, &resource.plural));
        let found = found.filter(|kind| kind.is_loaded());
        // Who reads one now may read this one next.
        if found.is_none() && self.loading.try_lock().is_ok() {
            let (cache, resource) = (Arc::clone(self), Arc::clone(resource));
            tokio::spawn(async move {
                let Resource { group, plural, .. } = &*resource;
                if let Err(error) = cache.kind(group, plural, &resource.selectable()).await {
                    tracing::warn!(%error, %plural, "objects cannot be read");
                }
            });
        }
        found
    }

    /// Forgets a resource and ends its watches.
    pub fn forget(&self, group: &str, plural: &str) {
        let forgotten = self.write_kinds().remove(&keys::resource(group, plural));
        if let Some(kind) = forgotten {
            kind.end_watches();
        }
    }

    /// The revision up to which everything has been applied.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// The same, to be waited for.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until everything up to `revision` has been applied. Returns whether that happened
    /// within `patience`.
    pub async fn wait_for(&self, revision: u64, patience: Duration) -> bool {
        let mut applied = self.revision.subscribe();
        let waiting = applied.wait_for(|applied| *applied >= revision);
        matches!(tokio::time::timeout(patience, waiting).await, Ok(Ok(_)))
    }

    /// Follows the store for ever. Returns only when the store has stopped.
    pub async fn follow(&self) {
        loop {
            match self.follow_once().await {
                Ok(WatchError::Stopped) => return,
                Ok(WatchError::Lagged) => tracing::warn!("the cache fell behind the store"),
                Err(error) => {
                    tracing::warn!(%error, "reading the store again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads the store and follows it until its watch ends; why it did.
    async fn follow_once(&self) -> Result<WatchError, store::Error> {
        let from = self.store.revision().await?;
        // What others do in the same etcd takes revisions, which requests may wait for.
        let mut changes = self.store.watch(b"", from).await?.with_progress();
        let kinds: Vec<_> = self.read_kinds().values().cloned().collect();
        for kind in kinds {
            self.load_kind(&kind).await?;
        }
        self.advance(from.0);
        while let Some(next) = changes.next().await {
            match next {
                Ok(changes) => self.apply(&changes),
                Err(ended) => return Ok(ended),
            }
        }
        Ok(WatchError::Stopped)
    }

    fn apply(&self, changes: &Changes) {
        let mut by_kind: Vec<(Arc<KindCache>, Vec<&Change>)> = Vec::new();
        for change in &changes.changes {
            let Some(kind) = self.kind_of(&change.key) else {
                continue;
            };
            match by_kind
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, &kind))
            {
                Some((_, together)) => together.push(change),
                None => by_kind.push((kind, vec![change])),
            }
        }
        for (kind, changes) in by_kind {
            kind.apply(&changes);
        }
        self.advance(changes.revision.0);
    }

    fn advance(&self, revision: u64) {
        self.revision.send_if_modified(|applied| {
            let later = revision > *applied;
            *applied = revision.max(*applied);
            later
        });
    }

    /// Reads a resource as it is now. Changes that are applied at the same time win, as they carry
    /// their revisions.
    async fn load_kind(&self, kind: &KindCache) -> Result<(), store::Error> {
        let mut range = Range {
            prefix: kind.prefix().to_owned().into(),
            limit: Some(PAGE),
            ..Range::default()
        };
        let mut entries = Vec::new();
        let revision = loop {
            let page = self.store.range(range.clone()).await?;
            range.after = page.entries.last().map(|entry| entry.key.clone());
            range.revision = Some(page.revision);
            entries.extend(page.entries);
            if page.remaining == 0 {
                break page.revision;
            }
        };
        kind.load(entries, revision);
        Ok(())
    }

    /// How much there is of each resource that was asked for, by their keys.
    #[must_use]
    pub fn load(&self) -> Vec<KindLoad> {
        let kinds: Vec<_> = self.read_kinds().values().cloned().collect();
        let mut load: Vec<_> = kinds.iter().map(|kind| kind.load_of()).collect();
        load.sort_by(|a, b| (&a.group, &a.resource).cmp(&(&b.group, &b.resource)));
        load
    }

    fn find(&self, prefix: &str) -> Option<Arc<KindCache>> {
        self.read_kinds().get(prefix).cloned()
    }

    fn kind_of(&self, key: &[u8]) -> Option<Arc<KindCache>> {
        self.find(keys::resource_of(key)?)
    }

    fn read_kinds(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Arc<KindCache>>> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_kinds(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<KindCache>>> {
        self.kinds.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The revision of an entry as a number.
fn number(revision: Revision) -> u64 {
    revision.0
}
