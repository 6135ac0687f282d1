//! The index in memory: every kept version of every key, every kept change, and the watchers.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::watch::Feed;
use crate::{Change, Changes, Entry, Error, Page, Range, Revision, Watch};

/// What a key was from some revision on. A `None` is a deletion. Kept oldest first.
type Version = (Revision, Option<Arc<Entry>>);

#[derive(Debug)]
pub(super) struct History {
    revision: Revision,
    compacted: Revision,
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// Changes after `compacted`, oldest first.
    log: VecDeque<(Revision, Vec<Arc<Change>>)>,
    watchers: Vec<(Bytes, Feed)>,
    watch_capacity: usize,
}

impl History {
    pub(super) fn new(revision: Revision, compacted: Revision, watch_capacity: usize) -> Self {
        Self {
            revision,
            compacted,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            watchers: Vec::new(),
            watch_capacity,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn latest(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.keys.get(key)?.last()?.1.as_ref()
    }

    pub(super) fn range(&self, range: &Range) -> Result<Page, Error> {
        let revision = range.revision.unwrap_or(self.revision);
        self.check_kept(revision)?;
        let start = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(range.prefix.clone()),
        };
        let mut found = self
            .keys
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .filter_map(|(_, versions)| at(versions, revision));
        let limit = range.limit.unwrap_or(usize::MAX);
        let entries = found.by_ref().take(limit).cloned().collect();
        Ok(Page {
            entries,
            revision,
            remaining: found.count(),
        })
    }

    pub(super) fn watch(&mut self, prefix: &[u8], after: Revision) -> Result<Watch, Error> {
        self.check_kept(after)?;
        self.watchers.retain(|(_, feed)| !feed.is_closed());
        let missed = self.log.partition_point(|(revision, _)| *revision <= after);
        let backlog = (self.log.range(missed..))
            .filter_map(|(revision, changes)| matching(*revision, changes, prefix))
            .collect();
        let (feed, watch) = Watch::new(backlog, self.watch_capacity);
        self.watchers.push((Bytes::copy_from_slice(prefix), feed));
        Ok(watch)
    }

    /// Applies the changes of the next revision and tells the watchers.
    pub(super) fn apply(&mut self, revision: Revision, changes: Vec<Arc<Change>>) {
        for change in &changes {
            let versions = self.keys.entry(change.key.clone()).or_default();
            versions.push((revision, change.current.clone()));
        }
        self.watchers.retain(|(prefix, feed)| {
            matching(revision, &changes, prefix).is_none_or(|changes| feed.offer(changes))
        });
        self.log.push_back((revision, changes));
        self.revision = revision;
    }

    /// All changes after a revision that is kept.
    pub(super) fn after(
        self,
        revision: Revision,
    ) -> impl Iterator<Item = (Revision, Vec<Arc<Change>>)> {
        let log = self.log.into_iter();
        log.filter(move |(logged, _)| *logged > revision)
    }

    /// Loads a change that was written earlier. The log only gets those after `compacted`.
    pub(super) fn load(&mut self, change: Change) {
        let versions = self.keys.entry(change.key.clone()).or_default();
        versions.push((change.revision, change.current.clone()));
        if change.revision <= self.compacted {
            return;
        }
        let revision = change.revision;
        match self.log.back_mut() {
            Some((last, changes)) if *last == revision => changes.push(Arc::new(change)),
            _ => self.log.push_back((revision, vec![Arc::new(change)])),
        }
    }

    /// What is on disk at or before `revision` and no longer needed after compacting there, as
    /// pairs of revision and key.
    pub(super) fn superseded(&self, revision: Revision) -> Vec<(Revision, Bytes)> {
        let touched: std::collections::BTreeSet<&Bytes> = (self.log.iter())
            .take_while(|(logged, _)| *logged <= revision)
            .flat_map(|(_, changes)| changes.iter().map(|change| &change.key))
            .collect();
        let mut superseded = Vec::new();
        for key in touched {
            let Some(versions) = self.keys.get(key) else {
                continue;
            };
            let old = &versions[..unneeded(versions, revision)];
            superseded.extend(old.iter().map(|(old, _)| (*old, key.clone())));
        }
        superseded
    }

    /// Forgets what [`Self::superseded`] named.
    pub(super) fn compact(&mut self, revision: Revision) {
        while let Some((logged, _)) = self.log.front() {
            if *logged > revision {
                break;
            }
            let Some((_, changes)) = self.log.pop_front() else {
                break;
            };
            for change in changes {
                let Some(versions) = self.keys.get_mut(&change.key) else {
                    continue;
                };
                versions.drain(..unneeded(versions, revision));
                if versions.is_empty() {
                    self.keys.remove(&change.key);
                }
            }
        }
        self.compacted = revision;
    }

    pub(super) fn check_kept(&self, requested: Revision) -> Result<(), Error> {
        if requested > self.revision {
            let current = self.revision;
            return Err(Error::FutureRevision { requested, current });
        }
        if requested < self.compacted {
            let compacted = self.compacted;
            return Err(Error::Compacted {
                requested,
                compacted,
            });
        }
        Ok(())
    }
}

/// The version that was current at a revision.
fn at(versions: &[Version], revision: Revision) -> Option<&Arc<Entry>> {
    let later = versions.partition_point(|(written, _)| *written <= revision);
    versions.get(later.checked_sub(1)?)?.1.as_ref()
}

/// How many of the oldest versions nobody can ask for after compacting at a revision: all before
/// the one that was current then, and that one too if it is a deletion.
fn unneeded(versions: &[Version], revision: Revision) -> usize {
    let later = versions.partition_point(|(written, _)| *written <= revision);
    match later.checked_sub(1) {
        Some(current) if versions[current].1.is_some() => current,
        _ => later,
    }
}

fn matching(revision: Revision, changes: &[Arc<Change>], prefix: &[u8]) -> Option<Changes> {
    let changes: Vec<_> = (changes.iter())
        .filter(|change| change.key.starts_with(prefix))
        .cloned()
        .collect();
    (!changes.is_empty()).then_some(Changes { revision, changes })
}
