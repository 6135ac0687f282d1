//! Compares the management API with a real kube-apiserver, request by request.
#![allow(clippy::print_stdout, reason = "the report is what the program is for")]

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use e2e::{
    apiserver::{cases, differences::Differences, report::Report, run::Both, side::Side},
    lariat::{Server, ServerOptions, binary, write_secret},
    table::{Client, LIMIT, invoke},
};
use testbed::{Testbed, Tier, clients::Kubectl};

/// Sends every request and runs every kubectl invocation of the tables once against the management
/// API and once against kube-apiserver, and compares the answers.
#[derive(Parser)]
struct Arguments {
    /// Only files whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Print the cases that pass too
    #[arg(long)]
    verbose: bool,
    /// Where the tables are
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/apiserver"))]
    tables: PathBuf,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let differences = Differences::read(&arguments.tables.join("differences.yaml"))?;
    let testbed = Testbed::open("e2e-apiserver")?;
    let folder = std::env::current_dir()?.join("target/e2e-apiserver");
    let _ = std::fs::remove_dir_all(&folder);
    let options = ServerOptions::loopback(folder.join("server"));
    let server = Server::start(&testbed, options).await?;
    println!("starting a kube-apiserver …");
    let cluster = testbed.cluster("oracle").tier(Tier::Loopback).start()?;
    let kubeconfig = folder.join("ours.kubeconfig");
    write_secret(&kubeconfig, &server.kubeconfig().await?)?;
    let clients = [
        (cluster.kubectl_path()?, 35),
        (Kubectl::Oldest.path()?, Kubectl::Oldest.minor()),
        (Kubectl::Newest.path()?, Kubectl::Newest.minor()),
    ];
    let clients = clients.map(|(program, minor)| Client { program, minor });
    for kubeconfig in [kubeconfig.as_path(), cluster.kubeconfig()] {
        define(
            &clients[0].program,
            kubeconfig,
            &arguments.tables.join("definitions.yaml"),
        )?;
    }
    let own = folder.join("own.json");
    std::fs::write(&own, own_definitions()?)?;
    for verb in ["apply", "wait"] {
        kubectl(&clients[0].program, cluster.kubeconfig(), verb, &own)?;
    }
    let theirs = cluster.kubeconfig().to_owned();
    let mut both = Both {
        ours: Side::new(kubeconfig, folder.join("ours")).await?,
        theirs: Side::new(theirs, folder.join("theirs")).await?,
    };
    let tables = arguments.tables.to_str().context("a path")?;
    both.ours.know("tables", tables);
    both.theirs.know("tables", tables);
    let mut report = Report::new(differences, arguments.verbose);
    let chosen = |name: &str| {
        arguments
            .only
            .as_deref()
            .is_none_or(|only| name.contains(only))
    };
    let (mut requests, mut invocations) = (0, 0);
    for file in cases::read(&arguments.tables.join("requests"))? {
        if chosen(&file.name) {
            requests += file.cases.len();
            both.requests(&file, &mut report).await?;
        }
    }
    for client in &clients {
        for file in cases::read(&arguments.tables.join("kubectl"))? {
            // The others are there for a sample.
            let sampled = client.minor == clients[0].minor || file.name.starts_with("sample");
            if chosen(&file.name) && sampled {
                invocations += file.cases.len();
                both.invocations(&file, client, &mut report)?;
            }
        }
    }
    println!("{requests} requests, {invocations} kubectl invocations to each server");
    let is_well = report.finish(arguments.only.is_none());
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The kinds of the management API, as another API server takes them.
fn own_definitions() -> Result<Vec<u8>> {
    let mut command = Command::new(binary("lariat-server")?);
    let outcome = invoke::run(command.arg("definitions"), b"", LIMIT)?;
    ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    Ok(outcome.stdout)
}

/// Applies a file, or waits for what it defines.
fn kubectl(kubectl: &Path, kubeconfig: &Path, verb: &str, file: &Path) -> Result<()> {
    let mut command = Command::new(kubectl);
    command
        .args([verb, "-f"])
        .arg(file)
        .env("KUBECONFIG", kubeconfig);
    if verb == "wait" {
        command.args(["--for=condition=Established", "--timeout=30s"]);
    }
    let outcome = invoke::run(&mut command, b"", LIMIT).context("run kubectl")?;
    ensure!(
        outcome.code == Some(0),
        "kubectl {verb} with {}: {}",
        kubeconfig.display(),
        outcome.transcript()
    );
    Ok(())
}

/// Defines the kinds of the suite.
fn define(program: &Path, kubeconfig: &Path, definitions: &Path) -> Result<()> {
    for verb in ["apply", "wait"] {
        kubectl(program, kubeconfig, verb, definitions)?;
    }
    // kube-apiserver serves a kind some moments after it says so.
    let started = Instant::now();
    loop {
        let mut command = Command::new(program);
        command.args(["get", "widgets,gizmos,loose", "--all-namespaces"]);
        command.env("KUBECONFIG", kubeconfig);
        let outcome = invoke::run(&mut command, b"", LIMIT).context("run kubectl")?;
        if outcome.code == Some(0) {
            return Ok(());
        }
        ensure!(started.elapsed() < LIMIT, "{}", outcome.transcript());
    }
}
