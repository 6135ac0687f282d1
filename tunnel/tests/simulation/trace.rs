//! What happened, and when: the same for the same seed.

use std::{
    collections::hash_map::DefaultHasher,
    fmt,
    hash::{Hash as _, Hasher as _},
    sync::Mutex,
};
use tokio::time::Instant;

/// A hash of all that was noted; the notes themselves are printed where that is asked for.
pub struct Trace {
    began: Instant,
    shown: bool,
    hasher: Mutex<DefaultHasher>,
}

impl Trace {
    pub fn new(shown: bool) -> Self {
        Self {
            began: Instant::now(),
            shown,
            hasher: Mutex::new(DefaultHasher::new()),
        }
    }

    pub fn note(&self, what: fmt::Arguments<'_>) {
        let at = self.began.elapsed().as_micros();
        let text = what.to_string();
        if self.shown {
            println!("{:>10.3} {text}", at as f64 / 1e6);
        }
        (at, text).hash(&mut *self.hasher.lock().unwrap());
    }

    /// The hash of all that was noted so far.
    pub fn digest(&self) -> u64 {
        self.hasher.lock().unwrap().finish()
    }
}
