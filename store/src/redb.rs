//! The store in one file of one process.
//!
//! On disk there is one table: every change under its revision, as in etcd. In memory there is the
//! same, indexed by key ([`history`]); all reads are served from there. One thread writes
//! ([`writer`]): it takes every transaction that waits, puts them into one disk transaction, syncs
//! once, applies them to memory, and answers them all.

mod file;
mod history;
mod restore;
mod unfinished;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use futures::{FutureExt, future};
use tokio::sync::{mpsc, oneshot};

use crate::backup::{Reader, Summary};
use crate::{Entry, Error, OpenError, Page, Range, Revision, Store, Txn, TxnOutcome, Watch};
use history::History;
use writer::{Request, Writer};

/// Bounds of a [`RedbStore`].
#[derive(Clone, Copy, Debug)]
pub struct RedbOptions {
    /// How many revisions of history are kept without being asked to compact. Default 20,000.
    pub keep_revisions: u64,
    /// How many revisions may wait for a watcher before it is cut off. Default 1,024.
    pub watch_capacity: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            keep_revisions: 20_000,
            watch_capacity: 1024,
        }
    }
}

/// A [`Store`] in a redb file. Clones share it. When the last one is dropped, that waits until the
/// writes that wait are done and the file is closed.
#[derive(Clone, Debug)]
pub struct RedbStore {
    history: Arc<RwLock<History>>,
    requests: mpsc::Sender<Request>,
    // Dropped after the sender, without which the thread ends.
    _writing: Arc<Writing>,
}

/// The thread that writes, waited for when dropped.
#[derive(Debug)]
struct Writing(Option<JoinHandle<()>>);

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // When it has panicked there is nothing more to wait for.
            let _ = thread.join();
        }
    }
}

/// How many transactions may wait for the writer; more wait outside.
const QUEUE: usize = 1024;

impl RedbStore {
    /// Opens the store in that file, which is created (readable by its owner alone) if it does not
    /// exist. Reads the whole file; call it where blocking is allowed.
    ///
    /// # Errors
    /// When the file is in use, damaged, of another format, or cannot be read.
    pub fn open(path: &Path, options: RedbOptions) -> Result<Self, OpenError> {
        unfinished::create(path)?;
        Self::start(path, file::File::opener(path), options)
    }

    /// As [`Self::open`], in whatever `opener` opens, which it does again after a full disk. For
    /// tests of storage that fails; `name` is what errors call it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with(
        name: &Path,
        opener: impl FnMut() -> Result<redb::Database, redb::DatabaseError> + Send + 'static,
        options: RedbOptions,
    ) -> Result<Self, OpenError> {
        Self::start(name, Box::new(opener), options)
    }

    /// Puts a backup into a new file and opens nothing. Whole or not at all: the file gets its
    /// name when everything is in it. Revisions go on above those of the backup, and of the file
    /// that is overwritten, by [`crate::backup::REVISION_GAP`]. Blocks.
    ///
    /// # Errors
    /// When there is a file and `overwrite` is not set, or it is in use; when the backup is
    /// damaged; when the new file cannot be written.
    pub fn restore(
        path: &Path,
        backup: Reader<impl std::io::Read>,
        overwrite: bool,
    ) -> Result<Summary, OpenError> {
        restore::restore(path, backup, overwrite)
    }

    fn start(path: &Path, opener: file::Opener, options: RedbOptions) -> Result<Self, OpenError> {
        let (file, history) = file::File::open(path, opener, options.watch_capacity)?;
        let history = Arc::new(RwLock::new(history));
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(file, Arc::clone(&history), queue, options.keep_revisions);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            history,
            requests,
            _writing: Arc::new(Writing(Some(thread))),
        })
    }

    fn read<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        // A writer that panicked left the history as it was before: it only ever applies what is
        // already on disk.
        read(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(request(reply)).await;
        sent.map_err(|_| Error::Unavailable)?;
        answer.await.map_err(|_| Error::Unavailable)?
    }
}

impl Store for RedbStore {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        future::ready(Ok(self.read(History::revision))).boxed()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        let entry = self.read(|history| history.latest(key).map(|entry| Entry::clone(entry)));
        future::ready(Ok(entry)).boxed()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        future::ready(self.read(|history| history.range(&range))).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        self.ask(move |reply| Request::Txn { txn, reply }).boxed()
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        future::ready(history.watch(prefix, after)).boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.ask(move |reply| Request::Compact { revision, reply })
            .boxed()
    }
}
