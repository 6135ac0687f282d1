//! What breaks, and kubectl that works again without anyone's help: the agent stopped, the agent and
//! the server killed, the network cut, the gateway's translations flushed.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::Context as _;
use e2e::lariat::Stage;
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};
use testbed::{BUSYBOX, Testbed};

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
    AgentStopped,
}

const FAULTS: [Fault; 5] = [
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
    Fault {
        name: "agent told to stop (SIGTERM) during an exec and a watch",
        kind: Kind::AgentStopped,
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
        Kind::AgentStopped => stop_agent(stage).await?,
        Kind::AgentKilled => end_agent(stage, "KILL").await?,
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

/// Stops the agent as Kubernetes does: the watch ends in order, the exec finishes, both without a
/// word about it.
async fn stop_agent(stage: &Stage<'_>) -> anyhow::Result<()> {
    let image = format!("--image={BUSYBOX}");
    let steps: [&[&str]; 2] = [
        &["run", "shell", &image, "--command", "--", "sleep", "3600"],
        &[
            "wait",
            "pod/shell",
            "--for=condition=Ready",
            "--timeout=60s",
        ],
    ];
    for step in steps {
        let output = stage.kubectl()?.args(step).output()?;
        anyhow::ensure!(output.status.success(), "{step:?}: {output:?}");
    }
    let script = "echo begun; sleep 3; echo finished";
    let exec = Running::start(stage, &["exec", "shell", "--", "sh", "-c", script])?;
    let watch = Running::start(stage, &["get", "pods", "--watch", "--no-headers"])?;
    end_agent(stage, "TERM").await?;
    exec.ended_well("finished\n").context("exec")?;
    watch.ended_well("").context("watch")
}

/// A kubectl that has printed its first line.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut kubectl = stage.kubectl()?;
        kubectl.args(arguments).stdin(Stdio::null());
        let mut child = kubectl
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let mut output = BufReader::new(output);
        output.read_line(&mut String::new())?;
        Ok(Self { child, output })
    }

    fn ended_well(mut self, wanted: &str) -> anyhow::Result<()> {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        let output = self.child.wait_with_output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success() && rest == wanted && words.is_empty(),
            "{}, {rest:?}, {words:?}",
            output.status
        );
        Ok(())
    }
}

/// Sends the agent's process on its node a signal that ends it, and waits until it is gone.
async fn end_agent(stage: &Stage<'_>, signal: &str) -> anyhow::Result<()> {
    let before = restarts(stage)?;
    let sent = std::process::Command::new("pkill")
        .args([&format!("-{signal}"), "-x", "cattle-cluster-"])
        .status()?;
    anyhow::ensure!(sent.success(), "there is no process of the agent");
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
