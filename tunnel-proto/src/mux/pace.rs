//! What a stream turns out to be: one that sends a lot for long is bulk, whatever it was opened as.

use crate::stream::Class;
use std::time::{Duration, Instant};

/// Bytes that a stream may send at once and stay in its class.
const BURST: u64 = 1024 * 1024;

/// Bytes a second that it may send for ever and stay in its class.
const RATE: u64 = 1024 * 1024;

/// The class of a stream, and what it has sent of late.
#[derive(Debug)]
pub(super) struct Pace {
    class: Class,
    /// What it may send before it counts as bulk.
    left: u64,
    since: Option<Instant>,
    demoted: bool,
}

impl Pace {
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            left: BURST,
            since: None,
            demoted: false,
        }
    }

    /// What it was opened as, or has been made since.
    pub(super) fn nominal(&self) -> Class {
        self.class
    }

    pub(super) fn set(&mut self, class: Class) {
        self.class = class;
        self.demoted = false;
        self.left = BURST;
    }

    /// The class in which it waits for its turn.
    pub(super) fn class(&mut self, now: Instant) -> Class {
        if self.demoted {
            self.refill(now);
            self.demoted = self.left < BURST / 2;
        }
        if self.demoted {
            Class::Bulk
        } else {
            self.class
        }
    }

    /// It has sent so many bytes.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize) {
        self.refill(now);
        self.left = self.left.saturating_sub(bytes as u64);
        self.demoted |= self.left == 0;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since.unwrap_or(now));
        let passed = passed.min(Duration::from_secs(10));
        let gained = RATE * passed.as_micros() as u64 / 1_000_000;
        if gained > 0 || self.since.is_none() {
            self.since = Some(now);
        }
        self.left = (self.left + gained).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_sends_a_lot_is_bulk_until_it_has_been_quiet() {
        let start = Instant::now();
        let mut pace = Pace::new(Class::Interactive);
        pace.sent(start, BURST as usize / 2);
        assert_eq!(pace.class(start), Class::Interactive);
        pace.sent(start, BURST as usize / 2);
        assert_eq!(pace.class(start), Class::Bulk);
        assert_eq!(pace.class(start + Duration::from_millis(400)), Class::Bulk);
        assert_eq!(
            pace.class(start + Duration::from_millis(600)),
            Class::Interactive
        );
    }

    #[test]
    fn a_slow_stream_keeps_its_class_for_ever() {
        let mut now = Instant::now();
        let mut pace = Pace::new(Class::Watch);
        for _ in 0..10_000 {
            pace.sent(now, RATE as usize / 100);
            assert_eq!(pace.class(now), Class::Watch);
            now += Duration::from_millis(10);
        }
    }
}
