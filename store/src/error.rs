//! What can go wrong, ordered by whose fault it is.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{BackupError, OptionsError, Revision, SealFault};

/// A request to a store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The caller gave an empty key or one over [`crate::MAX_KEY_BYTES`].
    #[error("key has {0} bytes, must have 1 to {max}", max = crate::MAX_KEY_BYTES)]
    KeyLength(usize),
    /// The caller gave a value over [`crate::MAX_VALUE_BYTES`].
    #[error("value has {0} bytes, may have at most {max}", max = crate::MAX_VALUE_BYTES)]
    ValueLength(usize),
    /// The caller put more than [`crate::MAX_TXN_ITEMS`] comparisons or operations together.
    #[error("transaction has {0} items, may have at most {max}", max = crate::MAX_TXN_ITEMS)]
    TxnLength(usize),
    /// The caller's transaction is over [`crate::MAX_TXN_BYTES`].
    #[error("transaction has {0} bytes, may have at most {max}", max = crate::MAX_TXN_BYTES)]
    TxnBytes(usize),
    /// The caller names a key twice in the operations of one transaction.
    #[error("a key appears twice in one transaction")]
    DuplicateKey,
    /// The caller asks for a revision that has not happened.
    #[error("revision {requested} has not happened yet, the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// Where the store is.
        current: Revision,
    },
    /// The caller comes too late: that part of the history is gone. Read again from now.
    #[error("revision {requested} is no longer kept, the history begins at {compacted}")]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The oldest revision that can be read.
        compacted: Revision,
    },
    /// The disk refused. The write is not visible; it may still come back when the store is opened
    /// again, or with the next write after a full disk has room.
    #[error("cannot write to the store")]
    Write(#[source] Arc<redb::Error>),
    /// etcd refused, for a reason that is none of the caller's: it is full, or its user may not.
    /// Nothing was written.
    #[error("etcd refuses: {0}")]
    Refused(Arc<str>),
    /// A value cannot be opened. Others are not affected.
    #[error("the value of {key} cannot be opened: {fault}")]
    Sealed {
        /// Whose value.
        key: Arc<str>,
        /// Why.
        fault: SealFault,
    },
    /// The store has stopped or cannot be reached. Whether a write happened is not known.
    #[error("store is not available")]
    Unavailable,
}

/// A watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The reader was too slow and was cut off, or what it was still to read was compacted. Watch
    /// again from the last revision seen.
    #[error("watcher was too slow and was cut off")]
    Lagged,
    /// The store has stopped.
    #[error("store has stopped")]
    Stopped,
}

/// A store could not be opened or restored.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options for etcd make no sense.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// There is a store where one is to be restored, and it is not to be overwritten.
    #[error("{0} holds a store already")]
    Exists(PathBuf),
    /// What is to be restored cannot be read, or is damaged.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// Written by another version of this software.
    #[error("{path} has store format {found}, this version reads format {expected}")]
    Format {
        /// The file; in etcd, the prefix.
        path: PathBuf,
        /// The format that it says it has.
        found: u64,
        /// The format that can be read.
        expected: u64,
    },
    /// Not a store, or a damaged one.
    #[error("{path} is damaged or not a store: {detail}; restore it from a backup")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// etcd cannot be reached, or refuses.
    #[error("cannot open the store in etcd")]
    Etcd(#[from] Error),
    /// The file cannot be opened or read.
    #[error("cannot open {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
