//! Whether a window holds a sender up: it does if it is used up again and again within little more
//! than the time that word of it takes.

use std::time::{Duration, Instant};

/// A window that is used up so many times…
const TIMES: u64 = 2;

/// …within so many round trips is too small. Once may be what had gathered on the way.
const ROUND_TRIPS: u32 = 3;

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
        if sum < TIMES * window {
            self.epoch = Some((began, sum));
            return false;
        }
        self.epoch = Some((now, 0));
        now.saturating_duration_since(began) < round_trip * ROUND_TRIPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_too_small_if_it_is_used_up_twice_within_three_round_trips() {
        let start = Instant::now();
        let mut turnover = Turnover::default();
        let mut used = |after: u64, bytes| {
            let now = start + Duration::from_millis(after);
            turnover.used(now, bytes, 1_000, Duration::from_millis(10))
        };
        assert!(!used(0, 5_000), "what had gathered");
        assert!(!used(10, 1_999));
        assert!(used(29, 1));
        assert!(!used(59, 2_000), "three round trips");
        assert!(!used(9_000, 2_000), "a pause");
    }
}
