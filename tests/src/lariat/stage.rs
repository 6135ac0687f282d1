//! A server, and a connected cluster with its agent, a pod where there is a node: where most
//! tests begin.

use super::{
    AgentProcess, Api, Import, Server, ServerOptions, apply_manifest, binary, start_process,
    wait_for_agent_pod,
};
use anyhow::{Context as _, bail};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use testbed::{Cluster, Testbed};

/// Name of the agent's image on nodes of the testbed.
pub const AGENT_IMAGE: &str = "lariat.test/cattle-cluster-agent:1";

/// A cluster that is connected to a server.
pub struct Stage<'a> {
    /// The server.
    pub server: Server<'a>,
    /// Its administrator.
    pub api: Api,
    /// The cluster.
    pub cluster: Cluster,
    /// The cluster's id at the server.
    pub id: String,
    /// What it was imported with.
    pub import: Import,
    /// A kubeconfig through the tunnel.
    pub kubeconfig: PathBuf,
    /// The agent, where there is no node for its pod.
    pub agent: Option<AgentProcess>,
}

impl<'a> Stage<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start or the cluster does not connect.
    pub async fn start(
        testbed: &'a Testbed,
        cluster: Cluster,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        Self::start_with(testbed, cluster, folder, &[]).await
    }

    /// The same with more flags of the server.
    ///
    /// # Errors
    /// As above.
    pub async fn start_with(
        testbed: &'a Testbed,
        cluster: Cluster,
        folder: &Path,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let options = ServerOptions {
            folder: folder.join("server"),
            address: IpAddr::V4(cluster.hub_address()),
            port: 0,
            flags: flags.iter().map(ToString::to_string).collect(),
        };
        Self::start_at(testbed, cluster, folder, options).await
    }

    /// The same with everything about the server.
    ///
    /// # Errors
    /// As above.
    pub async fn start_at(
        testbed: &'a Testbed,
        cluster: Cluster,
        folder: &Path,
        options: ServerOptions,
    ) -> anyhow::Result<Self> {
        let server = Server::start(testbed, options).await?;
        let api = server.api().await?;
        let id = api.create_cluster(cluster.name()).await?;
        let import = api.import(&id).await?;
        if cluster.has_node() {
            cluster.import_program(AGENT_IMAGE, &binary("cattle-cluster-agent")?)?;
        }
        apply_manifest(&cluster, &api.manifest(&import, AGENT_IMAGE).await?)?;
        let agent = if cluster.has_node() {
            wait_for_agent_pod(&cluster)?;
            None
        } else {
            Some(start_process(&server, &cluster, &import)?)
        };
        api.wait_ready(&id, Duration::from_secs(30)).await?;
        let kubeconfig = folder.join("tunnel.kubeconfig");
        write_secret(&kubeconfig, &api.kubeconfig(&id, false).await?)?;
        Ok(Self {
            server,
            api,
            cluster,
            id,
            import,
            kubeconfig,
            agent,
        })
    }

    /// Ends the agent's pod for good: its place is taken by agents as processes, in the same network.
    ///
    /// # Errors
    /// When kubectl fails, or the pod is not gone within a minute.
    pub fn end_agent_pod(&self) -> anyhow::Result<()> {
        let steps: [&[&str]; 2] = [
            &["scale", "deployment/cattle-cluster-agent", "--replicas=0"],
            &["wait", "pod", "--all", "--for=delete", "--timeout=60s"],
        ];
        for arguments in steps {
            let mut kubectl = self.cluster.kubectl()?;
            let kubectl = kubectl.args(["-n", "cattle-system"]).args(arguments);
            let output = kubectl.output()?;
            anyhow::ensure!(
                output.status.success(),
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// kubectl through the tunnel.
    ///
    /// # Errors
    /// When it has been removed from the cache.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        let mut kubectl = Command::new(self.cluster.kubectl_path()?);
        kubectl.env("KUBECONFIG", &self.kubeconfig);
        Ok(kubectl)
    }

    /// Runs kubectl through the tunnel until it succeeds; how long that took.
    ///
    /// # Errors
    /// When it does not within `limit`; holds its last words.
    pub async fn kubectl_works(&self, limit: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let output = self.try_kubectl()?;
            if output.status.success() {
                return Ok(started.elapsed());
            }
            if started.elapsed() > limit {
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!("kubectl does not work after {} s: {words}", limit.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn try_kubectl(&self) -> anyhow::Result<Output> {
        self.kubectl()?
            .args([
                "get",
                "namespace",
                "kube-system",
                "-o",
                "name",
                "--request-timeout=5s",
            ])
            .output()
            .context("cannot start kubectl")
    }
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}
