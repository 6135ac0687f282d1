//! When something is done that was asked for.

use std::time::Duration;

use tokio::time::Instant;

/// How long changes are gathered before they are carried out together.
pub(super) const GATHER: Duration = Duration::from_millis(20);

/// How soon a failure is tried again, and how late after many.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// After some time, if it is not due before.
pub(super) fn sooner(due: Option<Instant>, wait: Duration) -> Instant {
    let at = Instant::now() + wait;
    due.map_or(at, |due| due.min(at))
}

/// How long to wait after so many failures.
pub(super) fn retry(failed: u32) -> Duration {
    let (first, last) = RETRY;
    let doubled = first.saturating_mul(1 << (failed.saturating_sub(1)).min(10));
    doubled.min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let waits: Vec<_> = (1..8).map(|failed| retry(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(retry(u32::MAX).as_secs(), 30);
    }
}
