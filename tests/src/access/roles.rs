//! Roles and bindings of the management API, in the cluster.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::objects::{
    MANAGED, make_namespace, may, may_exactly, move_namespace, only, role, whole, within,
};
use super::world::{Person, SOON, World, eventually};
use crate::cases::Case;

const CONDITION: &str = "RolesMaterialised";

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("a role arrives and allows exactly what it says", |world| {
            Box::pin(arrives(world))
        }),
        (
            "a role and a binding that somebody deletes or edits are repaired",
            |world| Box::pin(repaired(world)),
        ),
        ("what inherits gives all that it inherits", |world| {
            Box::pin(inherits(world))
        }),
        ("a change of a template arrives", |world| {
            Box::pin(template_changes(world))
        }),
        ("an external template is the cluster's own role", |world| {
            Box::pin(external(world))
        }),
        ("a locked template stays with who has it", |world| {
            Box::pin(locked(world))
        }),
        (
            "what belongs to somebody else is left alone, and gives nobody anything",
            |world| Box::pin(foreign(world)),
        ),
        (
            "a group is bound, and the agent may ask in its name alone",
            |world| Box::pin(group(world)),
        ),
        ("administrators have a binding each", |world| {
            Box::pin(administrators(world))
        }),
        ("roles of a project follow its namespaces", |world| {
            Box::pin(projects(world))
        }),
        (
            "outside of namespaces a role of a project reads what is listed",
            |world| Box::pin(promoted(world)),
        ),
        (
            "members of projects get the cluster's role for them",
            |world| Box::pin(default_role(world)),
        ),
        (
            "a cluster that was away is right when it comes back",
            |world| Box::pin(away(world)),
        ),
        (
            "a server that was away puts right what happened meanwhile",
            |world| Box::pin(restarted(world)),
        ),
        ("the metrics tell of it", |world| Box::pin(metrics(world))),
    ]
}

fn rule(resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": resources, "verbs": verbs})
}

async fn template(world: &World<'_>, name: &str, fields: Value) -> Result<String> {
    let mut fields = fields;
    fields["metadata"] = json!({"name": name});
    if fields["context"].is_null() {
        fields["context"] = json!("cluster");
    }
    world
        .make("roletemplates", "", "RoleTemplate", fields)
        .await
}

fn user(person: &Person) -> Value {
    json!({"userName": person.id})
}

fn owner(world: &World<'_>, binding: &str) -> String {
    format!("{}_{binding}", world.id)
}

/// A person with a role that reads and makes ConfigMaps, as soon as it works; and the binding.
async fn reader(world: &World<'_>, name: &str) -> Result<(Person, String, Duration)> {
    let person = world.person(name).await?;
    let rules = json!({"rules": [rule(&["configmaps"], &["get", "list", "create"])]});
    template(world, name, rules).await?;
    let started = Instant::now();
    let binding = world.bind(name, user(&person)).await?;
    allowed(&person, "list", "configmaps").await?;
    Ok((person, binding, started.elapsed()))
}

async fn allowed(person: &Person, verb: &str, resource: &str) -> Result<Duration> {
    eventually(SOON, async || {
        let found = may(&person.client, "default", verb, "", resource).await?;
        ensure!(found, "{} may not {verb} {resource}", person.id);
        Ok(())
    })
    .await
}

/// Asked in the cluster itself: the server lets in nobody who has no role at all.
async fn denied(
    world: &World<'_>,
    person: &Person,
    verb: &str,
    resource: &str,
) -> Result<Duration> {
    eventually(SOON, async || {
        let found = world.kubectl_as_owner(&["auth", "can-i", verb, resource, "--as", &person.id]);
        ensure!(found.is_err(), "{} may still {verb} {resource}", person.id);
        Ok(())
    })
    .await
}

