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

/// How long anything may take before it is taken as failed for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// How long it may take until kubectl works again, where both ends know that something happened.
const KNOWN: Duration = Duration::from_secs(5);

/// The same where an end has to notice silence first.
const SILENT: Duration = Duration::from_secs(11);

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
    /// How long it may take until kubectl works again.
    allowed: Duration,
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
        allowed: KNOWN,
        keeps_watches: true,
    },
    Fault {
        name: "server killed (SIGKILL) and started again",
        kind: Kind::ServerKilled,
        allowed: KNOWN,
        keeps_watches: false,
    },
    Fault {
        name: "network cut for 30 s",
        kind: Kind::NetworkCut(Duration::from_secs(30)),
        allowed: KNOWN,
        keeps_watches: false,
    },
    Fault {
        name: "translations of the gateway flushed",
        kind: Kind::TranslationsFlushed,
        allowed: SILENT,
        keeps_watches: true,
    },
    Fault {
        name: "agent told to stop (SIGTERM) during an exec and a watch",
        kind: Kind::AgentStopped,
        allowed: KNOWN,
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
    anyhow::ensure!(
        took <= fault.allowed,
        "kubectl works again after {took:.2?}, {:?} are allowed",
        fault.allowed
    );
    Ok(took)
}

/// Plays a fault; how long after its end kubectl works again. A process that is ended is away until it is
/// started again, which is not its own doing: a node waits 10 s before the second time.
async fn play(stage: &mut Stage<'_>, fault: &Fault) -> anyhow::Result<Duration> {
    let network = || {
        stage
            .cluster
            .network()
            .context("the cluster has no network of its own")
    };
    match fault.kind {
        Kind::AgentStopped => return stop_agent(stage).await,
        Kind::AgentKilled => end_agent(stage, "KILL").await?,
        Kind::ServerKilled => {
            stage.server.kill();
            let started = Instant::now();
            stage.server.restart().await?;
            stage.kubectl_works(LIMIT).await?;
            return Ok(started.elapsed());
        }
        Kind::NetworkCut(time) => {
            network()?.cut()?;
            tokio::time::sleep(time).await;
            network()?.heal()?;
        }
        Kind::TranslationsFlushed => network()?.flush_translations()?,
    }
    stage.kubectl_works(LIMIT).await
}

/// Stops the agent as Kubernetes does: the exec finishes without a word about it, and the watch goes
/// on with the next agent. How long after its start kubectl works again.
async fn stop_agent(stage: &Stage<'_>) -> anyhow::Result<Duration> {
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
    let took = stage.kubectl_works(LIMIT).await?;
    exec.ended_well("finished").context("exec")?;
    kubectl(stage, &["annotate", "pod", "shell", "seen=yes"])?;
    let line = watch.lines.next(LIMIT).context("watch")?;
    anyhow::ensure!(line.starts_with("shell "), "watch: {line}");
    Ok(took)
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

/// Sends the agent's process on its node a signal that ends it, and waits until another one is started.
async fn end_agent(stage: &Stage<'_>, signal: &str) -> anyhow::Result<()> {
    let before = container(stage)?.context("the agent has no container")?;
    let sent = std::process::Command::new("kill")
        .args([&format!("-{signal}"), &process_of(&before)?])
        .status()?;
    anyhow::ensure!(sent.success(), "the agent's process cannot be ended");
    // Otherwise the first request could still be answered by the process that is dying.
    let started = Instant::now();
    while container(stage)?.is_none_or(|now| now == before) {
        anyhow::ensure!(
            started.elapsed() < LIMIT,
            "the node does not start the agent again"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// The id of the container in which the agent runs; that of the one before while none does.
fn container(stage: &Stage<'_>) -> anyhow::Result<Option<String>> {
    let output = stage
        .cluster
        .kubectl()?
        .args(["-n", "cattle-system", "get", "pods", "-o"])
        .arg("jsonpath={.items[*].status.containerStatuses[*].containerID}")
        .output()?;
    let id = String::from_utf8(output.stdout)?;
    Ok(id.trim().strip_prefix("containerd://").map(str::to_owned))
}

/// The agent of this cluster: others on the machine are of others.
fn process_of(container: &str) -> anyhow::Result<String> {
    let found = std::fs::read_dir("/proc")?.flatten().find(|process| {
        let group = std::fs::read_to_string(process.path().join("cgroup"));
        group.is_ok_and(|group| group.contains(container))
    });
    let found = found.context("there is no process of the agent")?;
    Ok(found.file_name().to_string_lossy().into_owned())
}
