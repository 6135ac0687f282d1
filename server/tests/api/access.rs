//! Roles and bindings decide who sees and does what.

use http::{Method, StatusCode};
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{User, UserAttribute};
use serde_json::{Value, json};

use super::harness::{Client, LIMIT, TestServer, cluster, clusters, object, users};

const API: &str = "/apis/management.cattle.io/v3";
pub(super) const OPS: &str = "openldap_group://cn=ops,dc=example";

pub(super) fn all(plural: &str) -> String {
    format!("{API}/{plural}")
}

pub(super) fn within(namespace: &str, plural: &str) -> String {
    format!("{API}/namespaces/{namespace}/{plural}")
}

pub(super) async fn made(client: &Client, path: &str, object: &Value) -> Value {
    let answer = client.post(path, object).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()
}

pub(super) fn rule(verbs: &[&str], kinds: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": ["management.cattle.io"], "resources": kinds})
}

pub(super) async fn template(admin: &Client, name: &str, context: &str, rules: &[Value]) {
    let fields = json!({"context": context, "rules": rules});
    let template = object("RoleTemplate", name, fields);
    made(admin, &all("roletemplates"), &template).await;
}

pub(super) fn crtb(to: &str, role: &str) -> Value {
    let subject = if to.contains("_group://") {
        "groupPrincipalName"
    } else if to.contains("://") {
        "userPrincipalName"
    } else {
        "userName"
    };
    let fields = json!({subject: to, "roleTemplateName": role});
    object("ClusterRoleTemplateBinding", "", fields)
}

pub(super) fn prtb(user: &str, project: &str, role: &str) -> Value {
    let fields = json!({"userName": user, "projectName": project, "roleTemplateName": role});
    object("ProjectRoleTemplateBinding", "", fields)
}

pub(super) fn grb(user: &str, role: &str) -> Value {
    let fields = json!({"userName": user, "globalRoleName": role});
    object("GlobalRoleBinding", "", fields)
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// A cluster with a project `p-NAME`.
pub(super) async fn cluster_with_project(admin: &Client, name: &str) {
    made(admin, &clusters(), &object("Cluster", name, json!({}))).await;
    let project = json!({"spec": {"displayName": name}});
    let project = object("Project", &format!("p-{name}"), project);
    made(admin, &within(name, "projects"), &project).await;
}

/// Names of what somebody sees in a list.
async fn seen(client: &Client, path: &str) -> Vec<String> {
    let answer = client.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| name(item).to_owned()).collect()
}

/// Whether somebody may do that, and why.
async fn may(client: &Client, verb: &str, resource: &str, namespace: &str) -> (bool, String) {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": verb, "group": "management.cattle.io",
            "resource": resource, "namespace": namespace}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let status = made(client, path, &review).await["status"].clone();
    let reason = status["reason"].as_str().unwrap_or_default();
    (status["allowed"] == true, reason.to_owned())
}

#[tokio::test]
async fn a_binding_gives_its_cluster_and_what_the_template_says_there_until_it_is_deleted() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["one", "two"] {
        cluster_with_project(&admin, name).await;
    }
    let read = ["get", "list", "watch"];
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods"]});
    let rules = [rule(&read, &["projects"]), everything];
    template(&admin, "viewer", "cluster", &rules).await;
    assert_eq!(seen(&ann, &clusters()).await, [""; 0]);
    ann.get(&within("one", "projects")).await.refusal(403);

    let path = within("one", "clusterroletemplatebindings");
    let binding = made(&admin, &path, &crtb(&ann_id, "viewer")).await;
    assert_eq!(seen(&ann, &clusters()).await, ["one"]);
    assert_eq!(ann.get(&cluster("one")).await.status, StatusCode::OK);
    ann.get(&cluster("two")).await.refusal(403);
    ann.delete(&cluster("one")).await.refusal(403);
    assert_eq!(seen(&ann, &within("one", "projects")).await.len(), 3);
    // All over, as far as it goes.
    assert_eq!(seen(&ann, &all("projects")).await.len(), 3);
    ann.get(&within("two", "projects")).await.refusal(403);
    ann.get(&path).await.refusal(403);
    let made_up = object("Project", "", json!({"spec": {"displayName": "x"}}));
    ann.post(&within("one", "projects"), &made_up)
        .await
        .refusal(403);
    let (allowed, why) = may(&ann, "list", "projects", "one").await;
    let because = format!(
        "RBAC: allowed by ClusterRoleTemplateBinding \"{}/one\" of RoleTemplate \"viewer\" to User \"{ann_id}\"",
        name(&binding)
    );
    assert_eq!((allowed, why), (true, because));
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "one"}});
    let path_of_review = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let held = made(&ann, path_of_review, &review).await["status"]["resourceRules"].clone();
    let held = held.as_array().unwrap();
    assert!(held.contains(&rule(&read, &["projects"])), "{held:?}");

    admin.delete(&format!("{path}/{}", name(&binding))).await;
    assert_eq!(seen(&ann, &clusters()).await, [""; 0]);
    ann.get(&cluster("one")).await.refusal(403);
    assert!(!may(&ann, "list", "projects", "one").await.0);
}

