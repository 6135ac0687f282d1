//! What the agent's account may do in the name of others where the API server constrains that.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::world::{SOON, World, eventually};
use crate::cases::Case;

/// The ClusterRole of the agent in the import manifest.
const ROLE: &str = "cattle-cluster-agent";

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        (
            "the agent's account is no node, no service account and no reserved group",
            |world| Box::pin(as_others(world)),
        ),
        (
            "what the agent may not do in the name of others, nobody does",
            |world| Box::pin(narrowed(world)),
        ),
    ]
}

/// Whoever steals the token of the agent's account.
async fn as_others(world: &World<'_>) -> Result<String> {
    let uma = world.person("uma").await?;
    let binding = world.bind("cluster-owner", json!({"userName": uma.id}));
    let binding = binding.await?;
    let person = format!("--as={}", uma.id);
    let list = ["get", "configmaps", "-n", "default", "-o", "name"];
    eventually(SOON, async || {
        world.kubectl_as_agent(&[&list[..], &[&person]].concat())?;
        Ok(())
    })
    .await
    .context("as a user of the server")?;
    let attempts: [&[&str]; 5] = [
        &["--as=system:node:node-1"],
        &["--as=system:serviceaccount:kube-system:namespace-controller"],
        &[&person, "--as-group=system:masters"],
        &[&person, "--as-group=cluster-admins"],
        &[&person, "--as-uid=1"],
    ];
    for attempt in attempts {
        let said = world.kubectl_as_agent(&[&list[..], attempt].concat());
        let said = said.err().with_context(|| format!("{attempt:?} works"))?;
        ensure!(
            said.to_string().contains("Forbidden") && said.to_string().contains("impersonate"),
            "{attempt:?}: {said}"
        );
    }
    world.unbind(&binding).await?;
    Ok(format!("{} refused", attempts.len()))
}

/// The cluster's owner takes writing out of the agent's role.
async fn narrowed(world: &World<'_>) -> Result<String> {
    let ugo = world.person("ugo").await?;
    let binding = world.bind("cluster-owner", json!({"userName": ugo.id}));
    let binding = binding.await?;
    let list = ["get", "configmaps", "-n", "default", "-o", "name"];
    eventually(SOON, async || world.kubectl(&ugo, &list).map(drop)).await?;

    let role = world.kubectl_as_owner(&["get", "clusterrole", ROLE, "-o", "json"])?;
    let mut role: Value = serde_json::from_str(&role)?;
    let reads = ["get", "list", "watch", "head", "options"].map(|verb| format!(":{verb}"));
    for rule in role["rules"].as_array_mut().into_iter().flatten() {
        if let Some(verbs) = rule["verbs"].as_array_mut() {
            verbs.retain(|verb| {
                let verb = verb.as_str().unwrap_or_default();
                let acts = verb.starts_with("impersonate-on:");
                !acts || reads.iter().any(|read| verb.ends_with(read))
            });
        }
    }
    let rules = json!({"rules": role["rules"]}).to_string();
    world.kubectl_as_owner(&["patch", "clusterrole", ROLE, "--type=merge", "-p", &rules])?;
    let create = ["create", "configmap", "of-ugo", "-n", "default"];
    let delete = ["delete", "configmap", "of-ugo", "-n", "default"];
    let mut said = String::new();
    let refused = eventually(SOON, async || {
        let created = world.kubectl(&ugo, &create);
        if created.is_ok() {
            world.kubectl_as_owner(&delete)?;
        }
        said = created.err().context("it is made")?.to_string();
        Ok(())
    });
    let refused = refused.await;
    let reads = world.kubectl(&ugo, &list);
    world.apply_import_manifest().await?;
    refused?;
    reads.context("reading goes on")?;
    ensure!(said.contains("impersonate"), "{said}");
    eventually(SOON, async || world.kubectl(&ugo, &create).map(drop))
        .await
        .context("with the import manifest again")?;
    world.kubectl(&ugo, &delete)?;
    world.unbind(&binding).await?;
    Ok(said)
}
