//! What projects of the management API say of namespaces, in the cluster.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::time::Instant;

use super::objects::{PROJECT, make_namespace, may, move_namespace};
use super::world::{Person, SOON, World, eventually};
use crate::cases::Case;

const QUOTA: &str = "project-quota";
const REFUSED: &str = "field.cattle.io/resourceQuotaRefused";

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        (
            "namespaces of the system and default ones have their projects",
            |world| Box::pin(assigned(world)),
        ),
        (
            "a project that is deleted lets its namespaces go",
            |world| Box::pin(let_go(world)),
        ),
        (
            "members make namespaces in their own project alone",
            |world| Box::pin(members(world)),
        ),
        (
            "who moves a namespace has the say in both projects",
            |world| Box::pin(moves(world)),
        ),
        ("a quota is split, kept, and never given twice", |world| {
            Box::pin(quotas(world))
        }),
        ("a quota does not become less than what is given", |world| {
            Box::pin(shrinks(world))
        }),
        ("containers have the project's defaults", |world| {
            Box::pin(ranges(world))
        }),
        (
            "projects are closed to each other where the cluster says so",
            |world| Box::pin(isolated(world)),
        ),
    ]
}

async fn namespace(world: &World<'_>, name: &str) -> Result<Namespace> {
    let namespaces: Api<Namespace> = Api::all(world.direct.clone());
    Ok(namespaces.get(name).await?)
}

/// What the annotation and the label of a namespace say.
async fn said(world: &World<'_>, name: &str) -> Result<(String, String)> {
    let found = namespace(world, name).await?;
    let annotation = found.annotations().get(PROJECT).cloned();
    let label = found.labels().get(PROJECT).cloned();
    Ok((annotation.unwrap_or_default(), label.unwrap_or_default()))
}

/// Waits until a namespace is in a project, or in none.
async fn is_in(world: &World<'_>, name: &str, project: &str) -> Result<()> {
    let annotation = match project {
        "" => String::new(),
        project => format!("{}:{project}", world.id),
    };
    let expected = (annotation, project.to_owned());
    eventually(SOON, async || {
        let found = said(world, name).await?;
        ensure!(found == expected, "{name} says {found:?}, not {expected:?}");
        Ok(())
    })
    .await
    .map(drop)
}

/// The project of the cluster with that label.
async fn labelled(world: &World<'_>, label: &str) -> Result<String> {
    let selector = format!("authz.management.cattle.io/{label}=true");
    let path = format!(
        "/apis/management.cattle.io/v3/namespaces/{}/projects?labelSelector={selector}",
        world.id
    );
    let found = world.admin.call(Method::GET, &path, None).await?;
    let name = found["items"][0]["metadata"]["name"].as_str();
    Ok(name.context("there is no such project")?.to_owned())
}

async fn project(world: &World<'_>, spec: Value) -> Result<String> {
    world
        .make("projects", &world.id, "Project", json!({"spec": spec}))
        .await
}

async fn read(world: &World<'_>, project: &str) -> Result<Value> {
    let path = path(world, project);
    world.admin.call(Method::GET, &path, None).await
}

fn path(world: &World<'_>, project: &str) -> String {
    let id = &world.id;
    format!("/apis/management.cattle.io/v3/namespaces/{id}/projects/{project}")
}

fn of(world: &World<'_>, project: &str) -> String {
    format!("{}:{project}", world.id)
}

