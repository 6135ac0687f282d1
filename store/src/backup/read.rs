//! Reading a backup, and believing it only at its end.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BackupError, END, ENTRY, FORMAT, HASH_BYTES, MAGIC, Summary};
use crate::{Entry, MAX_KEY_BYTES, MAX_VALUE_BYTES, Revision};

/// Reads a backup entry by entry. What it yields is verified only when it has yielded `None`.
#[derive(Debug)]
pub struct Reader<R: Read> {
    input: BufReader<R>,
    hash: Sha256,
    summary: Summary,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a backup.
    ///
    /// # Errors
    /// When it is no backup, or of another format.
    pub fn new(input: R) -> Result<Self, BackupError> {
        let mut reader = Self {
            input: BufReader::new(input),
            hash: Sha256::new(),
            summary: Summary {
                revision: Revision::ZERO,
                entries: 0,
            },
            ended: false,
        };
        let magic: [u8; MAGIC.len()] = match reader.array() {
            Err(BackupError::Damaged(_)) => return Err(BackupError::NotABackup),
            magic => magic?,
        };
        if magic != *MAGIC {
            return Err(BackupError::NotABackup);
        }
        let found = u32::from_be_bytes(reader.array()?);
        if found != FORMAT {
            return Err(BackupError::Format { found });
        }
        reader.summary.revision = Revision(reader.number()?);
        Ok(reader)
    }

    /// The revision that the backup was taken at.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.summary.revision
    }

    /// The next entry, in the order of their keys; `None` at the end of a backup that is whole.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        match self.array()? {
            [ENTRY] => {
                self.summary.entries += 1;
                self.entry().map(Some)
            }
            [END] => {
                self.end()?;
                self.ended = true;
                Ok(None)
            }
            _ => Err(BackupError::Damaged("an entry does not begin as one")),
        }
    }

    fn entry(&mut self) -> Result<Entry, BackupError> {
        let key = self.length(MAX_KEY_BYTES)?;
        let value = self.length(MAX_VALUE_BYTES)?;
        Ok(Entry {
            created: Revision(self.number()?),
            modified: Revision(self.number()?),
            version: self.number()?,
            key: self.bytes(key)?,
            value: self.bytes(value)?,
        })
    }

    fn end(&mut self) -> Result<(), BackupError> {
        if self.number()? != self.summary.entries {
            return Err(BackupError::Damaged("entries are missing"));
        }
        let expected = self.hash.clone().finalize();
        let found: [u8; HASH_BYTES] = self.array()?;
        if found[..] != expected[..] {
            return Err(BackupError::Damaged("its checksum is another one"));
        }
        if self.input.read(&mut [0])? > 0 {
            return Err(BackupError::Damaged("something follows its end"));
        }
        Ok(())
    }

    fn length(&mut self, limit: usize) -> Result<usize, BackupError> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > limit {
            return Err(BackupError::Damaged("a key or a value is too long"));
        }
        Ok(length)
    }

    fn number(&mut self) -> Result<u64, BackupError> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, BackupError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes.into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BackupError::Damaged("it ends too early"),
                _ => BackupError::Io(error),
            })?;
        self.hash.update(bytes);
        Ok(())
    }
}

/// Reads a whole backup.
///
/// # Errors
/// When it is not one that can be restored.
pub fn verify(input: impl Read) -> Result<Summary, BackupError> {
    let mut reader = Reader::new(input)?;
    while reader.next_entry()?.is_some() {}
    Ok(reader.summary)
}
