//! A server on the first core, and simulated agents on the second, which come back when it is killed.

use crate::{
    cpu,
    simulator::{Behaviour, Mix, Registration, Returned, Simulator, clusters},
    tunnel::cores::Cores,
};
use e2e::lariat::{Server, ServerOptions};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use testbed::Testbed;
use tunnel::dial::{Dialer, Trust};

/// Requests to the management API at the same time, and first handshakes.
pub(super) const AT_ONCE: usize = 32;

/// Longest wait for all agents. What takes longer has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

/// Watches with which the controllers follow a cluster in which nothing is limited: roles, bindings of two kinds, namespaces.
const WATCHES: usize = 4;

/// How often it is looked whether all are followed.
const LOOK: Duration = Duration::from_millis(50);

/// Neither is bounded for what one machine measures.
const FLAGS: [&str; 6] = [
    "--max-connections-per-address",
    "65536",
    "--proxy-requests-per-user",
    "0",
    "--proxy-streams-per-user",
    "0",
];

/// What a server computes until all agents are back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Until it has read its store and the first agent is back.
    pub(crate) start: Duration,
    /// From then on.
    pub(crate) handshakes: Duration,
}

/// Both of them.
pub(crate) struct Herd<'a> {
    pub(crate) server: Server<'a>,
    pub(crate) simulator: Simulator,
    /// Of the agents' clusters.
    pub(crate) registrations: Vec<Registration>,
}

impl<'a> Herd<'a> {
    /// Starts a server with a cluster for each of so many agents, which are not there yet. `progress` is told how many
    /// clusters are made.
    ///
    /// # Errors
    /// When the server does not start, or refuses.
    pub(crate) async fn start(
        testbed: &'a Testbed,
        folder: &Path,
        agents: usize,
        progress: impl Fn(usize),
    ) -> anyhow::Result<Self> {
        let options = ServerOptions {
            flags: FLAGS.map(String::from).to_vec(),
            ..ServerOptions::loopback(folder)
        };
        // What is started keeps to the cores of who starts it.
        Cores::First.keep_to()?;
        let server = Server::start(testbed, options).await;
        Cores::Second.keep_to()?;
        let server = server?;
        let api = server.api().await?;
        let registrations =
            clusters::register(&api, "simulated", agents, AT_ONCE, progress).await?;
        let dialer = Dialer::new(
            server.url().parse()?,
            Trust::pem(&std::fs::read(server.ca_file())?)?,
        );
        Ok(Self {
            simulator: Simulator::new(dialer, AT_ONCE),
            server,
            registrations,
        })
    }

    /// All agents register. Their API servers forbid everything but health checks.
    ///
    /// # Errors
    /// When they do not get through.
    pub(crate) async fn register(&mut self) -> anyhow::Result<()> {
        let forbids = Behaviour {
            forbids: true,
            ..Behaviour::default()
        };
        let mix = Mix::all(forbids);
        self.simulator.add_all(&self.registrations, &mix).await?;
        self.simulator.all_connected(LIMIT).await
    }

    /// Kills the server and starts it again. Returns how long it took until all were back, and what the new process has
    /// computed until then.
    ///
    /// # Errors
    /// When they do not come back.
    pub(crate) async fn kill_and_wait(&mut self) -> anyhow::Result<(Returned, Spent)> {
        let since = Instant::now();
        self.kill_and_launch()?;
        self.simulator.so_many_since(1, since, LIMIT).await?;
        let start = cpu::of(self.server.pid())?;
        let returned = self.simulator.all_since(since, LIMIT).await?;
        let handshakes = cpu::of(self.server.pid())?.saturating_sub(start);
        Ok((returned, Spent { start, handshakes }))
    }

    /// Waits until the server's controllers follow every cluster. Returns for how many they do not within the limit.
    pub(crate) async fn until_followed(&self) -> usize {
        let begun = Instant::now();
        loop {
            let unfollowed = self.simulator.unfollowed(WATCHES);
            if unfollowed == 0 || begun.elapsed() > LIMIT {
                return unfollowed;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills the server and starts it again.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) fn kill_and_launch(&mut self) -> anyhow::Result<()> {
        self.server.kill();
        Cores::First.keep_to()?;
        let launched = self.server.relaunch();
        Cores::Second.keep_to()?;
        launched
    }
}
