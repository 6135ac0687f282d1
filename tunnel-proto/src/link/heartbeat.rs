//! Whether the peer is still there: asked after a quiet interval, given up when nothing at all is
//! heard after that. A pong also measures the round trip.

use std::time::{Duration, Instant};

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Heartbeat {
    quiet: Duration,
    patience: Duration,
    last_heard: Instant,
    question: Question,
    next_id: u64,
    round_trip: Option<Duration>,
    /// The shortest one on this carrier: what the way takes when nothing waits on it.
    shortest: Option<Duration>,
}

/// The ping that goes out after a quiet interval.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Question {
    /// None is needed yet.
    None,
    /// It is to be sent.
    Due,
    /// It was sent.
    Asked { id: u64, at: Instant },
}

impl Heartbeat {
    /// A carrier that has just come up. It is asked at once, which measures the round trip.
    pub(super) fn new(now: Instant, quiet: Duration, patience: Duration) -> Self {
        Self {
            quiet,
            patience,
            last_heard: now,
            question: Question::Due,
            next_id: 1,
            round_trip: None,
            shortest: None,
        }
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub(super) fn shortest(&self) -> Option<Duration> {
        self.shortest
    }

    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_heard)
    }

    pub(super) fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    pub(super) fn pong(&mut self, now: Instant, answered: u64) {
        if let Question::Asked { id, at } = self.question
            && id == answered
        {
            let round_trip = now.saturating_duration_since(at);
            self.round_trip = Some(round_trip);
            self.shortest = Some(
                self.shortest
                    .map_or(round_trip, |so_far| so_far.min(round_trip)),
            );
            self.question = Question::None;
        }
    }

    pub(super) fn poll_ping(&mut self, now: Instant) -> Option<u64> {
        let Question::Due = self.question else {
            return None;
        };
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.question = Question::Asked { id, at: now };
        Some(id)
    }

    /// When to look again. A ping that is due is sent as soon as the carrier takes it, and the
    /// patience runs meanwhile: a carrier that takes nothing is as dead as one that says nothing.
    pub(super) fn deadline(&self) -> Instant {
        match self.question {
            Question::None => self.last_heard + self.quiet,
            Question::Due => self.last_heard + self.quiet + self.patience,
            Question::Asked { at, .. } => self.last_heard.max(at) + self.patience,
        }
    }

    /// Whether the peer has been silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if now < self.deadline() {
            return false;
        }
        match self.question {
            Question::None => {
                self.question = Question::Due;
                false
            }
            Question::Due | Question::Asked { .. } => true,
        }
    }
}