#[tokio::test]
async fn who_owns_a_cluster_manages_it_and_nothing_of_the_server_in_its_namespace() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (_, bob_id) = server.user(&admin, "bob").await;
    cluster_with_project(&admin, "one").await;
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    template(&admin, "owner", "cluster", &[everything]).await;
    template(&admin, "viewer", "cluster", &[]).await;
    template(&admin, "dev", "project", &[]).await;
    let bindings = within("one", "clusterroletemplatebindings");
    made(&admin, &bindings, &crtb(&ann_id, "owner")).await;

    let mut one = ann.get(&cluster("one")).await.json();
    one["spec"]["description"] = json!("changed");
    assert_eq!(ann.put(&cluster("one"), &one).await.status, StatusCode::OK);
    let token = object("ClusterRegistrationToken", "", json!({}));
    made(&ann, &within("one", "clusterregistrationtokens"), &token).await;
    made(&ann, &bindings, &crtb(&bob_id, "viewer")).await;
    let in_project = prtb(&bob_id, "one:p-one", "dev");
    made(
        &ann,
        &within("p-one", "projectroletemplatebindings"),
        &in_project,
    )
    .await;
    for path in [
        "/api/v1/namespaces/one/secrets",
        "/api/v1/namespaces/p-one/secrets",
        "/api/v1/namespaces/one/configmaps",
        "/api/v1/secrets",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/one/rolebindings",
    ] {
        ann.get(path).await.refusal(403);
    }
    let status = format!("{}/status", cluster("one"));
    ann.put(&status, &one).await.refusal(403);
    assert_eq!(ann.delete(&cluster("one")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_role_in_a_project_gives_the_project_and_its_cluster_to_see() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["one", "two"] {
        cluster_with_project(&admin, name).await;
    }
    let rules = [
        rule(&["*"], &["projectroletemplatebindings"]),
        rule(&["own"], &["projects"]),
    ];
    template(&admin, "lead", "project", &rules).await;
    let path = within("p-one", "projectroletemplatebindings");
    made(&admin, &path, &prtb(&ann_id, "one:p-one", "lead")).await;
    assert_eq!(seen(&ann, &clusters()).await, ["one"]);
    assert_eq!(seen(&ann, &all("projects")).await, ["p-one"]);
    assert_eq!(seen(&ann, &path).await.len(), 1);
    let mut project = ann
        .get(&format!("{}/p-one", within("one", "projects")))
        .await
        .json();
    project["spec"]["description"] = json!("ours");
    let put = ann
        .put(&format!("{}/p-one", within("one", "projects")), &project)
        .await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    for path in [
        within("two", "projects"),
        within("one", "clusterroletemplatebindings"),
        within("p-two", "projectroletemplatebindings"),
    ] {
        ann.get(&path).await.refusal(403);
    }
    ann.delete(&cluster("one")).await.refusal(403);
}

#[tokio::test]
async fn groups_and_names_at_login_providers_count() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["one", "two", "three"] {
        made(&admin, &clusters(), &object("Cluster", name, json!({}))).await;
    }
    template(&admin, "viewer", "cluster", &[]).await;
    let principal = "openldap_user://uid=ann,dc=example";
    let bindings = |cluster: &str| within(cluster, "clusterroletemplatebindings");
    made(&admin, &bindings("one"), &crtb(OPS, "viewer")).await;
    made(&admin, &bindings("two"), &crtb(principal, "viewer")).await;
    assert_eq!(seen(&ann, &clusters()).await, [""; 0]);

    let own = &server.app.own;
    let users: Api<User> = Api::all(own.clone());
    let known = Patch::Merge(json!({"principalIds": [format!("local://{ann_id}"), principal]}));
    users
        .patch(&ann_id, &PatchParams::default(), &known)
        .await
        .unwrap();
    assert_eq!(seen(&ann, &clusters()).await, ["two"]);
    let said = Patch::Merge(json!({"groupPrincipals": {"openldap": {"items": [
        {"id": OPS, "principalType": "group"}, {"id": "system:masters", "principalType": "group"}]}}}));
    let attributes: Api<UserAttribute> = Api::all(own.clone());
    attributes
        .patch(&ann_id, &PatchParams::default(), &said)
        .await
        .unwrap();
    assert_eq!(seen(&ann, &clusters()).await, ["one", "two"]);
    ann.get("/api/v1/secrets").await.refusal(403);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = made(&ann, path, &review).await["status"]["userInfo"]["groups"].clone();
    assert!(who.as_array().unwrap().contains(&json!(OPS)), "{who}");
    assert!(!who.to_string().contains("masters"), "{who}");
}

