//! A new file from a backup.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{Batch, File};
use super::unfinished::{Unfinished, sync_folder};
use crate::backup::{REVISION_GAP, Reader, Summary};
use crate::{Change, OpenError, Revision};

/// How many entries go into one disk transaction.
const BATCH: usize = 1000;

pub(super) fn restore(
    path: &Path,
    mut backup: Reader<impl io::Read>,
    overwrite: bool,
) -> Result<Summary, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let old = if path.try_exists().map_err(io_error)? {
        if !overwrite {
            return Err(OpenError::Exists(path.to_owned()));
        }
        open_old(path)?
    } else {
        None
    };
    let reached = old.as_ref().map_or(Revision::ZERO, |(_, reached)| *reached);
    let revision = Revision(backup.revision().max(reached).0 + REVISION_GAP);
    let unfinished = Unfinished::new(path, ".restoring");
    let entries = fill(unfinished.path(), &mut backup, revision)?;
    fs::rename(unfinished.path(), path).map_err(io_error)?;
    sync_folder(path).map_err(io_error)?;
    Ok(Summary { revision, entries })
}

/// The store that is to be overwritten, held so that nobody opens it meanwhile, and the revision
/// that it has reached. One that is damaged is no obstacle.
fn open_old(path: &Path) -> Result<Option<(File, Revision)>, OpenError> {
    match File::open(path, File::opener(path), 1) {
        Ok((file, history)) => Ok(Some((file, history.revision()))),
        Err(OpenError::Corrupt { .. } | OpenError::Format { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn fill(
    path: &Path,
    backup: &mut Reader<impl io::Read>,
    revision: Revision,
) -> Result<u64, OpenError> {
    let (mut file, _) = File::open(path, File::opener(path), 1)?;
    let mut entries = 0;
    loop {
        let mut changes = Vec::new();
        while changes.len() < BATCH
            && let Some(entry) = backup.next_entry()?
        {
            changes.push(Arc::new(Change {
                key: entry.key.clone(),
                revision: entry.modified,
                current: Some(Arc::new(entry)),
                previous: None,
            }));
        }
        let batch = Batch {
            changes: &changes,
            superseded: &[],
            revision,
            // There is no history before.
            compacted: revision,
        };
        let written = file.write(&batch);
        written.map_err(|error| OpenError::Io {
            path: path.to_owned(),
            source: io::Error::other(error),
        })?;
        entries += changes.len() as u64;
        if changes.len() < BATCH {
            return Ok(entries);
        }
    }
}
