//! A count that reader threads keep and a load looks at.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    load::{Pauses, Tally},
    numbers::Numbers,
};

/// What has been read so far.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) numbers: Numbers,
    pub(super) tally: Tally,
    pub(super) pauses: Pauses,
}

/// A count that threads share.
#[derive(Clone, Debug)]
pub(super) struct Counted(Arc<Mutex<Count>>);

impl Counted {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self(Arc::new(Mutex::new(Count {
            numbers,
            tally: Tally::default(),
            pauses: Pauses::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A unit of so many bytes has arrived; the number in it, unless it has none.
    pub(super) fn take(&self, number: Option<u64>, bytes: usize, text: &dyn std::fmt::Debug) {
        let mut count = self.lock();
        let Count {
            numbers,
            tally,
            pauses,
        } = &mut *count;
        pauses.arrived();
        match number {
            Some(number) => {
                numbers.take(number, tally);
                tally.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
            }
            None => tally.errors.push(format!("this is no number: {text:?}")),
        }
    }

    /// Whether something came.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().tally.bytes > 0
    }

    /// Whether all up to this number came, or were skipped.
    pub(super) fn has(&self, last: u64) -> bool {
        self.lock()
            .numbers
            .expected()
            .is_some_and(|next| next > last)
    }

    /// The end: all up to `last` should have come.
    pub(super) fn end(&self, last: u64, complaints: Vec<String>) -> Tally {
        let mut count = self.lock();
        let Count {
            numbers,
            tally,
            pauses,
        } = &mut *count;
        numbers.end(last, tally);
        tally.errors.extend(complaints);
        tally.longest = pauses.longest();
        tally.clone()
    }
}
