//! A connected cluster whose network fails: every byte of every stream arrives, once.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use e2e::{
    cases,
    network::{FAULTS, Fault, Options, Settings, World, pod, rules, run},
};
use testbed::Testbed;

/// Plays faults of networks while logs, sessions, copies, watches, forwarded connections and requests
/// go through the tunnel, and counts what arrives. Needs root.
///
/// What CI runs takes about five minutes. In full: --seconds 60 --size 1073741824 --silence 150.
#[derive(Parser)]
#[command(name = "e2e-network")]
struct Arguments {
    #[command(subcommand)]
    child: Option<Child>,
    /// How long each fault lasts at least, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How much is copied into a pod and out of it during each fault, in bytes
    #[arg(long, default_value_t = 8 << 20)]
    size: u64,
    /// Only faults and rules whose names contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Seconds between two cuts, instead of what each fault has
    #[arg(long)]
    every: Option<u64>,
    /// How long nothing gets through in the rule about a long silence, in seconds, at least; sessions wait
    /// for 180
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=150))]
    silence: u64,
    /// Bring about the faults without cutting the link
    #[arg(long)]
    no_cuts: bool,
    /// Let the clients go to the cluster itself, to tell what is not the tunnel's doing
    #[arg(long)]
    without_tunnel: bool,
    /// Name the faults and rules
    #[arg(long)]
    list: bool,
}

/// What this program is elsewhere.
#[derive(Subcommand)]
enum Child {
    /// In a pod.
    #[command(hide = true)]
    Serve,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Child::Serve) = arguments.child {
        return Ok(pod::serve()?);
    }
    let faults: Vec<Fault> = FAULTS
        .into_iter()
        .filter(|fault| fault.name.contains(&arguments.only))
        .collect();
    let mut rules = rules::rules();
    rules.retain(|(name, _)| name.contains(&arguments.only));
    if arguments.list {
        let names = faults.iter().map(|fault| fault.name);
        for name in names.chain(rules.iter().map(|(name, _)| *name)) {
            println!("{name}");
        }
        return Ok(());
    }
    let named = !faults.is_empty() || !rules.is_empty();
    ensure!(named, "nothing has such a name; see --list");
    let testbed = Testbed::open("e2e-network")?;
    let folder = std::env::current_dir()?.join("target/e2e-network");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    println!("starting a cluster behind a gateway, a server and an agent");
    let settings = Settings {
        cuts: !arguments.no_cuts,
        silence: Duration::from_secs(arguments.silence),
        without_tunnel: arguments.without_tunnel,
    };
    let mut world = World::start(&testbed, &folder, settings).await?;
    world.make_original(arguments.size)?;
    let options = Options {
        time: Duration::from_secs(arguments.seconds),
        every: arguments.every.map(Duration::from_secs),
    };
    let faults = run(&mut world, &faults, &options).await;
    world.take_direct_way().await?;
    let rules = match rules.is_empty() {
        true => Ok(()),
        false => cases::run(&rules, &world, "").await,
    };
    println!("data and logs are in {}", folder.display());
    faults.and(rules)
}
