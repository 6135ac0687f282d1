//! kubeconfig files.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::{Cluster, ClusterId, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer;
use crate::authn::Identity;
use crate::authz::{self, Action, Denied};
use crate::edge::Body;
use crate::management::GENERATE_TOKEN;
use crate::state::App;
use crate::tokens::{self, NewToken};

/// How long the token in a kubeconfig file is good: 30 days, in milliseconds.
const TTL_MILLISECONDS: u64 = 30 * 24 * 3600 * 1000;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Input {
    /// Choose the cluster by TLS server name instead of by path, for clients that drop the path of
    /// a server's address.
    server_name: bool,
    /// Milliseconds until the token expires, at most what the setting for tokens says; 0: 30 days.
    ttl: u64,
    /// Whether kubectl asks the command line for a token, so that none is in the file. Without it: as the
    /// setting says.
    exec: Option<bool>,
    /// Whether the token is good for reading only. No cluster knows of such tokens, so then there is no way past
    /// this server in the file.
    read_only: bool,
}

/// `POST /v3/clusters/ID?action=generateKubeconfig`
pub(super) async fn generate(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: &Identity,
    id: &str,
) -> Result<Response<Body>, ApiError> {
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let input: Input = answer::parse(&body)?;
    let id: ClusterId = id.parse().map_err(|_| not_visible(who, id))?;
    let cluster = app
        .directory
        .cluster(&id)
        .ok_or_else(|| not_visible(who, id.as_str()))?;
    let asking = Action::parse(&Method::GET, "/");
    authz::in_cluster(app, who, &cluster, &asking)?;
    authz::own_tokens(who)?;
    let exec = match input.exec {
        Some(exec) => exec,
        None => app.directory.setting(GENERATE_TOKEN).as_ref() == "false",
    };
    let user = if exec {
        exec_entry(app, &id, input.read_only)
    } else {
        json!({"token": new_token(app, who, &id, &input).await?})
    };
    let entry = server_entry(app, &id, input.server_name);
    let direct = match input.read_only {
        true => Vec::new(),
        false => direct(&cluster),
    };
    let config = kubeconfig(&names(app, &cluster), &entry, &direct, &user);
    let config = yaml(&config).map_err(ApiError::internal)?;
    let output = json!({
        "type": "generateKubeconfigOutput",
        "baseType": "generateKubeconfigOutput",
        "config": config,
    });
    Ok(crate::edge::json(StatusCode::OK, &output))
}

/// A token for the cluster alone.
async fn new_token(
    app: &App,
    who: &Identity,
    id: &ClusterId,
    input: &Input,
) -> Result<String, ApiError> {
    let new = NewToken {
        user: who.user.to_string(),
        description: format!("kubeconfig for cluster {id}"),
        ttl: Some(match input.ttl {
            0 => TTL_MILLISECONDS,
            milliseconds => milliseconds,
        }),
        cluster: id.to_string(),
        read_only: input.read_only,
        derived: true,
        provider: who.provider.clone(),
        principal: who.principal.clone(),
        kubeconfig: true,
    };
    Ok(tokens::create(app, new).await?.token)
}

/// What makes kubectl ask the command line for a token.
fn exec_entry(app: &App, id: &ClusterId, read_only: bool) -> Value {
    let server = app.config.server_url.as_str().trim_end_matches('/');
    let mut args = vec!["token", "--server", server, "--cluster", id.as_str()];
    if read_only {
        args.push("--read-only");
    }
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "lariat",
        "args": args,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": false,
        "installHint": format!(
            "lariat gives kubectl a token; install it, then run: lariat login --browser {server}"
        ),
    }})
}

/// Names of the entries of a kubeconfig file.
struct Names {
    /// Of the context, for people: the display name, with the id where two clusters share one.
    context: String,
    /// Of cluster and user entry: unique among clusters and among servers.
    entry: String,
}

fn names(app: &App, cluster: &Cluster) -> Names {
    let shown = cluster.display_name();
    let shared = app
        .directory
        .clusters()
        .iter()
        .any(|other| other.name() != cluster.name() && other.display_name() == shown);
    let host = app.config.server_url.host_str().unwrap_or_default();
    Names {
        context: if shared {
            format!("{shown}-{}", cluster.name())
        } else {
            shown.to_owned()
        },
        entry: format!("{}.{host}", cluster.name()),
    }
}

fn server_entry(app: &App, id: &ClusterId, server_name: bool) -> Value {
    let server = app.config.server_url.as_str().trim_end_matches('/');
    let trusted = app.certificates.trusted();
    let mut entry = json!({});
    let authority = if server_name {
        entry["server"] = json!(server);
        entry["tls-server-name"] = json!(id.server_name());
        app.certificates.private_authority()
    } else {
        entry["server"] = json!(format!("{server}/k8s/clusters/{id}"));
        trusted.as_str()
    };
    if !authority.is_empty() {
        entry["certificate-authority-data"] = json!(STANDARD.encode(authority));
    }
    entry
}

/// A way to a cluster past this server.
#[derive(Debug, PartialEq)]
struct Direct {
    /// What its names end in.
    suffix: String,
    entry: Value,
}