async fn arrives(world: &World<'_>) -> Result<String> {
    let (ann, binding, took) = reader(world, "ann").await?;
    let allowed = ["get", "list", "create"].map(|verb| (verb, "configmaps"));
    let refused = [
        ("delete", "configmaps"),
        ("watch", "configmaps"),
        ("get", "secrets"),
        ("list", "namespaces"),
        ("impersonate", "users"),
    ];
    may_exactly(&ann.client, "default", &allowed, &refused).await?;
    world.kubectl(
        &ann,
        &["create", "configmap", "of-ann", "--from-literal=a=b"],
    )?;
    world.kubectl(&ann, &["get", "configmap", "of-ann"])?;
    for words in [["delete", "configmap", "of-ann"], ["get", "secret", "x"]] {
        let said = world
            .kubectl(&ann, &words)
            .err()
            .context("kubectl was let through")?;
        let said = said.to_string();
        ensure!(
            said.contains("(Forbidden)") && said.contains(&ann.id),
            "{said}"
        );
    }
    let found = only(&world.direct, &owner(world, &binding)).await?;
    ensure!(found.name_any().starts_with("crb-"), "{}", found.name_any());
    ensure!(found.role_ref.name == "ann", "{:?}", found.role_ref);
    let made = role(&world.direct, "ann")
        .await?
        .context("no ClusterRole")?;
    let annotation = made
        .annotations()
        .get("authz.cluster.cattle.io/clusterrole-owner");
    ensure!(
        annotation.is_some_and(|name| name == "ann"),
        "{annotation:?}"
    );
    let (status, _, message) = world.condition(CONDITION).await?;
    ensure!(status == "True", "{message}");
    let started = Instant::now();
    world.unbind(&binding).await?;
    denied(world, &ann, "get", "configmaps").await?;
    let gone = started.elapsed();
    eventually(SOON, async || {
        ensure!(
            role(&world.direct, "ann").await?.is_none(),
            "the ClusterRole stays"
        );
        ensure!(
            whole(&world.direct, &owner(world, &binding))
                .await?
                .is_empty(),
            "stays"
        );
        Ok(())
    })
    .await?;
    let said = world
        .kubectl(&ann, &["get", "configmaps"])
        .err()
        .context("let in")?;
    ensure!(said.to_string().contains("no role in it"), "{said}");
    Ok(format!("there after {took:.0?}, gone after {gone:.0?}"))
}

async fn repaired(world: &World<'_>) -> Result<String> {
    let (ben, binding, _) = reader(world, "ben").await?;
    let roles: Api<ClusterRole> = Api::all(world.direct.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(world.direct.clone());
    let made = only(&world.direct, &owner(world, &binding)).await?;
    let (name, before) = (made.name_any(), roles.get("ben").await?);
    let (delete, patch) = (DeleteParams::default(), PatchParams::default());
    let mut took = Vec::new();

    roles.delete("ben", &delete).await?;
    let again = async || ensure_that(roles.get_opt("ben").await?.is_some(), "no role");
    took.push(("role deleted", eventually(SOON, again).await?));

    let more = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    roles.patch("ben", &patch, &Patch::Merge(more)).await?;
    let again = async || ensure_that(roles.get("ben").await?.rules == before.rules, "rules");
    took.push(("role edited", eventually(SOON, again).await?));
    ensure!(
        !may(&ben.client, "default", "delete", "", "configmaps").await?,
        "more rights"
    );

    let composed =
        json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    roles.patch("ben", &patch, &Patch::Merge(composed)).await?;
    let again = async || {
        let found = roles.get_opt("ben").await?.context("no role")?;
        ensure_that(
            found.aggregation_rule.is_none() && found.rules == before.rules,
            "rules",
        )
    };
    took.push(("role composed of others", eventually(SOON, again).await?));

    bindings.delete(&name, &delete).await?;
    let again = async || ensure_that(bindings.get_opt(&name).await?.is_some(), "no binding");
    took.push(("binding deleted", eventually(SOON, again).await?));

    let other = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]);
    bindings
        .patch(&name, &patch, &Patch::Merge(json!({"subjects": other})))
        .await?;
    let again = async || ensure_that(bindings.get(&name).await?.subjects == made.subjects, "eve");
    took.push(("binding edited", eventually(SOON, again).await?));

    bindings.delete(&name, &delete).await?;
    let forged = ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: made.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        role_ref: k8s_openapi::api::rbac::v1::RoleRef {
            name: "cluster-admin".into(),
            ..made.role_ref.clone()
        },
        subjects: made.subjects.clone(),
    };
    // The server may be faster.
    let _ = bindings.create(&PostParams::default(), &forged).await;
    let again = async || {
        let found = bindings.get_opt(&name).await?.context("no binding")?;
        ensure_that(found.role_ref == made.role_ref, "bound to another role")
    };
    took.push(("binding to another role", eventually(SOON, again).await?));
    allowed(&ben, "list", "configmaps").await?;
    world.unbind(&binding).await?;
    let took = took.iter().map(|(what, took)| format!("{what} {took:.0?}"));
    Ok(took.collect::<Vec<_>>().join(", "))
}