async fn assigned(world: &World<'_>) -> Result<String> {
    let default = labelled(world, "default-project").await?;
    let system = labelled(world, "system-project").await?;
    is_in(world, "default", &default).await?;
    for name in ["kube-system", "kube-public", "cattle-system"] {
        is_in(world, name, &system).await?;
    }
    make_namespace(&world.direct, "e2e-nobodys", "").await?;
    // Somebody takes the annotation and the label of one away, and another gets a label that is not true.
    let namespaces: Api<Namespace> = Api::all(world.direct.clone());
    let patch = json!({"metadata": {"annotations": {PROJECT: null}, "labels": {PROJECT: null}}});
    let params = PatchParams::default();
    namespaces
        .patch("default", &params, &Patch::Merge(patch))
        .await?;
    let patch = json!({"metadata": {"labels": {PROJECT: system}}});
    namespaces
        .patch("e2e-nobodys", &params, &Patch::Merge(patch))
        .await?;
    is_in(world, "default", &default).await?;
    is_in(world, "e2e-nobodys", "").await?;
    let setting = "/apis/management.cattle.io/v3/settings/system-namespaces";
    let mut found = world.admin.call(Method::GET, setting, None).await?;
    found["value"] = json!("kube-system,e2e-nobodys");
    world.admin.call(Method::PUT, setting, Some(&found)).await?;
    is_in(world, "e2e-nobodys", &system).await?;
    Ok(format!("default in {default}, kube-system in {system}"))
}

async fn let_go(world: &World<'_>) -> Result<String> {
    let gone = project(world, json!({"displayName": "gone"})).await?;
    make_namespace(&world.direct, "e2e-orphan", &of(world, &gone)).await?;
    is_in(world, "e2e-orphan", &gone).await?;
    world.unmake("projects", &world.id, &gone).await?;
    is_in(world, "e2e-orphan", "").await?;
    Ok("neither annotation nor label names it".into())
}

/// How many pods a namespace may have; `-` where nothing says so.
async fn pods(world: &World<'_>, namespace: &str) -> Result<String> {
    let quotas: Api<ResourceQuota> = Api::namespaced(world.direct.clone(), namespace);
    let found = quotas.get_opt(QUOTA).await?;
    let hard = found.and_then(|found| found.spec?.hard);
    let pods = hard.and_then(|hard| Some(hard.get("pods")?.0.clone()));
    Ok(pods.unwrap_or_else(|| "-".into()))
}

async fn has_pods(world: &World<'_>, namespace: &str, expected: &str) -> Result<()> {
    eventually(SOON, async || {
        let found = pods(world, namespace).await?;
        ensure!(
            found == expected,
            "{namespace} has {found} pods, not {expected}"
        );
        Ok(())
    })
    .await
    .map(drop)
}

async fn used(world: &World<'_>, project: &str, expected: &str) -> Result<()> {
    eventually(SOON, async || {
        let found = read(world, project).await?;
        let used = &found["spec"]["resourceQuota"]["usedLimit"]["pods"];
        ensure!(used == expected, "{used} are used, not {expected}");
        Ok(())
    })
    .await
    .map(drop)
}

async fn ask(world: &World<'_>, namespace: &str, pods: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(world.direct.clone());
    let asked = json!({"limit": {"pods": pods}}).to_string();
    let patch = json!({"metadata": {"annotations": {"field.cattle.io/resourceQuota": asked}}});
    let params = PatchParams::default();
    namespaces
        .patch(namespace, &params, &Patch::Merge(patch))
        .await?;
    Ok(())
}

