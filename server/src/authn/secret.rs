//! Secrets that are shown once and kept as a hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::random;

/// A new secret: 256 random bits in Crockford's base 32, 52 characters.
#[must_use]
pub fn new_secret() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = [0u8; 32];
    random::fill(&mut bytes);
    let mut secret = String::with_capacity(52);
    let (mut buffer, mut bits) = (0u16, 0u8);
    for byte in bytes {
        buffer = buffer << 8 | u16::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            secret.push(char::from(ALPHABET[usize::from(buffer >> bits) % 32]));
        }
    }
    secret.push(char::from(ALPHABET[usize::from(buffer << (5 - bits)) % 32]));
    secret
}

/// SHA-256 of a secret. A secret of 256 random bits needs no salt and no slow hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// From lower-case hexadecimal.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// In the form in which connected clusters have hashes: `$2:SALT:HASH` in base64, without a salt.
    #[must_use]
    pub fn unsalted(self) -> String {
        format!("$2::{}", STANDARD_NO_PAD.encode(self.0))
    }

    /// Whether it is the hash of that secret. Takes the same time for every wrong one.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bits_and_matches_only_its_hash() {
        let (one, other) = (new_secret(), new_secret());
        assert_eq!(one.len(), 52);
        assert_ne!(one, other);
        let hash = SecretHash::of(&one);
        assert!(hash.matches(&one) && !hash.matches(&other) && !hash.matches(""));
        assert_eq!(SecretHash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(SecretHash::from_hex("zz"), None);
        let in_clusters = "$2::n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
        assert_eq!(SecretHash::of("test").unsalted(), in_clusters);
    }
}