fn ensure_that(holds: bool, what: &'static str) -> Result<()> {
    ensure!(holds, "{what}");
    Ok(())
}

async fn inherits(world: &World<'_>) -> Result<String> {
    template(
        world,
        "e2e-low",
        json!({"rules": [rule(&["pods"], &["get"])]}),
    )
    .await?;
    let middle =
        json!({"rules": [rule(&["services"], &["get"])], "roleTemplateNames": ["e2e-low"]});
    template(world, "e2e-middle", middle).await?;
    let high =
        json!({"rules": [rule(&["endpoints"], &["get"])], "roleTemplateNames": ["e2e-middle"]});
    template(world, "e2e-high", high).await?;
    let cyd = world.person("cyd").await?;
    let binding = world.bind("e2e-high", user(&cyd)).await?;
    for resource in ["pods", "services", "endpoints"] {
        allowed(&cyd, "get", resource).await?;
    }
    may_exactly(
        &cyd.client,
        "default",
        &[],
        &[("get", "secrets"), ("list", "pods")],
    )
    .await?;
    let found = whole(&world.direct, &owner(world, &binding)).await?.len();
    ensure!(found == 3, "{found} bindings");
    world.unbind(&binding).await?;
    denied(world, &cyd, "get", "pods").await?;
    Ok(format!("{found} bindings for one"))
}

async fn template_changes(world: &World<'_>) -> Result<String> {
    let (dan, binding, _) = reader(world, "dan").await?;
    let path = "/apis/management.cattle.io/v3/roletemplates/dan";
    let mut found = world.admin.call(Method::GET, path, None).await?;
    found["rules"] = json!([rule(&["services"], &["get"])]);
    let started = Instant::now();
    world.admin.call(Method::PUT, path, Some(&found)).await?;
    allowed(&dan, "get", "services").await?;
    let took = started.elapsed();
    may_exactly(&dan.client, "default", &[], &[("get", "configmaps")]).await?;
    world.unbind(&binding).await?;
    Ok(format!("after {took:.0?}"))
}

async fn external(world: &World<'_>) -> Result<String> {
    let roles: Api<ClusterRole> = Api::all(world.direct.clone());
    let own = ClusterRole {
        metadata: ObjectMeta {
            name: Some("e2e-external".into()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["pods".into()]),
            verbs: vec!["get".into()],
            ..PolicyRule::default()
        }]),
        ..ClusterRole::default()
    };
    let own = roles.create(&PostParams::default(), &own).await?;
    let says = rule(&["pods", "services"], &["get"]);
    let fields = json!({"external": true, "externalRules": [says]});
    template(world, "e2e-external", fields).await?;
    let eli = world.person("eli").await?;
    let binding = world.bind("e2e-external", user(&eli)).await?;
    allowed(&eli, "get", "pods").await?;
    // The cluster's role says what is allowed, not what the template says of it.
    may_exactly(&eli.client, "default", &[], &[("get", "services")]).await?;
    world.unbind(&binding).await?;
    denied(world, &eli, "get", "pods").await?;
    let after = roles.get("e2e-external").await?;
    ensure!(after == own, "the cluster's role was changed: {after:?}");
    Ok("the cluster's role decides, and is left as it was".into())
}

