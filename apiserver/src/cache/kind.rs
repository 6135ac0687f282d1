//! The objects of one resource.

use super::watcher::{Event, Feed, Filter, Offered, WatchStart, Watcher, backlog};
use super::{Item, number};
use crate::keys;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use store::{Change, Entry, Revision};

/// Changes that are kept for watches that begin in the past.
const KEPT_EVENTS: usize = 4096;

/// The objects of one resource, and its watchers.
#[derive(Debug)]
pub struct KindCache {
    prefix: String,
    fields: Vec<String>,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their keys below the prefix.
    items: BTreeMap<Box<str>, Item>,
    /// The revision that was read from the store; `None` before that.
    loaded: Option<u64>,
    /// Changes that came before the store was read.
    early: Vec<Change>,
    /// The last change that was applied.
    last: u64,
    /// The last changes, oldest first.
    events: VecDeque<Arc<Event>>,
    /// Every change after this one is in `events`.
    complete_after: u64,
    watchers: Vec<Feed>,
    counts: Counts,
}

/// What happened since the server started.
#[derive(Debug, Default)]
struct Counts {
    loads: u64,
    received: u64,
    dispatched: u64,
    cut: u64,
}

/// How much there is of a resource, and what happened to it since the server started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindLoad {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Objects.
    pub objects: u64,
    /// The revision that watches are told of.
    pub revision: u64,
    /// Changes that are kept for watches that begin in the past.
    pub capacity: u64,
    /// How often it was read from the store.
    pub loads: u64,
    /// Changes that came from the store.
    pub received: u64,
    /// Changes that were handed to watchers.
    pub dispatched: u64,
    /// Watchers that were cut off because they were too slow.
    pub cut: u64,
}

/// Objects as they were at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the order of their keys.
    pub items: Vec<Item>,
    /// When. Watching from it misses nothing.
    pub revision: u64,
    /// How many more there are; `None` if that was not counted, as a selector chooses among them.
    pub remaining: Option<usize>,
    /// Whether there are more.
    pub more: bool,
}

/// Changes after a revision are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct TooOld {
    /// The revision to watch from.
    pub asked: u64,
    /// The oldest that could be watched from.
    pub oldest: u64,
}

impl KindCache {
    pub(super) fn new(prefix: String, fields: Vec<String>) -> Self {
        Self {
            prefix,
            fields,
            state: RwLock::default(),
        }
    }

