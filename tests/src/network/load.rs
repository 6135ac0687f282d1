//! What all loads have in common.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a load may take to begin.
pub(super) const BEGINNING: Duration = Duration::from_secs(30);

/// How long what is under way may take to arrive after the last fault: the silence that an end may not
/// have noticed yet, and one more attempt.
pub(super) const CATCHING_UP: Duration = Duration::from_secs(30);

/// Something that runs while the network fails. Ends when it is dropped.
pub(super) trait Load {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Whether it has done what it must have done at least. A load that has failed has.
    fn is_satisfied(&self) -> bool {
        true
    }

    /// Ends it: waits until all has arrived, at most [`CATCHING_UP`], and says what came of it.
    fn finish(self: Box<Self>) -> Tally;
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Bytes that arrived and were right.
    pub(super) bytes: u64,
    /// Units (lines, changes, words, requests) that did not arrive.
    pub(super) lost: u64,
    /// Units that arrived again.
    pub(super) duplicated: u64,
    /// What the client said, or how it ended.
    pub(super) errors: Vec<String>,
    /// The longest time in which nothing arrived; of a request, the longest that one took.
    pub(super) longest: Duration,
}

impl Tally {
    /// Whether nothing is lost, duplicated or wrong.
    pub(super) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.errors.is_empty() && self.bytes > 0
    }
}

/// Measures the time in which nothing arrives.
#[derive(Debug)]
pub(super) struct Pauses {
    last: Instant,
    longest: Duration,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    /// Something has arrived.
    pub(super) fn arrived(&mut self) {
        self.longest = self.longest();
        self.last = Instant::now();
    }

    /// The longest so far, with that which goes on now.
    pub(super) fn longest(&self) -> Duration {
        self.longest.max(self.last.elapsed())
    }
}

/// Waits until `holds`, at most `limit`; whether it did. What is waited for happens on other threads.
pub(super) fn within(limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let started = Instant::now();
    while !holds()? {
        if started.elapsed() > limit {
            return Ok(false);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(true)
}
