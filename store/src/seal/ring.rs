//! The key ring: a file of keys, of which the first one seals.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::envelope::{Key, KeyId, SECRET_BYTES, SealFault, is_sealed, key_id};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const HEAD: &str = "\
# Keys that seal secrets in the store of Lariat: 32 random bytes in base64 a line, then when it was
# made. The first key seals what is written; all of them open what they have sealed. Who has this
# file can read the secrets in the store and in its backups; without it, nobody can.
";

/// The key ring cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A line is no key. Its text is not shown.
    #[error("line {line} of the key ring {path} is not 32 bytes in base64, or is there twice")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There is no key in it.
    #[error("the key ring {0} holds no key")]
    Empty(PathBuf),
    /// The key that seals is not to be removed.
    #[error("key {0} seals what is written")]
    InUse(KeyId),
    /// Somebody has changed the file: to write it would lose their keys.
    #[error(
        "the key ring {0} is not as it was read; start again on it before its keys are changed"
    )]
    Changed(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot access the key ring {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The keys in a file.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    keys: RwLock<Arc<[Arc<Line>]>>,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

/// A key and when it was made.
#[derive(Debug)]
struct Line {
    key: Key,
    made: String,
}

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingKey {
    /// Its id.
    pub id: KeyId,
    /// When it was made, as its maker wrote it; empty if the file does not say.
    pub made: String,
}

impl KeyRing {
    /// Reads the key ring in a file.
    ///
    /// # Errors
    /// When the file is not there, or is not a key ring.
    pub fn read(path: &Path) -> Result<Self, RingError> {
        let text = read(path).map_err(|source| RingError::Io {
            path: path.to_owned(),
            source,
        })?;
        let keys = parse(&text).map_err(|line| RingError::Line {
            path: path.to_owned(),
            line,
        })?;
        if keys.is_empty() {
            return Err(RingError::Empty(path.to_owned()));
        }
        Ok(Self::new(path, keys))
    }

    /// Makes a key ring with one key, which says that it was made at `made` (a word), in a file
    /// that its owner alone may read.
    ///
    /// # Errors
    /// When the file is there already or cannot be written.
    pub fn create(path: &Path, made: &str) -> Result<Self, RingError> {
        let ring = Self::new(path, vec![Line::random(made)]);
        ring.write(&ring.now(), false)?;
        Ok(ring)
    }

    /// A key ring that does not open anything, for a file that is not there. Nothing is to be put
    /// into a store through it.
    #[must_use]
    pub fn empty(path: &Path) -> Self {
        Self::new(path, Vec::new())
    }

    fn new(path: &Path, keys: Vec<Line>) -> Self {
        let keys = keys.into_iter().map(Arc::new).collect();
        Self {
            path: path.to_owned(),
            keys: RwLock::new(keys),
            changing: Mutex::new(()),
        }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys, the one that seals first.
    #[must_use]
    pub fn keys(&self) -> Vec<RingKey> {
        let told = |line: &Arc<Line>| RingKey {
            id: line.key.id(),
            made: line.made.clone(),
        };
        self.now().iter().map(told).collect()
    }

    /// Whether a key is in it.
    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        self.now().iter().any(|line| line.key.id() == id)
    }

    /// The key with which a value is sealed, if that is not in the ring.
    #[must_use]
    pub fn lacks(&self, value: &[u8]) -> Option<KeyId> {
        key_id(value).filter(|id| !self.has(*id))
    }

    /// Makes a key, which seals from now on. It is on disk before it is used. Blocks for the disk.
    ///
    /// # Errors
    /// When somebody else has changed the file, or it cannot be written; then all is as before.
    pub fn rotate(&self, made: &str) -> Result<KeyId, RingError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_unchanged()?;
        let new = Arc::new(Line::random(made));
        let id = new.key.id();
        let keys: Arc<[_]> = std::iter::once(new)
            .chain(self.now().iter().cloned())
            .collect();
        self.write(&keys, true)?;
        self.set(keys);
        Ok(id)
    }

    /// Removes a key for ever. Whoever calls it has seen that nothing is sealed with it. Blocks for
    /// the disk.
    ///
    /// # Errors
    /// When it is the one that seals, somebody else has changed the file, or it cannot be written;
    /// then all is as before.
    pub fn remove(&self, id: KeyId) -> Result<(), RingError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_unchanged()?;
        let keys = self.now();
        if keys.first().is_some_and(|first| first.key.id() == id) {
            return Err(RingError::InUse(id));
        }
        let kept = keys.iter().filter(|line| line.key.id() != id).cloned();
        let kept: Arc<[_]> = kept.collect();
        self.write(&kept, true)?;
        self.set(kept);
        Ok(())
    }

    /// The id of the key that seals.
    pub(super) fn sealing(&self) -> Option<KeyId> {
        self.now().first().map(|line| line.key.id())
    }

    pub(super) fn seal(&self, place: &[u8], value: &[u8]) -> Bytes {
        let keys = self.now();
        let first = keys.first().expect("a ring without a key is not made");
        first.key.seal(place, value)
    }

    /// Opens a value; `None` if it is not sealed.
    pub(super) fn open(&self, place: &[u8], value: &[u8]) -> Option<Result<Bytes, SealFault>> {
        if !is_sealed(value) {
            return None;
        }
        let Some(id) = key_id(value) else {
            return Some(Err(SealFault::Damaged));
        };
        let keys = self.now();
        let found = keys.iter().find(|line| line.key.id() == id);
        let found = found.ok_or(SealFault::UnknownKey(id));
        Some(found.and_then(|line| line.key.open(place, value)))
    }

    fn now(&self) -> Arc<[Arc<Line>]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, keys: Arc<[Arc<Line>]>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// A file that is gone is as good as unchanged: what is written then has all the keys again.
    fn check_unchanged(&self) -> Result<(), RingError> {
        match Self::read(&self.path) {
            Ok(found) if found.keys() == self.keys() => Ok(()),
            Ok(_) => Err(RingError::Changed(self.path.clone())),
            Err(RingError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes beside the file and gives it the name when it is on disk, so that a crash leaves the
    /// old one or the new one.
    fn write(&self, keys: &[Arc<Line>], replace: bool) -> Result<(), RingError> {
        let mut text = HEAD.to_owned();
        for line in keys {
            text.push_str(&STANDARD.encode(line.key.secret()));
            text.push(' ');
            text.push_str(&line.made);
            text.push('\n');
        }
        let written = write(&self.path, &text, replace);
        written.map_err(|source| RingError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

impl Line {
    fn random(made: &str) -> Self {
        Self {
            key: Key::random(),
            made: made.to_owned(),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = io::Read::take(File::open(path)?, MAX_FILE_BYTES);
    io::Read::read_to_string(&mut file, &mut text)?;
    Ok(text)
}

/// The keys in a text, or the number of the line that is none.
fn parse(text: &str) -> Result<Vec<Line>, usize> {
    let mut keys: Vec<Line> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (secret, made) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let secret = STANDARD.decode(secret).ok();
        let secret = secret.and_then(|secret| <[u8; SECRET_BYTES]>::try_from(secret).ok());
        let key = Key::new(secret.ok_or(at + 1)?);
        if keys.iter().any(|known| known.key.id() == key.id()) {
            return Err(at + 1);
        }
        let made = made.trim().to_owned();
        keys.push(Line { key, made });
    }
    Ok(keys)
}

fn write(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let named = match replace {
        true => fs::rename(&beside, path),
        // Fails where a file is.
        false => fs::hard_link(&beside, path).and_then(|()| fs::remove_file(&beside)),
    };
    named?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_ring_is_read_as_it_was_written_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let ring = KeyRing::create(&path, "2026-01-01T00:00:00Z").unwrap();
        let sealed = ring.seal(b"a", b"1");
        let first = ring.keys()[0].id;
        let second = ring.rotate("2026-02-01T00:00:00Z").unwrap();
        assert_eq!(ring.sealing(), Some(second));
        let again = KeyRing::read(&path).unwrap();
        assert_eq!(again.keys(), ring.keys());
        assert_eq!(again.open(b"a", &sealed), Some(Ok(Bytes::from("1"))));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        assert!(matches!(ring.remove(second), Err(RingError::InUse(_))));
        ring.remove(first).unwrap();
        let again = KeyRing::read(&path).unwrap();
        let fault = SealFault::UnknownKey(first);
        assert_eq!(again.open(b"a", &sealed), Some(Err(fault)));
    }

    #[test]
    fn a_ring_is_never_made_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        KeyRing::create(&path, "").unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(
            KeyRing::create(&path, ""),
            Err(RingError::Io { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_that_somebody_added_to_the_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let ring = KeyRing::create(&path, "").unwrap();
        let old = ring.rotate("").unwrap();
        let new = ring.rotate("").unwrap();
        let key = STANDARD.encode([1; SECRET_BYTES]);
        let added = fs::read_to_string(&path).unwrap() + &key;
        fs::write(&path, &added).unwrap();
        assert!(matches!(ring.rotate(""), Err(RingError::Changed(_))));
        assert!(matches!(ring.remove(old), Err(RingError::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), added);
        assert_eq!(ring.sealing(), Some(new));

        fs::remove_file(&path).unwrap();
        ring.rotate("").unwrap();
        assert_eq!(KeyRing::read(&path).unwrap().keys(), ring.keys());
    }

    #[test]
    fn keys_of_any_maker_are_read_and_mistakes_name_their_line() {
        let key = STANDARD.encode([1; SECRET_BYTES]);
        assert_eq!(parse(&format!("# mine\n\n {key}\r\n")).unwrap().len(), 1);
        assert_eq!(parse(&format!("{key}\n{key} again")).unwrap_err(), 2);
        assert_eq!(parse("# a\nc2hvcnQ=").unwrap_err(), 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "# nothing\n").unwrap();
        assert!(matches!(KeyRing::read(&path), Err(RingError::Empty(_))));
    }
}
