//! What a cluster and the server write down of one request can be put together.

use anyhow::{Context as _, Result, ensure};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};
use std::path::Path;

use super::world::{SOON, World, eventually};
use crate::cases::Case;

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![(
        "the cluster's audit log has the ids of the server's, and who it was",
        |world| Box::pin(ids(world)),
    )]
}

async fn ids(world: &World<'_>) -> Result<String> {
    let ada = world.person("ada").await?;
    let subject = json!({"userName": ada.id});
    let binding = world.bind("cluster-member", subject).await?;
    let path = "/api/v1/nodes";
    eventually(SOON, async || {
        let (status, _) = ask(&ada.client, path, None).await?;
        ensure!(status == 200, "the answer is {status}");
        Ok(())
    })
    .await?;
    // The second brings an id along, which is not believed.
    let (_, own) = ask(&ada.client, path, None).await?;
    let (_, given) = ask(&ada.client, path, Some("of-the-client")).await?;
    ensure!(own != given && given != "of-the-client", "{own} {given}");
    let log = world.server.lock().await.folder().join("audit.log");
    for id in [&own, &given] {
        let there = event(&world.cluster.audit_log(), id).await?;
        let here = event(&log, id).await?;
        let who = [
            &there["user"]["username"],
            &there["impersonatedUser"]["username"],
            &here["user"]["username"],
        ];
        let constraint = &there["authenticationMetadata"]["impersonationConstraint"];
        ensure!(constraint == "impersonate:user-info", "{there}");
        let agent = "system:serviceaccount:cattle-system:cattle";
        ensure!(
            who == [&json!(agent), &json!(ada.id), &json!(ada.id)],
            "{who:?}"
        );
        let uri = &there["requestURI"];
        ensure!(uri == path, "{uri}");
    }
    world.unbind(&binding).await?;
    Ok(format!("{own} is in both"))
}

/// Asks a cluster. The answer's status and the id that the server gave the request.
async fn ask(client: &kube::Client, path: &str, id: Option<&str>) -> Result<(u16, String)> {
    let mut request = Request::get(path);
    if let Some(id) = id {
        request = request.header("audit-id", id);
    }
    let answer = client.send(request.body(Body::empty())?).await?;
    let id = answer.headers().get("audit-id").context("no Audit-Id")?;
    Ok((answer.status().as_u16(), id.to_str()?.to_owned()))
}

/// The event of a request in an audit log.
async fn event(log: &Path, id: &str) -> Result<Value> {
    let mut found = Value::Null;
    eventually(SOON, async || {
        let text = std::fs::read_to_string(log)?;
        let mut lines = text.lines().filter(|line| line.contains(id));
        let line = lines.next_back();
        let line = line.with_context(|| format!("{id} is not in {}", log.display()))?;
        found = serde_json::from_str(line)?;
        ensure!(found["auditID"] == *id, "{line}");
        Ok(())
    })
    .await?;
    Ok(found)
}
