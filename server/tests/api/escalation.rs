//! Nobody hands on more than they hold.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::access::{
    all, cluster_with_project, crtb, grb, made, name, prtb, rule, template, within,
};
use super::harness::{Client, TestServer, cluster, object};

const MANAGE: [&str; 7] = [
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// A server with the clusters `one` and `two`, roles of different might, and somebody to try.
struct Stage {
    server: TestServer,
    admin: Client,
    mallory: Client,
    id: String,
    /// Somebody to whom things are given.
    other: String,
}

impl Stage {
    async fn set() -> Self {
        let server = TestServer::start().await;
        let admin = server.admin().await;
        for name in ["one", "two"] {
            cluster_with_project(&admin, name).await;
        }
        let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        template(
            &admin,
            "might",
            "cluster",
            std::slice::from_ref(&everything),
        )
        .await;
        template(&admin, "pods", "cluster", &[pods()]).await;
        let giver = [pods(), rule(&["*"], &["clusterroletemplatebindings"])];
        template(&admin, "giver", "cluster", &giver).await;
        template(&admin, "dev", "project", &[pods()]).await;
        template(&admin, "all-there", "project", &[everything]).await;
        let lead = [pods(), rule(&["*"], &["projectroletemplatebindings"])];
        template(&admin, "lead", "project", &lead).await;
        let (mallory, id) = server.user(&admin, "mallory").await;
        let (_, other) = server.user(&admin, "other").await;
        Self {
            server,
            admin,
            mallory,
            id,
            other,
        }
    }

    /// Gives somebody a GlobalRole.
    async fn give(&self, role: &str, fields: Value) {
        made(
            &self.admin,
            &all("globalroles"),
            &object("GlobalRole", role, fields),
        )
        .await;
        made(
            &self.admin,
            &all("globalrolebindings"),
            &grb(&self.id, role),
        )
        .await;
    }

    async fn give_in(&self, cluster: &str, role: &str) {
        let path = within(cluster, "clusterroletemplatebindings");
        made(&self.admin, &path, &crtb(&self.id, role)).await;
    }
}

fn pods() -> Value {
    json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]})
}

fn secrets() -> Value {
    json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]})
}

#[tokio::test]
async fn a_role_in_a_cluster_is_given_by_who_holds_it_there() {
    let stage = Stage::set().await;
    let (mallory, other) = (&stage.mallory, stage.other.as_str());
    let path = |cluster: &str| within(cluster, "clusterroletemplatebindings");
    stage.give_in("one", "pods").await;
    mallory
        .post(&path("one"), &crtb(other, "pods"))
        .await
        .refusal(403);

    stage.give_in("one", "giver").await;
    made(mallory, &path("one"), &crtb(other, "pods")).await;
    let given = made(mallory, &path("one"), &crtb(other, "giver")).await;
    let refused = mallory
        .post(&path("one"), &crtb(&stage.id, "might"))
        .await
        .refusal(403);
    let expected = "is attempting to grant permissions not currently held in one:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}";
    assert!(refused.contains(expected), "{refused}");
    let dry = format!("{}?dryRun=All", path("one"));
    mallory
        .post(&dry, &crtb(&stage.id, "might"))
        .await
        .refusal(403);
    // Nor by server-side apply or update as create.
    let mut named = crtb(&stage.id, "might");
    named["metadata"]["name"] = json!("mine");
    let applied = Request::patch(format!("{}/mine?fieldManager=m", path("one")))
        .header("content-type", "application/apply-patch+yaml")
        .body(Full::new(named.to_string().into()));
    mallory.answer(applied.unwrap()).await.refusal(403);

    // In another cluster, be it said by the name or by the namespace.
    mallory
        .post(&path("two"), &crtb(other, "pods"))
        .await
        .refusal(403);
    let mut elsewhere = crtb(other, "pods");
    elsewhere["clusterName"] = json!("two");
    mallory.post(&path("one"), &elsewhere).await.refusal(422);
    elsewhere["clusterName"] = json!("one");
    mallory.post(&path("two"), &elsewhere).await.refusal(403);
    let binding = format!("{}/{}", path("one"), name(&given));
    for moved in [
        json!({"roleTemplateName": "might"}),
        json!({"clusterName": "two"}),
        json!({"userName": stage.id}),
        json!({"groupPrincipalName": "openldap_group://all", "userName": null}),
    ] {
        mallory.patch(&binding, &moved).await.refusal(422);
    }
    // What it names can be held by nobody.
    for subject in ["groupName", "groupPrincipalName"] {
        for group in ["system:masters", "lariat:administrators"] {
            let mut masters = crtb(other, "pods");
            masters.as_object_mut().unwrap().remove("userName");
            masters[subject] = json!(group);
            mallory.post(&path("one"), &masters).await.refusal(422);
        }
    }
}