/// The ways to a cluster with an authorized endpoint: by its name, or to each of its API servers.
fn direct(cluster: &Cluster) -> Vec<Direct> {
    let Some(endpoint) = cluster.endpoint() else {
        return Vec::new();
    };
    let status = cluster.status.clone().unwrap_or_default();
    let way = |suffix: &str, address: &str, authority: &str| {
        let mut entry = json!({"server": format!("https://{address}")});
        if !authority.is_empty() {
            entry["certificate-authority-data"] = json!(authority);
        }
        Direct {
            suffix: suffix.to_owned(),
            entry,
        }
    };
    if endpoint.fqdn.is_empty() {
        let servers = status.api_servers.iter();
        let ways = servers.map(|server| way(&server.node, &server.address, &status.ca_cert));
        return ways.collect();
    }
    let authority = match endpoint.ca_certs.as_str() {
        "" => status.ca_cert,
        given => STANDARD.encode(given),
    };
    vec![way("fqdn", &endpoint.fqdn, &authority)]
}

/// The file. The current context is the one through this server.
fn kubeconfig(names: &Names, server: &Value, direct: &[Direct], user: &Value) -> Value {
    let mut clusters = vec![json!({"name": names.entry, "cluster": server})];
    let mut contexts = vec![json!({
        "name": names.context,
        "context": {"cluster": names.entry, "user": names.entry},
    })];
    for Direct { suffix, entry } in direct {
        let name = format!("{}-{suffix}", names.entry);
        clusters.push(json!({"name": name, "cluster": entry}));
        contexts.push(json!({
            "name": format!("{}-{suffix}", names.context),
            "context": {"cluster": name, "user": names.entry},
        }));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": names.entry, "user": user}],
        "contexts": contexts,
        "current-context": names.context,
    })
}

/// Every string is quoted: what is plain text in one version of YAML is a boolean or a number in
/// another, and kubectl reads the older one.
fn yaml(config: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let options = serde_saphyr::ser_options! { quote_all: true };
    serde_saphyr::to_string_with_options(config, options)
}

fn not_visible(who: &Identity, id: &str) -> ApiError {
    if who.administrator {
        authz::no_such_cluster(id)
    } else {
        let user = &who.username;
        Denied(format!("user {user:?} may not reach cluster {id:?}")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_special_characters_survive_yaml() {
        for name in [
            "a: b",
            "- x",
            "'\"",
            "null",
            "on",
            "1e3",
            "1:30",
            "ünï\u{1F600}",
            "#",
            "{{x}}",
            "<&>",
        ] {
            let names = Names {
                context: name.to_owned(),
                entry: "e".to_owned(),
            };
            let user = json!({"token": "token-1:s"});
            let server = json!({"server": "https://x"});
            let config = kubeconfig(&names, &server, &[], &user);
            let text = yaml(&config).unwrap();
            let read: kube::config::Kubeconfig = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(read.current_context.as_deref(), Some(name), "{text}");
        }
    }

    fn with_endpoint(endpoint: Value) -> Cluster {
        let mut cluster = Cluster::new("prod");
        cluster.spec.local_cluster_auth_endpoint = serde_json::from_value(endpoint).unwrap();
        cluster.status = serde_json::from_value(json!({
            "apiServers": [
                {"node": "cp-1", "address": "10.0.0.1:6443"},
                {"node": "cp-2", "address": "[fd00::2]:6443"},
            ],
            "caCert": "T1dO",
        }))
        .unwrap();
        cluster
    }

    fn servers(cluster: &Cluster) -> Vec<(String, String, String)> {
        let ways = direct(cluster).into_iter();
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let ways = ways.map(|way| {
            let authority = text(&way.entry, "certificate-authority-data");
            (way.suffix, text(&way.entry, "server"), authority)
        });
        ways.collect()
    }

    fn way(suffix: &str, server: &str, authority: &str) -> (String, String, String) {
        (suffix.to_owned(), server.to_owned(), authority.to_owned())
    }

    #[test]
    fn a_cluster_with_an_authorized_endpoint_is_reached_past_the_server_as_well() {
        let nodes = with_endpoint(json!({"enabled": true}));
        let expected = [
            way("cp-1", "https://10.0.0.1:6443", "T1dO"),
            way("cp-2", "https://[fd00::2]:6443", "T1dO"),
        ];
        assert_eq!(servers(&nodes), expected);
        let named = with_endpoint(json!({"enabled": true, "fqdn": "api.example.org:6443"}));
        let expected = [way("fqdn", "https://api.example.org:6443", "T1dO")];
        assert_eq!(servers(&named), expected);
        let own = json!({"enabled": true, "fqdn": "api.example.org", "caCerts": "PEM"});
        let expected = [way("fqdn", "https://api.example.org", "UEVN")];
        assert_eq!(servers(&with_endpoint(own)), expected);
        let off = with_endpoint(json!({"enabled": false, "fqdn": "api.example.org"}));
        assert_eq!(servers(&off), []);
    }

    #[test]
    fn the_way_through_the_server_stays_the_current_one() {
        let names = Names {
            context: "prod".to_owned(),
            entry: "c-1.lariat".to_owned(),
        };
        let cluster = with_endpoint(json!({"enabled": true}));
        let server = json!({"server": "https://lariat/k8s/clusters/c-1"});
        let user = json!({"token": "token-1:s"});
        let config = kubeconfig(&names, &server, &direct(&cluster), &user);
        assert_eq!(config["current-context"], "prod");
        let second = json!({"name": "prod-cp-1",
            "context": {"cluster": "c-1.lariat-cp-1", "user": "c-1.lariat"}});
        assert_eq!(config["contexts"][1], second);
        assert_eq!(config["clusters"][1]["name"], "c-1.lariat-cp-1");
        assert_eq!(config["users"].as_array().unwrap().len(), 1);
    }
}
