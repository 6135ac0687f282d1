//! Ten thousand agents on one server: what they cost at rest, and how they come back when it is killed.
//!
//! The server has the first core; the agents and who asks have the second.

mod asking;
mod herd;
mod report;

pub(crate) use herd::{Herd, Spent};
pub use report::Report;

use crate::{cpu, endpoint::Endpoint, goal::Wanted::AtMost, memory, simulator::Returned};
use asking::Asked;
use herd::{AT_ONCE, LIMIT};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use testbed::Testbed;

/// What happens around the measurement is over after so long.
const SETTLE: Duration = Duration::from_secs(20);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Agents, each with a cluster.
    pub agents: usize,
    /// For how long the server is watched while nothing happens.
    pub rest: Duration,
    /// How often the server is killed while nobody asks anything.
    pub kills: usize,
    /// Requests at the same time.
    pub requests: usize,
    /// How often so many are sent at rest.
    pub bursts: usize,
}

/// The server and its agents.
struct Scale<'a> {
    size: Size,
    herd: Herd<'a>,
    endpoint: Endpoint,
    ids: Vec<String>,
}

/// Measures all of it. What is found goes to `report`.
///
/// # Errors
/// When the server does not start or refuses, or agents do not come back.
pub async fn measure(
    testbed: &Testbed,
    folder: &Path,
    size: Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let progress = |made: usize| {
        if made.is_multiple_of(1000) {
            report::say(&format!("{made} clusters made"));
        }
    };
    let mut herd = Herd::start(testbed, folder, size.agents, progress).await?;
    report.took(
        "server started, clusters and import tokens made, 32 at once",
        begun.elapsed(),
    );
    let empty = memory::resident(herd.server.pid())?;
    report.mb("server memory with the clusters, and no agent", empty);
    let begun = Instant::now();
    herd.register().await?;
    report.took("all agents registered, 32 at once", begun.elapsed());
    let kubeconfig: Kubeconfig = serde_json::from_str(&herd.server.kubeconfig().await?)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let api = herd.server.api().await?;
    let mut scale = Scale {
        size,
        endpoint: Endpoint::of_kube(&config, Some(&api.token))?,
        ids: herd
            .registrations
            .iter()
            .map(|one| one.id.clone())
            .collect(),
        herd,
    };
    scale.sessions_alone(empty, report).await?;
    scale.at_rest(report).await?;
    scale.asked_at_rest(report).await?;
    scale.killed(report).await?;
    scale.killed_and_asked(report).await?;
    scale.herd.simulator.stop().await;
    Ok(())
}

