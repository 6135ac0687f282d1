//! Ten thousand agents on one server. Writes `docs/benchmarks/scale.md`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::ensure;
use bench::scale::{self, Report, Size};
use clap::Parser;
use std::{env, fs, path::PathBuf, time::Duration};
use testbed::Testbed;
use tokio::runtime::Builder;

// As agents have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures one server with many simulated agents: memory and CPU at rest, requests, and the return of all after it
/// was killed.
///
/// Needs two cores that are idle otherwise, and as many open files as there are agents. A full run takes about 10
/// minutes.
#[derive(Parser)]
struct Args {
    /// Agents, each with a cluster of its own
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// For how long the server is watched at rest, in seconds
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// How often the server is killed
    #[arg(long, default_value_t = 3)]
    kills: usize,
    /// Requests at the same time
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// How often so many are sent at rest
    #[arg(long, default_value_t = 5)]
    bursts: usize,
    /// Where the report goes; without it none is written
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ensure!(
        args.agents > 0 && args.rest > 0 && args.kills > 0 && args.requests > 0 && args.bursts > 0,
        "all numbers are at least 1"
    );
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    let size = Size {
        agents: args.agents,
        rest: Duration::from_secs(args.rest),
        kills: args.kills,
        requests: args.requests,
        bursts: args.bursts,
    };
    let folder = env::current_dir()?.join("target/bench-scale");
    let _ = fs::remove_dir_all(&folder);
    let testbed = Testbed::open("bench-scale")?;
    let mut report = Report::default();
    // One thread, as all that is not the server shares one core.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scale::measure(&testbed, &folder, size, &mut report))?;
    if let Some(out) = &args.out {
        report.write(out, size)?;
    }
    println!("{}", report.outcome());
    Ok(())
}
