//! What breaks, and kubectl that works again without anyone's help: the agent and the server
//! killed, the network cut, the gateway's translations flushed.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::Context as _;
use e2e::lariat::Stage;
use std::time::{Duration, Instant};
use testbed::Testbed;

/// How long a recovery may take: detection of a silent peer, and one back-off.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let testbed = Testbed::open("e2e-faults")?;
    let folder = std::env::current_dir()?.join("target/e2e-faults");
    let _ = std::fs::remove_dir_all(&folder);
    println!("starting a cluster behind a gateway, a server and an agent");
    let cluster = testbed.cluster("faults").start()?;
    let mut stage = Stage::start(&testbed, cluster, &folder).await?;
    stage
        .kubectl_works(LIMIT)
        .await
        .context("before any fault")?;

    let (mut passed, mut failed) = (0, 0);
    for fault in &FAULTS {
        println!("{}: …", fault.name);
        let result = play(&mut stage, fault).await;
        match result {
            Ok(took) => {
                passed += 1;
                println!(
                    "{}: kubectl works again after {:.2} s",
                    fault.name,
                    took.as_secs_f64()
                );
            }
            Err(error) => {
                failed += 1;
                println!("{}: FAILED: {error:#}", fault.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    anyhow::ensure!(failed == 0, "logs are in {}", folder.display());
    Ok(())
}

struct Fault {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    AgentKilled,
    ServerKilled,
    NetworkCut(Duration),
    TranslationsFlushed,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: "agent killed (SIGKILL)",
        kind: Kind::AgentKilled,
    },
    Fault {
        name: "server killed (SIGKILL) and started again",
        kind: Kind::ServerKilled,
    },
    Fault {
        name: "network cut for 30 s",
        kind: Kind::NetworkCut(Duration::from_secs(30)),
    },
    Fault {
        name: "translations of the gateway flushed",
        kind: Kind::TranslationsFlushed,
    },
];

/// Plays a fault; how long after its end kubectl works again.
async fn play(stage: &mut Stage<'_>, fault: &Fault) -> anyhow::Result<Duration> {
    let network = || {
        stage
            .cluster
            .network()
            .context("the cluster has no network of its own")
    };
    let started = Instant::now();
    match fault.kind {
        Kind::AgentKilled => kill_agent(stage).await?,
        Kind::ServerKilled => {
            stage.server.kill();
            stage.server.restart().await?;
        }
        Kind::NetworkCut(time) => {
            network()?.cut()?;
            tokio::time::sleep(time).await;
            network()?.heal()?;
            return stage.kubectl_works(LIMIT).await;
        }
        Kind::TranslationsFlushed => network()?.flush_translations()?,
    }
    stage.kubectl_works(LIMIT).await?;
    Ok(started.elapsed())
}

/// Kills the agent's process on its node, and waits until it is gone.
async fn kill_agent(stage: &Stage<'_>) -> anyhow::Result<()> {
    let before = restarts(stage)?;
    let killed = std::process::Command::new("pkill")
        .args(["-KILL", "-x", "cattle-cluster-"])
        .status()?;
    anyhow::ensure!(killed.success(), "there is no process of the agent");
    // Otherwise the first request could still be answered by the process that is dying.
    let started = Instant::now();
    while restarts(stage)? == before {
        anyhow::ensure!(
            started.elapsed() < LIMIT,
            "the node does not start the agent again"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn restarts(stage: &Stage<'_>) -> anyhow::Result<String> {
    let output = stage
        .cluster
        .kubectl()?
        .args(["-n", "cattle-system", "get", "pods", "-o"])
        .arg("jsonpath={.items[*].status.containerStatuses[*].restartCount}")
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}
