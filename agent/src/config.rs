//! What the agent is told: flags, or the environment variables that the manifest sets.

mod traces;

use clap::{Parser, ValueEnum};
use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};
use traces::TracesArgs;
use tunnel::dial::Proxies;
use url::Url;

/// Connects a Kubernetes cluster to a Lariat server.
///
/// In a cluster the manifest from `lariat cluster import` runs it with everything set. Elsewhere
/// it needs --kubeconfig.
#[derive(Parser)]
#[command(name = "cattle-cluster-agent", version)]
struct Args {
    /// Address of the server, as https://host[:port]
    #[arg(long, env = "CATTLE_SERVER", value_parser = https_address)]
    server: Url,

    /// SHA-256 of the server's CA bundle (/cacerts). Without it the platform's roots are trusted
    #[arg(long, env = "CATTLE_CA_CHECKSUM", value_parser = checksum)]
    ca_checksum: Option<Checksum>,

    /// Registration token. Needed once, until the server knows this agent's key
    #[arg(long, env = "CATTLE_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Namespace of the agent's own Secret and policy
    #[arg(long, env = "CATTLE_NAMESPACE", default_value = "cattle-system")]
    namespace: String,

    /// Kubeconfig of the cluster, for an agent that does not run in it
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,

    /// Where to answer /healthz and /readyz
    #[arg(long, env = "CATTLE_HEALTH_ADDRESS", default_value = "0.0.0.0:8080")]
    health_address: SocketAddr,

    /// How long running requests may go on when the agent is told to stop, in seconds
    #[arg(long, env = "CATTLE_DRAIN_SECONDS", default_value_t = 20)]
    drain_seconds: u64,

    /// HTTP proxy to the server, as http://[user:password@]host:port
    #[arg(long, env = "HTTPS_PROXY", default_value = "", hide_env_values = true)]
    https_proxy: String,

    /// Hosts that are reached without the proxy: names, addresses, networks
    #[arg(long, env = "NO_PROXY", default_value = "")]
    no_proxy: String,

    /// What to log: error, warn, info, debug, trace, or tracing directives
    #[arg(long, env = "CATTLE_LOG", default_value = "info", value_parser = log_filter)]
    log_level: String,

    /// How to log
    #[arg(long, env = "CATTLE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(flatten)]
    traces: TracesArgs,
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A SHA-256 in hexadecimal; empty means none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Checksum(Option<String>);

/// The checked configuration. It holds secrets and has no debug form.
#[derive(Clone)]
pub struct Config {
    /// Where the server is.
    pub server: Url,
    /// The pin of its CA.
    pub ca_checksum: Option<String>,
    /// The registration token.
    pub token: Option<String>,
    /// Namespace of Secret and policy.
    pub namespace: String,
    kubeconfig: Option<PathBuf>,
    /// Where health checks are answered.
    pub health_address: SocketAddr,
    /// Time for running requests at the end.
    pub drain: Duration,
    /// The way to the server.
    pub proxies: Proxies,
    /// Log filter.
    pub log_level: String,
    /// Log form.
    pub log_format: LogFormat,
    /// How requests are traced, if they are.
    pub traces: Option<telemetry::Settings>,
}

impl Config {
    /// Reads flags and environment.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = Args::try_parse_from(args)?;
        let https_proxy = or_lower_case(args.https_proxy, "https_proxy");
        let no_proxy = or_lower_case(args.no_proxy, "no_proxy");
        let proxies = Proxies::parse(&https_proxy, &no_proxy).map_err(invalid)?;
        let traces = args.traces.settings().map_err(invalid)?;
        Ok(Self {
            server: args.server,
            ca_checksum: args.ca_checksum.and_then(|checksum| checksum.0),
            token: args.token.filter(|token| !token.is_empty()),
            namespace: args.namespace,
            kubeconfig: args.kubeconfig,
            health_address: args.health_address,
            drain: Duration::from_secs(args.drain_seconds),
            proxies,
            log_level: args.log_level,
            log_format: args.log_format,
            traces,
        })
    }

