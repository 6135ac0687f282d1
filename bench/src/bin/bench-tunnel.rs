//! The tunnel measured beside bare TLS, rathole, bore and Rancher's remotedialer, at 0 and 50 ms. Writes
//! `docs/benchmarks/tunnel.md` and `tunnel.json`.

use bench::tunnel::{self, Pace, Part, end::Role};
use clap::Parser;
use std::{env, path::PathBuf};
use tokio::runtime::Builder;

// As server and agent have it; the peers have what they were built with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the tunnel beside bare TLS, a proxy, and the tunnels of others, and writes the report.
///
/// Needs two cores that are idle otherwise, util-linux and openssl. The peers are built once, with cargo and Go, into
/// the cache of the testbed. A full run takes about 25 minutes, and a quick one about 4.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Short and few rounds: shows that everything works; the report goes to target/bench-tunnel
    #[arg(long)]
    quick: bool,
    /// Measures one part and writes no report, for work on that part
    #[arg(long)]
    only: Option<Part>,
    /// Where the report goes [default: docs/benchmarks]
    #[arg(long)]
    out: Option<PathBuf>,
    /// What this program starts itself as
    #[command(subcommand)]
    role: Option<Role>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    if let Some(role) = args.role {
        return role.run();
    }
    let folder = env::current_dir()?.join("target/bench-tunnel");
    let (pace, out) = if args.quick {
        (Pace::quick(), folder.clone())
    } else {
        (Pace::full(), PathBuf::from("docs/benchmarks"))
    };
    let out = args.out.unwrap_or(out);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tunnel::run(pace, args.only, &folder, &out))
}
