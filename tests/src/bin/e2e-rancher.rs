//! What clients of Rancher ask of a server, replayed against this one with a connected cluster.

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::rancher::World;
use testbed::Testbed;

#[derive(Parser)]
struct Arguments {
    /// Only the scripts whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let testbed = Testbed::open("e2e-rancher")?;
    let folder = std::env::current_dir()?.join("target/e2e-rancher");
    let _ = std::fs::remove_dir_all(&folder);
    let mut world = World::start(&testbed, &folder).await?;
    let replayed = world.replay(&arguments.only).await;
    replayed.with_context(|| format!("logs are in {}", world.folder().display()))
}
