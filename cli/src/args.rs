//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Manage Kubernetes clusters through a Lariat server.
#[derive(Debug, Parser)]
#[command(name = "lariat", version, propagate_version = true)]
#[command(after_help = "Examples:
  lariat login https://lariat.example.org
  lariat cluster create production
  lariat cluster import production      # prints the line to run against the cluster
  lariat kubeconfig production          # adds it to your kubeconfig
  lariat kubectl production -- get pods --all-namespaces")]
pub struct Args {
    /// How to print.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// URL of the server, if you are logged in to several. Default: the one last logged in to.
    #[arg(long, global = true, value_name = "URL", env = "LARIAT_URL")]
    pub server: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in to a server and remember it.
    #[command(after_help = "Examples:
  lariat login https://lariat.example.org
  lariat login https://lariat.example.org --browser
  lariat login https://lariat.example.org --username ann --password-stdin < password
  lariat login https://10.0.0.1:8443 --ca-checksum 70b767e58c80…")]
    Login(Login),
    /// End the login and forget its token.
    Logout,
    /// Change your password.
    Passwd(Passwd),
    /// Create, show, connect and delete clusters.
    #[command(subcommand, visible_alias = "clusters")]
    Cluster(Cluster),
    /// Add clusters to a kubeconfig file.
    #[command(after_help = "Examples:
  lariat kubeconfig production            # into $KUBECONFIG or ~/.kube/config
  lariat kubeconfig                       # all clusters
  lariat kubeconfig production --exec     # no token in the file
  lariat kubeconfig production --read-only
  lariat kubeconfig production --print > production.yaml")]
    Kubeconfig(Kubeconfig),
    /// Run kubectl against a cluster, without touching any kubeconfig file.
    #[command(after_help = "Example:
  lariat kubectl production -- logs -f deployment/web")]
    Kubectl {
        /// Id or name of the cluster.
        cluster: String,
        /// What to pass to kubectl.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// List, fetch and play what was recorded of sessions in containers.
    #[command(subcommand, visible_alias = "recording")]
    Recordings(Recordings),
    /// Explain the connection of a cluster, and where requests to it are.
    #[command(subcommand)]
    Tunnel(Tunnel),
    /// Give kubectl a token for a cluster: kubeconfig files made with --exec run this.
    Token(TokenArgs),
    /// Who you are, which server, which clusters, and how far away they are.
    Status,
    /// Print a script that completes commands in your shell.
    #[command(after_help = "Example:
  lariat completion bash > /etc/bash_completion.d/lariat")]
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
pub struct Login {
    /// URL of the server.
    pub url: String,
    /// Log in in a browser, on this machine or another: by any way that the server offers.
    #[arg(long, short, conflicts_with_all = ["username", "password_stdin"])]
    pub browser: bool,
    /// Who you are.
    #[arg(long, short, default_value = "admin")]
    pub username: String,
    /// Read the password from standard input instead of asking for it.
    #[arg(long)]
    pub password_stdin: bool,
    /// SHA-256 of the server's CA (of what it serves at /cacerts), to trust it without being asked.
    #[arg(long, value_name = "SHA256", conflicts_with = "ca_file")]
    pub ca_checksum: Option<String>,
    /// A file with the server's CA (PEM).
    #[arg(long, value_name = "FILE", env = "LARIAT_CA")]
    pub ca_file: Option<PathBuf>,
}

/// Arguments of `passwd`.
#[derive(Debug, clap::Args)]
pub struct Passwd {
    /// Read the old and the new password from two lines of standard input instead of asking.
    #[arg(long)]
    pub stdin: bool,
}

/// Subcommands of `cluster`.
#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Create a cluster, to be connected with `import`.
    #[command(after_help = "Example:
  lariat cluster create production --description 'Frankfurt, three zones'")]
    Create {
        /// Its name.
        name: String,
        /// Its id. Default: made up (`c-xxxxx`).
        #[arg(long)]
        id: Option<String>,
        /// Free text.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List clusters.
    #[command(visible_alias = "ls")]
    List,
    /// Show one cluster.
    Get {
        /// Id or name.
        cluster: String,
    },
    /// Delete a cluster from the server. The cluster itself goes on running.
    #[command(visible_alias = "rm")]
    Delete {
        /// Id or name.
        cluster: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Print the line that connects a cluster: run it with kubectl pointed at that cluster.
    Import {
        /// Id or name.
        cluster: String,
        /// Minutes until the line stops working. Default: a day.
        #[arg(long, value_name = "MINUTES")]
        ttl: Option<u32>,
        /// How many agents may register with it.
        #[arg(long, value_name = "NUMBER")]
        max_uses: Option<u32>,
    },
    /// Let another agent take over a cluster whose agent lost its key.
    Rebind {
        /// Id or name.
        cluster: String,
    },
}

/// Subcommands of `recordings`.
#[derive(Debug, Subcommand)]
pub enum Recordings {
    /// List the recordings that you may see.
    #[command(visible_alias = "ls")]
    List {
        /// Id or name of a cluster. Default: all clusters.
        cluster: Option<String>,
    },
    /// Fetch a recording, in the format of asciinema (asciicast v2).
    #[command(after_help = "Example:
  lariat recordings get 20260131-081500-1a2b3c4d --file session.cast
  asciinema play session.cast")]
    Get {
        /// Its name.
        name: String,
        /// The file to write. Default: standard output.
        #[arg(long, short, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Play a recording in this terminal. Best in a window as large as the one that was recorded.
    Play {
        /// Its name.
        name: String,
        /// How many times as fast as it was.
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Longest pause, in seconds.
        #[arg(long, value_name = "SECONDS", default_value_t = 3)]
        idle: u64,
    },
}

/// Subcommands of `tunnel`.
#[derive(Debug, Subcommand)]
pub enum Tunnel {
    /// Show the way to a cluster: its sessions and connections, times, windows, queues, losses, and what to do about them.
    #[command(after_help = "Examples:
  lariat tunnel explain production
  lariat tunnel explain production --watch
  lariat tunnel explain production --requests
  lariat tunnel explain production --request 3f0c…      # the Audit-Id of an answer")]
    Explain {
        /// Id or name of the cluster.
        cluster: String,
        /// Show one request: its id is the `Audit-Id` of the answer.
        #[arg(long, value_name = "ID", conflicts_with = "requests")]
        request: Option<String>,
        /// List the last requests that went to the cluster: yours, or everybody's if you own it.
        #[arg(long)]
        requests: bool,
        /// Show it again every 2 seconds, until interrupted.
        #[arg(long, short)]
        watch: bool,
    },
}

/// Arguments of `kubeconfig`.
#[derive(Debug, clap::Args)]
pub struct Kubeconfig {
    /// Id or name of the cluster. Default: all clusters.
    pub cluster: Option<String>,
    /// Print a file instead of adding to one.
    #[arg(long, short)]
    pub print: bool,
    /// The file to add to. Default: the first of $KUBECONFIG, or ~/.kube/config.
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub file: Option<PathBuf>,
    /// Choose the cluster by TLS server name instead of by path, for programs that drop the path
    /// of a server's address.
    #[arg(long)]
    pub server_name: bool,
    /// Days until the token in the file expires.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=365))]
    pub days: u64,
    /// Put no token into the file: kubectl asks `lariat token` for one that is good for an hour.
    #[arg(long, conflicts_with = "days")]
    pub exec: bool,
    /// Let the token read and nothing else: no changes, no exec, attach, port-forward and proxy.
    #[arg(long)]
    pub read_only: bool,
}

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Id of the cluster.
    #[arg(long, value_name = "ID")]
    pub cluster: String,
    /// Give one that is good for reading only.
    #[arg(long)]
    pub read_only: bool,
}
