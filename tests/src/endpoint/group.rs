//! People of a directory whose groups let them in.

use super::{GROUP, ONLY_READ, World};
use crate::lariat::Api;
use crate::logins::{INSIDER, OUTER, PASSWORD, Provider};
use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::json;
use std::time::Duration;

/// Somebody of a directory uses the endpoint by the role of a group that holds their own, also while the server
/// is away, and no longer than the group has that role.
///
/// # Errors
/// When something of that is not so.
pub async fn group(world: &World<'_>, learns: Duration, forgets: Duration) -> Result<String> {
    let directory = Provider::openldap(world.testbed, &world.folder.join("slapd"))?;
    let path = format!("{}?action=testAndApply", directory.config_path());
    let trial = directory.trial("root", PASSWORD)?;
    world.api.call(Method::POST, &path, Some(&trial)).await?;
    let group = directory.group(OUTER);
    let binding = json!({"apiVersion": "management.cattle.io/v3",
        "kind": "ClusterRoleTemplateBinding",
        "metadata": {"name": "of-group", "namespace": world.id},
        "groupPrincipalName": group, "roleTemplateName": ONLY_READ});
    let path = world.bindings();
    world.api.call(Method::POST, &path, Some(&binding)).await?;
    let url = world.server.lock().await.url();
    let alice = Api::login_at(&url, &directory.login_path(), INSIDER, PASSWORD).await?;
    let config = world.kubeconfig(&alice).await?;
    world.learns(&config, learns).await?;
    let pods = ["get", "pods", "-A", "-o", "name"];
    let may = || world.kubectl(&config, "endpoint-fqdn", &pods).is_ok();
    let until = world.until(forgets, may).await;
    until.context("the role of the group is not there")?;
    let whoami = ["auth", "whoami", "-o", "jsonpath={.status.userInfo}"];
    let through = world.kubectl(&config, "endpoint", &whoami)?;
    let past = world.kubectl(&config, "endpoint-fqdn", &whoami)?;
    ensure!(
        through == past && past.contains(&group),
        "{through} through, {past} past"
    );
    world.stop_server().await;
    let away = world.kubectl(&config, "endpoint-fqdn", &pods);
    world.start_server().await?;
    away?;
    let path = format!(
        "{GROUP}/namespaces/{}/clusterroletemplatebindings/of-group",
        world.id
    );
    world.api.call(Method::DELETE, &path, None).await?;
    let ended = world.ends(&config, forgets).await?;
    Ok(format!("{group}; refused after {ended:.1?}"))
}
