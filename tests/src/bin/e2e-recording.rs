//! Sessions in containers of a real node, recorded on their way through the server: with kubectl, over
//! WebSocket and over SPDY. Needs root.

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::recording::{World, cases};

/// Runs kubectl exec and attach through a server that must record them, and reads the recordings.
#[derive(Parser)]
struct Arguments {
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::current_dir()?.join("target/e2e-recording");
    let testbed = testbed::Testbed::open("e2e-recording")?;
    let world = World::start(&testbed, &folder).await;
    let world = world.context("start a server and a cluster with a node")?;
    e2e::cases::run(&cases(), &world, &arguments.only)
        .await
        .with_context(|| format!("logs are in {}", folder.display()))
}
