//! Changes as watchers see them.

use super::Item;
use crate::object;
use crate::selector::{FieldSelector, LabelSelector};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Changes that may wait for one watcher. One that is slower is cut off; it watches again from
/// where it stands.
const CAPACITY: usize = 1024;

/// What happened to an object, from where a watcher stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It came into view.
    Added,
    /// It changed.
    Modified,
    /// It went out of view.
    Deleted,
}

/// A change of one object. It is written as JSON once for all watchers.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub revision: u64,
    /// The object from then on.
    pub current: Option<Item>,
    /// The object before.
    pub previous: Option<Item>,
    lines: [OnceLock<Bytes>; 3],
}

/// Which objects are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only with these labels.
    pub labels: LabelSelector,
    /// Only with these values.
    pub fields: FieldSelector,
    /// Only those.
    pub visible: Visible,
}

/// Which objects somebody sees: all, if nothing else is said.
#[derive(Clone, Default)]
pub struct Visible(Option<Arc<Sees>>);

type Sees = dyn Fn(&Item) -> bool + Send + Sync;

impl Visible {
    /// Those for which it holds. It must not wait: it is asked with every change.
    pub fn when(sees: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sees)))
    }

    /// Those of them for which it holds too.
    #[must_use]
    pub fn and(self, sees: impl Fn(&Item) -> bool + Send + Sync + 'static) -> Self {
        match self.0 {
            None => Self::when(sees),
            Some(before) => Self::when(move |item| before(item) && sees(item)),
        }
    }

    /// Those, and the others as well.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self::when(move |item| one(item) || other(item)),
            _ => Self::default(),
        }
    }

    /// Whether an object is one of them.
    #[must_use]
    pub fn sees(&self, item: &Item) -> bool {
        self.0.as_ref().is_none_or(|sees| sees(item))
    }
}

impl std::fmt::Debug for Visible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "some" } else { "all" })
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// With all objects as they are.
    Objects,
    /// With the first change after that revision.
    After(u64),
}

/// The reading end of a watch.
#[derive(Debug)]
pub struct Watcher {
    backlog: VecDeque<(Seen, Arc<Event>)>,
    live: mpsc::Receiver<(Seen, Arc<Event>)>,
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Feed {
    filter: Filter,
    sender: mpsc::Sender<(Seen, Arc<Event>)>,
}

/// What came of telling a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It will hear of it.
    Told,
    /// It does not want to know.
    Passed,
    /// It has gone away.
    Gone,
    /// It is cut off.
    TooSlow,
}

impl Seen {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Event {
    pub(super) fn new(revision: u64, current: Option<Item>, previous: Option<Item>) -> Self {
        Self {
            revision,
            current,
            previous,
            lines: Default::default(),
        }
    }

    /// The object that a watcher is told of: what went out of view as it was last.
    #[must_use]
    pub fn object(&self, seen: Seen) -> Option<&Item> {
        match seen {
            Seen::Added | Seen::Modified => self.current.as_ref(),
            Seen::Deleted => self.previous.as_ref(),
        }
    }

    /// The line of a watch for it.
    #[must_use]
    pub fn line(&self, seen: Seen) -> Bytes {
        let line = &self.lines[seen as usize];
        let write = || {
            let stored = self.object(seen).map(|item| &item.entry.value);
            stored.map_or_else(Bytes::new, |stored| watch_line(seen, stored, self.revision))
        };
        line.get_or_init(write).clone()
    }

    fn seen_through(&self, filter: &Filter, paths: &[String]) -> Option<Seen> {
        let meant =
            |item: &Option<Item>| item.as_ref().is_some_and(|item| filter.means(item, paths));
        match (meant(&self.current), meant(&self.previous)) {
            (true, false) => Some(Seen::Added),
            (true, true) => Some(Seen::Modified),
            (false, true) => Some(Seen::Deleted),
            (false, false) => None,
        }
    }
}

/// A line of a watch for an object as it is stored.
#[must_use]
pub fn watch_line(seen: Seen, stored: &Bytes, revision: u64) -> Bytes {
    let [head, rest] = object::sent(stored, revision);
    let mut line = Vec::with_capacity(head.len() + rest.len() + 40);
    line.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", seen.as_str()).as_bytes());
    line.extend_from_slice(&head);
    line.extend_from_slice(&rest);
    line.extend_from_slice(b"}\n");
    line.into()
}

impl Filter {
    /// Whether an object is meant. `paths` are the fields that its resource lets clients select by.
    #[must_use]
    pub fn means(&self, item: &Item, paths: &[String]) -> bool {
        let selectable = &item.selectable;
        let here = self.namespace.as_deref();
        here.is_none_or(|namespace| namespace == selectable.namespace())
            && selectable.is_meant(&self.labels, &self.fields, paths)
            && self.visible.sees(item)
    }

    /// Whether every object of the namespace is meant.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.visible.0.is_none()
    }
}

impl Feed {
    pub(super) fn new(filter: Filter, backlog: VecDeque<(Seen, Arc<Event>)>) -> (Self, Watcher) {
        let (sender, live) = mpsc::channel(CAPACITY);
        (Self { filter, sender }, Watcher { backlog, live })
    }

    /// Tells the watcher, without waiting.
    pub(super) fn offer(&self, event: &Arc<Event>, paths: &[String]) -> Offered {
        let Some(seen) = event.seen_through(&self.filter, paths) else {
            return match self.sender.is_closed() {
                true => Offered::Gone,
                false => Offered::Passed,
            };
        };
        match self.sender.try_send((seen, Arc::clone(event))) {
            Ok(()) => Offered::Told,
            Err(TrySendError::Full(_)) => Offered::TooSlow,
            Err(TrySendError::Closed(_)) => Offered::Gone,
        }
    }
}

/// What of earlier events a filter lets through.
pub(super) fn backlog<'a>(
    events: impl Iterator<Item = &'a Arc<Event>>,
    filter: &Filter,
    paths: &[String],
) -> VecDeque<(Seen, Arc<Event>)> {
    events
        .filter_map(|event| Some((event.seen_through(filter, paths)?, Arc::clone(event))))
        .collect()
}

impl Watcher {
    /// The next change; `None` when the watch was cut off. Cancellation-safe.
    pub async fn next(&mut self) -> Option<(Seen, Arc<Event>)> {
        match self.backlog.pop_front() {
            Some(event) => Some(event),
            None => self.live.recv().await,
        }
    }

    /// Whether everything that happened was told.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.live.is_empty()
    }
}
