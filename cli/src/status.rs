//! `lariat status`

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use http::Method;
use lariat_api::{Cluster, Kind, Token, User};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Output;
use crate::output;
use crate::server::Server;

/// How many clusters are asked at once.
const AT_ONCE: usize = 8;
/// How long a cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    server: String,
    version: String,
    user: String,
    administrator: bool,
    token_expires_at: Option<String>,
    clusters: Vec<ClusterStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    name: String,
    id: String,
    state: String,
    kubernetes: String,
    /// One request to the cluster's API server and back, in milliseconds.
    round_trip_milliseconds: Option<u128>,
    problem: Option<String>,
}

/// Says who you are, which server, which clusters, and how far away they are.
pub async fn run(server: &Server, output: Output) -> anyhow::Result<()> {
    let explain = |error| server.explain(error);
    let token = server
        .all::<Token>()
        .get(server.token_name())
        .await
        .map_err(explain)?;
    let user = server
        .all::<User>()
        .get(&token.user_id)
        .await
        .map_err(explain)?;
    let administrator = may_do_everything(server).await?;
    let version = server.send(Method::GET, "/version", &Value::Null).await?;
    let clusters = server.clusters().await?;
    let clusters = stream::iter(clusters)
        .map(|cluster| look(server, cluster))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let status = Status {
        server: server.url().to_owned(),
        version: version["gitVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        user: user.username,
        administrator,
        token_expires_at: token.expires_at.map(|end| end.0.to_string()),
        clusters,
    };
    if output == Output::Table {
        let role = if status.administrator {
            ", an administrator"
        } else {
            ""
        };
        println!("Server  {} ({})", status.server, status.version);
        println!("User    {}{role}", status.user);
        println!(
            "Token   good until {}\n",
            status.token_expires_at.as_deref().unwrap_or("revoked")
        );
    }
    let columns = ["NAME", "ID", "STATE", "KUBERNETES", "ROUND TRIP", "PROBLEM"];
    output::print(output, &status, &columns, status.clusters.iter().map(row))
}

async fn may_do_everything(server: &Server) -> anyhow::Result<bool> {
    let everything = json!({"verb": "*", "group": "*", "resource": "*"});
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": everything},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let reviewed = server.send(Method::POST, path, &review).await?;
    Ok(reviewed["status"]["allowed"] == true)
}

async fn look(server: &Server, cluster: Cluster) -> ClusterStatus {
    let info = cluster
        .status
        .as_ref()
        .and_then(|status| status.info.as_ref());
    let mut status = ClusterStatus {
        name: cluster.display_name().to_owned(),
        id: cluster.name().to_owned(),
        state: cluster.state().to_owned(),
        kubernetes: info
            .map(|info| info.kubernetes_version.clone())
            .unwrap_or_default(),
        round_trip_milliseconds: None,
        problem: None,
    };
    if cluster.agent().is_none() {
        return status;
    }
    let path = format!("/k8s/clusters/{}/version", cluster.name());
    // The first request pays for connections, on both sides of the tunnel.
    for _ in 0..2 {
        let started = Instant::now();
        match tokio::time::timeout(PATIENCE, server.send(Method::GET, &path, &Value::Null)).await {
            Ok(Ok(_)) => status.round_trip_milliseconds = Some(started.elapsed().as_millis()),
            Ok(Err(error)) => status.problem = Some(error.to_string()),
            Err(_) => status.problem = Some(format!("no answer in {} s", PATIENCE.as_secs())),
        }
        if status.problem.is_some() {
            break;
        }
    }
    status
}

fn row(cluster: &ClusterStatus) -> Vec<String> {
    let round_trip = cluster.round_trip_milliseconds;
    vec![
        cluster.name.clone(),
        cluster.id.clone(),
        cluster.state.clone(),
        cluster.kubernetes.clone(),
        round_trip
            .map(|time| format!("{time} ms"))
            .unwrap_or_default(),
        cluster.problem.clone().unwrap_or_default(),
    ]
}
