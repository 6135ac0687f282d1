//! Secrets are sealed on their way to a store, and opened on their way back.
//!
//! [`SealedStore`] stands between who uses a store and the store. Values under the prefixes that it
//! is given are sealed with the first key of a [`KeyRing`]; all else passes as it is, without a
//! copy. What was written in the clear before is read as it is, until [`SealedStore::reseal`]
//! writes it again.
//!
//! A sealed value, with all lengths in bytes:
//!
//! | what | length |
//! | --- | --- |
//! | `\0seal` and the format, 1 | 6 |
//! | id of the key in the ring | 8 |
//! | random: 12 that derive the key of this value, 12 that are its nonce | 24 |
//! | the value under AES-256-GCM | as the value |
//! | tag | 16 |
//!
//! The key of a value is HKDF-SHA256 (RFC 5869, expansion only) of the key in the ring with the first
//! half of the random bytes, so that no two values have key and nonce in common: by the birthday
//! bound the risk reaches 2⁻³² after 2⁸⁰ values of one key in the ring, which no store ever holds,
//! and nobody has to count. The object's key in the store is authenticated with the value: one that
//! is moved to another name does not open.

mod envelope;
mod ring;
mod sealed;
mod upkeep;

pub use envelope::{KeyId, SealFault, is_sealed};
pub use ring::{KeyRing, RingError, RingKey};
pub use sealed::SealedStore;
pub use upkeep::{Resealed, Survey};