async fn locked(world: &World<'_>) -> Result<String> {
    let (fay, binding, _) = reader(world, "fay").await?;
    let path = "/apis/management.cattle.io/v3/roletemplates/fay";
    let mut found = world.admin.call(Method::GET, path, None).await?;
    found["locked"] = json!(true);
    world.admin.call(Method::PUT, path, Some(&found)).await?;
    let gus = world.person("gus").await?;
    let refused = world
        .bind("fay", user(&gus))
        .await
        .err()
        .context("was bound")?;
    ensure!(format!("{refused:#}").contains("locked"), "{refused:#}");
    let made = only(&world.direct, &owner(world, &binding)).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(world.direct.clone());
    bindings
        .delete(&made.name_any(), &DeleteParams::default())
        .await?;
    eventually(SOON, async || {
        only(&world.direct, &owner(world, &binding)).await.map(drop)
    })
    .await?;
    allowed(&fay, "list", "configmaps").await?;
    world.unbind(&binding).await?;
    Ok("kept, repaired, and given to nobody else".into())
}

async fn foreign(world: &World<'_>) -> Result<String> {
    let roles: Api<ClusterRole> = Api::all(world.direct.clone());
    let others: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "e2e-foreign"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }))?;
    let others = roles.create(&PostParams::default(), &others).await?;
    let rules = json!({"rules": [rule(&["configmaps"], &["get"])]});
    template(world, "e2e-foreign", rules).await?;
    let hal = world.person("hal").await?;
    let binding = world.bind("e2e-foreign", user(&hal)).await?;
    eventually(SOON, async || {
        let (status, reason, message) = world.condition(CONDITION).await?;
        ensure!(
            status == "False" && reason == "NameTaken",
            "{status} {reason}"
        );
        ensure!(message.contains("ClusterRole e2e-foreign"), "{message}");
        Ok(())
    })
    .await?;
    may_exactly(
        &hal.client,
        "default",
        &[],
        &[("get", "configmaps"), ("get", "secrets")],
    )
    .await?;
    ensure!(
        whole(&world.direct, &owner(world, &binding))
            .await?
            .is_empty(),
        "bound"
    );
    ensure!(
        roles.get("e2e-foreign").await? == others,
        "somebody else's role was changed"
    );
    roles
        .delete("e2e-foreign", &DeleteParams::default())
        .await?;
    let limit = Duration::from_secs(40);
    let took = eventually(limit, async || {
        let found = may(&hal.client, "default", "get", "", "configmaps").await?;
        ensure!(found, "not yet");
        Ok(())
    })
    .await?;
    eventually(SOON, async || {
        let (status, _, message) = world.condition(CONDITION).await?;
        ensure!(status == "True", "{message}");
        Ok(())
    })
    .await?;
    world.unbind(&binding).await?;
    Ok(format!("the role came {took:.0?} after the name was free"))
}

