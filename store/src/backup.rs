//! A copy of what a store holds, as one stream of bytes.
//!
//! It is taken over the [`Store`] trait at one revision, so that writers go on and any back end
//! will do; and it can be put into any: [`crate::RedbStore::restore`],
//! [`crate::EtcdStore::restore`]. The history is not in it: revisions go on above those of the
//! backup, and who watched the store before has to read it again.
//!
//! The bytes, with all numbers in big endian:
//!
//! | what | bytes |
//! | --- | --- |
//! | `lariat store backup\n` | 20 |
//! | format, 1 | 4 |
//! | revision of the store | 8 |
//! | for each entry: 1, length of the key, length of the value, created, modified, version, key, value | 1, 4, 4, 8, 8, 8, … |
//! | 0 and the number of entries | 1, 8 |
//! | SHA-256 of all before | 32 |

mod read;
mod write;

pub use read::{Reader, verify};
pub use write::write;

use crate::{Error, Revision};

/// How far the revision of a restored store lies above that of the backup: more than a store can
/// have written since the backup, so that no revision is ever given out twice.
pub const REVISION_GAP: u64 = 1_000_000_000;

const MAGIC: &[u8; 20] = b"lariat store backup\n";
const FORMAT: u32 = 1;
const ENTRY: u8 = 1;
const END: u8 = 0;
const HASH_BYTES: usize = 32;

/// What is in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The revision of the store that it was taken at.
    pub revision: Revision,
    /// How many entries it has.
    pub entries: u64,
}

/// A backup could not be taken or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Not a backup of a store.
    #[error("not a backup of a store")]
    NotABackup,
    /// Written by another version of this software.
    #[error("backup has format {found}, this version reads format {FORMAT}")]
    Format {
        /// The format that it says it has.
        found: u32,
    },
    /// Not as it was written.
    #[error("backup is damaged: {0}")]
    Damaged(&'static str),
    /// The store could not be read.
    #[error("cannot read the store")]
    Store(#[from] Error),
    /// The file or stream could not be read or written.
    #[error("cannot read or write the backup")]
    Io(#[from] std::io::Error),
}
