//! `cattle-cluster-agent` in or beside a cluster.

use super::{api::Import, binary, server::Server};
use anyhow::{Context as _, bail};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};
use testbed::{Cluster, Process};

/// An agent as a process in the cluster's network, behind its gateway.
pub type AgentProcess = Process;

/// Applies the import manifest directly to a cluster.
///
/// # Errors
/// When the cluster refuses it.
pub fn apply_manifest(cluster: &Cluster, manifest: &str) -> anyhow::Result<()> {
    let mut kubectl = cluster.kubectl()?;
    let mut child = kubectl
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start kubectl")?;
    child
        .stdin
        .take()
        .context("kubectl has no standard input")?
        .write_all(manifest.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl apply: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Waits until the agent's Deployment is there with all its pods ready.
///
/// # Errors
/// When it is not within two minutes; holds the agent's log.
pub fn wait_for_agent_pod(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = |args: &[&str]| -> anyhow::Result<std::process::Output> {
        Ok(cluster
            .kubectl()?
            .args(["-n", "cattle-system"])
            .args(args)
            .output()?)
    };
    let rollout = kubectl(&[
        "rollout",
        "status",
        "deployment/cattle-cluster-agent",
        "--timeout=120s",
    ])?;
    if rollout.status.success() {
        return Ok(());
    }
    let pods = kubectl(&["describe", "pods"])?;
    let log = kubectl(&["logs", "deployment/cattle-cluster-agent", "--tail=30"])?;
    bail!(
        "the agent's pod is not ready: {}\n{}\n{}",
        String::from_utf8_lossy(&rollout.stderr),
        String::from_utf8_lossy(&pods.stdout),
        String::from_utf8_lossy(&log.stdout),
    )
}

/// Starts an agent as a process in the cluster's network. The manifest must be applied already:
/// its namespace and policy are used.
///
/// # Errors
/// When it cannot be started.
pub fn start_process(
    server: &Server<'_>,
    cluster: &Cluster,
    import: &Import,
) -> anyhow::Result<AgentProcess> {
    start_process_with(server, cluster, import, &[])
}

/// The same with more environment.
///
/// # Errors
/// When it cannot be started.
pub fn start_process_with(
    server: &Server<'_>,
    cluster: &Cluster,
    import: &Import,
    environment: &[(&str, &str)],
) -> anyhow::Result<AgentProcess> {
    start_process_to(&server.url(), server, cluster, import, environment)
}

/// The same to another address at which the server is reached.
///
/// # Errors
/// When it cannot be started.
pub fn start_process_to(
    url: &str,
    server: &Server<'_>,
    cluster: &Cluster,
    import: &Import,
    environment: &[(&str, &str)],
) -> anyhow::Result<AgentProcess> {
    let mut command = command_to(url, server, import, &cluster.local_kubeconfig())?;
    command
        .args(["--health-address", AGENT_HEALTH])
        .envs(environment.iter().copied());
    Ok(cluster.start_process("cattle-cluster-agent", &command)?)
}

/// Where agents as processes answer probes, in the cluster's network.
pub const AGENT_HEALTH: &str = "127.0.0.1:18080";

/// How an agent is started that reaches its cluster by a kubeconfig.
///
/// # Errors
/// When there is no such program.
pub fn agent_command(
    server: &Server<'_>,
    import: &Import,
    kubeconfig: &Path,
) -> anyhow::Result<Command> {
    command_to(&server.url(), server, import, kubeconfig)
}

fn command_to(
    url: &str,
    server: &Server<'_>,
    import: &Import,
    kubeconfig: &Path,
) -> anyhow::Result<Command> {
    let mut command = Command::new(binary("cattle-cluster-agent")?);
    command
        .args(["--server", url, "--token", &import.token])
        .arg("--ca-checksum")
        .arg(checksum(&std::fs::read(server.ca_file())?))
        .arg("--kubeconfig")
        .arg(kubeconfig);
    Ok(command)
}

fn checksum(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}
