//! Where the API servers of a cluster are, as the cluster says: those that work now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use lariat_api::downstream::NAMESPACE;
use lariat_api::{ClusterApiServer, ClusterStatus};
use tracing::debug;

use super::Failure;

/// Most API servers that are told of.
const MOST: usize = 64;

/// Most nodes of the control plane that are looked at.
const MOST_NODES: u32 = 200;

/// What nodes of the control plane have, in newer and older distributions.
const CONTROL_PLANE: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/controlplane",
];

/// The ConfigMap that every namespace has, and its key.
const AUTHORITY: (&str, &str) = ("kube-root-ca.crt", "ca.crt");

/// Longest CA, in bytes.
const MAX_AUTHORITY: usize = 64 * 1024;

/// The port where a slice names none.
const DEFAULT_PORT: u16 = 443;

/// Where the API servers of a cluster are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    servers: Vec<ClusterApiServer>,
    /// PEM in base64.
    authority: String,
}

impl Addresses {
    /// Writes it down. Returns whether that is news.
    pub(super) fn put(&self, status: &mut ClusterStatus) -> bool {
        if status.api_servers == self.servers && status.ca_cert == self.authority {
            return false;
        }
        status.api_servers.clone_from(&self.servers);
        status.ca_cert.clone_from(&self.authority);
        true
    }
}

/// Looks them up: the addresses in the EndpointSlice of the Service `kubernetes`, in which the API servers
/// keep themselves, each under the name of the node that has it.
pub(super) async fn look_up(
    client: &kube::Client,
    slice: Option<&EndpointSlice>,
) -> Result<Addresses, Failure> {
    let (name, key) = AUTHORITY;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(name).await;
    let map = map.map_err(|error| Failure::new(format_args!("ConfigMap {name}"), &error))?;
    let authority = map
        .and_then(|map| map.data?.remove(key))
        .unwrap_or_default();
    let addresses = slice.map(addresses).unwrap_or_default();
    let nodes = match addresses.is_empty() {
        true => BTreeMap::new(),
        false => nodes(client).await,
    };
    Ok(Addresses {
        servers: named(addresses, &nodes),
        authority: encoded(&authority),
    })
}

fn encoded(authority: &str) -> String {
    let is_one = authority.contains("-----BEGIN CERTIFICATE-----");
    if is_one && authority.len() <= MAX_AUTHORITY {
        STANDARD.encode(authority)
    } else {
        String::new()
    }
}

/// The addresses of those that take requests.
fn addresses(slice: &EndpointSlice) -> BTreeSet<SocketAddr> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    let addresses = ready.flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
    let addresses = addresses.map(|ip| SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)));
    addresses.take(MOST).collect()
}

/// The names of the nodes of the control plane, by their addresses. None where the cluster does not say:
/// then addresses are names enough.
async fn nodes(client: &kube::Client) -> BTreeMap<IpAddr, String> {
    let all: Api<Node> = Api::all(client.clone());
    let mut by_address = BTreeMap::new();
    for label in CONTROL_PLANE {
        let params = ListParams::default().labels(label).limit(MOST_NODES);
        match all.list(&params).await {
            Ok(nodes) => nodes.iter().for_each(|node| {
                let addresses = node.status.iter().flat_map(|status| &status.addresses);
                for address in addresses.flatten() {
                    if let Ok(ip) = address.address.parse() {
                        by_address.insert(ip, node.name_any());
                    }
                }
            }),
            Err(error) => debug!(%error, "the cluster does not tell its nodes"),
        }
    }
    by_address
}

fn named(
    addresses: BTreeSet<SocketAddr>,
    nodes: &BTreeMap<IpAddr, String>,
) -> Vec<ClusterApiServer> {
    let mut taken = BTreeSet::new();
    let named = addresses.into_iter().map(|address| {
        let node = nodes.get(&address.ip()).filter(|name| is_name(name));
        // Of two on one node the second is told apart by its address.
        let node = node.filter(|name| taken.insert((*name).clone()));
        ClusterApiServer {
            node: node.cloned().unwrap_or_else(|| address.ip().to_string()),
            address: address.to_string(),
        }
    });
    named.collect()
}

/// It becomes part of the names of contexts, and a cluster can tell what it likes.
fn is_name(text: &str) -> bool {
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn api_servers_that_work_are_named_after_their_nodes() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.0.0.2", "10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.4"]},
                {"addresses": ["api.example.org"]},
            ],
        }))
        .unwrap();
        let names = [
            ("10.0.0.1", "cp-1"),
            ("10.0.0.2", "cp-1"),
            ("10.0.0.4", "a\nb"),
        ];
        let nodes = names.map(|(ip, name)| (ip.parse().unwrap(), name.to_owned()));
        let servers = named(addresses(&slice), &nodes.into());
        let servers: Vec<_> = servers
            .into_iter()
            .map(|it| (it.node, it.address))
            .collect();
        let expected = [
            ("cp-1", "10.0.0.1:6443"),
            ("10.0.0.2", "10.0.0.2:6443"),
            ("10.0.0.4", "10.0.0.4:6443"),
        ];
        assert_eq!(
            servers,
            expected.map(|(one, other)| (one.to_owned(), other.to_owned()))
        );
    }

    #[test]
    fn what_is_no_certificate_is_no_authority() {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        assert_eq!(encoded(pem), STANDARD.encode(pem));
        assert_eq!(encoded("hello"), "");
        assert_eq!(encoded(&pem.repeat(10_000)), "");
    }
}
