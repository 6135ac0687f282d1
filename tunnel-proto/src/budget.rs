//! How much memory a process, and each session in it, may promise to its peers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A number of bytes that may be taken, and are given back. A budget inside another one takes
/// from both.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    taken: AtomicUsize,
    whole: Option<Arc<Self>>,
}

/// Bytes that were taken from a budget. Dropping it gives them back.
#[derive(Debug, Default)]
pub struct Grant {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            taken: AtomicUsize::new(0),
            whole: None,
        })
    }

    /// A part of `whole`, of at most so many bytes.
    #[must_use]
    pub fn within(whole: &Arc<Self>, total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            taken: AtomicUsize::new(0),
            whole: Some(Arc::clone(whole)),
        })
    }

    /// How much is taken, in bytes.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How much there is in all, in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes so many bytes, or none.
    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.total);
        if self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_err()
        {
            return false;
        }
        let whole_has = self.whole.as_ref().is_none_or(|whole| whole.take(bytes));
        if !whole_has {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
        whole_has
    }

    fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give(bytes);
        }
    }
}

impl Grant {
    /// Nothing yet, of `budget`.
    #[must_use]
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Some(Arc::clone(budget)),
            bytes: 0,
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all it holds.
    pub fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(budget) = &self.budget {
            budget.give(bytes);
        }
    }

    /// Takes so many bytes more, or as often half of it as fits; says how many. Less than `least`
    /// is none.
    pub fn grow(&mut self, wanted: usize, least: usize) -> usize {
        let Some(budget) = &self.budget else {
            return 0;
        };
        let mut bytes = wanted;
        while bytes >= least.max(1) {
            if budget.take(bytes) {
                self.bytes += bytes;
                return bytes;
            }
            bytes /= 2;
        }
        0
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_takes_from_the_whole_and_gives_back() {
        let process = Budget::new(100);
        let session = Budget::within(&process, 80);
        let other = Budget::within(&process, 80);
        let mut grant = Grant::of(&session);
        assert_eq!(grant.grow(80, 1), 80);
        assert_eq!(grant.grow(8, 1), 0);
        let mut second = Grant::of(&other);
        assert_eq!(second.grow(64, 1), 16);
        assert_eq!((process.taken(), other.taken()), (96, 16));
        assert_eq!(second.grow(64, 8), 0);
        drop(grant);
        assert_eq!(
            (process.taken(), session.taken(), second.bytes()),
            (16, 0, 16)
        );
        second.give_back();
        assert_eq!((process.taken(), second.bytes()), (0, 0));
        assert_eq!(second.grow(8, 1), 8);
        drop(second);
        assert_eq!(process.taken(), 0);
    }
}