async fn quotas(world: &World<'_>) -> Result<String> {
    let spec = json!({
        "displayName": "quotas",
        "resourceQuota": {"limit": {"pods": "10", "requestsMemory": "1Gi"}},
        "namespaceDefaultResourceQuota": {"limit": {"pods": "4", "requestsMemory": "512Mi"}},
    });
    let project = project(world, spec).await?;
    for name in ["e2e-quota-a", "e2e-quota-b"] {
        make_namespace(&world.direct, name, &of(world, &project)).await?;
        has_pods(world, name, "4").await?;
    }
    used(world, &project, "8").await?;
    // A third does not fit: it gets nothing, and is told why.
    make_namespace(&world.direct, "e2e-quota-c", &of(world, &project)).await?;
    has_pods(world, "e2e-quota-c", "0").await?;
    let told = async |name: &str| {
        let found = namespace(world, name).await?;
        Ok::<_, anyhow::Error>(
            found
                .annotations()
                .get(REFUSED)
                .cloned()
                .unwrap_or_default(),
        )
    };
    eventually(SOON, async || {
        let told = told("e2e-quota-c").await?;
        ensure!(
            told.contains("asks for") && told.contains("are left"),
            "{told:?}"
        );
        Ok(())
    })
    .await?;
    // Who asks for more than there is keeps what it has, and takes nothing from others.
    ask(world, "e2e-quota-a", "9").await?;
    eventually(SOON, async || {
        let told = told("e2e-quota-a").await?;
        ensure!(told.contains("asks for 9 of pods"), "{told:?}");
        Ok(())
    })
    .await?;
    has_pods(world, "e2e-quota-a", "4").await?;
    has_pods(world, "e2e-quota-b", "4").await?;
    ask(world, "e2e-quota-a", "6").await?;
    has_pods(world, "e2e-quota-a", "6").await?;
    used(world, &project, "10").await?;
    eventually(SOON, async || {
        let told = told("e2e-quota-a").await?;
        ensure!(told.is_empty(), "{told:?}");
        Ok(())
    })
    .await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.direct.clone(), "e2e-quota-b");
    quotas.delete(QUOTA, &DeleteParams::default()).await?;
    has_pods(world, "e2e-quota-b", "4").await?;
    let more = json!({"spec": {"hard": {"pods": "1000"}}});
    quotas
        .patch(QUOTA, &PatchParams::default(), &Patch::Merge(more))
        .await?;
    has_pods(world, "e2e-quota-b", "4").await?;
    // What it had in one project gives it nothing in another.
    let small = json!({
        "displayName": "small",
        "resourceQuota": {"limit": {"pods": "1"}},
        "namespaceDefaultResourceQuota": {"limit": {"pods": "1"}},
    });
    let small = self::project(world, small).await?;
    move_namespace(&world.direct, "e2e-quota-b", Some(&of(world, &small))).await?;
    has_pods(world, "e2e-quota-b", "1").await?;
    used(world, &small, "1").await?;
    // What one leaves, the one that waits gets.
    has_pods(world, "e2e-quota-c", "4").await?;
    move_namespace(&world.direct, "e2e-quota-b", Some(&of(world, &project))).await?;
    has_pods(world, "e2e-quota-b", "0").await?;
    move_namespace(&world.direct, "e2e-quota-a", None).await?;
    has_pods(world, "e2e-quota-a", "-").await?;
    has_pods(world, "e2e-quota-b", "4").await?;
    used(world, &project, "8").await?;
    Ok("split, refused with a reason, repaired, given on".into())
}

async fn shrinks(world: &World<'_>) -> Result<String> {
    let spec = json!({
        "displayName": "shrinks",
        "resourceQuota": {"limit": {"pods": "10"}},
        "namespaceDefaultResourceQuota": {"limit": {"pods": "6"}},
    });
    let project = project(world, spec).await?;
    make_namespace(&world.direct, "e2e-shrinks", &of(world, &project)).await?;
    used(world, &project, "6").await?;
    let mut found = read(world, &project).await?;
    found["spec"]["resourceQuota"]["limit"]["pods"] = json!("5");
    found["spec"]["namespaceDefaultResourceQuota"]["limit"]["pods"] = json!("5");
    let path = path(world, &project);
    let refused = world.admin.call(Method::PUT, &path, Some(&found)).await;
    let refused = format!("{:#}", refused.err().context("it was made smaller")?);
    ensure!(
        refused.contains("must not be less than 6 of pods"),
        "{refused}"
    );
    world.unmake("projects", &world.id, &project).await?;
    has_pods(world, "e2e-shrinks", "-").await?;
    Ok("refused, and gone with the project".into())
}

