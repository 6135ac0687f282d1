//! Other people's clients against the management API.

use anyhow::{Context as _, Result};
use clap::Parser;
use e2e::{
    cases,
    clients::{CASES, World},
};
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
    let folder = std::env::current_dir()?.join("target/e2e-clients");
    let _ = std::fs::remove_dir_all(&folder);
    let world = World {
        testbed: Testbed::open("e2e-clients")?,
        folder,
    };
    cases::run(CASES, &world, &arguments.only)
        .await
        .with_context(|| format!("data and logs are in {}", world.folder.display()))
}