/// By what one may give others to be given.
#[tokio::test]
async fn the_role_of_people_in_projects_is_held_by_who_chooses_it() {
    let stage = Stage::set().await;
    let choose = json!({"rules": [rule(&["get", "update", "patch"], &["clusters"])]});
    stage.give("choose", choose).await;
    let field = |role: &str| json!({"spec": {"defaultClusterRoleForProjectMembers": role}});
    stage
        .mallory
        .patch(&cluster("one"), &field("might"))
        .await
        .refusal(403);
    stage
        .mallory
        .patch(&cluster("one"), &field("pods"))
        .await
        .refusal(403);
    stage.give_in("one", "pods").await;
    let given = stage.mallory.patch(&cluster("one"), &field("pods")).await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text());
}

#[tokio::test]
async fn a_role_in_a_project_is_given_by_who_holds_it_there() {
    let stage = Stage::set().await;
    let (admin, mallory, other) = (&stage.admin, &stage.mallory, stage.other.as_str());
    let path = |project: &str| within(project, "projectroletemplatebindings");
    made(admin, &path("p-one"), &prtb(&stage.id, "one:p-one", "dev")).await;
    let dev = prtb(other, "one:p-one", "dev");
    mallory.post(&path("p-one"), &dev).await.refusal(403);

    made(admin, &path("p-one"), &prtb(&stage.id, "one:p-one", "lead")).await;
    made(mallory, &path("p-one"), &dev).await;
    let more = prtb(&stage.id, "one:p-one", "all-there");
    let refused = mallory.post(&path("p-one"), &more).await.refusal(403);
    assert!(refused.contains("not currently held in p-one"), "{refused}");
    let for_clusters = prtb(other, "one:p-one", "pods");
    mallory
        .post(&path("p-one"), &for_clusters)
        .await
        .refusal(422);
    let foreign = prtb(other, "two:p-two", "dev");
    mallory.post(&path("p-one"), &foreign).await.refusal(422);
    mallory.post(&path("p-two"), &foreign).await.refusal(403);
    let lied = prtb(other, "two:p-one", "dev");
    mallory.post(&path("p-one"), &lied).await.refusal(422);
    mallory
        .post(
            &within("one", "clusterroletemplatebindings"),
            &crtb(other, "pods"),
        )
        .await
        .refusal(403);
}

/// The agent's key is in a namespace of the system project.
#[tokio::test]
async fn roles_in_the_system_project_are_given_by_owners_of_the_cluster() {
    let stage = Stage::set().await;
    let (admin, mallory) = (&stage.admin, &stage.mallory);
    let projects = admin.get(&within("one", "projects")).await.json()["items"].clone();
    let mut projects = projects.as_array().unwrap().iter();
    let system = projects.find(|project| project["spec"]["displayName"] == "System");
    let system = name(system.unwrap()).to_owned();
    let path = within(&system, "projectroletemplatebindings");
    let full = format!("one:{system}");
    made(admin, &path, &prtb(&stage.id, &full, "lead")).await;
    let dev = prtb(&stage.other, &full, "dev");
    let refused = mallory.post(&path, &dev).await.refusal(403);
    assert!(refused.contains("only owners of the cluster"), "{refused}");
    stage.give_in("one", "might").await;
    made(mallory, &path, &dev).await;
}

