//! What is looked for and done in clusters.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::json;

/// The label of all that the server makes.
pub const MANAGED: &str = "authz.lariat.internal/managed";

/// The label that names the binding of the management API.
pub const OWNER: &str = "authz.cluster.cattle.io/rtb-owner-updated";

/// The annotation that names a project.
pub const PROJECT: &str = "field.cattle.io/projectId";

/// Whether somebody may do that, as the cluster says.
pub async fn may(
    client: &kube::Client,
    namespace: &str,
    verb: &str,
    group: &str,
    resource: &str,
) -> Result<bool> {
    let asked = ResourceAttributes {
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(asked),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("no status")?.allowed)
}

/// That somebody may do exactly that of some core resources of a namespace.
pub async fn may_exactly(
    client: &kube::Client,
    namespace: &str,
    allowed: &[(&str, &str)],
    denied: &[(&str, &str)],
) -> Result<()> {
    for (expected, asked) in [(true, allowed), (false, denied)] {
        for (verb, resource) in asked {
            let found = may(client, namespace, verb, "", resource).await?;
            ensure!(
                found == expected,
                "may {verb} {resource} in {namespace:?}: {found}"
            );
        }
    }
    Ok(())
}

/// The bindings of whole clusters that the server made because of one of its own.
pub async fn whole(direct: &kube::Client, owner: &str) -> Result<Vec<ClusterRoleBinding>> {
    let all: Api<ClusterRoleBinding> = Api::all(direct.clone());
    let params = ListParams::default().labels(&format!("{MANAGED},{OWNER}={owner}"));
    Ok(all.list(&params).await?.items)
}

/// The same in namespaces.
pub async fn within(direct: &kube::Client, owner: &str) -> Result<Vec<RoleBinding>> {
    let all: Api<RoleBinding> = Api::all(direct.clone());
    let params = ListParams::default().labels(&format!("{MANAGED},{OWNER}={owner}"));
    Ok(all.list(&params).await?.items)
}

/// The only one of them.
pub async fn only(direct: &kube::Client, owner: &str) -> Result<ClusterRoleBinding> {
    let mut found = whole(direct, owner).await?;
    ensure!(found.len() == 1, "{} bindings of {owner}", found.len());
    found.pop().context("none")
}

/// A ClusterRole, if there is one.
pub async fn role(direct: &kube::Client, name: &str) -> Result<Option<ClusterRole>> {
    let roles: Api<ClusterRole> = Api::all(direct.clone());
    Ok(roles.get_opt(name).await?)
}

/// Makes a namespace in a project, or in none.
pub async fn make_namespace(direct: &kube::Client, name: &str, project: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(direct.clone());
    let annotations = match project {
        "" => None,
        project => Some([(PROJECT.to_owned(), project.to_owned())].into()),
    };
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations,
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

/// Moves a namespace to a project, or out of any.
pub async fn move_namespace(
    direct: &kube::Client,
    name: &str,
    project: Option<&str>,
) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(direct.clone());
    let patch = json!({"metadata": {"annotations": {PROJECT: project}}});
    let params = PatchParams::default();
    namespaces
        .patch(name, &params, &Patch::Merge(patch))
        .await?;
    Ok(())
}
