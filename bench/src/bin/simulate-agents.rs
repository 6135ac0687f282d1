//! Agents for a server that is to be sized: as many as wanted, in one process, each with a cluster of its own.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::{Context as _, ensure};
use bench::simulator::{Mix, Simulator, clusters};
use clap::Parser;
use e2e::lariat::Api;
use std::{fs, path::PathBuf, time::Duration};
use tokio::time::Instant;
use tunnel::dial::{Dialer, Trust};
use url::Url;

// As agents have it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Connects simulated agents to a server, and keeps them there.
///
/// Each is a cluster of its own: it is created with the token that is given, which must be one of somebody who may
/// create clusters, and deleted at the end. Agents have real keys, TLS connections and sessions; behind them are objects
/// in memory. At the end a table says what they have seen.
#[derive(Parser)]
#[command(after_help = "\
Behaviours, separated by commas:
  answer=5ms..50ms     the API server takes that long for an answer; answer=~20ms: exponentially distributed
  payload=1KiB..64KiB  size of an answer to GET /simulated/payload
  read=64KiB           the API server reads so many bytes a second from each stream
  silent               takes requests and never answers
  rejects              refuses every stream
  forbids              answers health checks, and 403 to everything else
  flap=30s             its connection is cut about so often; the session goes on over the next one
  leave=60s/10s        says goodbye after about 60 s, and comes back 10 s later

With a number of agents in front they are for so many, and else for all that are left:
  --behaviour 5%:flap=30s --behaviour 10:silent --behaviour answer=~20ms

Example:
  simulate-agents --server https://lariat.example.org --ca ca.pem --agents 1000 --for 10m")]
struct Args {
    /// Address of the server
    #[arg(long)]
    server: Url,
    /// Bearer token of somebody who may create clusters
    #[arg(long, env = "LARIAT_TOKEN", hide_env_values = true)]
    token: String,
    /// File with the CA of the server. Without it, what this machine trusts
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How many agents
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// What agents do; see below. May be repeated
    #[arg(long)]
    behaviour: Vec<String>,
    /// Clusters that are created at the same time, and first handshakes
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// For how long, like 30s, 10m or 2h, from when all are connected. Without it, until Ctrl-C
    #[arg(long = "for", value_parser = time)]
    length: Option<Duration>,
    /// Beginning of the clusters' names
    #[arg(long, default_value = "simulated")]
    name: String,
    /// Leaves the clusters behind
    #[arg(long)]
    keep: bool,
    /// Writes what each agent has seen to this file, in CSV
    #[arg(long)]
    each: Option<PathBuf>,
}

/// How often there is a line on how it goes.
const PROGRESS: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another crypto provider is installed"))?;
    ensure!(args.at_once > 0, "--at-once is at least 1");
    let mix = Mix::parse(&args.behaviour)?;
    let ca = match &args.ca {
        Some(file) => {
            let read = fs::read_to_string(file);
            Some(read.with_context(|| format!("cannot read {}", file.display()))?)
        }
        None => None,
    };
    let api = Api::trusting(args.server.as_str(), ca.as_deref(), &args.token)?;
    let trust = match &ca {
        Some(ca) => Trust::pem(ca.as_bytes())?,
        None => Trust::Platform,
    };
    let dialer = Dialer::new(args.server.clone(), trust);
    let progress = |made: usize| {
        if made.is_multiple_of(500) || made == args.agents {
            println!("{made} of {} clusters created", args.agents);
        }
    };
    let name = &args.name;
    let made = clusters::register(&api, name, args.agents, args.at_once, progress);
    let registrations = tokio::select! {
        made = made => made?,
        _ = tokio::signal::ctrl_c() => {
            anyhow::bail!("stopped while clusters were created; those named {name}-… stay")
        }
    };
    let mut simulator = Simulator::new(dialer, args.at_once);
    let simulated = run(&mut simulator, &registrations, &mix, args.length).await;
    println!("\n{}", simulator.summary().table().markdown());
    if let Some(file) = &args.each {
        fs::write(file, csv(&simulator))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    simulator.stop().await;
    if !args.keep {
        println!("deleting {} clusters", registrations.len());
        clusters::delete(&api, &registrations, args.at_once).await?;
    }
    simulated
}

/// Until the time is over, or Ctrl-C.
async fn run(
    simulator: &mut Simulator,
    registrations: &[bench::simulator::Registration],
    mix: &Mix,
    length: Option<Duration>,
) -> anyhow::Result<()> {
    simulator.add_all(registrations, mix).await?;
    let mut ticks = tokio::time::interval(PROGRESS);
    let mut end = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = sleep_until(end) => return Ok(()),
        }
        let now = simulator.summary();
        // An agent that comes and goes counts as well: it has been there.
        if end.is_none() && now.joined == now.agents {
            end = length.map(|length| Instant::now() + length);
        }
        println!(
            "{} of {} connected; {} lost, {} resumed, {} attempts failed",
            now.connected, now.agents, now.losses, now.resumptions, now.failures
        );
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn csv(simulator: &Simulator) -> String {
    let mut text = String::from(
        "cluster,connected,sessions,resumptions,losses,failures,streams,longest_return_ms,last_error\n",
    );
    for agent in simulator.agents() {
        let figures = agent.figures();
        let longest = figures.returns.iter().max().map_or(0, Duration::as_millis);
        let error = figures.last_error.unwrap_or_default().replace('"', "'");
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{longest},\"{error}\"\n",
            agent.id(),
            figures.connected,
            figures.sessions,
            figures.resumptions,
            figures.losses,
            figures.failures,
            figures.streams,
        ));
    }
    text
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write 30s, 10m or 2h");
    let unit = text.char_indices().next_back().ok_or_else(wrong)?;
    let seconds = match unit.1 {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..unit.0].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(seconds) * number)
}