#[tokio::test]
async fn a_template_has_no_more_than_its_writer_holds_in_every_cluster() {
    let stage = Stage::set().await;
    let (admin, mallory) = (&stage.admin, &stage.mallory);
    let path = all("roletemplates");
    let new = |fields: Value| object("RoleTemplate", "mine", fields);
    mallory
        .post(&path, &new(json!({"context": "cluster"})))
        .await
        .refusal(403);
    // Secrets of the management API are none of a cluster.
    let manage = rule(&MANAGE, &["roletemplates"]);
    stage
        .give(
            "roles",
            json!({"rules": [manage, secrets()], "inheritedClusterRoles": ["pods"]}),
        )
        .await;
    let held = new(json!({"context": "cluster", "rules": [pods()], "roleTemplateNames": ["pods"]}));
    let mine = made(mallory, &path, &held).await;
    let at = format!("{path}/mine");

    for (fields, status) in [
        (json!({"rules": [pods(), secrets()]}), 403),
        (json!({"roleTemplateNames": ["might"]}), 403),
        (json!({"roleTemplateNames": ["giver", "pods"]}), 403),
        (json!({"roleTemplateNames": ["cluster-admin"]}), 403),
        (json!({"roleTemplateNames": ["secrets-view"]}), 403),
        (json!({"roleTemplateNames": ["mine"]}), 422),
        (json!({"context": "project"}), 422),
        (
            json!({"external": true, "rules": [], "externalRules": [pods()]}),
            403,
        ),
        (json!({"clusterCreatorDefault": true}), 403),
    ] {
        let refused = mallory.patch(&at, &fields).await;
        refused.refusal(status);
    }
    for (name, fields) in [
        (
            "x",
            json!({"context": "project", "external": true, "externalRules": [pods()]}),
        ),
        (
            "y",
            json!({"context": "project", "rules": [pods()], "projectCreatorDefault": true}),
        ),
        ("z", json!({"context": "cluster", "rules": [secrets()]})),
    ] {
        let refused = mallory
            .post(&path, &object("RoleTemplate", name, fields))
            .await
            .refusal(403);
        assert!(
            refused.contains("escalate") || refused.contains("not currently held"),
            "{refused}"
        );
    }
    admin
        .post(
            &path,
            &object("RoleTemplate", "x", json!({"external": true})),
        )
        .await
        .refusal(422);

    // What others are bound to is not raised either, and what gives nothing may be changed.
    mallory
        .patch(
            &format!("{path}/dev"),
            &json!({"rules": [pods(), secrets()]}),
        )
        .await
        .refusal(403);
    let told = mallory
        .patch(&format!("{path}/might"), &json!({"description": "all"}))
        .await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    let fewer = mallory.patch(&at, &json!({"rules": []})).await;
    assert_eq!(fewer.status, StatusCode::OK, "{}", fewer.text());
    assert_eq!(mine["rules"], json!([pods()]));
    // Recording is no matter of who is recorded.
    admin
        .patch(&at, &json!({"sessionRecording": "required"}))
        .await;
    mallory
        .patch(&at, &json!({"sessionRecording": ""}))
        .await
        .refusal(403);

    stage
        .give(
            "raise",
            json!({"rules": [rule(&["escalate"], &["roletemplates"])]}),
        )
        .await;
    let raised = mallory.patch(&at, &json!({"rules": [secrets()]})).await;
    assert_eq!(raised.status, StatusCode::OK, "{}", raised.text());
}

#[tokio::test]
async fn a_global_role_has_no_more_than_its_writer_holds() {
    let stage = Stage::set().await;
    let (admin, mallory) = (&stage.admin, &stage.mallory);
    let (roles, bindings) = (all("globalroles"), all("globalrolebindings"));
    let manage = rule(&MANAGE, &["globalroles", "globalrolebindings"]);
    stage
        .give("roles", json!({"rules": [manage, pods()]}))
        .await;
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let might = object("GlobalRole", "everything", json!({"rules": [everything]}));
    made(admin, &roles, &might).await;
    let wide = json!({"inheritedClusterRoles": ["might"]});
    made(admin, &roles, &object("GlobalRole", "wide", wide.clone())).await;
    let local = json!({"namespacedRules": {"cattle-system": [secrets()]}});
    made(admin, &roles, &object("GlobalRole", "local", local.clone())).await;

    let mine = object("GlobalRole", "mine", json!({"rules": [pods()]}));
    made(mallory, &roles, &mine).await;
    made(mallory, &bindings, &grb(&stage.other, "mine")).await;
    let at = format!("{roles}/mine");
    for fields in [
        json!({"rules": [secrets()]}),
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]}),
        json!({"rules": [rule(&["escalate", "bind"], &["globalroles"])]}),
        wide,
        local,
        json!({"newUserDefault": true}),
    ] {
        mallory.patch(&at, &fields).await.refusal(403);
        let fresh = object("GlobalRole", "fresh", fields);
        mallory.post(&roles, &fresh).await.refusal(403);
    }
    for role in ["admin", "settings-manage", "everything", "wide", "local"] {
        let refused = mallory
            .post(&bindings, &grb(&stage.id, role))
            .await
            .refusal(403);
        assert!(refused.contains("not currently held"), "{role}: {refused}");
    }
    // Nor are administrators made fewer.
    let admins = admin.get(&bindings).await.json()["items"].clone();
    let mut admins = admins.as_array().unwrap().iter();
    let first = admins.find(|binding| binding["globalRoleName"] == "admin");
    let first = format!("{bindings}/{}", name(first.unwrap()));
    let refused = mallory.delete(&first).await.refusal(403);
    assert!(refused.contains("only administrators"), "{refused}");
    // A role that comes with the server stays as it is.
    let own = json!({"apiVersion": "management.cattle.io/v3", "kind": "GlobalRole",
        "metadata": {"name": "built"}, "builtin": true, "rules": []});
    let request = Request::post(&roles).header("content-type", "application/json");
    let request = request.body(own.to_string().into_bytes()).unwrap();
    let _: Value = stage.server.app.own.request(request).await.unwrap();
    for change in [json!({"builtin": false}), json!({"rules": [pods()]})] {
        let changed = mallory.patch(&format!("{roles}/built"), &change).await;
        if changed.status == StatusCode::OK {
            assert_eq!(changed.json()["builtin"], true);
        } else {
            changed.refusal(403);
        }
    }
    mallory.get("/api/v1/secrets").await.refusal(403);

    stage
        .give(
            "binder",
            json!({"rules": [rule(&["bind"], &["globalroles"])]}),
        )
        .await;
    made(mallory, &bindings, &grb(&stage.id, "local")).await;
    let path = "/api/v1/namespaces/cattle-system/secrets/none";
    mallory.get(path).await.refusal(404);
}

