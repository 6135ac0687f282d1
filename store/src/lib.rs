//! A revisioned key-value store in the shape of etcd: every write takes the next [`Revision`],
//! old revisions can be read and watched until they are compacted, and a [`Txn`] compares before
//! it writes.
//!
//! [`Store`] is the contract; [`RedbStore`] keeps it in one file of one process, [`EtcdStore`] in
//! an etcd; [`conformance::check`] holds any implementation to it; [`backup`] copies what either
//! holds into a file, and back into either.
//!
//! The store knows nothing of Kubernetes: keys and values are bytes. It has no leases: nothing
//! needs a key that disappears by itself yet, and expiry can be decided by who reads. Back ends do
//! not encrypt: [`SealedStore`] does, over any of them.

pub mod backup;
pub mod conformance;
mod error;
mod etcd;
mod follow;
mod limits;
mod model;
mod redb;
mod seal;
mod watch;

pub use backup::BackupError;
pub use error::{Error, OpenError, WatchError};
pub use etcd::{Claim, ClaimError, EtcdLogin, EtcdOptions, EtcdStore, EtcdTls, OptionsError};
pub use follow::{Follow, Followed, read_all, read_pages};
pub use limits::{MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_ITEMS, MAX_VALUE_BYTES};
pub use model::{Change, Compare, Entry, Op, Page, Range, Revision, Txn, TxnOutcome};
pub use redb::{RedbOptions, RedbStore};
pub use seal::{
    KeyId, KeyRing, Resealed, RingError, RingKey, SealFault, SealedStore, Survey, is_sealed,
};
pub use watch::{Changes, Watch};

use futures::future::BoxFuture;

/// A revisioned key-value store.
///
/// All methods are cancellation-safe, with one reservation: a [`Store::txn`] that is dropped
/// while it waits may or may not have been written.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// The revision of the last write. In a new store, one that no write has.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>>;

    /// The latest value of a key.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, Error>>;

    /// The entries of a range in the order of their keys, all as they were at one revision.
    ///
    /// # Errors
    /// [`Error::Compacted`] when that revision is no longer kept, [`Error::FutureRevision`] when
    /// it has not happened yet.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>>;

    /// Applies all operations at the next revision if all comparisons hold, and nothing
    /// otherwise. When it returns [`TxnOutcome::Applied`] the write survives the end of the
    /// process and of the machine. Operations that change nothing (deleting what is not there)
    /// take no revision.
    ///
    /// # Errors
    /// When a limit is broken, and then nothing was written; [`Error::Unavailable`] when it is
    /// not known whether it was.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>>;

    /// Every change of a key that starts with `prefix`, made after revision `after`, in order,
    /// without a gap. Ends with [`WatchError::Lagged`] when the reader is too slow; it never
    /// slows the writers.
    ///
    /// # Errors
    /// [`Error::Compacted`] when changes after that revision are no longer kept,
    /// [`Error::FutureRevision`] when it has not happened yet.
    fn watch<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>>;

    /// Forgets what was overwritten or deleted at or before a revision. The entries as they were
    /// at that revision stay readable.
    ///
    /// # Errors
    /// [`Error::Compacted`] when that happened already, [`Error::FutureRevision`] when the
    /// revision has not happened yet.
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>>;
}
