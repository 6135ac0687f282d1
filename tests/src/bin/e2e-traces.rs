//! One request is one trace: kubectl, the server, the agent, a real kube-apiserver, and a collector.

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::traces::{World, cases};

/// Sends requests through a server and an agent that trace, and looks at what arrives at a collector.
#[derive(Parser)]
struct Arguments {
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::current_dir()?.join("target/e2e-traces");
    let testbed = testbed::Testbed::open("e2e-traces")?;
    let world = World::start(&testbed, &folder).await;
    let world = world.context("start a server, a cluster and a collector")?;
    e2e::cases::run(&cases(), &world, &arguments.only)
        .await
        .with_context(|| format!("logs are in {}", folder.display()))
}