async fn group(world: &World<'_>) -> Result<String> {
    const GROUP: &str = "openldap_group://cn=ops,ou=gruppen,dc=köln";
    let rules = json!({"rules": [rule(&["configmaps"], &["get"])]});
    template(world, "e2e-group", rules).await?;
    let failed = value(world, "lariat_downstream_failures_total", "").await?;
    let binding = world
        .bind("e2e-group", json!({"groupPrincipalName": GROUP}))
        .await?;
    let took = eventually(SOON, async || {
        let found = only(&world.direct, &owner(world, &binding)).await?;
        let subjects = found.subjects.unwrap_or_default();
        let is_group =
            |it: &k8s_openapi::api::rbac::v1::Subject| it.kind == "Group" && it.name == GROUP;
        ensure!(subjects.iter().any(is_group), "{subjects:?}");
        Ok(())
    })
    .await?;
    let agent = "--as=system:serviceaccount:cattle-system:cattle";
    let as_group = |group: &str| {
        let group = format!("groups/{group}");
        world.kubectl_as_owner(&["auth", "can-i", "impersonate", &group, agent])
    };
    eventually(SOON, async || as_group(GROUP).map(drop)).await?;
    for other in ["system:masters", "openldap_group://cn=others"] {
        ensure!(
            as_group(other).is_err(),
            "the agent may ask in the name of {other}"
        );
    }
    let (status, _, message) = world.condition(CONDITION).await?;
    ensure!(status == "True", "{message}");
    let words = [
        "auth",
        "can-i",
        "get",
        "configmaps",
        "--as=u-x",
        "--as-group",
        GROUP,
    ];
    world.kubectl_as_owner(&words)?;
    world.unbind(&binding).await?;
    eventually(SOON, async || {
        ensure_that(as_group(GROUP).is_err(), "still")
    })
    .await?;
    // The agent could ask in its name, through its policy too.
    let now = value(world, "lariat_downstream_failures_total", "").await?;
    ensure!(failed == now, "{failed} failures before, {now} after");
    Ok(format!("after {took:.0?}"))
}

async fn administrators(world: &World<'_>) -> Result<String> {
    let bindings: Api<ClusterRoleBinding> = Api::all(world.direct.clone());
    let params = ListParams::default().labels(MANAGED);
    let all = bindings.list(&params).await?.items;
    let of_admins = |it: &&ClusterRoleBinding| it.name_any().starts_with("globaladmin-u-");
    ensure!(
        all.iter().filter(of_admins).count() == 1,
        "of the first administrator"
    );
    let ida = world.person("ida").await?;
    let name = format!("globaladmin-{}", ida.id);
    let fields = json!({"globalRoleName": "admin", "userName": ida.id});
    let given = world
        .make("globalrolebindings", "", "GlobalRoleBinding", fields)
        .await?;
    let took = eventually(SOON, async || {
        let found = bindings.get_opt(&name).await?.context("no binding")?;
        ensure!(
            found.role_ref.name == "cluster-admin",
            "{:?}",
            found.role_ref
        );
        Ok(())
    })
    .await?;
    world.kubectl(&ida, &["get", "secrets", "-A"])?;
    world.unmake("globalrolebindings", "", &given).await?;
    let gone = async || ensure_that(bindings.get_opt(&name).await?.is_none(), "stays");
    let gone = eventually(SOON, gone).await?;
    Ok(format!("there after {took:.0?}, gone after {gone:.0?}"))
}

async fn project(world: &World<'_>, name: &str) -> Result<String> {
    let fields = json!({"spec": {"displayName": name}});
    world.make("projects", &world.id, "Project", fields).await
}

async fn bind_in(world: &World<'_>, project: &str, role: &str, person: &Person) -> Result<String> {
    let named = format!("{}:{project}", world.id);
    let fields = json!({"projectName": named, "roleTemplateName": role, "userName": person.id});
    let kind = "ProjectRoleTemplateBinding";
    world
        .make("projectroletemplatebindings", project, kind, fields)
        .await
}

async fn may_soon(person: &Person, namespace: &str, expected: bool) -> Result<Duration> {
    eventually(SOON, async || {
        let found = may(&person.client, namespace, "create", "", "configmaps").await?;
        ensure!(found == expected, "in {namespace}: {found}");
        Ok(())
    })
    .await
}

