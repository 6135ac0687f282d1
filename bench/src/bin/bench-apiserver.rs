//! The management API measured beside a real kube-apiserver on etcd in the same run. Writes
//! `docs/benchmarks/apiserver.md` and its plots.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use bench::apiserver::{Contest, Report, Scale};
use clap::Parser;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use testbed::Testbed;

/// Measures the management API and a kube-apiserver, and writes the report.
#[derive(Parser)]
struct Args {
    /// In how many rounds each figure is measured; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the report goes
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Measures one part and writes no report, for work on that part
    #[arg(long)]
    only: Option<Part>,
    /// Little of everything, to see that it works; writes no report
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Reads,
    Writes,
    Watch,
    Footprint,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn scale(&self) -> Scale {
        if self.quick {
            return Scale {
                rounds: 1,
                time: Duration::from_millis(300),
                listed: 1000,
                watchers: 50,
                many: 2000,
            };
        }
        Scale {
            rounds: self.rounds,
            time: Duration::from_millis(800),
            listed: 10_000,
            watchers: 1000,
            many: 100_000,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    let begun = Instant::now();
    let testbed = Testbed::open("bench-apiserver")?;
    let folder = std::env::current_dir()?.join("target/bench-apiserver");
    let _ = std::fs::remove_dir_all(&folder);
    let mut report = Report::default();
    if [Part::Reads, Part::Writes, Part::Watch]
        .iter()
        .any(|part| args.wants(*part))
    {
        println!("starting the servers");
        let mut contest = Contest::start(&testbed, &folder.join("busy"), args.scale()).await?;
        contest.prepare().await?;
        if args.wants(Part::Reads) {
            contest.reads(&mut report).await?;
        }
        if args.wants(Part::Writes) {
            contest.writes(&mut report).await?;
        }
        if args.wants(Part::Watch) {
            contest.fan_out(&mut report).await?;
        }
    }
    if args.wants(Part::Footprint) {
        println!("starting the servers again");
        let mut contest = Contest::start(&testbed, &folder.join("full"), args.scale()).await?;
        contest.footprint(&mut report).await?;
    }
    println!("measured for {:.0?}", begun.elapsed());
    if args.only.is_none() && !args.quick {
        report.write(&args.out)?;
    }
    println!("{}", report.goals.outcome());
    Ok(())
}