async fn ranges(world: &World<'_>) -> Result<String> {
    let spec = json!({
        "displayName": "ranges",
        "containerDefaultResourceLimit": {"requestsCpu": "50m", "limitsCpu": "1000m", "limitsMemory": "128Mi"},
    });
    let project = project(world, spec).await?;
    make_namespace(&world.direct, "e2e-ranges", &of(world, &project)).await?;
    let ranges: Api<LimitRange> = Api::namespaced(world.direct.clone(), "e2e-ranges");
    let name = "project-container-defaults";
    eventually(SOON, async || {
        let found = ranges.get_opt(name).await?.context("no LimitRange")?;
        let limits = found.spec.context("no spec")?.limits;
        let limit = limits.first().context("no limits")?;
        let request = limit.default_request.clone().unwrap_or_default();
        ensure!(
            request.get("cpu").is_some_and(|it| it.0 == "50m"),
            "{request:?}"
        );
        ensure!(
            request.get("memory").is_some_and(|it| it.0 == "128Mi"),
            "{request:?}"
        );
        Ok(())
    })
    .await?;
    // It is not written again and again because Kubernetes writes numbers in its own way.
    let before = ranges.get(name).await?;
    make_namespace(&world.direct, "e2e-ranges-b", &of(world, &project)).await?;
    let other: Api<LimitRange> = Api::namespaced(world.direct.clone(), "e2e-ranges-b");
    eventually(SOON, async || {
        other
            .get_opt(name)
            .await?
            .context("no LimitRange")
            .map(drop)
    })
    .await?;
    let after = ranges.get(name).await?;
    ensure!(
        before.resource_version() == after.resource_version(),
        "written again"
    );
    world.unmake("projects", &world.id, &project).await?;
    eventually(SOON, async || {
        ensure!(ranges.get_opt(name).await?.is_none(), "it stays");
        Ok(())
    })
    .await?;
    Ok("there, and gone with the project".into())
}

async fn isolated(world: &World<'_>) -> Result<String> {
    let path = format!("/apis/management.cattle.io/v3/clusters/{}", world.id);
    let set = async |closed: bool| {
        let mut found = world.admin.call(Method::GET, &path, None).await?;
        found["spec"]["enableNetworkPolicy"] = json!(closed);
        world.admin.call(Method::PUT, &path, Some(&found)).await
    };
    let project = project(world, json!({"displayName": "isolated"})).await?;
    make_namespace(&world.direct, "e2e-isolated", &of(world, &project)).await?;
    let policies: Api<NetworkPolicy> = Api::namespaced(world.direct.clone(), "e2e-isolated");
    let system: Api<NetworkPolicy> = Api::namespaced(world.direct.clone(), "kube-system");
    set(true).await?;
    let took = eventually(SOON, async || {
        let found = policies
            .get_opt("project-only")
            .await?
            .context("no NetworkPolicy")?;
        let text = serde_json::to_string(&found.spec)?;
        ensure!(text.contains(&project), "{text}");
        Ok(())
    })
    .await?;
    ensure!(
        system.get_opt("project-only").await?.is_none(),
        "the system is closed"
    );
    policies
        .delete("project-only", &DeleteParams::default())
        .await?;
    eventually(SOON, async || {
        policies
            .get_opt("project-only")
            .await?
            .context("not repaired")
            .map(drop)
    })
    .await?;
    set(false).await?;
    eventually(SOON, async || {
        ensure!(
            policies.get_opt("project-only").await?.is_none(),
            "it stays"
        );
        Ok(())
    })
    .await?;
    Ok(format!("closed after {took:.0?}, opened again"))
}

async fn bind(world: &World<'_>, project: &str, role: &str, person: &Person) -> Result<String> {
    let named = of(world, project);
    let fields = json!({"projectName": named, "roleTemplateName": role, "userName": person.id});
    let kind = "ProjectRoleTemplateBinding";
    world
        .make("projectroletemplatebindings", project, kind, fields)
        .await
}

