//! Ed25519 keys of agents and servers.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use std::sync::Arc;

/// A key pair of this process; clones are the same. It signs; the private half is never printed.
#[derive(Clone)]
pub struct KeyPair {
    pair: Arc<Ed25519KeyPair>,
    pkcs8: Arc<[u8]>,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not an Ed25519 key in PKCS#8.
    #[error("not an Ed25519 key in PKCS#8")]
    Malformed,
    /// The system's source of randomness failed.
    #[error("no randomness to make a key from")]
    NoRandomness,
}

impl KeyPair {
    /// A new key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| KeyError::NoRandomness)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// A key that was kept.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Malformed)?;
        Ok(Self {
            pair: Arc::new(pair),
            pkcs8: pkcs8.into(),
        })
    }

    /// The key to keep: secret.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// Whether `signature` over `message` was made with the private half of `public_key`.
#[must_use]
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(message, signature)
        .is_ok()
}

/// `N` random bytes.
///
/// # Errors
///
/// [`KeyError::NoRandomness`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_key_signs_like_the_one_that_was_made() {
        let made = KeyPair::generate().unwrap();
        let kept = KeyPair::from_pkcs8(made.to_pkcs8()).unwrap();
        let signature = kept.sign(b"m");
        assert!(verify(made.public_key(), b"m", &signature));
        assert!(!verify(made.public_key(), b"n", &signature));
        assert!(!verify(b"short", b"m", &signature));
        assert_eq!(KeyPair::from_pkcs8(b"x").unwrap_err(), KeyError::Malformed);
    }
}
