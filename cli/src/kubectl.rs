//! `lariat kubectl CLUSTER -- …`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use kube::api::DeleteParams;
use lariat_api::{Kind, Token};
use serde_json::json;

use crate::direct;
use crate::kubeconfig;
use crate::private_file;
use crate::server::Server;

/// How long the token for one run is good, if it is not ended before: a day, in milliseconds.
const TTL_MILLISECONDS: u64 = 24 * 3600 * 1000;

/// Runs kubectl with a kubeconfig file and a token that exist only meanwhile. Ends with kubectl's
/// own exit code. While the server is away it goes straight to the cluster, if that can be reached so.
pub async fn run(server: &Server, cluster: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let cluster = match server.cluster(cluster).await {
        Ok(found) => found,
        Err(_) if server.is_away().await => return run_past(server, cluster, args).await,
        Err(error) => return Err(error),
    };
    if cluster.agent().is_none() {
        let (name, id) = (cluster.display_name(), cluster.name());
        bail!("cluster {name:?} was never connected; connect it with: lariat cluster import {id}");
    }
    let input = json!({"ttl": TTL_MILLISECONDS, "exec": false});
    let config = kubeconfig::generate(server, &cluster, &input).await?;
    let token = config["users"][0]["user"]["token"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let folder = tempfile::Builder::new().prefix("lariat-").tempdir();
    let folder = folder.context("cannot make a temporary folder")?;
    let path = folder.path().join("kubeconfig");
    private_file::write(&path, &serde_json::to_string(&config)?)?;
    let code = kubectl(&path, args).await?;
    drop(folder);
    let name = token.split(':').next().unwrap_or_default();
    if let Err(error) = server
        .all::<Token>()
        .delete(name, &DeleteParams::default())
        .await
    {
        let error = server.explain(error);
        eprintln!("lariat: the token of this run ends by itself in a day: {error:#}");
    }
    Ok(code)
}

/// Runs kubectl with a context that leads past the server, which is away.
async fn run_past(server: &Server, cluster: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let way = direct::find(server.url(), cluster).await?;
    let (url, file) = (server.url(), way.file.display());
    eprintln!(
        "lariat: {url} does not answer; kubectl goes straight to {} (context {:?} of {file})",
        way.server, way.context
    );
    let context = ["--context".to_owned(), way.context];
    let args: Vec<_> = context.iter().chain(args).cloned().collect();
    kubectl(&way.file, &args).await
}

/// Runs kubectl with a kubeconfig file. Returns its exit code.
async fn kubectl(kubeconfig: &Path, args: &[String]) -> anyhow::Result<ExitCode> {
    let program = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let spawned = tokio::process::Command::new(&program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{} was not found; install kubectl (https://kubernetes.io/docs/tasks/tools) or name it \
             in the environment variable KUBECTL",
            program.display()
        ),
        Err(error) => return Err(error).context("cannot start kubectl"),
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            // kubectl got it as well and decides; the files are cleaned up after it.
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
