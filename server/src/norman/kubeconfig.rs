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
    /// Milliseconds until the token expires; 0: 30 days.
    ttl: u64,
    /// Whether kubectl asks the command line for a token, so that none is in the file. Without it: as the
    /// setting says.
    exec: Option<bool>,
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
        exec_entry(app, &id)
    } else {
        json!({"token": new_token(app, who, &id, input.ttl).await?})
    };
    let entry = server_entry(app, &id, input.server_name);
    let config = kubeconfig(&names(app, &cluster), &entry, &user);
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
    ttl: u64,
) -> Result<String, ApiError> {
    let new = NewToken {
        user: who.user.to_string(),
        description: format!("kubeconfig for cluster {id}"),
        ttl: Some(if ttl == 0 { TTL_MILLISECONDS } else { ttl }),
        cluster: id.to_string(),
        derived: true,
        provider: who.provider.clone(),
        principal: who.principal.clone(),
        kubeconfig: true,
    };
    Ok(tokens::create(app, new).await?.token)
}

/// What makes kubectl ask the command line for a token.
fn exec_entry(app: &App, id: &ClusterId) -> Value {
    let server = app.config.server_url.as_str().trim_end_matches('/');
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "lariat",
        "args": ["token", "--server", server, "--cluster", id.as_str()],
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

fn kubeconfig(names: &Names, server: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": names.entry, "cluster": server}],
        "users": [{"name": names.entry, "user": user}],
        "contexts": [{
            "name": names.context,
            "context": {"cluster": names.entry, "user": names.entry},
        }],
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
            let config = kubeconfig(&names, &json!({"server": "https://x"}), &user);
            let text = yaml(&config).unwrap();
            let read: kube::config::Kubeconfig = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(read.current_context.as_deref(), Some(name), "{text}");
        }
    }
}
