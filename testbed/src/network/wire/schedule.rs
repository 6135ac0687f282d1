//! When a frame arrives, if it does.

use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::Quality;

/// The times of the frames in one direction: the same for the same seed.
#[derive(Debug)]
pub(super) struct Schedule {
    quality: Quality,
    random: StdRng,
}

impl Schedule {
    pub(super) fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// When a frame that is sent now arrives; nothing when it is lost.
    pub(super) fn arrival(&mut self, now: Instant) -> Option<Instant> {
        if self.random.random_range(0..100) < self.quality.loss_percent {
            return None;
        }
        let jitter = self
            .random
            .random_range(Duration::ZERO..=self.quality.jitter);
        Some(now + self.quality.delay + jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(quality: Quality, count: usize) -> Vec<Option<Duration>> {
        let start = Instant::now();
        let mut schedule = Schedule::new(quality, quality.seed);
        (0..count)
            .map(|_| schedule.arrival(start).map(|at| at - start))
            .collect()
    }

    #[test]
    fn a_plain_wire_delays_every_frame_alike() {
        let delay = Duration::from_millis(75);
        let quality = Quality {
            delay,
            ..Quality::default()
        };
        assert_eq!(arrivals(quality, 100), vec![Some(delay); 100]);
    }

    #[test]
    fn the_same_seed_gives_the_same_frames_and_another_others() {
        let quality = Quality {
            jitter: Duration::from_millis(20),
            loss_percent: 30,
            seed: 7,
            ..Quality::default()
        };
        assert_eq!(arrivals(quality, 1000), arrivals(quality, 1000));
        let other = Quality { seed: 8, ..quality };
        assert_ne!(arrivals(quality, 1000), arrivals(other, 1000));
    }

    #[test]
    fn as_many_are_lost_as_were_asked_for_and_jitter_changes_their_order() {
        let quality = Quality {
            jitter: Duration::from_millis(20),
            loss_percent: 30,
            seed: 7,
            ..Quality::default()
        };
        let arrivals = arrivals(quality, 10_000);
        let lost = arrivals.iter().filter(|arrival| arrival.is_none()).count();
        assert!((2_800..3_200).contains(&lost), "{lost}");
        let times: Vec<_> = arrivals.into_iter().flatten().collect();
        assert!(!times.is_sorted());
        assert!(times.iter().all(|time| *time <= quality.jitter));
    }
}