async fn projects(world: &World<'_>) -> Result<String> {
    let (left, right) = (
        project(world, "left").await?,
        project(world, "right").await?,
    );
    let whole = |project: &str| format!("{}:{project}", world.id);
    make_namespace(&world.direct, "e2e-one", &whole(&left)).await?;
    make_namespace(&world.direct, "e2e-two", "").await?;
    let jan = world.person("jan").await?;
    let binding = bind_in(world, &left, "project-member", &jan).await?;
    let took = may_soon(&jan, "e2e-one", true).await?;
    may_soon(&jan, "e2e-two", false).await?;
    may_exactly(
        &jan.client,
        "e2e-one",
        &[("get", "secrets")],
        &[("create", "rolebindings")],
    )
    .await?;
    may_exactly(
        &jan.client,
        "",
        &[],
        &[("get", "configmaps"), ("get", "nodes")],
    )
    .await?;

    move_namespace(&world.direct, "e2e-two", Some(&whole(&left))).await?;
    let came = may_soon(&jan, "e2e-two", true).await?;
    move_namespace(&world.direct, "e2e-one", Some(&whole(&right))).await?;
    let went = may_soon(&jan, "e2e-one", false).await?;
    move_namespace(&world.direct, "e2e-two", Some("c-other:p-other")).await?;
    may_soon(&jan, "e2e-two", false).await?;
    move_namespace(&world.direct, "e2e-two", Some(&whole(&left))).await?;
    may_soon(&jan, "e2e-two", true).await?;

    let of = format!("{left}_{binding}");
    let made = within(&world.direct, &of).await?;
    ensure!(
        made.iter().all(|it| it.name_any().starts_with("rb-")),
        "names"
    );
    let first = made.first().context("no RoleBinding")?.clone();
    let bindings: Api<RoleBinding> = Api::namespaced(world.direct.clone(), "e2e-two");
    bindings
        .delete(&first.name_any(), &DeleteParams::default())
        .await?;
    let again = async || ensure_that(bindings.get_opt(&first.name_any()).await?.is_some(), "gone");
    eventually(SOON, again).await?;

    world.unmake("projects", &world.id, &left).await?;
    eventually(SOON, async || {
        ensure_that(
            within(&world.direct, &of).await?.is_empty(),
            "bindings stay",
        )
    })
    .await?;
    denied(world, &jan, "create", "configmaps").await?;
    Ok(format!(
        "there after {took:.0?}, came {came:.0?}, went {went:.0?} after the move"
    ))
}

async fn promoted(world: &World<'_>) -> Result<String> {
    let project = project(world, "promoted").await?;
    let kim = world.person("kim").await?;
    let binding = bind_in(world, &project, "read-only", &kim).await?;
    eventually(SOON, async || {
        let listed = may(&kim.client, "", "list", "storage.k8s.io", "storageclasses").await?;
        ensure_that(listed, "not yet")
    })
    .await?;
    let refused = [
        ("delete", "persistentvolumes"),
        ("list", "nodes"),
        ("list", "secrets"),
    ];
    may_exactly(&kim.client, "", &[("list", "persistentvolumes")], &refused).await?;
    world
        .unmake("projectroletemplatebindings", &project, &binding)
        .await?;
    denied(world, &kim, "list", "persistentvolumes").await?;
    Ok("reads what is listed, and no more".into())
}

async fn default_role(world: &World<'_>) -> Result<String> {
    let path = format!("/apis/management.cattle.io/v3/clusters/{}", world.id);
    let set = async |role: &str| {
        let mut found = world.admin.call(Method::GET, &path, None).await?;
        found["spec"]["defaultClusterRoleForProjectMembers"] = json!(role);
        world.admin.call(Method::PUT, &path, Some(&found)).await
    };
    set("cluster-member").await?;
    let project = project(world, "default role").await?;
    let lea = world.person("lea").await?;
    bind_in(world, &project, "create-ns", &lea).await?;
    let nodes = async |expected: bool| {
        eventually(SOON, async || {
            let found = may(&lea.client, "", "list", "", "nodes").await?;
            ensure!(found == expected, "may list nodes: {found}");
            Ok(())
        })
        .await
    };
    nodes(true).await?;
    set("").await?;
    nodes(false).await?;
    world.unmake("projects", &world.id, &project).await?;
    Ok("given and taken".into())
}

