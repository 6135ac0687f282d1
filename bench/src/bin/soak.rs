//! Mixed load and faults for a long time. Writes `docs/benchmarks/soak.md`.

use anyhow::ensure;
use bench::soak::{self, Plan};
use clap::Parser;
use std::{env, fs, path::PathBuf, time::Duration};

/// Lets a server and simulated agents work for a long time, cuts, kills and restarts them, and fails when anything has
/// grown, or a byte was wrong.
///
/// It takes a tenth longer than it says, and seven minutes.
#[derive(Parser)]
struct Args {
    /// For how long there are load and faults, in minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Agents, each with a cluster of its own
    #[arg(long, default_value_t = 200)]
    agents: usize,
    /// How often the server is drained and started again
    #[arg(long, default_value_t = 3)]
    restarts: usize,
    /// Time between two samples, in seconds
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Faults come in the order that follows from it; the run says which it was
    #[arg(long)]
    seed: Option<u64>,
    /// Where the report goes; without it none is written
    #[arg(long)]
    out: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.minutes > 0 && args.agents > 0 && args.every > 0,
        "all numbers are at least 1"
    );
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    let folder = env::current_dir()?.join("target/soak");
    let _ = fs::remove_dir_all(&folder);
    let plan = Plan {
        length: Duration::from_secs(60 * args.minutes),
        agents: args.agents,
        seed: args.seed.unwrap_or_else(rand::random),
        restarts: args.restarts,
        every: Duration::from_secs(args.every),
        folder,
        out: args.out,
    };
    soak::run(&plan).await
}
