//! What is left in a cluster whose Cluster is deleted.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{Api, ListParams, PostParams};
use kube::core::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::objects::{MANAGED, make_namespace};
use super::world::{Other, SOON, World, eventually};
use crate::cases::Case;

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![(
        "a cluster that is deleted while it is connected keeps nothing of the server's",
        |world| Box::pin(cleared(world)),
    )]
}

async fn cleared(world: &World<'_>) -> Result<String> {
    let other = world.another_cluster("deleted").await?;
    let per = world.person("per").await?;
    let role = "clusterroletemplatebindings";
    let fields = json!({"userName": per.id, "roleTemplateName": "cluster-member"});
    let kind = "ClusterRoleTemplateBinding";
    world.make(role, &other.id, kind, fields).await?;
    let spec = json!({
        "displayName": "deleted",
        "resourceQuota": {"limit": {"pods": "10"}},
        "namespaceDefaultResourceQuota": {"limit": {"pods": "4"}},
        "containerDefaultResourceLimit": {"limitsCpu": "100m"},
    });
    let fields = json!({ "spec": spec });
    let project = world.make("projects", &other.id, "Project", fields).await?;
    let within = format!("{}:{project}", other.id);
    let fields = json!({"projectName": within, "userName": per.id,
        "roleTemplateName": "project-member"});
    let kind = "ProjectRoleTemplateBinding";
    let role = "projectroletemplatebindings";
    world.make(role, &project, kind, fields).await?;
    make_namespace(&other.direct, "of-the-project", &within).await?;
    let mut before = [0; 5];
    eventually(SOON, async || {
        before = counts(&other).await?;
        ensure!(before.iter().all(|count| *count > 0), "{before:?}");
        Ok(())
    })
    .await?;
    let theirs = ClusterRole {
        metadata: ObjectMeta {
            name: Some("theirs".to_owned()),
            ..ObjectMeta::default()
        },
        ..ClusterRole::default()
    };
    let roles: Api<ClusterRole> = Api::all(other.direct.clone());
    roles.create(&PostParams::default(), &theirs).await?;
    world.unmake("clusters", "", &other.id).await?;
    let took = eventually(SOON, async || {
        let left = counts(&other).await?;
        ensure!(left == [0; 5], "{left:?} are left");
        Ok(())
    });
    let took = took.await?;
    roles.get("theirs").await?;
    Ok(format!("{before:?} objects were gone after {took:.0?}"))
}

/// How many objects of each kind a cluster has of the server's.
async fn counts(other: &Other) -> Result<[usize; 5]> {
    async fn count<K>(client: &kube::Client) -> Result<usize>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let all: Api<K> = Api::all(client.clone());
        let ours = ListParams::default().labels(MANAGED);
        Ok(all.list_metadata(&ours).await?.items.len())
    }
    let client = &other.direct;
    Ok([
        count::<ClusterRole>(client).await?,
        count::<ClusterRoleBinding>(client).await?,
        count::<RoleBinding>(client).await?,
        count::<ResourceQuota>(client).await?,
        count::<LimitRange>(client).await?,
    ])
}
