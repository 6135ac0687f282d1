//! Agents in one process, thousands of them: real keys, registration, TLS, upgrade, hello and sessions that
//! outlive their connections, as the agent in a cluster has them. Behind each is no cluster, but objects in memory.
//!
//! A [`Simulator`] keeps its agents connected by itself. What each of them does besides is its [`Behaviour`]. An
//! [`Agent`] that is moved by hand is made by [`connect`].

mod agent;
mod answers;
pub mod behaviour;
mod by_hand;
pub mod clusters;
mod figures;
mod line;
mod slow;
mod turns;

pub use agent::Simulated;
pub use answers::{FILLING, PAYLOAD};
pub use behaviour::{Behaviour, Mix};
pub use by_hand::{Agent, connect};
pub use clusters::Registration;
pub use figures::{Figures, Summary};

use agent::Shared;
use anyhow::{Context as _, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel::dial::Dialer;

/// File descriptors for all that is no agent.
const RESERVED: u64 = 512;

/// Agents that shake hands at the same time: for their server they are many machines, and here they share a few cores.
/// The others connect when it is their turn.
pub const SHAKING: usize = 64;

/// How often waits look.
const LOOK: Duration = Duration::from_millis(20);

/// How long agents may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// Agents that connect by themselves, and again whenever they are disconnected, until it is stopped or dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    agents: Vec<Arc<Simulated>>,
}

/// How agents came back, counted from one moment.
#[derive(Clone, Debug)]
pub struct Returned {
    /// How long each took, the fastest first.
    pub took: Vec<Duration>,
}

impl Simulator {
    /// No agents yet. They will dial as `dialer` does; `at_once` of them register at the same time, and [`SHAKING`] shake
    /// hands. What an agent keeps in memory for the server is bounded for each of them.
    #[must_use]
    pub fn new(dialer: Dialer, at_once: usize) -> Self {
        let shared = Shared {
            dialer,
            first: Semaphore::new(at_once),
            shaking: Arc::new(Semaphore::new(SHAKING)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
            agents: Vec::new(),
        }
    }

    /// Begins an agent.
    ///
    /// # Errors
    /// When there is no randomness for its key, or no port for the line that it needs for its behaviour.
    pub async fn add(
        &mut self,
        registration: &Registration,
        behaviour: Behaviour,
    ) -> anyhow::Result<()> {
        let agent = Simulated::new(&self.shared, registration, behaviour).await?;
        let agent = Arc::new(agent);
        let living = Arc::clone(&agent).live(Arc::clone(&self.shared));
        self.shared.tasks.spawn(living);
        self.agents.push(agent);
        Ok(())
    }

    /// Begins an agent for each registration.
    ///
    /// # Errors
    /// As [`Simulator::add`].
    pub async fn add_all(
        &mut self,
        registrations: &[Registration],
        mix: &Mix,
    ) -> anyhow::Result<()> {
        raise_file_limit(registrations.len() * mix.descriptors())?;
        let all = registrations.len();
        for (place, registration) in registrations.iter().enumerate() {
            self.add(registration, mix.of(place, all)).await?;
        }
        Ok(())
    }

    /// The agents, in the order in which they were added.
    #[must_use]
    pub fn agents(&self) -> &[Arc<Simulated>] {
        &self.agents
    }

    /// How many have a session with a connection.
    #[must_use]
    pub fn connected(&self) -> usize {
        let connected = self.agents.iter().filter(|agent| agent.is_connected());
        connected.count()
    }

    /// Waits until all have a connection that began after `since`.
    ///
    /// # Errors
    /// When that is not so within `limit`; says what one of those that are missing came across last.
    pub async fn all_since(&self, since: Instant, limit: Duration) -> anyhow::Result<Returned> {
        self.so_many_since(self.agents.len(), since, limit).await
    }

    /// Waits until so many have a connection that began after `since`.
    ///
    /// # Errors
    /// As [`Simulator::all_since`].
    pub async fn so_many_since(
        &self,
        wanted: usize,
        since: Instant,
        limit: Duration,
    ) -> anyhow::Result<Returned> {
        let begun = Instant::now();
        loop {
            let took = self.agents.iter().filter_map(|agent| {
                let at = agent.connected_at()?;
                at.checked_duration_since(since)
            });
            let mut took: Vec<Duration> = took.collect();
            if took.len() >= wanted {
                took.sort_unstable();
                return Ok(Returned { took });
            }
            ensure!(
                begun.elapsed() < limit,
                "{} of {} agents are back after {} s{}",
                took.len(),
                self.agents.len(),
                limit.as_secs(),
                self.last_error()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until all are connected.
    ///
    /// # Errors
    /// When they are not within `limit`.
    pub async fn all_connected(&self, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.connected() < self.agents.len() {
            ensure!(
                begun.elapsed() < limit,
                "{} of {} agents are connected after {} s{}",
                self.connected(),
                self.agents.len(),
                limit.as_secs(),
                self.last_error()
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Agents whose clusters are not followed with so many watches.
    #[must_use]
    pub fn unfollowed(&self, watches: usize) -> usize {
        let agents = self.agents.iter();
        agents
            .filter(|agent| agent.cluster().watches() < watches)
            .count()
    }

    /// What the agents have seen so far, in all.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(self.agents.iter().map(|agent| agent.figures()))
    }

    /// Says goodbye for all of them, and waits until they are gone.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        let _ = tokio::time::timeout(GOODBYE, self.shared.tasks.wait()).await;
    }

    fn last_error(&self) -> String {
        let missing = self.agents.iter().filter(|agent| !agent.is_connected());
        let error = missing
            .filter_map(|agent| agent.figures().last_error)
            .next();
        error.map_or_else(String::new, |error| format!("; one of the others: {error}"))
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Returned {
    /// When that share of them was back.
    #[must_use]
    pub fn share(&self, share: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let place = (last as f64 * share) as usize;
        self.took.get(place).copied().unwrap_or_default()
    }

    /// How many came back in each second, from the first to the last.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let span = self.share(1.0).saturating_sub(self.share(0.0));
        self.took.len() as f64 / span.as_secs_f64().max(0.001)
    }
}

/// Allows as many open files as the agents need.
fn raise_file_limit(connections: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + RESERVED;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .context("cannot raise the limit of open files")?;
    ensure!(
        most >= needed,
        "{needed} open files are needed and {most} allowed: run `ulimit -Hn {needed}` as root first"
    );
    Ok(())
}
