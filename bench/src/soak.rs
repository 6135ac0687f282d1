//! A long time of mixed load through one server whose agents are cut off, killed and slow, and which is itself
//! stopped and started again: at the end everything must be as it was.

mod faults;
mod load;
mod outcome;
mod report;
mod sample;

use crate::{
    endpoint::Endpoint,
    simulator::{Mix, Simulator, clusters},
};
use anyhow::{Context as _, ensure};
use e2e::lariat::{Api, Server, ServerOptions};
use faults::Faults;
use kube::config::{KubeConfigOptions, Kubeconfig};
use load::Load;
use outcome::Verdict;
use sample::{Recorder, Sample};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use testbed::Testbed;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel::dial::{Dialer, Trust};

/// Requests to the management API at the same time, and first handshakes.
const AT_ONCE: usize = 32;

/// Longest wait for all agents.
const LIMIT: Duration = Duration::from_secs(180);

/// How long nothing happens before what is left is measured: sessions of agents that were killed are kept for three
/// minutes, in case they come back.
const QUIET: Duration = Duration::from_secs(210);

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For how long there are load and faults.
    pub length: Duration,
    /// Agents, each with a cluster.
    pub agents: usize,
    /// The order of faults follows from it.
    pub seed: u64,
    /// How often the server is drained and started again, in the first half.
    pub restarts: usize,
    /// How often a sample is taken.
    pub every: Duration,
    /// Where data and logs are.
    pub folder: PathBuf,
    /// Where the report goes, if there is to be one.
    pub out: Option<PathBuf>,
}

/// Runs it; the report is written in any case.
///
/// # Errors
/// When something cannot be started, answers were wrong, or something has grown.
pub async fn run(plan: &Plan) -> anyhow::Result<()> {
    let testbed = Testbed::open("soak")?;
    let options = ServerOptions {
        flags: [
            "--proxy-requests-per-user",
            "0",
            "--proxy-streams-per-user",
            "0",
        ]
        .map(String::from)
        .to_vec(),
        ..ServerOptions::loopback(&plan.folder)
    };
    let mut server = Server::start(&testbed, options).await?;
    let api = server.api().await?;
    let registrations = clusters::register(&api, "soak", plan.agents, AT_ONCE, |_| ()).await?;
    let dialer = dialer(&server)?;
    let mut simulator = Simulator::new(dialer, AT_ONCE);
    simulator.add_all(&registrations, &mix()?).await?;
    simulator.all_connected(LIMIT).await?;

    let endpoint = endpoint(&server, &api).await?;
    let began = Instant::now();
    let mut recorder = Recorder::new(began, plan.every);
    let load = Load::new(endpoint, simulator.agents());

    // What a server takes once it has worked is the level to which it must come back.
    report::say("the load alone, for the level to come back to");
    let warm = plan.length / 12;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    load.start(&tasks, &stop);
    recorder
        .until(&api, &server, &simulator, began + warm)
        .await?;
    let before = quiet(&stop, &tasks, &mut recorder, &api, &server, &simulator).await?;

    report::say(&format!("load and faults, seed {}", plan.seed));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    load.start(&tasks, &stop);
    let mut faults = Faults::new(plan.seed);
    let begun = Instant::now();
    let mut restarted = Vec::new();
    for part in 1..=plan.restarts {
        // The last process lives for half of the time at least.
        let at = begun + plan.length / 2 * u32::try_from(part)? / u32::try_from(plan.restarts)?;
        with_faults(&mut faults, &mut recorder, (&api, &server, &simulator), at).await?;
        restarted.push(began.elapsed());
        report::say("the server is drained and started again");
        // It blocks until the server has drained; the agents live on in other threads.
        tokio::task::block_in_place(|| server.stop());
        server.restart().await?;
    }
    let end = begun + plan.length;
    with_faults(&mut faults, &mut recorder, (&api, &server, &simulator), end).await?;
    faults.heal(simulator.agents());
    simulator.all_connected(LIMIT).await?;
    let after = quiet(&stop, &tasks, &mut recorder, &api, &server, &simulator).await?;

    let unreachable = load.unreachable().await;
    let figures = load.figures();
    let verdict = Verdict::of(&before, &after, &figures, unreachable);
    let found = report::Found {
        plan,
        samples: recorder.samples(),
        restarted: &restarted,
        load: &figures,
        faults: faults.happened(),
        agents: simulator.summary(),
        verdict: &verdict,
    };
    report::say(&found.text());
    if let Some(out) = &plan.out {
        found.write(out)?;
    }
    simulator.stop().await;
    ensure!(
        verdict.is_good(),
        "it is not as it was at the start, see the table above (seed {})",
        plan.seed
    );
    Ok(())
}

/// Agents whose connections can be cut; some have slow API servers, read slowly, or go and come back.
fn mix() -> anyhow::Result<Mix> {
    let line = Mix::parse([
        "10%:line,answer=~50ms",
        "10%:line,read=256KiB",
        "5%:line,leave=60s/5s",
        "5%:flap=20s",
        "line,answer=0ms..5ms",
    ]);
    line.context("the mix of agents")
}

/// Faults every so often, until then.
async fn with_faults(
    faults: &mut Faults,
    recorder: &mut Recorder,
    (api, server, simulator): (&Api, &Server<'_>, &Simulator),
    until: Instant,
) -> anyhow::Result<()> {
    tokio::select! {
        recorded = recorder.until(api, server, simulator, until) => recorded,
        () = faults.happen(simulator.agents()) => Ok(()),
    }
}

/// Ends the load, and measures what is left of it.
async fn quiet(
    stop: &CancellationToken,
    tasks: &TaskTracker,
    recorder: &mut Recorder,
    api: &Api,
    server: &Server<'_>,
    simulator: &Simulator,
) -> anyhow::Result<Sample> {
    stop.cancel();
    tasks.close();
    let ended = tokio::time::timeout(load::PATIENCE * 2, tasks.wait()).await;
    ended.context("the load does not end")?;
    recorder
        .until(api, server, simulator, Instant::now() + QUIET)
        .await?;
    recorder.take(api, server, simulator).await
}

fn dialer(server: &Server<'_>) -> anyhow::Result<Dialer> {
    Ok(Dialer::new(
        server.url().parse()?,
        Trust::pem(&std::fs::read(server.ca_file())?)?,
    ))
}

async fn endpoint(server: &Server<'_>, api: &Api) -> anyhow::Result<Endpoint> {
    let kubeconfig: Kubeconfig = serde_json::from_str(&server.kubeconfig().await?)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Endpoint::of_kube(&config, Some(&api.token))
}
