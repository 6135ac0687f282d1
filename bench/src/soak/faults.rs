//! What goes wrong while there is load.

use crate::simulator::Simulated;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Time between two faults, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 500..4000;

/// How often each has happened.
pub(super) type Happened = BTreeMap<&'static str, u64>;

/// Faults in an order that follows from a seed.
pub(super) struct Faults {
    rng: StdRng,
    happened: Happened,
    /// Lines that are held, and until when.
    held: Vec<(Arc<Simulated>, Instant)>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            happened: Happened::new(),
            held: Vec::new(),
        }
    }

    pub(super) fn happened(&self) -> &Happened {
        &self.happened
    }

    /// Lets one after the other happen, for ever.
    pub(super) async fn happen(&mut self, agents: &[Arc<Simulated>]) {
        loop {
            let wait = Duration::from_millis(self.rng.random_range(BETWEEN));
            tokio::time::sleep(wait).await;
            self.release(Instant::now());
            self.one(agents);
        }
    }

    /// Ends what goes on longer.
    pub(super) fn heal(&mut self, agents: &[Arc<Simulated>]) {
        for agent in agents {
            agent.hold(false);
        }
        self.held.clear();
    }

    fn release(&mut self, now: Instant) {
        self.held.retain(|(agent, until)| {
            let is_over = *until <= now;
            if is_over {
                agent.hold(false);
            }
            !is_over
        });
    }

    fn one(&mut self, agents: &[Arc<Simulated>]) {
        let rng = &mut self.rng;
        let kind = rng.random_range(0..100);
        let (name, most) = match kind {
            0..50 => ("one connection cut", 1),
            50..70 => ("a tenth of the connections cut", agents.len().div_ceil(10)),
            70..85 => ("a connection that lets nothing through for up to 20 s", 1),
            _ => ("an agent killed", 1),
        };
        for agent in agents.iter().choose_multiple(rng, most) {
            match kind {
                0..70 => agent.cut(),
                70..85 => {
                    agent.hold(true);
                    let until = Instant::now() + Duration::from_secs(rng.random_range(1..=20));
                    self.held.push((Arc::clone(agent), until));
                }
                _ => agent.kill(Duration::from_secs(rng.random_range(0..=10))),
            }
        }
        *self.happened.entry(name).or_default() += 1;
    }
}
