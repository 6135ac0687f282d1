//! What is on disk.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
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

#[derive(Debug)]
pub(super) struct File {
    database: Database,
}

impl File {
    pub(super) fn open(path: &Path, watch_capacity: usize) -> Result<(Self, History), OpenError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| OpenError::Io {
                path: path.to_owned(),
                source,
            })?;
        let database = Database::builder()
            .create_file(file)
            .map_err(|error| open_error(path, error))?;
        let file = Self { database };
        let corrupt = |error: redb::Error| OpenError::Corrupt {
            path: path.to_owned(),
            detail: error.to_string(),
        };
        let found = file.initialise().map_err(corrupt)?;
        if found != FORMAT {
            return Err(OpenError::Format {
                path: path.to_owned(),
                found,
                expected: FORMAT,
            });
        }
        let history = file.load(watch_capacity).map_err(corrupt)?;
        Ok((file, history))
    }

    /// Writes batches of changes, and the end of a compaction, in one synced transaction.
    pub(super) fn write(&self, batch: &Batch<'_>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
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

    /// Makes the tables of a new file. Returns the format of the file.
    fn initialise(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_write()?;
        let format = {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get(META_FORMAT)?.map(|format| format.value());
            match found {
                Some(format) => format,
                None => {
                    meta.insert(META_FORMAT, FORMAT)?;
                    FORMAT
                }
            }
        };
        if format == FORMAT {
            transaction.open_table(LOG)?;
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(format)
    }

    fn load(&self, watch_capacity: usize) -> Result<History, redb::Error> {
        let transaction = self.database.begin_read()?;
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
