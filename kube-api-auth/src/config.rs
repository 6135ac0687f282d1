//! What it is told: flags, or the environment variables that the manifest sets.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Tells a cluster's API server whose a bearer token of a Lariat server is.
///
/// In a cluster the import manifest runs it with everything set. Elsewhere it needs --kubeconfig.
#[derive(Parser)]
#[command(name = "kube-api-auth", version)]
struct Args {
    /// Where to answer the API server, and probes. Without encryption: keep it on loopback
    #[arg(long, env = "CATTLE_AUTH_LISTEN", default_value = "127.0.0.1:6440")]
    listen: SocketAddr,

    /// Namespace in which the server keeps tokens and users
    #[arg(long, env = "CATTLE_NAMESPACE", default_value = lariat_api::downstream::NAMESPACE)]
    namespace: String,

    /// Kubeconfig of the cluster, for one that does not run in it
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,

    /// How long running requests may go on when it is told to stop, in seconds
    #[arg(long, env = "CATTLE_DRAIN_SECONDS", default_value_t = 10)]
    drain_seconds: u64,

    /// What to log: error, warn, info, debug, trace, or tracing directives
    #[arg(long, env = "CATTLE_LOG", default_value = "info", value_parser = log_filter)]
    log_level: String,

    /// How to log
    #[arg(long, env = "CATTLE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it answers.
    pub listen: SocketAddr,
    /// Where tokens and users are.
    pub namespace: String,
    kubeconfig: Option<PathBuf>,
    /// Time for running requests at the end.
    pub drain: Duration,
    /// Log filter.
    pub log_level: String,
    /// Log form.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads flags and environment.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = Args::try_parse_from(args)?;
        Ok(Self {
            listen: args.listen,
            namespace: args.namespace,
            kubeconfig: args.kubeconfig,
            drain: Duration::from_secs(args.drain_seconds),
            log_level: args.log_level,
            log_format: args.log_format,
        })
    }

    /// How to reach the cluster's API server.
    pub async fn kube_config(&self) -> anyhow::Result<kube::Config> {
        let Some(path) = &self.kubeconfig else {
            return kube::Config::incluster()
                .context("not in a cluster (no service account is mounted): pass --kubeconfig");
        };
        let shown = path.display();
        let kubeconfig = Kubeconfig::read_from(path)
            .with_context(|| format!("cannot read kubeconfig {shown}"))?;
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .with_context(|| format!("cannot use kubeconfig {shown}"))
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_it_answers_on_loopback_alone() {
        let config = Config::from_args(["kube-api-auth".into()]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:6440".parse().unwrap());
        assert_eq!(config.namespace, "cattle-system");
    }

    #[test]
    fn what_is_no_address_or_no_log_filter_is_an_error() {
        for wrong in [["--listen", "6440"], ["--log-level", "kube=loud"]] {
            let args = std::iter::once("kube-api-auth").chain(wrong);
            assert!(
                Config::from_args(args.map(OsString::from)).is_err(),
                "{wrong:?}"
            );
        }
    }
}
