//! What breaks, and kubectl that works again without anyone's help: the agent stopped, the agent and
//! the server killed, the network cut, the gateway's translations flushed. Informers are told of every
//! change, and where the server has been there they do not list again.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::Context as _;
use e2e::{
    follower::{Follower, Lines, lists},
    lariat::Stage,
};
use std::{
    io::Read as _,
    process::{Child, Stdio},
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
    let cluster = testbed.cluster("faults").audited(true).start()?;
    let mut stage = Stage::start(&testbed, cluster, &folder).await?;
    stage
        .kubectl_works(LIMIT)
        .await
        .context("before any fault")?;
    let followers = ["json", "vnd.kubernetes.protobuf"]
        .into_iter()
        .map(|content| Follower::start(&stage, content))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let (mut passed, mut failed) = (0, 0);
    for (number, fault) in FAULTS.iter().enumerate() {
        println!("{}: …", fault.name);
        let result = followed(&mut stage, &followers, number, fault).await;
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
    /// Whether the server is there all the time, and the agent is away for less than it waits for.
    keeps_watches: bool,
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
        keeps_watches: true,
    },
    Fault {
        name: "server killed (SIGKILL) and started again",
        kind: Kind::ServerKilled,
        keeps_watches: false,
    },
    Fault {
        name: "network cut for 30 s",
        kind: Kind::NetworkCut(Duration::from_secs(30)),
        keeps_watches: false,
    },
    Fault {
        name: "translations of the gateway flushed",
        kind: Kind::TranslationsFlushed,
        keeps_watches: true,
    },
    Fault {
        name: "agent told to stop (SIGTERM) during an exec and a watch",
        kind: Kind::AgentStopped,
        keeps_watches: true,
    },
];

/// Plays a fault while objects are made that informers have to be told of, each once and in order.
async fn followed(
    stage: &mut Stage<'_>,
    followers: &[Follower],
    number: usize,
    fault: &Fault,
) -> anyhow::Result<Duration> {
    let before = lists(stage)?;
    let names = ["first", "second"].map(|name| format!("{name}-{number}"));
    let [first, second] = &names;
    Follower::make(stage, first)?;
    let took = play(stage, fault).await?;
    Follower::make(stage, second)?;
    for follower in followers {
        for name in &names {
            follower.is_told(&format!("added {name}"), LIMIT)?;
        }
    }
    let after = lists(stage)?;
    anyhow::ensure!(
        !fault.keeps_watches || before == after,
        "informers listed {} times",
        after - before
    );
    Ok(took)
}

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

/// Stops the agent as Kubernetes does: the exec finishes without a word about it, and the watch goes
/// on with the next agent.
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
        kubectl(stage, step)?;
    }
    let script = "echo begun; sleep 3; echo finished";
    let exec = Running::start(stage, &["exec", "shell", "--", "sh", "-c", script])?;
    let watch = Running::start(stage, &["get", "pods", "--watch", "--no-headers"])?;
    end_agent(stage, "TERM").await?;
    exec.ended_well("finished").context("exec")?;
    stage.kubectl_works(LIMIT).await?;
    kubectl(stage, &["annotate", "pod", "shell", "seen=yes"])?;
    let line = watch.lines.next(LIMIT).context("watch")?;
    anyhow::ensure!(line.starts_with("shell "), "watch: {line}");
    Ok(())
}

fn kubectl(stage: &Stage<'_>, arguments: &[&str]) -> anyhow::Result<()> {
    let output = stage.kubectl()?.args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(())
}

/// A kubectl that has printed its first line. Dropped, it is ended.
struct Running {
    child: Child,
    lines: Lines,
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
        let running = Self {
            child,
            lines: Lines::of(output),
        };
        running.lines.next(LIMIT)?;
        Ok(running)
    }

    /// Its last line was this, and it had nothing to complain of.
    fn ended_well(mut self, wanted: &str) -> anyhow::Result<()> {
        let line = self.lines.next(LIMIT)?;
        anyhow::ensure!(line == wanted, "{line:?}");
        if let Ok(line) = self.lines.next(LIMIT) {
            anyhow::bail!("{line:?} came behind it");
        }
        let mut words = String::new();
        let mut complaints = self.child.stderr.take().context("they are a pipe")?;
        complaints.read_to_string(&mut words)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success() && words.is_empty(), "{status}, {words:?}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
