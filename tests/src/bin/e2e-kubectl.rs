//! Compares kubectl through the tunnel with kubectl directly, against the same cluster.
#![allow(clippy::print_stdout, reason = "the report is what the program is for")]

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::{
    lariat::{Stage, write_secret},
    scenarios::{self, LOAD_NAMESPACE, LOAD_PODS},
    table::{Client, LIMIT, Report, Scenario, Table, Way, invoke},
};
use testbed::{Cluster, Testbed, clients::Kubectl, tools::KubernetesVersion};

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
    /// Kubernetes version of the cluster: 1.34, 1.35 or 1.36
    #[arg(long, default_value_t)]
    kubernetes: KubernetesVersion,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Oldest,
    Newest,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let testbed = Testbed::open("e2e-kubectl")?;
    let cluster = start_cluster(&testbed, arguments.kubernetes)?;
    let folder = std::env::current_dir()?.join("target/e2e-kubectl");
    std::fs::create_dir_all(&folder).context("make a folder for logs")?;
    let scratch = folder.join("scratch");
    std::fs::create_dir_all(&scratch).context("make a folder for files")?;
    let mut report = Report::default();
    if arguments.self_check {
        let direct = cluster.kubeconfig().to_owned();
        compare(
            &arguments,
            &cluster,
            &direct,
            &scratch,
            &scenarios::all(),
            &mut report,
        )?;
    } else {
        println!("connecting it to a server through the tunnel …");
        let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
        let stage = runtime.block_on(Stage::start(&testbed, cluster, &folder))?;
        let by_name = folder.join("by-server-name.kubeconfig");
        write_secret(
            &by_name,
            &runtime.block_on(stage.api.kubeconfig(&stage.id, true))?,
        )?;
        let cluster = &stage.cluster;
        compare(
            &arguments,
            cluster,
            &stage.kubeconfig,
            &scratch,
            &scenarios::all(),
            &mut report,
        )?;
        let by_server_name = [scenarios::by_server_name()];
        compare(
            &arguments,
            cluster,
            &by_name,
            &scratch,
            &by_server_name,
            &mut report,
        )?;
    }
    std::fs::remove_dir_all(&scratch).context("remove the files")?;
    let is_well = report.finish();
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn start_cluster(testbed: &Testbed, version: KubernetesVersion) -> Result<Cluster> {
    println!("starting a cluster of Kubernetes {version} with {LOAD_PODS} pods …");
    let cluster = testbed
        .cluster("e2e")
        .version(version)
        .kwok_nodes(10)
        .metrics(true)
        .start()
        .context("start a cluster")?;
    operate(&cluster, &["create", "namespace", LOAD_NAMESPACE], "")?;
    operate(&cluster, &["create", "-f", "-"], &large_object())?;
    cluster
        .add_kwok_pods(LOAD_NAMESPACE, LOAD_PODS)
        .context("fill the cluster")?;
    Ok(cluster)
}

/// kubectl as the operator, directly.
fn operate(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<()> {
    let mut kubectl = cluster.kubectl()?;
    let outcome = invoke::run(kubectl.args(arguments), input.as_bytes(), LIMIT)?;
    anyhow::ensure!(
        outcome.code == Some(0),
        "kubectl {arguments:?}: {}",
        outcome.transcript()
    );
    Ok(())
}

/// More than the 128 KiB from which on an API server compresses what it answers (apiserver,
/// endpoints/handlers/responsewriters).
fn large_object() -> String {
    let value = "all work and no play ".repeat(10_000);
    format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {{"name": "large", "namespace": "{LOAD_NAMESPACE}"}},
            "data": {{"value": "{value}"}}}}"#
    )
}

/// Runs scenarios with each kubectl, directly and by the `tunnel` kubeconfig.
fn compare(
    arguments: &Arguments,
    cluster: &Cluster,
    tunnel: &Path,
    scratch: &Path,
    scenarios: &[Scenario],
    report: &mut Report,
) -> Result<()> {
    let table = Table {
        ways: [
            Way {
                name: "direct",
                kubeconfig: cluster.kubeconfig().to_owned(),
            },
            Way {
                name: "tunnel",
                kubeconfig: tunnel.to_owned(),
            },
        ],
        operator: (cluster.kubectl_path()?, cluster.kubeconfig().to_owned()),
        scratch,
        filter: arguments.only.clone(),
    };
    let kubectls = [
        (Which::Newest, Kubectl::Newest),
        (Which::Oldest, Kubectl::Oldest),
    ];
    for (which, kubectl) in kubectls {
        if arguments.kubectl.is_some_and(|only| only != which) {
            continue;
        }
        let client = Client {
            program: kubectl.path()?,
            minor: kubectl.minor(),
        };
        for scenario in scenarios {
            table.run(scenario, &client, which == Which::Newest, report);
        }
    }
    Ok(())
}
