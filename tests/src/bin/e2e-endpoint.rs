//! The authorized endpoint: people reach a cluster's own API server with tokens of the server and the same
//! rights, also while the server is away, and no longer than they may.

use anyhow::{Context as _, Result, ensure};
use e2e::cases::{self, Case};
use e2e::endpoint::{self, ONLY_READ, World};
use serde_json::json;
use std::time::Duration;
use testbed::Testbed;

/// How long the API server may let somebody in whose token has ended: it keeps an answer of the webhook for
/// 5 s, as `docs/authorized-endpoint.md` advises, and what it made of it for 10 s.
const FORGETS: Duration = Duration::from_secs(25);

/// How long it may take until somebody is let in.
const LEARNS: Duration = Duration::from_secs(15);

/// How long it may take until a cluster that was away has what it shall have.
const RIGHT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let testbed = Testbed::open("e2e-endpoint")?;
    let folder = std::env::current_dir()?.join("target/e2e-endpoint");
    let _ = std::fs::remove_dir_all(&folder);
    let world = World::start(&testbed, &folder).await?;
    let only = std::env::args().nth(1).unwrap_or_default();
    let ran = cases::run(&cases_of(), &world, &only).await;
    ran.with_context(|| format!("logs are in {}", folder.display()))
}

fn cases_of<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("a kubeconfig has both ways", |world| {
            Box::pin(both_ways(world))
        }),
        (
            "who somebody is and what they may do is the same on both ways",
            |world| Box::pin(same_rights(world)),
        ),
        ("tokens for others and wrong secrets are refused", |world| {
            Box::pin(strangers(world))
        }),
        (
            "with the server stopped kubectl goes on with the same rights",
            |world| Box::pin(server_away(world)),
        ),
        (
            "a token that expires while the server is away is refused",
            |world| Box::pin(expires_alone(world)),
        ),
        (
            "the role of a group lets its people in, and no longer",
            |world| Box::pin(endpoint::group(world, LEARNS, FORGETS)),
        ),
        ("a revoked token is refused", |world| {
            Box::pin(revoked(world))
        }),
        ("a disabled user is refused until enabled again", |world| {
            Box::pin(disabled(world))
        }),
        (
            "who loses the last role is refused, and comes back with one",
            |world| Box::pin(role_lost(world)),
        ),
        (
            "what somebody changes in the cluster is put right, what is theirs stays",
            |world| Box::pin(drift(world)),
        ),
        (
            "a token that is revoked while the cluster is away ends when it is back",
            |world| Box::pin(cluster_away(world)),
        ),
        (
            "nobody is let in where the policy of the cluster allows reading alone",
            |world| Box::pin(policy(world)),
        ),
        (
            "without an endpoint the cluster knows nobody any more",
            |world| Box::pin(turned_off(world)),
        ),
        (
            "a Cluster that is deleted takes what its cluster knows with it",
            |world| Box::pin(deleted(world)),
        ),
    ]
}

