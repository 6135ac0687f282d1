//! Informers of client-go behind the tunnel: what they are told, and how often they list.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::tools::{self, Tool};
use tokio::task::block_in_place;

use crate::lariat::Stage;

/// How long an informer may take to begin.
const LIMIT: Duration = Duration::from_secs(60);

/// Nobody else is told of these but the cluster's own controllers.
const KIND: &str = "podtemplates";

/// An informer over the pod templates of the namespace `default`. Dropped, it is ended.
pub struct Follower {
    child: Child,
    lines: Lines,
}

impl Follower {
    /// Starts one that wants objects as `application/CONTENT`, and waits until it has listed them.
    ///
    /// # Errors
    /// When it cannot be built, or lists nothing.
    pub fn start(stage: &Stage<'_>, content: &str) -> Result<Self> {
        let programs = block_in_place(|| tools::ensure(&[Tool::Follower]))?;
        let mut child = Command::new(programs.path("follower")?)
            .arg(format!("-kubeconfig={}", stage.kubeconfig.display()))
            .arg(format!("-content-type=application/{content}"))
            // Its first list is one, and not a watch that begins with all there is.
            .env("KUBE_FEATURE_WatchListClient", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the follower")?;
        let output = child.stdout.take().context("its output is a pipe")?;
        let lines = Lines::of(output);
        let follower = Self { child, lines };
        follower.is_told("synced", LIMIT)?;
        Ok(follower)
    }

    /// Makes a pod template, past the tunnel.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub fn make(stage: &Stage<'_>, name: &str) -> Result<()> {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name},
            "template": {"spec": {"containers": [{"name": "none", "image": "none"}]}},
        });
        let mut kubectl = stage.cluster.kubectl()?;
        let mut child = kubectl
            .args(["create", "-n", "default", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().context("its input is a pipe")?;
        serde_json::to_writer(stdin, &object)?;
        let status = child.wait()?;
        ensure!(status.success(), "cannot make {name}: {status}");
        Ok(())
    }

    /// The next that it says is this.
    ///
    /// # Errors
    /// When it says something else, or nothing within `limit`.
    pub fn is_told(&self, wanted: &str, limit: Duration) -> Result<()> {
        let line = self.lines.next(limit);
        let line = line.with_context(|| format!("an informer was not told: {wanted}"))?;
        ensure!(
            line == wanted,
            "an informer was told {line:?}, not {wanted:?}"
        );
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often pod templates were listed in somebody's name, by the audit log of the cluster, in which
/// what was answered is at once.
///
/// # Errors
/// When there is no such log, or it cannot be read.
pub fn lists(stage: &Stage<'_>) -> Result<usize> {
    let text = std::fs::read_to_string(stage.cluster.audit_log())?;
    let events = text.lines().filter(|line| line.contains(KIND));
    let events = events.map(serde_json::from_str::<Value>);
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let is_list = |event: &&Value| {
        event["verb"] == "list"
            && event["objectRef"]["resource"] == KIND
            && event["impersonatedUser"].is_object()
    };
    let count = events.iter().filter(is_list).count();
    ensure!(count > 0, "the audit log has not even the first list");
    Ok(count)
}

/// The lines that a program prints, read as they come.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// Begins to read.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1000);
        // It ends with the program, or when nobody wants more.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// The next line.
    ///
    /// # Errors
    /// When the program has ended, or prints nothing within `limit`.
    pub fn next(&self, limit: Duration) -> Result<String> {
        self.0.recv_timeout(limit).context("no line came")
    }
}
