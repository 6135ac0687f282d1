//! How long, how often, how many.

use std::time::Duration;

/// Of all loads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Turns of each way.
    pub rounds: usize,
    /// Before anything is counted.
    pub warm: Duration,
    /// Of a bulk load, of pings, of new connections.
    pub time: Duration,
    /// Of HTTP requests.
    pub http: Duration,
    /// Of a stream from cold, with a round trip.
    pub cold: Duration,
    /// Idle tunnels of ours.
    pub idle: usize,
    /// Idle tunnels of others.
    pub idle_of_others: usize,
    /// Agents of a storm.
    pub storm: usize,
    /// Storms.
    pub storms: usize,
}

impl Pace {
    /// What the report is made of.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 5,
            warm: Duration::from_millis(500),
            time: Duration::from_secs(2),
            http: Duration::from_secs(3),
            cold: Duration::from_secs(3),
            idle: 2_000,
            idle_of_others: 500,
            storm: 10_000,
            storms: 3,
        }
    }

    /// Shows that all of it works, and what the figures are about.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 2,
            warm: Duration::from_millis(200),
            time: Duration::from_millis(500),
            http: Duration::from_secs(1),
            idle: 500,
            idle_of_others: 100,
            storm: 2_000,
            storms: 1,
            ..Self::full()
        }
    }
}