async fn both_ways(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    let names: Vec<_> = config["contexts"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let names: Vec<_> = names
        .iter()
        .map(|context| context["name"].clone())
        .collect();
    ensure!(
        names == [json!("endpoint"), json!("endpoint-fqdn")],
        "{names:?}"
    );
    ensure!(config["current-context"] == "endpoint");
    // Without a name, the API servers by the names of their nodes.
    world.set_endpoint(&json!({"enabled": true})).await?;
    let config = world.kubeconfig(&world.ann).await?;
    world.set_endpoint(&world.by_name()).await?;
    let server = &config["clusters"][1]["cluster"]["server"];
    ensure!(
        config["contexts"][1]["name"] == "endpoint-node-1",
        "{}",
        config["contexts"]
    );
    let words = world
        .inside(&config, "endpoint-node-1", &["auth", "whoami"])
        .await?;
    ensure!(words.contains(&world.ann_id), "{words}");
    Ok(format!("by name, and as node-1 at {server}"))
}

async fn same_rights(world: &World<'_>) -> Result<String> {
    let mut seen = Vec::new();
    for person in [&world.api, &world.ann] {
        let config = world.kubeconfig(person).await?;
        world.learns(&config, LEARNS).await?;
        for args in [
            &["auth", "whoami", "-o", "jsonpath={.status.userInfo}"][..],
            &["auth", "can-i", "--list"],
        ] {
            let through = world.kubectl(&config, "endpoint", args)?;
            let past = world.kubectl(&config, "endpoint-fqdn", args)?;
            let (through, past) = (World::sorted(&through), World::sorted(&past));
            ensure!(
                through == past,
                "{args:?}: {through:?} through, {past:?} past"
            );
            seen.push(past.len());
        }
    }
    Ok(format!(
        "an administrator and a member; {seen:?} lines each"
    ))
}

async fn strangers(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    let token = World::token(&config);
    let (name, secret) = token.split_once(':').context("no token")?;
    let other = world.api.create_cluster("elsewhere").await?;
    let foreign = world.api.kubeconfig(&other, false).await?;
    let foreign = World::token(&serde_saphyr::from_str(&foreign)?);
    for (what, token) in [
        (
            "a wrong secret",
            format!("{name}:{}", secret.replace(|_| true, "0")),
        ),
        ("no secret", format!("{name}:")),
        (
            "an unknown name",
            format!("kubeconfig-u-none00000:{secret}"),
        ),
        ("a token for another cluster", foreign),
        ("a token of a login", world.ann.token.clone()),
    ] {
        let words = world.refused(&config, &token);
        words.with_context(|| what.to_owned())?;
    }
    Ok("5 tokens".to_owned())
}

async fn server_away(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.log_in_at_the_command_line().await?;
    let list = ["auth", "can-i", "--list"];
    let before = World::sorted(&world.kubectl(&config, "endpoint-fqdn", &list)?);
    world.stop_server().await;
    let during = async {
        let away = world.try_kubectl(&config, "endpoint", &["get", "--raw", "/version"])?;
        ensure!(!away.status.success(), "the server still answers");
        let after = World::sorted(&world.kubectl(&config, "endpoint-fqdn", &list)?);
        ensure!(before == after, "{before:?} before, {after:?} now");
        world.kubectl(&config, "endpoint-fqdn", &["get", "pods", "-A"])?;
        let denied = ["delete", "namespace", "default", "--dry-run=server"];
        let denied = world.try_kubectl(&config, "endpoint-fqdn", &denied)?;
        let words = String::from_utf8_lossy(&denied.stderr).into_owned();
        ensure!(
            !denied.status.success() && words.contains("cannot delete"),
            "{words}"
        );
        let pods = [
            "kubectl", "endpoint", "--", "get", "pods", "-A", "-o", "name",
        ];
        let (pods, said) = world.lariat(&pods, "")?;
        ensure!(
            pods.contains("pod/kube-api-auth") && said.contains("does not answer"),
            "{said}"
        );
        // The webhook starts again from what the cluster has.
        world.restart_webhook()?;
        world.kubectl(&config, "endpoint-fqdn", &["get", "pods", "-A"])?;
        Ok::<_, anyhow::Error>(words)
    };
    let during = during.await;
    world.start_server().await?;
    during.map(|words| words.trim().to_owned())
}

async fn expires_alone(world: &World<'_>) -> Result<String> {
    let seconds = 20;
    let config = world.kubeconfig_for(&world.ann, seconds * 1000).await?;
    world.learns(&config, LEARNS).await?;
    world.stop_server().await;
    let ended = world
        .ends(&config, Duration::from_secs(seconds) + FORGETS)
        .await;
    world.start_server().await?;
    Ok(format!(
        "it was good for {seconds} s, and refused after {:.1?} more",
        ended?
    ))
}

async fn revoked(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.revoke(&config).await?;
    let ended = world.ends(&config, FORGETS).await?;
    Ok(format!("after {ended:.1?}"))
}

async fn disabled(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.set_enabled(false).await?;
    let ended = world.ends(&config, FORGETS).await;
    world.set_enabled(true).await?;
    let learnt = world.learns(&config, FORGETS).await?;
    Ok(format!(
        "refused after {:.1?}, let in after {learnt:.1?}",
        ended?
    ))
}

async fn role_lost(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.unbind(ONLY_READ).await?;
    let ended = world.ends(&config, FORGETS).await;
    world.bind(ONLY_READ).await?;
    let learnt = world.learns(&config, FORGETS).await?;
    Ok(format!(
        "refused after {:.1?}, let in after {learnt:.1?}",
        ended?
    ))
}

async fn drift(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    let token = World::token(&config);
    let name = token.split(':').next().unwrap_or_default();
    let theirs = json!({"apiVersion": "cluster.cattle.io/v3", "kind": "ClusterAuthToken",
        "metadata": {"name": "theirs", "namespace": "cattle-system"},
        "userName": "u-theirs", "enabled": true, "hash": "$2::x"});
    world.apply_downstream(&theirs)?;
    let lifted = json!({"apiVersion": "cluster.cattle.io/v3", "kind": "ClusterUserAttribute",
        "metadata": {"name": world.ann_id, "namespace": "cattle-system"},
        "groups": ["lariat:administrators"]});
    world.apply_downstream(&lifted)?;
    world.downstream(&["delete", "clusterauthtokens.cluster.cattle.io", name])?;
    let groups = [
        "get",
        "clusteruserattributes.cluster.cattle.io",
        &world.ann_id,
        "-o",
    ];
    let groups = [&groups[..], &["jsonpath={.groups}"]].concat();
    let right = world.until(LEARNS, || {
        let there = world.has_token(&config);
        let groups = world.downstream(&groups).unwrap_or_default();
        there && !groups.contains("lariat:administrators")
    });
    let right = right.await.context("it is not put right")?;
    world.downstream(&["get", "clusterauthtokens.cluster.cattle.io", "theirs"])?;
    world.downstream(&["delete", "clusterauthtokens.cluster.cattle.io", "theirs"])?;
    Ok(format!("after {right:.1?}"))
}

async fn cluster_away(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.scale_agent(0)?;
    world.revoke(&config).await?;
    world.kubectl(&config, "endpoint-fqdn", &["auth", "whoami"])?;
    world.scale_agent(1)?;
    world
        .api
        .wait_ready(&world.id, Duration::from_secs(60))
        .await?;
    let gone = world.until(RIGHT, || !world.has_token(&config)).await;
    let gone = gone.context("the cluster still has the token")?;
    let ended = world.ends(&config, FORGETS).await?;
    Ok(format!(
        "gone {gone:.1?} after it came back, refused after {ended:.1?} more"
    ))
}

async fn policy(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.change_policy("readWrite", "readOnly")?;
    let ended = world.ends(&config, FORGETS).await;
    world.change_policy("readOnly", "readWrite")?;
    world.learns(&config, FORGETS).await?;
    Ok(format!("after {:.1?}", ended?))
}

async fn turned_off(world: &World<'_>) -> Result<String> {
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.set_endpoint(&json!({"enabled": false})).await?;
    let gone = world.until(LEARNS, || world.knows_nobody()).await;
    let gone = gone.context("something is left")?;
    world.ends(&config, FORGETS).await?;
    let config = world.kubeconfig(&world.ann).await?;
    ensure!(
        config["contexts"]
            .as_array()
            .is_some_and(|contexts| contexts.len() == 1)
    );
    let status = world.status().await?;
    ensure!(
        status["apiServers"].is_null() && status["caCert"].is_null(),
        "{status}"
    );
    Ok(format!("after {gone:.1?}"))
}

async fn deleted(world: &World<'_>) -> Result<String> {
    world.set_endpoint(&world.by_name()).await?;
    world.wait_fed().await?;
    let config = world.kubeconfig(&world.ann).await?;
    world.learns(&config, LEARNS).await?;
    world.delete_cluster().await?;
    let gone = world.until(LEARNS, || world.knows_nobody()).await;
    let gone = gone.context("something is left")?;
    world.ends(&config, FORGETS).await?;
    Ok(format!("after {gone:.1?}"))
}
