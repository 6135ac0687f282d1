//! When a watch that broke off is asked for again, and when it is given up.

use std::time::{Duration, Instant};

/// How long the client of a watch that broke off waits for it to go on: an agent that was restarted is back in seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a watch is asked for again while no event comes.
const MOST_ATTEMPTS: u32 = 12;

/// The first pause, before chance makes it up to twice as long; each further one is double.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause, before chance.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An answer that went on for so long has shown that watches work: counts begin anew.
const LASTING: Duration = Duration::from_secs(60);

/// Counts the attempts of one watch.
#[derive(Debug)]
pub(super) struct Course {
    /// When the answer began that goes on, or was the last.
    began: Instant,
    /// When the last one broke off, unless it goes on.
    lost: Option<Instant>,
    /// Attempts since the last event.
    fruitless: u32,
    /// Attempts since an answer lasted.
    recent: u32,
}

impl Course {
    /// The first answer has begun.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            lost: None,
            fruitless: 0,
            recent: 0,
        }
    }

    /// So many events were passed on.
    pub(super) fn passed(&mut self, events: usize) {
        if events > 0 {
            self.fruitless = 0;
        }
    }

    /// An attempt was answered: the watch goes on.
    pub(super) fn resumed(&mut self, now: Instant) {
        self.began = now;
        self.lost = None;
    }

    /// The answer broke off, or an attempt failed. How long to wait before the next one, with `chance` from 0 to 1 to
    /// keep those apart that broke off together; at least `least`, as the cluster may say. `None`: no more.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        least: Duration,
        chance: f64,
    ) -> Option<Duration> {
        if self.lost.is_none() {
            self.lost = Some(now);
            if now.duration_since(self.began) >= LASTING {
                self.fruitless = 0;
                self.recent = 0;
            }
        }
        if self.fruitless >= MOST_ATTEMPTS {
            return None;
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.recent.min(16));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(1.0 + chance).max(least);
        self.fruitless += 1;
        self.recent = self.recent.saturating_add(1);
        (pause < self.left(now)).then_some(pause)
    }

    /// How long it may still take until the watch goes on.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let gone = self
            .lost
            .map_or(Duration::ZERO, |lost| now.duration_since(lost));
        PATIENCE.saturating_sub(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pauses until it is given up, when each attempt fails at once.
    fn pauses(course: &mut Course, now: &mut Instant, resumes: bool) -> Vec<Duration> {
        let mut pauses = Vec::new();
        while let Some(pause) = course.failed(*now, Duration::ZERO, 0.0) {
            *now += pause;
            pauses.push(pause);
            if resumes {
                course.resumed(*now);
            }
            assert!(pauses.len() < 1000, "it goes on for ever");
        }
        pauses
    }

    #[test]
    fn a_cluster_that_fails_is_asked_ever_more_rarely_and_not_for_long() {
        let mut now = Instant::now();
        let mut course = Course::new(now);
        let found = pauses(&mut course, &mut now, false);
        let milliseconds: Vec<_> = found.iter().map(Duration::as_millis).collect();
        assert_eq!(
            milliseconds,
            [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]
        );
        assert!(found.iter().sum::<Duration>() < PATIENCE);
    }

    #[test]
    fn answers_that_bring_nothing_and_break_off_are_few() {
        let mut now = Instant::now();
        let mut course = Course::new(now);
        assert_eq!(
            pauses(&mut course, &mut now, true).len(),
            MOST_ATTEMPTS as usize
        );
    }

    #[test]
    fn answers_that_bring_an_event_and_break_off_are_rare() {
        let mut now = Instant::now();
        let mut course = Course::new(now);
        let began = now;
        for _ in 0..100 {
            now += course.failed(now, Duration::ZERO, 0.0).unwrap();
            course.resumed(now);
            course.passed(1);
        }
        assert!(now - began > 90 * LONGEST_PAUSE);
    }

    #[test]
    fn what_lasted_is_asked_for_at_once() {
        let mut now = Instant::now();
        let mut course = Course::new(now);
        pauses(&mut course, &mut now, true);
        course.resumed(now);
        assert_eq!(course.failed(now + SECOND, Duration::ZERO, 0.0), None);
        course.resumed(now);
        now += LASTING;
        assert_eq!(
            course.failed(now, Duration::ZERO, 0.5),
            Some(FIRST_PAUSE.mul_f64(1.5))
        );
    }

    #[test]
    fn a_cluster_that_names_a_time_is_obeyed_within_the_patience() {
        let now = Instant::now();
        let mut course = Course::new(now);
        assert_eq!(course.failed(now, 2 * SECOND, 0.0), Some(2 * SECOND));
        assert_eq!(course.left(now + 10 * SECOND), 20 * SECOND);
        assert_eq!(course.failed(now + 10 * SECOND, 20 * SECOND, 0.0), None);
        assert_eq!(course.left(now + 10 * PATIENCE), Duration::ZERO);
    }
}
