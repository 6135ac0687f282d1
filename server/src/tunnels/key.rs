//! The server's own Ed25519 key, which agents pin.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tunnel::identity::{KeyError, KeyPair};

/// Name of the file in the data directory.
const FILE: &str = "tunnel-identity.key";

/// Why the server has no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} is damaged; put back a copy, as agents accept no other key")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

/// Reads the key in the data directory, or makes one where there is none.
pub(super) fn open(data: &Path) -> Result<KeyPair, KeyFileError> {
    let path = data.join(FILE);
    let file = |source| KeyFileError::File {
        path: path.clone(),
        source,
    };
    let damaged = |source| KeyFileError::Damaged {
        path: path.clone(),
        source,
    };
    match std::fs::read(&path) {
        Ok(pkcs8) => KeyPair::from_pkcs8(&pkcs8).map_err(damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(damaged)?;
            write_new(&path, key.to_pkcs8()).map_err(file)?;
            Ok(key)
        }
        Err(error) => Err(file(error)),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let made = open(data.path()).unwrap();
        let kept = open(data.path()).unwrap();
        assert_eq!(made.public_key(), kept.public_key());
        let mode = std::fs::metadata(data.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join(FILE), "x").unwrap();
        assert!(matches!(
            open(data.path()),
            Err(KeyFileError::Damaged { .. })
        ));
    }
}
