//! A thousand clusters, two thousand people and ten thousand bindings on one server: how long it takes until
//! every cluster has what it must have, and what it costs when nothing happens. Writes
//! `docs/benchmarks/fleet.md`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use bench::{
    cpu,
    fleet::{Fleet, Size},
    goal::{Goals, Wanted},
    memory,
    report::Table,
};
use clap::Parser;
use e2e::lariat::{Server, ServerOptions};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testbed::Testbed;
use tunnel::dial::{Dialer, Trust};

/// Measures what controllers do for many clusters, and writes the report.
#[derive(Parser)]
struct Args {
    /// Clusters, each with a simulated agent
    #[arg(long, default_value_t = 1000)]
    clusters: usize,
    /// People
    #[arg(long, default_value_t = 2000)]
    people: usize,
    /// Bindings of people to roles, in clusters and projects
    #[arg(long, default_value_t = 10_000)]
    bindings: usize,
    /// How often a role is changed that is given in every cluster
    #[arg(long, default_value_t = 5)]
    changes: usize,
    /// For how long clusters are away, in seconds
    #[arg(long, default_value_t = 60)]
    away: u64,
    /// For how long the server is watched while nothing happens, in seconds
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Where the report goes; without it none is written
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Clusters that are away at the same time.
const AWAY: usize = 25;

/// Longest wait for anything. What takes longer has failed.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    let testbed = Testbed::open("bench-fleet")?;
    let folder = std::env::current_dir()?.join("target/bench-fleet");
    let _ = std::fs::remove_dir_all(&folder);
    let flags = [
        "--max-connections-per-address",
        "20000",
        "--max-connections",
        "20000",
    ];
    let options = ServerOptions {
        flags: flags.map(String::from).to_vec(),
        ..ServerOptions::loopback(folder)
    };
    let server = Server::start(&testbed, options).await?;
    let api = server.api().await?;
    let dialer = Dialer::new(
        server.url().parse()?,
        Trust::pem(&std::fs::read(server.ca_file())?)?,
    );
    let mut report = Report::default();
    measure(&server, &api, &dialer, &args, &mut report).await?;
    if let Some(out) = &args.out {
        report.write(out, &args)?;
    }
    println!("{}", report.goals.outcome());
    Ok(())
}

async fn measure(
    server: &Server<'_>,
    api: &e2e::lariat::Api,
    dialer: &Dialer,
    args: &Args,
    report: &mut Report,
) -> anyhow::Result<()> {
    let size = Size {
        clusters: args.clusters,
        people: args.people,
        bindings: args.bindings,
    };
    let empty = memory::resident(server.pid())?;
    let begun = Instant::now();
    let mut fleet = Fleet::connect(api, dialer, size).await?;
    report.row(
        "clusters and people made, agents connected",
        begun.elapsed(),
    );

    let begun = Instant::now();
    fleet.give_roles(size).await?;
    report.row(
        "bindings made by an administrator, 32 at once",
        begun.elapsed(),
    );
    let took = fleet.all_right(LIMIT).await?;
    report.row(
        "from the last binding until every cluster is right",
        most(&took),
    );

    tokio::time::sleep(Duration::from_secs(20)).await;
    let full = memory::resident(server.pid())?;
    let kib = full.saturating_sub(empty) as f64 / 1024.0 / args.clusters as f64;
    report.text(
        "memory of the server for each cluster with its people and bindings",
        format!("{kib:.0} KiB"),
    );
    let before = cpu::of(server.pid())?;
    tokio::time::sleep(Duration::from_secs(args.rest)).await;
    let busy = (cpu::of(server.pid())? - before).as_secs_f64() / args.rest as f64;
    report.goal(
        "CPU of the server at rest, % of a core",
        busy * 100.0,
        Wanted::AtMost(10.0),
    );

    let mut took = Vec::new();
    for number in 1..=args.changes {
        took.extend(fleet.change_role(number, LIMIT).await?);
    }
    report.row(
        "a changed role in every cluster, median",
        quantile(&took, 0.5),
    );
    let late = quantile(&took, 0.99);
    report.goal(
        "a changed role in every cluster, p99, seconds",
        late.as_secs_f64(),
        Wanted::AtMost(10.0),
    );

    let took = fleet
        .send_away(
            AWAY.min(args.clusters),
            Duration::from_secs(args.away),
            LIMIT,
        )
        .await?;
    report.row(
        &format!("right again after {} s away, median", args.away),
        quantile(&took, 0.5),
    );
    report.goal(
        "the slowest cluster right after it comes back, seconds",
        most(&took).as_secs_f64(),
        Wanted::AtMost(5.0),
    );
    Ok(())
}

fn most(times: &[Duration]) -> Duration {
    times.iter().max().copied().unwrap_or_default()
}

fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let place = (times.len() as f64 * share) as usize;
    times
        .get(place.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

struct Report {
    goals: Goals,
    figures: Table,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            goals: Goals::default(),
            figures: Table::new(&["what", "measured"]),
        }
    }
}

impl Report {
    fn row(&mut self, what: &str, took: Duration) {
        self.text(what, format!("{:.2} s", took.as_secs_f64()));
    }

    fn text(&mut self, what: &str, measured: String) {
        println!("{what}: {measured}");
        self.figures.row([what.to_owned(), measured]);
    }

    fn goal(&mut self, name: &str, measured: f64, wanted: Wanted) {
        println!("{name}: {measured:.2}");
        self.goals.add(name, measured, wanted);
    }

    fn write(&self, out: &Path, args: &Args) -> anyhow::Result<()> {
        let mut text = String::new();
        writeln!(
            text,
            "# Many clusters\n\n\
             Made by `make bench-fleet`: one `lariat-server` as it is shipped, {} simulated agents in one other process, \
             each with a tunnel of its own and the objects of a cluster in memory, {} people and {} bindings; \
             all share the 2 cores and the loopback of one machine. The simulated clusters answer at once: what is \
             measured is the server. Clusters are away for {} s; while they are, one binding of theirs is deleted and one \
             is made, and what projects gave is deleted in the cluster by hand.\n\n## Goals\n\n{}\n## Figures\n\n{}",
            args.clusters,
            args.people,
            args.bindings,
            args.away,
            self.goals.table().markdown(),
            self.figures.markdown()
        )?;
        std::fs::create_dir_all(out)?;
        std::fs::write(out.join("fleet.md"), text)?;
        Ok(())
    }
}
