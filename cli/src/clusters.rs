//! `lariat cluster …`

use std::io::{BufRead, IsTerminal, Write};

use anyhow::bail;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lariat_api::{Cluster, ClusterRegistrationToken, ClusterRegistrationTokenSpec, Kind};
use serde_json::json;

use crate::args::{self, Output};
use crate::output;
use crate::server::Server;

const COLUMNS: [&str; 6] = ["NAME", "ID", "STATE", "KUBERNETES", "AGENT", "AGE"];

/// Runs a subcommand.
pub async fn run(server: &Server, command: args::Cluster, output: Output) -> anyhow::Result<()> {
    match command {
        args::Cluster::Create {
            name,
            id,
            description,
        } => create(server, &name, id, description, output).await,
        args::Cluster::List => {
            let clusters = server.clusters().await?;
            if clusters.is_empty() && output == Output::Table {
                println!("There are no clusters; create one with: lariat cluster create NAME");
                return Ok(());
            }
            output::print(output, &clusters, &COLUMNS, clusters.iter().map(row))
        }
        args::Cluster::Get { cluster } => {
            let cluster = server.cluster(&cluster).await?;
            output::print(output, &cluster, &COLUMNS, [row(&cluster)])
        }
        args::Cluster::Delete { cluster, yes } => delete(server, &cluster, yes).await,
        args::Cluster::Import {
            cluster,
            ttl,
            max_uses,
        } => import(server, &cluster, ttl, max_uses, output).await,
        args::Cluster::Rebind { cluster } => rebind(server, &cluster).await,
    }
}

async fn create(
    server: &Server,
    name: &str,
    id: Option<String>,
    description: String,
    output: Output,
) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(name);
    cluster.metadata.name = id;
    cluster.spec.description = description;
    let made = server
        .all::<Cluster>()
        .create(&PostParams::default(), &cluster)
        .await;
    let made = made.map_err(|error| server.explain(error))?;
    if output != Output::Table {
        return output::print(output, &made, &COLUMNS, [row(&made)]);
    }
    let id = made.name();
    println!("Created cluster {name:?} with the id {id}.");
    println!("Connect it with: lariat cluster import {id}");
    Ok(())
}

async fn delete(server: &Server, wanted: &str, yes: bool) -> anyhow::Result<()> {
    let cluster = server.cluster(wanted).await?;
    let (name, id) = (cluster.display_name(), cluster.name());
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("nothing was deleted; confirm with --yes");
        }
        eprint!("Delete cluster {name:?} ({id}) from the server? It goes on running. [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was deleted");
        }
    }
    let deleted = server
        .all::<Cluster>()
        .delete(id, &DeleteParams::default())
        .await;
    deleted.map_err(|error| server.explain(error))?;
    println!("Deleted cluster {name:?} ({id}).");
    println!(
        "Remove the agent from it with: kubectl delete namespace/cattle-system \
         clusterrole/cattle-cluster-agent clusterrolebinding/cattle-cluster-agent \
         clusterrolebinding/lariat-administrators"
    );
    Ok(())
}

async fn import(
    server: &Server,
    wanted: &str,
    ttl: Option<u32>,
    max_uses: Option<u32>,
    output: Output,
) -> anyhow::Result<()> {
    let cluster = server.cluster(wanted).await?;
    let token = ClusterRegistrationToken {
        spec: ClusterRegistrationTokenSpec {
            cluster_name: cluster.name().to_owned(),
            ttl,
            max_uses,
        },
        ..ClusterRegistrationToken::default()
    };
    let tokens = server.namespaced::<ClusterRegistrationToken>(cluster.name());
    let made = tokens.create(&PostParams::default(), &token).await;
    let made = made.map_err(|error| server.explain(error))?;
    let status = made.status.clone().unwrap_or_default();
    if output != Output::Table {
        return output::print(output, &made, &[], []);
    }
    let name = cluster.display_name();
    eprintln!("Run this with kubectl pointed at {name:?}:\n");
    println!("{}", status.command);
    if status.insecure_command != status.command {
        eprintln!("\nIf kubectl says that the server's certificate is not trusted, run this:\n");
        println!("{}", status.insecure_command);
    }
    if let Some(end) = status.expires_at {
        eprintln!("\nIt works until {}; watch with: lariat status", end.0);
    }
    Ok(())
}

async fn rebind(server: &Server, wanted: &str) -> anyhow::Result<()> {
    let cluster = server.cluster(wanted).await?;
    let (name, id) = (cluster.display_name(), cluster.name());
    let patch = Patch::Merge(json!({"spec": {"allowAgentRebind": true}}));
    let patched = server
        .all::<Cluster>()
        .patch(id, &PatchParams::default(), &patch)
        .await;
    patched.map_err(|error| server.explain(error))?;
    println!("The next agent that registers with {name:?} takes it over.");
    println!("Register it with: lariat cluster import {id}");
    Ok(())
}

fn row(cluster: &Cluster) -> Vec<String> {
    let info = cluster
        .status
        .as_ref()
        .and_then(|status| status.info.as_ref());
    let created = cluster.metadata.creation_timestamp.as_ref();
    vec![
        cluster.display_name().to_owned(),
        cluster.name().to_owned(),
        cluster.state().to_owned(),
        info.map(|info| info.kubernetes_version.clone())
            .unwrap_or_default(),
        cluster
            .agent()
            .map(|agent| agent.version.clone())
            .unwrap_or_default(),
        created
            .map(|created| output::age(created.0))
            .unwrap_or_default(),
    ]
}
