//! Hashes of the secrets of tokens, in the form in which they are in the cluster.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Longest salt that is taken, in bytes.
const MOST_SALT: usize = 64;

/// The hash of a secret: `$2:SALT:HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    salt: Vec<u8>,
    digest: [u8; 32],
}

/// What is no hash of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// It is of another kind: `$1` and `$3` are Rancher's for secrets that people choose.
    #[error("hash is not of the form $2:SALT:HASH")]
    Form,
    /// A part is no base64, or too long or too short.
    #[error("salt or hash is not base64 of the right length")]
    Encoding,
}

impl Hash {
    /// Parses.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let parts = text.strip_prefix("$2:").ok_or(InvalidHash::Form)?;
        let (salt, digest) = parts.split_once(':').ok_or(InvalidHash::Form)?;
        let decoded = |text: &str| BASE64.decode(text).map_err(|_| InvalidHash::Encoding);
        let (salt, digest) = (decoded(salt)?, decoded(digest)?);
        let digest = digest.try_into().map_err(|_| InvalidHash::Encoding)?;
        if salt.len() > MOST_SALT {
            return Err(InvalidHash::Encoding);
        }
        Ok(Self { salt, digest })
    }

    /// Whether it is the hash of that secret. Takes the same time for every wrong one.
    pub fn matches(&self, secret: &str) -> bool {
        let salted = Sha256::new().chain_update(&self.salt).chain_update(secret);
        let digest: [u8; 32] = salted.finalize().into();
        self.digest.ct_eq(&digest).into()
    }

    /// Bytes that it takes up beside itself.
    pub fn weight(&self) -> usize {
        self.salt.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(salt: &[u8], secret: &str) -> String {
        let digest = Sha256::new()
            .chain_update(salt)
            .chain_update(secret)
            .finalize();
        format!("$2:{}:{}", BASE64.encode(salt), BASE64.encode(digest))
    }

    #[test]
    fn a_secret_matches_its_own_hash_alone_with_and_without_salt() {
        for salt in [&b""[..], b"12345678"] {
            let hash = Hash::parse(&written(salt, "s3cret")).unwrap();
            assert!(hash.matches("s3cret"));
            assert!(!hash.matches("s3cre") && !hash.matches("") && !hash.matches("s3cret "));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let long = written(&[7; 65], "x");
        for (text, why) in [
            ("", InvalidHash::Form),
            ("$2:", InvalidHash::Form),
            ("$1:ab:15:8:1:xx", InvalidHash::Form),
            ("$3:1:ab:xx", InvalidHash::Form),
            ("$2::", InvalidHash::Encoding),
            ("$2::abcd", InvalidHash::Encoding),
            ("$2:?:?", InvalidHash::Encoding),
            (&long, InvalidHash::Encoding),
        ] {
            assert_eq!(Hash::parse(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text: String) {
            let _ = Hash::parse(&format!("$2:{text}"));
        }
    }
}
