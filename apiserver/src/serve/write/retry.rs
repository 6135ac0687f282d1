//! Writes that are tried again when somebody else was faster.

use super::changed;
use crate::error::ApiError;
use crate::serve::Call;

/// How often a write is tried, as in kube-apiserver.
const ATTEMPTS: usize = 5;

/// Counts how often an object was read, changed and written.
pub(in crate::serve) struct Attempts {
    changed: ApiError,
    left: usize,
}

impl Attempts {
    pub(in crate::serve) fn of(call: &Call) -> Self {
        Self {
            changed: changed(call),
            left: ATTEMPTS,
        }
    }

    /// Whether a write ends so: it is tried again while others change the object in between.
    pub(in crate::serve) fn end_with<T>(&mut self, written: &Result<T, ApiError>) -> bool {
        self.left = self.left.saturating_sub(1);
        let was_late = written.as_ref().err() == Some(&self.changed);
        !was_late || self.left == 0
    }
}