/// That a write was refused, and what was said.
fn refused<T>(done: Result<T>, said: &str) -> Result<()> {
    let error = format!("{:#}", done.err().context("it was let through")?);
    ensure!(error.contains(said), "{error}");
    Ok(())
}

async fn members(world: &World<'_>) -> Result<String> {
    let own = project(world, json!({"displayName": "own"})).await?;
    let other = project(world, json!({"displayName": "other"})).await?;
    let rob = world.person("rob").await?;
    bind(world, &own, "project-member", &rob).await?;
    let created = eventually(SOON, async || {
        make_namespace(&rob.client, "e2e-of-rob", &of(world, &own)).await
    })
    .await?;
    let started = Instant::now();
    eventually(SOON, async || {
        ensure!(
            may(&rob.client, "e2e-of-rob", "create", "", "configmaps").await?,
            "not yet"
        );
        Ok(())
    })
    .await?;
    let took = started.elapsed();
    let foreign = make_namespace(&rob.client, "e2e-foreign-project", &of(world, &other)).await;
    refused(foreign, "must have the say in both projects")?;
    let none = make_namespace(&rob.client, "e2e-no-project", "").await;
    refused(none, "say in which project the namespace is")?;
    let namespaces: Api<Namespace> = Api::all(rob.client.clone());
    let privileged: Namespace = serde_json::from_value(json!({"metadata": {
        "name": "e2e-privileged",
        "annotations": {PROJECT: of(world, &own)},
        "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
    }}))?;
    let made = namespaces.create(&PostParams::default(), &privileged).await;
    refused(made.map_err(Into::into), "updatepsa")?;
    world.unmake("projects", &world.id, &own).await?;
    Ok(format!(
        "made after {created:.0?}, rights in it after {took:.0?}"
    ))
}

async fn moves(world: &World<'_>) -> Result<String> {
    let [left, right, far] = ["left", "right", "far"].map(|name| json!({"displayName": name}));
    let left = project(world, left).await?;
    let right = project(world, right).await?;
    let far = project(world, far).await?;
    make_namespace(&world.direct, "e2e-moved", &of(world, &left)).await?;
    make_namespace(&world.direct, "e2e-unowned", "").await?;
    let sue = world.person("sue").await?;
    // Somebody who may write all namespaces, and owns two projects.
    let rules =
        json!([{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"]}]);
    let fields = json!({"metadata": {"name": "e2e-writes"}, "context": "cluster", "rules": rules});
    world
        .make("roletemplates", "", "RoleTemplate", fields)
        .await?;
    world
        .bind("e2e-writes", json!({"userName": sue.id}))
        .await?;
    for project in [&left, &right] {
        bind(world, project, "project-owner", &sue).await?;
    }
    eventually(SOON, async || {
        move_namespace(&sue.client, "e2e-moved", Some(&of(world, &right))).await
    })
    .await?;
    let both = "must have the say in both projects";
    let foreign = move_namespace(&sue.client, "e2e-moved", Some(&of(world, &far))).await;
    refused(foreign, both)?;
    for taken in ["kube-system", "e2e-unowned"] {
        let moved = move_namespace(&sue.client, taken, Some(&of(world, &left))).await;
        refused(moved, both)?;
    }
    let strange = move_namespace(&sue.client, "e2e-moved", Some("nonsense")).await;
    refused(strange, both)?;
    let namespaces: Api<Namespace> = Api::all(sue.client.clone());
    let status = Patch::Merge(json!({"metadata": {"annotations": {PROJECT: of(world, &far)}}}));
    let by_status = namespaces
        .patch_status("e2e-moved", &PatchParams::default(), &status)
        .await;
    ensure!(by_status.is_err(), "moved by the status");
    // What does not move it is nobody's business.
    let label = Patch::Merge(json!({"metadata": {"labels": {"tier": "web"}}}));
    namespaces
        .patch("kube-public", &PatchParams::default(), &label)
        .await?;
    is_in(world, "e2e-moved", &right).await?;
    Ok("to an own project, and to and from no other".into())
}