    /// The prefix of its keys.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The fields that field selectors may name besides name and namespace.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// An object by its key below the prefix.
    #[must_use]
    pub fn get(&self, below: &str) -> Option<Item> {
        self.read().items.get(below).cloned()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects that `filter` means, at most `limit`, in order. `revision` is one up to which
    /// everything has been applied.
    #[must_use]
    pub fn list(&self, filter: &Filter, limit: Option<usize>, revision: u64) -> Snapshot {
        let state = self.read();
        let mut snapshot = Snapshot {
            revision: state.last.max(revision),
            ..Snapshot::default()
        };
        let limit = limit.unwrap_or(usize::MAX);
        let mut after_limit = 0;
        for item in state.in_namespace(filter.namespace.as_deref()) {
            if !filter.is_whole() && !filter.means(item, &self.fields) {
                continue;
            }
            if snapshot.items.len() < limit {
                snapshot.items.push(item.clone());
                continue;
            }
            snapshot.more = true;
            if !filter.is_whole() {
                break;
            }
            after_limit += 1;
        }
        snapshot.remaining = filter.is_whole().then_some(after_limit);
        snapshot
    }

    /// Watches. With [`WatchStart::Objects`] also the objects as they are when the watch begins.
    ///
    /// # Errors
    /// [`TooOld`].
    pub fn watch(
        &self,
        filter: Filter,
        start: WatchStart,
        revision: u64,
    ) -> Result<(Snapshot, Watcher), TooOld> {
        let mut state = self.write();
        let (snapshot, missed) = match start {
            WatchStart::Objects => {
                let items = state.in_namespace(filter.namespace.as_deref());
                let items = items.filter(|item| filter.means(item, &self.fields));
                let snapshot = Snapshot {
                    items: items.cloned().collect(),
                    revision: state.last.max(revision),
                    ..Snapshot::default()
                };
                (snapshot, VecDeque::new())
            }
            WatchStart::After(asked) => {
                if asked < state.complete_after {
                    let oldest = state.complete_after;
                    return Err(TooOld { asked, oldest });
                }
                let first = state
                    .events
                    .partition_point(|event| event.revision <= asked);
                let events = state.events.range(first..);
                let snapshot = Snapshot {
                    revision: asked,
                    ..Snapshot::default()
                };
                (snapshot, backlog(events, &filter, &self.fields))
            }
        };
        let (feed, watcher) = Feed::new(filter, missed);
        state.watchers.push(feed);
        Ok((snapshot, watcher))
    }

    pub(super) fn load_of(&self) -> KindLoad {
        let (group, resource) = keys::group_and_plural(&self.prefix).unwrap_or_default();
        let state = self.read();
        KindLoad {
            group: group.to_owned(),
            resource: resource.to_owned(),
            objects: state.items.len() as u64,
            revision: state.last,
            capacity: KEPT_EVENTS as u64,
            loads: state.counts.loads,
            received: state.counts.received,
            dispatched: state.counts.dispatched,
            cut: state.counts.cut,
        }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.read().loaded.is_some()
    }

    pub(super) fn load(&self, entries: Vec<Arc<Entry>>, revision: Revision) {
        // What does not open is as good as not there; the store has said so.
        let readable = entries.into_iter().filter(|entry| is_readable(entry));
        let items = readable.map(|entry| {
            let item = self.item(entry);
            (self.below(&item.entry).into(), item)
        });
        let items: BTreeMap<Box<str>, Item> = items.collect();
        let mut state = self.write();
        state.counts.loads += 1;
        // Watchers could have missed what happened between the last change and now.
        state.watchers.clear();
        state.items = items;
        state.loaded = Some(number(revision));
        state.last = number(revision);
        state.complete_after = number(revision);
        state.events.clear();
        let early = std::mem::take(&mut state.early);
        for change in &early {
            self.apply_one(&mut state, change);
        }
    }

    pub(super) fn apply(&self, changes: &[&Change]) {
        let mut state = self.write();
        for change in changes {
            if state.loaded.is_none() {
                state.early.push((*change).clone());
            } else {
                self.apply_one(&mut state, change);
            }
        }
    }

    fn apply_one(&self, state: &mut State, change: &Change) {
        let revision = number(change.revision);
        if state.loaded.is_some_and(|loaded| revision <= loaded) {
            return;
        }
        let Some(below) = self.below_key(&change.key) else {
            return;
        };
        if change
            .current
            .as_deref()
            .is_some_and(|entry| !is_readable(entry))
        {
            // Nobody changed or deleted the object: it stays as it was last seen.
            return;
        }
        let current = change.current.clone().map(|entry| self.item(entry));
        let previous = match &current {
            Some(item) => state.items.insert(below.into(), item.clone()),
            None => state.items.remove(below),
        };
        state.last = revision;
        let event = Arc::new(Event::new(revision, current, previous));
        let State {
            watchers, counts, ..
        } = state;
        counts.received += 1;
        watchers.retain(|watcher| match watcher.offer(&event, &self.fields) {
            Offered::Told => {
                counts.dispatched += 1;
                true
            }
            Offered::Passed => true,
            Offered::Gone => false,
            Offered::TooSlow => {
                counts.cut += 1;
                false
            }
        });
        state.events.push_back(event);
        if state.events.len() > KEPT_EVENTS
            && let Some(oldest) = state.events.pop_front()
        {
            state.complete_after = oldest.revision;
        }
    }

    pub(super) fn end_watches(&self) {
        self.write().watchers.clear();
    }

    fn item(&self, entry: Arc<Entry>) -> Item {
        let below = self.below(&entry).to_owned();
        Item::new(entry, &below, &self.fields)
    }

    fn below<'a>(&self, entry: &'a Entry) -> &'a str {
        self.below_key(&entry.key).unwrap_or_default()
    }

    fn below_key<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_readable(entry: &Entry) -> bool {
    !store::is_sealed(&entry.value)
}

impl State {
    fn in_namespace(&self, namespace: Option<&str>) -> impl Iterator<Item = &Item> {
        let prefix = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
        let start: Bound<&str> = Bound::Included(&prefix);
        let range = self.items.range::<str, _>((start, Bound::Unbounded));
        range
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, item)| item)
    }
}
