//! The values that go in and out of a store.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The number of a write. Each one that changes something takes the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write. As the expected revision of a key: the key does not exist.
    pub const ZERO: Self = Self(0);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A key with its value at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// When the key came into being (again).
    pub created: Revision,
    /// When this value was written.
    pub modified: Revision,
    /// 1 for the value it was created with, one more for each value since.
    pub version: u64,
}

/// A key was put or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// When.
    pub revision: Revision,
    /// The entry from then on; `None` when it was deleted.
    pub current: Option<Arc<Entry>>,
    /// The entry before; `None` when there was none.
    pub previous: Option<Arc<Entry>>,
}

/// What to read with [`crate::Store::range`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Only keys that start with this.
    pub prefix: Bytes,
    /// Only keys after this one: where an earlier page ended.
    pub after: Option<Bytes>,
    /// At most so many entries; `None`: all.
    pub limit: Option<usize>,
    /// As it was then; `None`: as it is now.
    pub revision: Option<Revision>,
}

impl Range {
    /// Everything that starts with `prefix`, as it is now.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }
}

/// The answer to a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the order of their keys.
    pub entries: Vec<Arc<Entry>>,
    /// The revision that was read. To be asked for again for the next page, and to watch from.
    pub revision: Revision,
    /// How many more entries of the range follow the last one.
    pub remaining: usize,
}

/// Compare, then write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// All are applied, at one revision. No key may appear twice.
    pub ops: Vec<Op>,
}

impl Txn {
    /// Writes `key` if it was last modified at `expected` ([`Revision::ZERO`]: does not exist).
    pub fn put_if(key: impl Into<Bytes>, expected: Revision, value: impl Into<Bytes>) -> Self {
        let key = key.into();
        Self {
            compares: vec![Compare {
                key: key.clone(),
                modified: expected,
            }],
            ops: vec![Op::Put {
                key,
                value: value.into(),
            }],
        }
    }

    /// Deletes `key` if it was last modified at `expected`.
    pub fn delete_if(key: impl Into<Bytes>, expected: Revision) -> Self {
        let key = key.into();
        Self {
            compares: vec![Compare {
                key: key.clone(),
                modified: expected,
            }],
            ops: vec![Op::Delete { key }],
        }
    }
}

/// Holds when a key was last modified at that revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: Bytes,
    /// [`Revision::ZERO`]: the key does not exist.
    pub modified: Revision,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create or overwrite.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Remove, if it is there.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Op {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All comparisons held. Carries the revision of the store from then on.
    Applied(Revision),
    /// A comparison did not hold; nothing was written. Carries the entries of the compared keys
    /// as they are, in the order of the comparisons.
    Conflict(Vec<Option<Arc<Entry>>>),
}
