//! What is on disk.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};

use super::history::History;
use crate::{Change, Entry, OpenError, Revision};

/// Raised when the tables below change their meaning.
const FORMAT: u64 = 1;

/// Revision and key.
type LogKey = (u64, &'static [u8]);
/// Created, version, value; no value is a deletion.
type LogValue = (u64, u64, Option<&'static [u8]>);

const LOG: TableDefinition<'_, LogKey, LogValue> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const META_FORMAT: &str = "format";
const META_REVISION: &str = "revision";
const META_COMPACTED: &str = "compacted";

/// Bytes of pages that redb keeps in memory. All that is in the file is in the history, too, so the
/// cache is only for what the next write touches; redb's own default is a gibibyte.
const CACHE: usize = 16 << 20;

/// Opens the database, and again after a full disk.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

pub(super) struct File {
    state: State,
    path: PathBuf,
    opener: Opener,
    watch_capacity: usize,
}

enum State {
    Open(Database),
    /// There was no room. It is opened again for the next write.
    Closed,
    /// Not to be written to again: what the system has in memory may no longer be what is on disk.
    Broken(Arc<redb::Error>),
}

impl File {
    pub(super) fn open(
        path: &Path,
        opener: Opener,
        watch_capacity: usize,
    ) -> Result<(Self, History), OpenError> {
        let mut file = Self {
            state: State::Closed,
            path: path.to_owned(),
            opener,
            watch_capacity,
        };
        let history = file.reopen()?;
        Ok((file, history))
    }

    /// How the file at a path is opened; it is made if it is not there.
    pub(super) fn opener(path: &Path) -> Opener {
        let path = path.to_owned();
        Box::new(move || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|error| DatabaseError::Storage(StorageError::Io(error)))?;
            Database::builder().set_cache_size(CACHE).create_file(file)
        })
    }

    /// Opens the file again if a full disk has closed it. Returns what is in it then.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub(super) fn ready(&mut self) -> Result<Option<History>, Arc<redb::Error>> {
        match &self.state {
            State::Open(_) => Ok(None),
            State::Broken(error) => Err(Arc::clone(error)),
            State::Closed => match self.reopen() {
                Ok(history) => Ok(Some(history)),
                Err(error) => Err(Arc::new(redb::Error::Io(std::io::Error::other(error)))),
            },
        }
    }

    /// Closes the file for good.
    pub(super) fn give_up(&mut self, reason: &'static str) -> Arc<redb::Error> {
        let error = Arc::new(redb::Error::Io(std::io::Error::other(reason)));
        tracing::error!(reason, "the store takes no more writes");
        self.state = State::Broken(Arc::clone(&error));
        error
    }

    fn reopen(&mut self) -> Result<History, OpenError> {
        let database = (self.opener)().map_err(|error| open_error(&self.path, error))?;
        let corrupt = |error: redb::Error| match error {
            redb::Error::Io(source) => OpenError::Io {
                path: self.path.clone(),
                source,
            },
            error => OpenError::Corrupt {
                path: self.path.clone(),
                detail: error.to_string(),
            },
        };
        let found = initialise(&database).map_err(corrupt)?;
        if found != FORMAT {
            return Err(OpenError::Format {
                path: self.path.clone(),
                found,
                expected: FORMAT,
            });
        }
        let history = load(&database, self.watch_capacity).map_err(corrupt)?;
        self.state = State::Open(database);
        Ok(history)
    }

    /// Writes batches of changes, and the end of a compaction, in one synced transaction.
    ///
    /// # Errors
    /// When it is not written, and the file is closed.
    pub(super) fn write(&mut self, batch: &Batch<'_>) -> Result<(), Arc<redb::Error>> {
        let State::Open(database) = &self.state else {
            return Err(Arc::new(redb::Error::DatabaseClosed));
        };
        let Err(error) = write(database, batch) else {
            return Ok(());
        };
        let error = Arc::new(error);
        // After a failed write redb takes no more until it is opened again.
        self.state = if is_full(&error) {
            State::Closed
        } else {
            State::Broken(Arc::clone(&error))
        };
        Err(error)
    }
}

/// Whether an error means that there is no room, which may pass. After any other one, a failed
/// sync above all, the system may have dropped what was to be written and show it as written.
fn is_full(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded))
}

fn write(database: &Database, batch: &Batch<'_>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut log = transaction.open_table(LOG)?;
        for change in batch.changes {
            let current = change.current.as_deref();
            let (created, version) =
                current.map_or((0, 0), |entry| (entry.created.0, entry.version));
            let value = current.map(|entry| entry.value.as_ref());
            let key = (change.revision.0, change.key.as_ref());
            log.insert(key, (created, version, value))?;
        }
        for (revision, key) in batch.superseded {
            log.remove((revision.0, key.as_ref()))?;
        }
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_REVISION, batch.revision.0)?;
        meta.insert(META_COMPACTED, batch.compacted.0)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Makes the tables of a new file. Returns the format of the file. Writes nothing to a file that
/// has its tables, so that it can be opened on a full disk.
fn initialise(database: &Database) -> Result<u64, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => {
            let format = meta.get(META_FORMAT)?;
            return Ok(format.map_or(0, |format| format.value()));
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.open_table(LOG)?;
    transaction.commit()?;
    Ok(FORMAT)
}

fn load(database: &Database, watch_capacity: usize) -> Result<History, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let number = |name| -> Result<Revision, redb::Error> {
        let value = meta.get(name)?;
        Ok(Revision(value.map_or(0, |value| value.value())))
    };
    let revision = number(META_REVISION)?;
    let compacted = number(META_COMPACTED)?;
    let mut history = History::new(revision, compacted, watch_capacity);
    for record in transaction.open_table(LOG)?.iter()? {
        let (key, value) = record?;
        let (written, key) = key.value();
        let (created, version, value) = value.value();
        let key = Bytes::copy_from_slice(key);
        let written = Revision(written);
        let current = value.map(|value| {
            Arc::new(Entry {
                key: key.clone(),
                value: Bytes::copy_from_slice(value),
                created: Revision(created),
                modified: written,
                version,
            })
        });
        let previous = history.latest(&key).cloned();
        history.load(Change {
            key,
            revision: written,
            current,
            previous,
        });
    }
    Ok(history)
}
/// One disk transaction.
pub(super) struct Batch<'a> {
    pub(super) changes: &'a [Arc<Change>],
    pub(super) superseded: &'a [(Revision, Bytes)],
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path),
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(
                source.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            OpenError::Io { path, source }
        }
        other => OpenError::Corrupt {
            path,
            detail: other.to_string(),
        },
    }
}