#[tokio::test]
async fn global_roles_give_in_the_management_api_and_in_every_cluster() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    cluster_with_project(&admin, "one").await;
    let read = ["get", "list", "watch"];
    let rules = [rule(&read, &["projects"])];
    template(&admin, "viewer", "cluster", &rules).await;
    let config_maps = json!({"verbs": read, "apiGroups": [""], "resources": ["configmaps"]});
    let role = json!({
        "rules": [rule(&read, &["users"])],
        "namespacedRules": {"default": [config_maps]},
        "inheritedClusterRoles": ["viewer"],
    });
    made(
        &admin,
        &all("globalroles"),
        &object("GlobalRole", "support", role),
    )
    .await;
    let path = all("globalrolebindings");
    let binding = made(&admin, &path, &grb(&ann_id, "support")).await;
    assert_eq!(seen(&ann, &users()).await.len(), 2);
    assert_eq!(seen(&ann, &clusters()).await, ["one"]);
    assert_eq!(seen(&ann, &all("projects")).await.len(), 3);
    assert!(
        seen(&ann, "/api/v1/namespaces/default/configmaps")
            .await
            .is_empty()
    );
    ann.get("/api/v1/namespaces/kube-system/configmaps")
        .await
        .refusal(403);
    ann.get(&within("one", "clusterroletemplatebindings"))
        .await
        .refusal(403);
    // A cluster that comes later as well.
    cluster_with_project(&admin, "two").await;
    assert_eq!(seen(&ann, &clusters()).await, ["one", "two"]);
    admin.delete(&format!("{path}/{}", name(&binding))).await;
    assert_eq!(seen(&ann, &users()).await, [ann_id]);
    assert_eq!(seen(&ann, &clusters()).await, [""; 0]);
}

#[tokio::test]
async fn everybody_has_what_concerns_nobody_else() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (_, bob_id) = server.user(&admin, "bob").await;
    let theme = object("Preference", "theme", json!({"value": "dark"}));
    made(&ann, &within(&ann_id, "preferences"), &theme).await;
    ann.post(&within(&bob_id, "preferences"), &theme)
        .await
        .refusal(403);
    ann.get(&within(&bob_id, "preferences")).await.refusal(403);
    assert_eq!(seen(&ann, &all("preferences")).await, ["theme"]);
    assert_eq!(seen(&ann, &users()).await, std::slice::from_ref(&ann_id));
    ann.get(&format!("{}/{bob_id}", users())).await.refusal(403);
    ann.get(&all("globalroles")).await.refusal(403);
}