#[tokio::test]
async fn who_manages_users_takes_nobody_over_who_may_do_more() {
    let stage = Stage::set().await;
    let (admin, mallory) = (&stage.admin, &stage.mallory);
    let manage = rule(&MANAGE, &["users"]);
    stage.give("manager", json!({"rules": [manage]})).await;
    let at = format!("{}/{}", all("users"), stage.other);
    let taken = json!({"password": "mallory's own password"});
    let changed = mallory.patch(&at, &taken).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());

    let path = within("one", "clusterroletemplatebindings");
    let binding = made(admin, &path, &crtb(&stage.other, "pods")).await;
    for change in [&taken, &json!({"enabled": false})] {
        let refused = mallory.patch(&at, change).await.refusal(403);
        assert!(refused.contains("not currently held"), "{refused}");
    }
    let told = mallory.patch(&at, &json!({"description": "told"})).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text());
    stage.give_in("one", "giver").await;
    let changed = mallory.patch(&at, &taken).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let at_binding = format!("{path}/{}", name(&binding));
    assert_eq!(admin.delete(&at_binding).await.status, StatusCode::OK);

    // By a role of Kubernetes in one namespace.
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/cattle-system";
    let role = json!({"metadata": {"name": "r"}, "rules": [secrets()]});
    made(admin, &format!("{rbac}/roles"), &role).await;
    let binding = json!({"metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": stage.other}]});
    made(admin, &format!("{rbac}/rolebindings"), &binding).await;
    let refused = mallory.patch(&at, &taken).await.refusal(403);
    assert!(
        refused.contains("not currently held in cattle-system"),
        "{refused}"
    );
    stage
        .give(
            "all-users",
            json!({"rules": [rule(&["manage-users"], &["users"])]}),
        )
        .await;
    let changed = mallory.patch(&at, &taken).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
}

#[tokio::test]
async fn a_locked_template_is_given_to_nobody_and_kept_by_who_has_it() {
    let stage = Stage::set().await;
    let (admin, mallory) = (&stage.admin, &stage.mallory);
    stage.give_in("one", "giver").await;
    let path = within("one", "clusterroletemplatebindings");
    let old = made(mallory, &path, &crtb(&stage.other, "pods")).await;
    for locked in ["giver", "pods"] {
        let path = format!("{}/{locked}", all("roletemplates"));
        let answer = admin.patch(&path, &json!({"locked": true})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    for client in [admin, mallory] {
        let refused = client
            .post(&path, &crtb(&stage.id, "pods"))
            .await
            .refusal(422);
        assert!(refused.contains("is locked"), "{refused}");
    }
    let at = format!("{path}/{}", name(&old));
    mallory
        .patch(&at, &json!({"roleTemplateName": "giver"}))
        .await
        .refusal(422);
    let touched = mallory
        .patch(&at, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    assert_eq!(touched.status, StatusCode::OK, "{}", touched.text());
    assert_eq!(mallory.get(&cluster("one")).await.status, StatusCode::OK);
}
