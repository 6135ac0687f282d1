//! Random numbers from the system, fit for secrets.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// 64 random bits.
#[must_use]
pub fn bits() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Fills a buffer with random bytes.
pub(crate) fn fill(bytes: &mut [u8]) {
    SystemRandom::new()
        .fill(bytes)
        .expect("the system's source of randomness does not fail once it is seeded");
}
