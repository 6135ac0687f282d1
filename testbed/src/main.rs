//! `testbed`: starts real Kubernetes clusters for development, and ends them without a trace.

mod commands;

use anyhow::Result;
use clap::{Parser, Subcommand};
use testbed::tools::KubernetesVersion;

/// Starts real Kubernetes clusters on this machine, and ends them without a trace.
///
/// A cluster is etcd, the Kubernetes control plane and, when run as root, a real node with
/// containerd and a kubelet in a network of its own behind address translation.
#[derive(Parser)]
#[command(
    name = "testbed",
    version,
    after_help = "Examples:
  testbed build                       build the tools, once; takes about six minutes
  testbed up alpha beta --background  start two clusters and leave them running
  testbed kubectl alpha -- get nodes  use one of them
  testbed status                      show what runs
  testbed down                        end everything

The tools are kept in LARIAT_TESTBED_CACHE (default: ~/.cache/lariat/testbed)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the tools into the cache; does nothing when they are there
    Build(Build),
    /// Start clusters and keep them until Ctrl-C (or, with --background, until `down`)
    Up(Up),
    /// End the clusters of all testbeds, or of those for one purpose
    Down {
        /// Only testbeds with this purpose, as `status` shows it
        purpose: Option<String>,
    },
    /// Show the testbeds of this machine and their clusters
    Status,
    /// Remove what testbeds left that were killed
    Clean,
    /// Run kubectl on a cluster
    Kubectl {
        /// The cluster's name, as `status` shows it
        cluster: String,
        /// What kubectl shall do
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Build {
    /// Kubernetes versions: 1.34, 1.35, 1.36
    #[arg(long, default_values_t = [KubernetesVersion::default()])]
    kubernetes: Vec<KubernetesVersion>,
}

#[derive(clap::Args)]
struct Up {
    /// The names of the clusters
    #[arg(default_value = "local")]
    names: Vec<String>,
    /// The Kubernetes version: 1.34, 1.35 or 1.36
    #[arg(long, default_value_t)]
    kubernetes: KubernetesVersion,
    /// Only a control plane on loopback ports; the default without root
    #[arg(long)]
    loopback: bool,
    /// Add this many nodes that KWOK plays
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    kwok_nodes: u32,
    /// Add this many pods that KWOK plays
    #[arg(
        long,
        default_value_t = 0,
        value_name = "COUNT",
        requires = "kwok_nodes"
    )]
    kwok_pods: u32,
    /// Add metrics-server, for `kubectl top`
    #[arg(long, conflicts_with = "loopback")]
    metrics: bool,
    /// Return when the clusters are ready and leave them running
    #[arg(long)]
    background: bool,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Build(build) => commands::build(&build.kubernetes),
        Command::Up(up) if up.background => commands::up::in_background(&up.names.join(" ")),
        Command::Up(up) => commands::up::in_foreground(&up),
        Command::Down { purpose } => commands::down(purpose.as_deref()),
        Command::Status => commands::status(),
        Command::Clean => commands::clean(),
        Command::Kubectl { cluster, arguments } => commands::kubectl(&cluster, &arguments),
    }
}