/// The bindings of a user who was deleted give nothing to the next one of that id.
#[tokio::test]
async fn a_user_made_again_under_an_old_id_inherits_nothing() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    made(&admin, &clusters(), &object("Cluster", "one", json!({}))).await;
    template(&admin, "viewer", "cluster", &[]).await;
    let user = |name: &str| {
        let fields = json!({"username": name, "password": super::harness::PASSWORD});
        object("User", "u-ann", fields)
    };
    made(&admin, &users(), &user("ann")).await;
    let path = within("one", "clusterroletemplatebindings");
    let binding = made(&admin, &path, &crtb("u-ann", "viewer")).await;
    let first = server.login("ann", super::harness::PASSWORD).await;
    assert_eq!(seen(&first, &clusters()).await, ["one"]);
    let orphan = format!("{}/u-ann?propagationPolicy=Orphan", users());
    assert_eq!(admin.delete(&orphan).await.status, StatusCode::OK);
    let again = async {
        while admin.post(&users(), &user("ann")).await.status != StatusCode::CREATED {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.unwrap();
    let second = server.login("ann", super::harness::PASSWORD).await;
    assert_eq!(seen(&second, &clusters()).await, [""; 0]);
    let kept = admin.get(&format!("{path}/{}", name(&binding))).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.text());
    // Nor is it theirs because somebody says so.
    let mut forged = kept.json();
    let uid = admin.get(&format!("{}/u-ann", users())).await.json()["metadata"]["uid"].clone();
    forged["metadata"]["ownerReferences"] = json!([{"apiVersion": "management.cattle.io/v3",
        "kind": "User", "name": "u-ann", "uid": uid}]);
    let path = format!("{path}/{}", name(&binding));
    let put = admin.send(Method::PUT, &path, Some(&forged)).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    assert_eq!(seen(&second, &clusters()).await, [""; 0]);
}

#[tokio::test]
async fn a_right_in_one_api_group_or_of_one_part_is_none_in_another() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    cluster_with_project(&admin, "one").await;
    let kinds = [
        "clusters",
        "users",
        "tokens",
        "secrets",
        "projects",
        "globalrolebindings",
        "clusterroletemplatebindings",
        "clusterroles",
    ];
    let elsewhere = json!({"verbs": ["*"], "apiGroups": ["example.org", "apps", "management.cattle.io/v3", "cattle.io"],
        "resources": kinds});
    let parts = json!({"verbs": ["*"], "apiGroups": ["*"],
        "resources": ["clusters/status", "users/status", "*/scale", "Clusters", "cluster"]});
    let one = json!({"verbs": ["*"], "apiGroups": ["management.cattle.io"], "resources": kinds,
        "resourceNames": ["another"]});
    let urls = json!({"verbs": ["*"], "nonResourceURLs": ["/apis/management.cattle.io/*", "/api/v1/*", "/v3/*", "/k8s/*"]});
    let rules = json!({"rules": [elsewhere, parts, one, urls]});
    made(
        &admin,
        &all("globalroles"),
        &object("GlobalRole", "odd", rules.clone()),
    )
    .await;
    made(&admin, &all("globalrolebindings"), &grb(&ann_id, "odd")).await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mut role = rules;
    role["metadata"] = json!({"name": "odd"});
    made(&admin, &format!("{rbac}/clusterroles"), &role).await;
    let binding = json!({"metadata": {"name": "odd"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "odd"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ann_id}]});
    made(&admin, &format!("{rbac}/clusterrolebindings"), &binding).await;

    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/one/secrets/x",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/k8s/clusters/one/api",
        "/k8s/clusters/one/api/v1/secrets",
    ] {
        ann.get(path).await.refusal(403);
    }
    for path in [
        format!("{}/p-one", within("one", "projects")),
        format!("{}/u-other", users()),
        cluster("one"),
    ] {
        ann.get(&path).await.refusal(403);
    }
    // Of lists, what has the name.
    for path in [
        all("globalrolebindings"),
        within("one", "clusterroletemplatebindings"),
        within("one", "projects"),
        all("projects"),
    ] {
        let answer = ann.get(&path).await;
        let none = answer.json()["items"] == json!([]);
        assert!(
            none || answer.status == StatusCode::FORBIDDEN,
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(seen(&ann, &clusters()).await, [""; 0]);
    assert_eq!(seen(&ann, &users()).await, std::slice::from_ref(&ann_id));
    ann.delete(&cluster("one")).await.refusal(403);
    ann.post(&users(), &object("User", "", json!({"username": "x"})))
        .await
        .refusal(403);
    ann.post(&all("globalrolebindings"), &grb(&ann_id, "admin"))
        .await
        .refusal(403);
    let answer = ann.get("/v3/cluster/one/namespaces").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
}
