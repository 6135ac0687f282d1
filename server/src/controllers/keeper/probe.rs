//! Whether the agent can ask in the name of groups: found out by use, as it takes a moment until an API
//! server counts a role that it has just been given, and as the agent's policy has a say.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{Request, header};
use serde_json::json;
use tokio::time::Instant;

use super::apply::Failure;

/// Groups that are named at once: headers of a request have a limit.
const AT_ONCE: usize = 100;

/// How long an API server may take until it counts a new role.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Those of the groups in whose name the agent can ask, and what is wrong with the others.
pub(super) async fn usable(
    client: &kube::Client,
    wanted: BTreeSet<String>,
) -> (BTreeSet<String>, Vec<Failure>) {
    let all: Vec<String> = wanted.iter().cloned().collect();
    if settles(client, &all).await.is_ok() {
        return (wanted, Vec::new());
    }
    let (mut usable, mut failures) = (BTreeSet::new(), Vec::new());
    for group in wanted {
        match ask(client, std::slice::from_ref(&group)).await {
            Ok(()) => drop(usable.insert(group)),
            Err(error) => {
                let what = format!("the agent cannot ask in the name of group {group:?}");
                failures.push(Failure::new(what, &error));
            }
        }
    }
    (usable, failures)
}

/// Asks until the agent can, or for a while.
async fn settles(client: &kube::Client, groups: &[String]) -> kube::Result<()> {
    let until = Instant::now() + PATIENCE;
    for some in groups.chunks(AT_ONCE) {
        loop {
            match ask(client, some).await {
                Err(kube::Error::Api(status)) if status.code == 403 && Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                answered => break answered?,
            }
        }
    }
    Ok(())
}

/// Asks, in the name of some groups, a question that everybody may ask.
async fn ask(client: &kube::Client, groups: &[String]) -> kube::Result<()> {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    for group in groups {
        request = request.header("impersonate-group", group.as_bytes());
    }
    let request = request.body(question.to_string().into_bytes());
    let request = request.map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}