impl Scale<'_> {
    /// Agents whose API servers forbid everything but health checks: controllers keep nothing there.
    async fn sessions_alone(&mut self, empty: u64, report: &mut Report) -> anyhow::Result<()> {
        tokio::time::sleep(SETTLE).await;
        let full = memory::resident(self.herd.server.pid())?;
        report.mb("server memory with sessions alone", full);
        report.per_agent(
            "memory of a session alone",
            full.saturating_sub(empty),
            self.size.agents,
        );
        let busy = self.busy(self.size.rest).await?;
        report.text(
            "CPU of the server at rest, sessions alone",
            format!("{busy:.1} % of a core"),
        );
        let (returned, spent) = self.kill_and_wait().await?;
        report.took("all back after a kill, sessions alone", returned.share(1.0));
        report.handshakes("sessions alone", &returned, spent, self.size.agents);
        Ok(())
    }

    /// From here on controllers keep roles in every cluster, and follow it.
    async fn at_rest(&mut self, report: &mut Report) -> anyhow::Result<()> {
        for agent in self.herd.simulator.agents() {
            agent.forbid(false);
        }
        // A new process, so that the memory is not what was left of the one before.
        self.kill_and_wait().await?;
        let name = "controllers follow every cluster, after the last agent was back";
        let unfollowed = self.until_followed(name, report).await;
        report.goal(
            "clusters that controllers do not follow",
            unfollowed as f64,
            AtMost(0.0),
        );
        tokio::time::sleep(SETTLE).await;
        let full = memory::resident(self.herd.server.pid())?;
        report.goal(
            "server memory with all agents, MB",
            full as f64 / 1e6,
            AtMost(350.0),
        );
        report.per_agent(
            "memory of the server in all, for each agent",
            full,
            self.size.agents,
        );
        let busy = self.busy(self.size.rest).await?;
        report.text(
            "CPU of the server at rest",
            format!("{busy:.1} % of a core"),
        );
        Ok(())
    }

    async fn asked_at_rest(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let mut all = Asked::default();
        for _ in 0..self.size.bursts {
            all.add(asking::at_once(&self.endpoint, &self.ids, self.size.requests).await?);
        }
        report.asked(
            &format!("{} requests at once, at rest", self.size.requests),
            &all,
        );
        report.goal(
            "requests at rest that failed",
            all.failed() as f64,
            AtMost(0.0),
        );
        let mut alone = Asked::default();
        for _ in 0..self.size.bursts {
            alone.add(asking::in_turn(&self.endpoint, &self.ids, self.size.requests / 10).await?);
        }
        report.asked("one request at a time, at rest", &alone);
        Ok(())
    }

    async fn killed(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let (mut slowest, mut unfollowed) = (Duration::ZERO, 0);
        for kill in 1..=self.size.kills {
            let (returned, spent) = self.kill_and_wait().await?;
            let name = format!("kill {kill}");
            report.took(&format!("all back after {name}"), returned.share(1.0));
            report.took(
                &format!("half of them back after {name}"),
                returned.share(0.5),
            );
            report.handshakes(&name, &returned, spent, self.size.agents);
            slowest = slowest.max(returned.share(1.0));
            let again = format!(
                "controllers follow every cluster again, after the last agent was back after {name}"
            );
            unfollowed += self.until_followed(&again, report).await;
            tokio::time::sleep(SETTLE).await;
            let memory = memory::resident(self.herd.server.pid())?;
            report.mb(&format!("server memory after {name}"), memory);
        }
        let seconds = slowest.as_secs_f64();
        report.goal(
            "all back after a kill, the slowest, s",
            seconds,
            AtMost(6.0),
        );
        report.goal(
            "clusters that controllers do not follow again",
            unfollowed as f64,
            AtMost(0.0),
        );
        let asked = asking::each(&self.endpoint, &self.ids, AT_ONCE).await?;
        report.asked(
            "every cluster asked once, 32 at once, after the kills",
            &asked,
        );
        let lost = self.size.agents - self.herd.simulator.connected();
        report.goal("agents lost", lost.max(asked.failed()) as f64, AtMost(0.0));
        Ok(())
    }

    /// As many ask as before, each on a new connection, as soon as the server listens.
    async fn killed_and_asked(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let since = Instant::now();
        self.herd.kill_and_launch()?;
        let asking = asking::while_it_returns(&self.endpoint, &self.ids, self.size.requests, LIMIT);
        let (returned, asked) = tokio::join!(self.herd.simulator.all_since(since, LIMIT), asking);
        let name = format!(
            "{} requests at once, while agents return",
            self.size.requests
        );
        report.took(&format!("all back, with {name}"), returned?.share(1.0));
        report.asked(&name, &asked);
        report.goal(
            "requests during the return that failed",
            asked.failed() as f64,
            AtMost(0.0),
        );
        Ok(())
    }

    /// Waits until controllers follow every cluster. Returns for how many they do not.
    async fn until_followed(&self, name: &str, report: &mut Report) -> usize {
        let begun = Instant::now();
        let unfollowed = self.herd.until_followed().await;
        report.took(name, begun.elapsed());
        unfollowed
    }

    async fn kill_and_wait(&mut self) -> anyhow::Result<(Returned, Spent)> {
        let (returned, spent) = self.herd.kill_and_wait().await?;
        report::say(&format!(
            "all back after {:.2} s",
            returned.share(1.0).as_secs_f64()
        ));
        Ok((returned, spent))
    }

    /// How much the server computes in this time, in percent of a core.
    async fn busy(&self, time: Duration) -> anyhow::Result<f64> {
        let before = cpu::of(self.herd.server.pid())?;
        tokio::time::sleep(time).await;
        let spent = cpu::of(self.herd.server.pid())? - before;
        Ok(spent.as_secs_f64() / time.as_secs_f64() * 100.0)
    }
}