async fn away(world: &World<'_>) -> Result<String> {
    let (mia, stays, _) = reader(world, "mia").await?;
    let (ned, goes, _) = reader(world, "ned").await?;
    let ola = world.person("ola").await?;
    world.disconnect().await?;
    world.unbind(&goes).await?;
    let comes = world.bind("mia", user(&ola)).await?;
    let made = only(&world.direct, &owner(world, &stays)).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(world.direct.clone());
    bindings
        .delete(&made.name_any(), &DeleteParams::default())
        .await?;
    let started = Instant::now();
    world.connect().await?;
    for person in [&mia, &ola] {
        eventually(SOON * 2, async || {
            let found = may(&person.client, "default", "list", "", "configmaps").await?;
            ensure_that(found, "not yet")
        })
        .await?;
    }
    denied(world, &ned, "list", "configmaps").await?;
    let took = started.elapsed();
    for binding in [stays, comes] {
        world.unbind(&binding).await?;
    }
    Ok(format!("{took:.0?} after the agent's process began"))
}

async fn restarted(world: &World<'_>) -> Result<String> {
    let (pam, binding, _) = reader(world, "pam").await?;
    let made = only(&world.direct, &owner(world, &binding)).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(world.direct.clone());
    let others = json!({
        "metadata": {"name": "e2e-surplus", "labels": {MANAGED: "true"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let (surplus, mut foreign) = (serde_json::from_value(others.clone())?, others);
    foreign["metadata"] = json!({"name": "e2e-not-ours"});
    {
        let mut server = world.server.lock().await;
        server.kill();
        bindings
            .delete(&made.name_any(), &DeleteParams::default())
            .await?;
        for forged in [surplus, serde_json::from_value(foreign)?] {
            bindings.create(&PostParams::default(), &forged).await?;
        }
        server.restart().await?;
    }
    let limit = Duration::from_secs(20);
    let took = eventually(limit, async || {
        let found = bindings.get_opt(&made.name_any()).await?;
        ensure!(found.is_some(), "the binding does not come back");
        let surplus = bindings.get_opt("e2e-surplus").await?;
        ensure_that(surplus.is_none(), "what nobody gave stays")
    })
    .await?;
    ensure!(
        bindings.get_opt("e2e-not-ours").await?.is_some(),
        "somebody else's is gone"
    );
    allowed(&pam, "list", "configmaps").await?;
    world.unbind(&binding).await?;
    Ok(format!("{took:.0?} after the server was ready"))
}

/// A metric of the cluster.
async fn value(world: &World<'_>, name: &str, label: &str) -> Result<f64> {
    let page = world.admin.text("/metrics").await?;
    let line = format!("{name}{{cluster=\"{}\"{label}}}", world.id);
    let mut lines = page.lines();
    let found = lines.find_map(|one| one.strip_prefix(line.as_str()));
    let value = found.and_then(|value| value.trim().parse().ok());
    value.with_context(|| format!("no {line} in:\n{page}"))
}

async fn metrics(world: &World<'_>) -> Result<String> {
    let (_, binding, _) = reader(world, "quy").await?;
    let objects = value(world, "lariat_downstream_objects", "").await?;
    let changes = "lariat_downstream_changes_total";
    let created = value(world, changes, ",change=\"created\"").await?;
    let last = value(world, "lariat_downstream_last_sync_timestamp_seconds", "").await?;
    ensure!(last > 1e9, "no time");
    ensure!(
        objects >= 2.0 && created >= 2.0,
        "{objects} objects, {created} created"
    );
    world.unbind(&binding).await?;
    Ok(format!("{objects} objects"))
}
