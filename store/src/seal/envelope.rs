//! One value, sealed and opened.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::{error::Unspecified, rand};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretBox};

/// What a sealed value begins with. No text does.
const MAGIC: &[u8; 6] = b"\0seal\x01";
const ID_BYTES: usize = 8;
/// Random bytes that make the key of a value.
const SALT_BYTES: usize = 12;
const HEAD_BYTES: usize = MAGIC.len() + ID_BYTES + SALT_BYTES + NONCE_LEN;
const TAG_BYTES: usize = 16;

/// By how much a value grows.
pub(super) const OVERHEAD: usize = HEAD_BYTES + TAG_BYTES;

/// Bytes of a key in the ring.
pub(super) const SECRET_BYTES: usize = 32;

/// Names a key without telling it: derived from it, so that two keys never share an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why a value cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// The key is not there.
    #[error("it is sealed with key {0}, which is not in the key ring")]
    UnknownKey(KeyId),
    /// Not one bit is as it was written, or it was written for another name.
    #[error("it was damaged, or is not the value that was written under this name")]
    Damaged,
}

/// Whether a value is sealed: read through a [`super::SealedStore`], that it could not be opened.
#[must_use]
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(MAGIC)
}

/// The id of the key that a sealed value was sealed with.
pub(super) fn key_id(value: &[u8]) -> Option<KeyId> {
    let rest = value.strip_prefix(MAGIC)?;
    rest.first_chunk().copied().map(KeyId)
}

/// A key of the ring.
pub(super) struct Key {
    id: KeyId,
    secret: SecretBox<[u8; SECRET_BYTES]>,
    derive: Prk,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.id)
    }
}

impl Key {
    pub(super) fn random() -> Self {
        let mut secret = [0; SECRET_BYTES];
        fill_random(&mut secret);
        Self::new(secret)
    }

    pub(super) fn new(secret: [u8; SECRET_BYTES]) -> Self {
        let derive = Prk::new_less_safe(HKDF_SHA256, &secret);
        let mut id = [0; ID_BYTES];
        derive
            .expand(&[b"lariat seal id"], IdLength)
            .and_then(|id_of_key| id_of_key.fill(&mut id))
            .expect("eight bytes are less than HKDF gives");
        Self {
            id: KeyId(id),
            secret: SecretBox::new(Box::new(secret)),
            derive,
        }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn secret(&self) -> &[u8; SECRET_BYTES] {
        self.secret.expose_secret()
    }

    /// Seals a value for a key in the store.
    pub(super) fn seal(&self, place: &[u8], value: &[u8]) -> Bytes {
        let mut salt = [0; SALT_BYTES];
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut salt);
        fill_random(&mut nonce);
        let mut sealed = Vec::with_capacity(value.len() + OVERHEAD);
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&nonce);
        let mut body = value.to_vec();
        let aad = Aad::from(associated(self.id, place));
        self.of_value(&salt)
            .and_then(|key| {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_append_tag(nonce, aad, &mut body)
            })
            .expect("values are far shorter than AES-GCM takes");
        sealed.extend_from_slice(&body);
        sealed.into()
    }

    /// Opens a value that was sealed with this key for a key in the store.
    pub(super) fn open(&self, place: &[u8], value: &[u8]) -> Result<Bytes, SealFault> {
        let parts = value.get(MAGIC.len() + ID_BYTES..).and_then(|rest| {
            let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
            let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
            Some((salt, nonce, body))
        });
        let (salt, nonce, body) = parts.ok_or(SealFault::Damaged)?;
        let mut body = body.to_vec();
        let aad = Aad::from(associated(self.id, place));
        let opened = self.of_value(salt).and_then(|key| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            Ok(key.open_in_place(nonce, aad, &mut body)?.len())
        });
        body.truncate(opened.map_err(|_| SealFault::Damaged)?);
        Ok(body.into())
    }

    /// The key of one value.
    fn of_value(&self, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, Unspecified> {
        let info: [&[u8]; 2] = [b"lariat seal value", salt];
        let derived = self.derive.expand(&info, &AES_256_GCM)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

/// What is authenticated beside the value. Only the last part has no fixed length.
fn associated(id: KeyId, place: &[u8]) -> Vec<u8> {
    [MAGIC, &id.0[..], place].concat()
}

fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's source of randomness does not fail once it is seeded");
}

struct IdLength;

impl KeyType for IdLength {
    fn len(&self) -> usize {
        ID_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_name_alone_and_only_unchanged() {
        let key = Key::random();
        let sealed = key.seal(b"/a", b"secret");
        assert_eq!(sealed.len(), b"secret".len() + OVERHEAD);
        assert_eq!(key_id(&sealed), Some(key.id()));
        assert_eq!(key.open(b"/a", &sealed).unwrap(), b"secret"[..]);
        assert_eq!(key.open(b"/b", &sealed), Err(SealFault::Damaged));
        for at in 0..sealed.len() {
            // A change of the magic or of the id is a value of no key, or of another one.
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            let told = key_id(&changed) != Some(key.id());
            assert!(
                told || key.open(b"/a", &changed) == Err(SealFault::Damaged),
                "byte {at}"
            );
        }
        for length in MAGIC.len() + ID_BYTES..sealed.len() {
            assert_eq!(key.open(b"/a", &sealed[..length]), Err(SealFault::Damaged));
        }
    }

    #[test]
    fn the_same_value_is_never_sealed_the_same_and_another_key_does_not_open_it() {
        let (key, other) = (Key::random(), Key::random());
        assert_ne!(key.id(), other.id());
        let sealed = key.seal(b"/a", b"");
        assert_ne!(sealed, key.seal(b"/a", b""));
        assert_eq!(other.open(b"/a", &sealed), Err(SealFault::Damaged));
        assert_eq!(Key::new(*key.secret()).open(b"/a", &sealed).unwrap(), "");
    }

    /// What is on disk must stay readable. Computed from the description of the format with
    /// Python's `hmac` and `cryptography`.
    #[test]
    fn the_format_is_as_described() {
        let key = Key::new([7; SECRET_BYTES]);
        assert_eq!(key.id().to_string(), "51e661796e91cb32");
        let sealed = b"\0seal\x01\x51\xe6\x61\x79\x6e\x91\xcb\x32\
            \x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\
            \x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\
            \x92\x5f\x85\x9b\x05\xb4\x18\x05\x33\xd2\xd4\
            \xef\xe8\xe4\x0b\x8c\xb8\xe7\x97\x73\x7d\x14";
        assert_eq!(key.open(b"/registry/a", sealed).unwrap(), b"secret"[..]);
    }
}
