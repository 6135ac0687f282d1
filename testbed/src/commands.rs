//! What each command does.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

pub mod up;

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};
use testbed::{
    ClusterRecord, Owner, owners,
    tools::{self, KubernetesVersion, Tool},
};

pub fn build(versions: &[KubernetesVersion]) -> Result<()> {
    let kubernetes = versions.iter().map(|version| Tool::Kubernetes(*version));
    let others = [
        Tool::Etcd,
        Tool::Kwok,
        Tool::MetricsServer,
        Tool::GoClients,
        Tool::Follower,
    ];
    let tools: Vec<Tool> = others.into_iter().chain(kubernetes).collect();
    tools::ensure(&tools)?;
    println!("the tools are in {}", tools::cache_folder()?.display());
    Ok(())
}

pub fn status() -> Result<()> {
    let owners = owners()?;
    if owners.is_empty() {
        println!("no testbed runs");
    }
    for owner in owners {
        let life = if owner.alive {
            "running"
        } else {
            "dead; `testbed clean` removes what it left"
        };
        println!(
            "{} (process {}, {life})",
            owner.state.purpose, owner.state.pid
        );
        for cluster in &owner.state.clusters {
            println!("  {} {} ({})", cluster.name, cluster.version, cluster.tier);
            println!("    export KUBECONFIG={}", cluster.kubeconfig.display());
            println!("    logs in {}", cluster.logs.display());
        }
    }
    Ok(())
}

pub fn down(purpose: Option<&str>) -> Result<()> {
    let chosen: Vec<Owner> = owners()?
        .into_iter()
        .filter(|owner| owner.alive && purpose.is_none_or(|purpose| owner.state.purpose == purpose))
        .collect();
    if chosen.is_empty() {
        println!("nothing runs");
    }
    for owner in chosen {
        owner.end()?;
        println!(
            "ended {} (process {})",
            owner.state.purpose, owner.state.pid
        );
    }
    clean()
}

pub fn clean() -> Result<()> {
    for state in testbed::clean()? {
        println!(
            "removed what {} (process {}) had left",
            state.purpose, state.pid
        );
    }
    Ok(())
}

pub fn kubectl(name: &str, arguments: &[String]) -> Result<()> {
    let cluster = find(name)?;
    let error = Command::new(&cluster.kubectl)
        .args(arguments)
        .env("KUBECONFIG", &cluster.kubeconfig)
        .exec();
    Err(error).with_context(|| format!("run {}", cluster.kubectl.display()))
}

fn find(name: &str) -> Result<ClusterRecord> {
    let clusters: Vec<ClusterRecord> = owners()?
        .into_iter()
        .filter(|owner| owner.alive)
        .flat_map(|owner| owner.state.clusters)
        .collect();
    if let Some(cluster) = clusters.iter().find(|cluster| cluster.name == name) {
        return Ok(cluster.clone());
    }
    let names: Vec<&str> = clusters
        .iter()
        .map(|cluster| cluster.name.as_str())
        .collect();
    if names.is_empty() {
        bail!("no cluster runs; start one with `testbed up {name} --background`");
    }
    bail!("no cluster `{name}` runs; there are: {}", names.join(", "))
}