    /// How to reach the cluster's API server.
    pub async fn kube_config(&self) -> anyhow::Result<kube::Config> {
        use anyhow::Context as _;
        use kube::config::{KubeConfigOptions, Kubeconfig};
        let Some(path) = &self.kubeconfig else {
            return kube::Config::incluster()
                .context("not in a cluster (no service account is mounted): pass --kubeconfig");
        };
        let kubeconfig = Kubeconfig::read_from(path)
            .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
        let proxied = kubeconfig.clusters.iter().any(|named| {
            let cluster = named.cluster.as_ref();
            cluster.is_some_and(|cluster| cluster.proxy_url.is_some())
        });
        anyhow::ensure!(
            !proxied,
            "kubeconfig {} has a proxy-url: the agent reaches its cluster's API server directly only",
            path.display()
        );
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use kubeconfig {}", path.display()))?;
        // HTTPS_PROXY, which the library takes for the API server, is for the way to the server.
        config.proxy_url = None;
        Ok(config)
    }
}

fn invalid(fault: impl std::fmt::Display) -> clap::Error {
    use clap::CommandFactory as _;
    Args::command().error(clap::error::ErrorKind::InvalidValue, fault)
}

/// Programs read these variables in either spelling, and so people set either.
fn or_lower_case(value: String, variable: &str) -> String {
    match value.is_empty() {
        true => std::env::var(variable).unwrap_or_default(),
        false => value,
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn https_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err("it must be of the form https://host[:port]".into());
    }
    Ok(url)
}

fn checksum(text: &str) -> Result<Checksum, String> {
    match text.trim() {
        "" => Ok(Checksum(None)),
        hex if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(Checksum(Some(hex.to_ascii_lowercase())))
        }
        _ => Err("it must be a SHA-256 in hexadecimal, 64 digits".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        let all = ["agent"].iter().chain(args).map(OsString::from);
        Config::from_args(all)
    }

    #[test]
    fn the_server_must_be_an_https_address() {
        assert!(parse(&["--server", "http://a"]).is_err());
        assert!(parse(&["--server", "nonsense"]).is_err());
        assert_eq!(
            parse(&["--server", "https://a:8443"])
                .unwrap()
                .server
                .port(),
            Some(8443)
        );
    }

    #[test]
    fn an_empty_pin_is_none_and_a_short_one_an_error() {
        let pin = |pin: &str| {
            parse(&["--server", "https://a", "--ca-checksum", pin]).map(|config| config.ca_checksum)
        };
        assert_eq!(pin("").unwrap(), None);
        assert_eq!(pin(&"AB".repeat(32)).unwrap(), Some("ab".repeat(32)));
        assert!(pin("abcd").is_err());
    }

    #[test]
    fn what_is_no_log_filter_is_an_error() {
        let level = |filter: &str| {
            parse(&["--server", "https://a", "--log-level", filter]).map(|config| config.log_level)
        };
        assert_eq!(level("info,tunnel=debug").unwrap(), "info,tunnel=debug");
        assert!(level("tunnel=loud").is_err());
    }

    #[test]
    fn traces_are_off_unless_a_collector_is_named() {
        let traces = |args: &[&str]| {
            let all = [&["--server", "https://a"][..], args].concat();
            parse(&all).map(|config| config.traces)
        };
        // Whatever the rest may be.
        assert!(traces(&["--traces-sampler", "xray"]).unwrap().is_none());
        let collector = ["--otlp-endpoint", "http://b:4318"];
        let settings = traces(&collector).unwrap().unwrap();
        assert_eq!(settings.url().as_str(), "http://b:4318/v1/traces");
        assert!(settings.sampling.parent_based && settings.foreign_per_second.is_none());
        for (flag, wrong) in [
            ("--otlp-headers", "secret"),
            ("--traces-sampler", "xray"),
            ("--traces-sampler-arg", "2"),
            ("--otel-resource-attributes", "x"),
        ] {
            let all = [&collector[..], &[flag, wrong]].concat();
            let error = traces(&all).err().unwrap().to_string();
            assert!(error.contains(flag) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_wrong_proxy_is_named_without_its_password() {
        let error = parse(&["--server", "https://a", "--https-proxy", "ftp://u:secret@p"])
            .err()
            .unwrap();
        assert!(error.to_string().contains("proxy") && !error.to_string().contains("secret"));
    }
}
