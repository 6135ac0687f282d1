//! Who may do what in a connected cluster: a server, an agent with the rights of the import manifest and no
//! more, and a real control plane.

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::access::{World, cases};
use testbed::Testbed;

#[derive(Parser)]
struct Arguments {
    /// Only the cases whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::current_dir()?.join("target/e2e-access");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let testbed = Testbed::open("e2e-access")?;
    let world = World::start(&testbed, &folder).await?;
    e2e::cases::run(&cases(), &world, &arguments.only)
        .await
        .with_context(|| format!("data and logs are in {}", folder.display()))
}
