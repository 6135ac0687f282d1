//! Whether a window holds a sender up: it does if it is used up within little more than the time that
//! word of it takes.

use std::time::{Duration, Instant};

/// A window that is used up within so many round trips is too small…
const ROUND_TRIPS: u32 = 2;

/// …unless that could be what had gathered on the way, which comes within this time. Where a round trip
/// takes less there is no need of larger windows.
const GATHERED: Duration = Duration::from_millis(1);

/// How fast a window is used up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turnover {
    /// When the current count began, and how many bytes there were since. What comes in that very
    /// moment may have gathered for long, and does not count.
    epoch: Option<(Instant, u64)>,
}

impl Turnover {
    /// So many more bytes of the window have been used at `now`. Says whether it is too small.
    pub(crate) fn used(
        &mut self,
        now: Instant,
        bytes: u64,
        window: u64,
        round_trip: Duration,
    ) -> bool {
        let (began, sum) = self.epoch.unwrap_or((now, 0));
        let sum = if now > began { sum + bytes } else { 0 };
        if sum < window {
            self.epoch = Some((began, sum));
            return false;
        }
        self.epoch = Some((now, 0));
        now.saturating_duration_since(began) + GATHERED < round_trip * ROUND_TRIPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_too_small_if_it_is_used_up_within_two_round_trips() {
        let start = Instant::now();
        let mut turnover = Turnover::default();
        let mut used = |after: u64, bytes| {
            let now = start + Duration::from_millis(after);
            turnover.used(now, bytes, 1_000, Duration::from_millis(10))
        };
        assert!(!used(0, 5_000), "what had gathered");
        assert!(!used(10, 999));
        assert!(used(18, 1));
        assert!(!used(37, 1_000), "two round trips");
        assert!(!used(9_000, 1_000), "a pause");
    }
}
