//! Compares kubectl through the tunnel with kubectl directly, against the same cluster.
#![allow(clippy::print_stdout, reason = "the report is what the program is for")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::{
    scenarios::{self, LOAD_NAMESPACE, LOAD_PODS},
    table::{Client, Report, Table, Way},
};
use testbed::{Cluster, Testbed, clients::Kubectl};

/// Runs every kubectl invocation of the table once directly and once through the tunnel, and
/// compares output, exit code and effect.
#[derive(Parser)]
struct Arguments {
    /// Only scenarios whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Compare direct with direct: checks the table itself
    #[arg(long)]
    self_check: bool,
    /// Only one kubectl
    #[arg(long, value_enum)]
    kubectl: Option<Which>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Oldest,
    Newest,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let testbed = Testbed::open("e2e-kubectl")?;
    let cluster = start_cluster(&testbed)?;
    let tunnel = cluster.kubeconfig().to_owned();
    let is_well = compare(&arguments, &cluster, tunnel)?;
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn start_cluster(testbed: &Testbed) -> Result<Cluster> {
    println!("starting a cluster with {LOAD_PODS} pods …");
    let cluster = testbed
        .cluster("e2e")
        .kwok_nodes(10)
        .metrics(true)
        .start()
        .context("start a cluster")?;
    let made = cluster
        .kubectl()?
        .args(["create", "namespace", LOAD_NAMESPACE])
        .output()?;
    anyhow::ensure!(
        made.status.success(),
        "create the namespace {LOAD_NAMESPACE}"
    );
    let large = format!(
        "--from-literal=value={}",
        "all work and no play ".repeat(5000)
    );
    let made = cluster
        .kubectl()?
        .args([
            "create",
            "configmap",
            "large",
            "--namespace",
            LOAD_NAMESPACE,
            &large,
        ])
        .output()?;
    anyhow::ensure!(made.status.success(), "create a large object");
    cluster
        .add_kwok_pods(LOAD_NAMESPACE, LOAD_PODS)
        .context("fill the cluster")?;
    Ok(cluster)
}

fn compare(arguments: &Arguments, cluster: &Cluster, tunnel: PathBuf) -> Result<bool> {
    let scratch = std::env::temp_dir().join(format!("e2e-kubectl-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).context("make a folder for files")?;
    let table = Table {
        ways: [
            Way {
                name: "direct",
                kubeconfig: cluster.kubeconfig().to_owned(),
            },
            Way {
                name: "tunnel",
                kubeconfig: tunnel,
            },
        ],
        operator: (cluster.kubectl_path()?, cluster.kubeconfig().to_owned()),
        scratch: &scratch,
        filter: arguments.only.clone(),
    };
    let mut report = Report::default();
    for (which, kubectl) in [
        (Which::Newest, Kubectl::Newest),
        (Which::Oldest, Kubectl::Oldest),
    ] {
        if arguments.kubectl.is_some_and(|only| only != which) {
            continue;
        }
        let client = Client {
            program: kubectl.path()?,
            minor: kubectl.minor(),
        };
        for scenario in scenarios::all() {
            table.run(&scenario, &client, which == Which::Newest, &mut report);
        }
    }
    std::fs::remove_dir_all(&scratch).context("remove the files")?;
    Ok(report.finish())
}
