//! Clients written in Go.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    clients::Kubectl,
    tools::{self, Tool},
};
use tokio::{runtime::Handle, task::block_in_place};

use super::{World, succeed};

/// What of Kubernetes' tests is about an API server alone.
const FOCUS: &[&str] = &[
    "Watchers",
    "WatchList",
    "CustomResource",
    "CRDValidationRatcheting",
    "FieldValidation",
    "ServerSideApply",
    "Table transformation",
    "Discovery Custom resource",
    "client-go should negotiate",
    "Server version",
];

/// What of that is left out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "[Ww]ebhook|CustomResourceFieldSelectors",
        "runs a webhook in a pod",
    ),
    ("pod details|chunks of table", "wants pods"),
    ("should return a 406 for a backend|nodes", "wants nodes"),
    (
        "ServerSideApply should (create|not remove|remove|give|ignore|work for sub)",
        "wants deployments",
    ),
    ("typed object", "wants deployments"),
    ("same resource name as built-in", "wants services"),
    (
        "List method when WatchListClient",
        "items of our lists say their kinds",
    ),
    (
        "FieldValidation.*(CR|CRD)",
        "other words for what is unknown or named twice in apply",
    ),
    (
        "property that do not exist|exceeds the (estimated )?cost limit",
        "rules are not checked for types and costs",
    ),
];

fn program(name: &str) -> Result<Command> {
    let programs = block_in_place(|| tools::ensure(&[Tool::GoClients]))?;
    Ok(Command::new(programs.path(name)?))
}

/// Informers hold what a list says, before and after the server was killed and started again.
pub(super) async fn informers(world: &World, content: &str) -> Result<String> {
    let (mut server, kubeconfig) = world.server(&format!("informers-{content}")).await?;
    let mut child = program("informer")?
        .arg(format!("-kubeconfig={}", kubeconfig.display()))
        .arg(format!("-content-type=application/{content}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the informers")?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let stdout = BufReader::new(child.stdout.take().context("standard output")?);
    let mut said = Vec::new();
    block_in_place(|| -> Result<()> {
        for line in stdout.lines() {
            let line = line?;
            if line == "restart the server" {
                server.kill();
                Handle::current().block_on(server.restart())?;
                writeln!(stdin, "restarted")?;
            } else {
                said.push(line);
            }
        }
        Ok(())
    })?;
    let output = child.wait_with_output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{complaints}", said.join("\n"));
    Ok(said.join("; "))
}

/// Those of Kubernetes' own end-to-end tests of API machinery that an API server can pass alone.
pub(super) async fn machinery(world: &World) -> Result<String> {
    let (_server, kubeconfig) = world.server("machinery").await?;
    let focus = format!(r"\[sig-api-machinery\].*({})", FOCUS.join("|"));
    let kubectl = block_in_place(|| Kubectl::Newest.path())?;
    let said = succeed(
        program("machinery")?
            .arg(format!("-kubeconfig={}", kubeconfig.display()))
            .arg(format!("-kubectl-path={}", kubectl.display()))
            .arg(format!("-ginkgo.focus={focus}"))
            .args(
                LEFT_OUT
                    .iter()
                    .map(|(what, _)| format!("-ginkgo.skip={what}")),
            )
            .args(["-ginkgo.no-color", "-e2e-verify-service-account=false"])
            .args(["-provider=skeleton", "-ginkgo.seed=1"]),
    )?;
    let summary = said.lines().find(|line| line.contains(" Passed | "));
    Ok(summary.context("no summary")?.to_owned())
}
