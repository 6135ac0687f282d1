//! Other people's clients against the management API: helm, the Python library, client-go's
//! informers and leader election, and Kubernetes' own tests of API machinery.

mod go;
mod helm;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};
use testbed::{Testbed, clients};

use crate::{
    cases::Case,
    lariat::{Server, ServerOptions, write_secret},
    table::invoke,
};

/// How long a program may take. Kubernetes' own tests take three minutes on a machine of their own.
const LIMIT: Duration = Duration::from_secs(600);

/// What the cases share.
pub struct World {
    /// Where servers run.
    pub testbed: Testbed,
    /// Where their data is.
    pub folder: PathBuf,
}

/// All cases, in the order in which they run. Each has a server of its own.
pub const CASES: &[(&str, Case<World>)] = &[
    ("helm", |world| Box::pin(helm::helm(world))),
    ("the Python client", |world| Box::pin(python(world))),
    ("informers of client-go over a restart, in JSON", |world| {
        Box::pin(go::informers(world, "json"))
    }),
    (
        "informers of client-go over a restart, in protobuf",
        |world| Box::pin(go::informers(world, "vnd.kubernetes.protobuf")),
    ),
    ("Kubernetes' tests of API machinery", |world| {
        Box::pin(go::machinery(world))
    }),
];

impl World {
    /// A server, and an administrator's kubeconfig for it.
    async fn server(&self, name: &str) -> Result<(Server<'_>, PathBuf)> {
        let folder = self.folder.join(name);
        let server = Server::start(&self.testbed, ServerOptions::loopback(&folder)).await?;
        let kubeconfig = folder.join("kubeconfig");
        write_secret(&kubeconfig, &server.kubeconfig().await?)?;
        Ok((server, kubeconfig))
    }
}

/// Runs a command to its end; what it prints.
fn succeed(command: &mut Command) -> Result<String> {
    let outcome = tokio::task::block_in_place(|| invoke::run(command, b"", LIMIT))?;
    ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    Ok(outcome.stdout_text())
}

async fn python(world: &World) -> Result<String> {
    let (_server, kubeconfig) = world.server("python").await?;
    let mut python = tokio::task::block_in_place(clients::python_with_kubernetes)?;
    python
        .args(["-c", include_str!("../clients/python_management.py")])
        .env("KUBECONFIG", kubeconfig);
    Ok(succeed(&mut python)?.trim().to_owned())
}
