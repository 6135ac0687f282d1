//! How long to wait before the next attempt: decorrelated jitter with a cap, forgotten after a
//! healthy period, overruled by the server's word.

use rand::Rng;
use std::time::{Duration, Instant};

/// Bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The shortest wait. Default 500 ms.
    pub base: Duration,
    /// The longest wait that is not the server's word. Default 30 s.
    pub cap: Duration,
    /// A connection that lived at least this long was healthy: the next wait starts over.
    /// Default 30 s.
    pub healthy: Duration,
    /// The longest wait that the server's word is obeyed for. Default 10 min.
    pub longest_word: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            healthy: Duration::from_secs(30),
            longest_word: Duration::from_secs(600),
        }
    }
}

/// The waits of one connection that is to be kept up.
///
/// Each wait is drawn between `base` and three times the one before, so that a fleet that lost
/// its server at one instant spreads out on its way back.
#[derive(Debug)]
pub struct Backoff {
    config: Config,
    previous: Option<Duration>,
    connected_at: Option<Instant>,
}

impl Backoff {
    /// Nothing was tried yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            previous: None,
            connected_at: None,
        }
    }

    /// The connection came up at `now`.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// The attempt failed or the connection was lost at `now`: how long to wait. `retry_after` is
    /// the server's word, to which up to a tenth is added so that those told the same do not
    /// return as one. A healthy connection that was lost is tried again at once.
    pub fn next(
        &mut self,
        now: Instant,
        retry_after: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Duration {
        let lived = self
            .connected_at
            .take()
            .map(|at| now.saturating_duration_since(at));
        let was_healthy = lived.is_some_and(|lived| lived >= self.config.healthy);
        if was_healthy {
            self.previous = None;
        }
        if let Some(word) = retry_after {
            let word = word.min(self.config.longest_word);
            return word + word.mul_f64(rng.random_range(0.0..=0.1));
        }
        if was_healthy {
            return Duration::ZERO;
        }
        let Config { base, cap, .. } = self.config;
        let ceiling = (self.previous.unwrap_or(base) * 3).clamp(base, cap);
        let wait = rng.random_range(base..=ceiling);
        self.previous = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn config() -> Config {
        Config::default()
    }

    #[test]
    fn a_healthy_connection_is_tried_again_at_once_and_forgets() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut backoff = Backoff::new(config());
        for _ in 0..20 {
            backoff.next(start, None, &mut rng);
        }
        backoff.connected(start);
        let lost = start + config().healthy;
        assert_eq!(backoff.next(lost, None, &mut rng), Duration::ZERO);
        assert!(backoff.next(lost, None, &mut rng) <= config().base * 3);
    }

    #[test]
    fn a_connection_that_dies_young_does_not_reset() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(2));
        let mut backoff = Backoff::new(config());
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            backoff.connected(start);
            longest = longest.max(backoff.next(start + Duration::from_secs(1), None, &mut rng));
        }
        assert!(longest > config().base * 3);
    }

    #[test]
    fn the_servers_word_wins_within_reason() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut backoff = Backoff::new(config());
        let word = Duration::from_secs(7);
        let wait = backoff.next(Instant::now(), Some(word), &mut rng);
        assert!(wait >= word && wait <= word.mul_f64(1.1));
        let wait = backoff.next(Instant::now(), Some(Duration::MAX), &mut rng);
        assert!(wait <= config().longest_word.mul_f64(1.1));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_bounds(seed in any::<u64>(), attempts in 1..100_usize) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(config());
            for _ in 0..attempts {
                let wait = backoff.next(Instant::now(), None, &mut rng);
                prop_assert!(wait >= config().base && wait <= config().cap);
            }
        }
    }
}
