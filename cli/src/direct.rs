//! The way to a cluster past a server that is away: contexts of its authorized endpoint, which
//! `lariat kubeconfig` has written before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use url::Url;

use crate::kubeconfig_file::{self, Entry, Merged};

/// How long an API server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// A context that leads straight to a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Way {
    /// The file in which it is.
    pub file: PathBuf,
    /// Its name.
    pub context: String,
    /// The address of the API server.
    pub server: String,
}

/// The first way to a cluster of a server on which somebody answers.
pub async fn find(server: &str, cluster: &str) -> anyhow::Result<Way> {
    let file = kubeconfig_file::default_path()?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let shown = file.display();
    let ways = ways(&file, &text, server, cluster)?;
    if ways.is_empty() {
        bail!(
            "{server} does not answer, and {shown} has no context that leads past it to {cluster:?}; \
             for a cluster with an authorized endpoint, this adds them while the server is there: \
             lariat kubeconfig {cluster}"
        );
    }
    let tried = ways.len();
    for way in ways {
        if answers(&way.server).await {
            return Ok(way);
        }
    }
    bail!(
        "{server} does not answer, and neither does the cluster's own API server ({tried} \
         addresses of {shown})"
    )
}

/// The ways to a cluster that a kubeconfig file has.
fn ways(file: &Path, text: &str, server: &str, cluster: &str) -> anyhow::Result<Vec<Way>> {
    let shown = file.display();
    let config = Merged::parse(text).with_context(|| format!("cannot read {shown}"))?;
    let server = Url::parse(server).context("the server's URL does not parse")?;
    let host = server.host_str().unwrap_or_default();
    let by_id = format!("{cluster}.{host}");
    let contexts = config.contexts();
    // The one through the server, by whose name people know the cluster.
    let is_meant = |context: &&Entry<'_>| {
        context.user == context.cluster
            && context
                .user
                .strip_suffix(host)
                .is_some_and(|id| id.ends_with('.'))
            && (context.name == cluster || context.user == by_id)
    };
    let Some(through) = contexts.iter().find(is_meant) else {
        return Ok(Vec::new());
    };
    let past = contexts.iter().filter(|context| {
        let suffix = context.cluster.strip_prefix(through.user);
        context.user == through.user && suffix.is_some_and(|suffix| suffix.starts_with('-'))
    });
    let ways = past.filter_map(|context| {
        Some(Way {
            file: file.to_owned(),
            context: context.name.to_owned(),
            server: config.server_of(context.cluster)?.to_owned(),
        })
    });
    Ok(ways.collect())
}

async fn answers(server: &str) -> bool {
    let Ok(url) = Url::parse(server) else {
        return false;
    };
    let Ok(addresses) = url.socket_addrs(|| None) else {
        return false;
    };
    let connected = tokio::net::TcpStream::connect(addresses.as_slice());
    matches!(tokio::time::timeout(PATIENCE, connected).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
clusters:
- {name: c-1.lariat, cluster: {server: 'https://lariat/k8s/clusters/c-1'}}
- {name: c-1.lariat-fqdn, cluster: {server: 'https://api:6443'}}
- {name: c-1.other-fqdn, cluster: {server: 'https://elsewhere'}}
contexts:
- {name: prod, context: {cluster: c-1.lariat, user: c-1.lariat}}
- {name: prod-fqdn, context: {cluster: c-1.lariat-fqdn, user: c-1.lariat}}
- {name: prod-of-other, context: {cluster: c-1.other-fqdn, user: c-1.other}}
- {name: theirs, context: {cluster: c-1.lariat-fqdn, user: somebody}}
";

    fn found(server: &str, cluster: &str) -> Vec<String> {
        let ways = ways(Path::new("config"), FILE, server, cluster).unwrap();
        ways.into_iter()
            .map(|way| format!("{} {}", way.context, way.server))
            .collect()
    }

    #[test]
    fn the_ways_of_a_cluster_are_found_by_its_name_and_by_its_id() {
        for cluster in ["prod", "c-1"] {
            assert_eq!(
                found("https://lariat", cluster),
                ["prod-fqdn https://api:6443"]
            );
        }
        for (server, cluster) in [
            ("https://lariat", "prod-fqdn"),
            ("https://lariat", "c-2"),
            ("https://lariat", ""),
            ("https://other", "prod"),
            ("https://ariat", "c-1"),
        ] {
            assert_eq!(
                found(server, cluster),
                Vec::<String>::new(),
                "{server} {cluster}"
            );
        }
    }
}
