//! Members of clusters, owners, administrators and everybody else.

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use serde_json::json;

use super::access::{all, crtb, grb, made, name, prtb, within};
use super::harness::{
    LIMIT, TestServer, cluster, clusters, object, registration_tokens, tokens, users,
};

#[tokio::test]
async fn strangers_see_nothing_members_read_owners_change() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (bob, bob_id) = server.user(&admin, "bob").await;
    let (eve, _) = server.user(&admin, "eve").await;
    for name in ["prod", "other"] {
        made(&admin, &clusters(), &object("Cluster", name, json!({}))).await;
    }
    let bindings = within("prod", "clusterroletemplatebindings");
    made(&admin, &bindings, &crtb(&ann_id, "cluster-owner")).await;
    made(&admin, &bindings, &crtb(&bob_id, "cluster-member")).await;

    for member in [&ann, &bob] {
        let listed = member.get(&clusters()).await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(member.get(&cluster("prod")).await.status, StatusCode::OK);
        member.get("/k8s/clusters/prod/api").await.refusal(503);
        let refused = member.get("/k8s/clusters/other/api").await.refusal(403);
        assert!(refused.contains("no role in it"), "{refused}");
        member.get("/metrics").await.refusal(403);
        assert_eq!(member.get(&bindings).await.status, StatusCode::OK);
    }
    assert_eq!(eve.get(&clusters()).await.json()["items"], json!([]));
    let hidden = eve.get(&cluster("prod")).await.refusal(403);
    let absent = eve.get(&cluster("none")).await.refusal(403);
    assert_eq!(hidden.replace("prod", "none"), absent);
    eve.get("/k8s/clusters/prod/api").await.refusal(403);

    let mut prod = admin.get(&cluster("prod")).await.json();
    prod["spec"]["description"] = json!("changed");
    bob.put(&cluster("prod"), &prod).await.refusal(403);
    let token = object("ClusterRegistrationToken", "", json!({}));
    let tokens = registration_tokens("prod");
    bob.post(&tokens, &token).await.refusal(403);
    let more = crtb(&bob_id, "cluster-owner");
    bob.post(&bindings, &more).await.refusal(403);
    let put = ann.put(&cluster("prod"), &prod).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text());
    made(&ann, &tokens, &token).await;
    let user = object("User", "", json!({"username": "x"}));
    ann.post(&users(), &user).await.refusal(403);
    // Members make projects, and own those.
    let shop = json!({"spec": {"displayName": "Shop"}});
    let shop = object("Project", "p-shop", shop);
    made(&bob, &within("prod", "projects"), &shop).await;
    let reader = prtb(&bob_id, "prod:p-shop", "read-only");
    let path = within("p-shop", "projectroletemplatebindings");
    made(&bob, &path, &reader).await;
    eve.post(&within("prod", "projects"), &shop)
        .await
        .refusal(403);
}

#[tokio::test]
async fn new_users_get_the_roles_of_new_users_until_they_are_taken() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let user = admin.get(&format!("{}/{ann_id}", users())).await.json();
    let condition = &user["status"]["conditions"][0]["type"];
    assert_eq!(*condition, "InitialRolesPopulated");
    let bindings = admin.get(&all("globalrolebindings")).await.json();
    let bindings = bindings["items"].as_array().unwrap();
    let mut own = (bindings.iter()).filter(|binding| binding["userName"] == json!(ann_id));
    let binding = own.next().unwrap();
    assert_eq!(binding["globalRoleName"], "user");
    assert_eq!(own.next(), None);
    let owner = &binding["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], user["metadata"]["uid"]);
    let templates = all("roletemplates");
    assert_eq!(ann.get(&templates).await.status, StatusCode::OK);
    made(&ann, &clusters(), &object("Cluster", "hers", json!({}))).await;
    assert_eq!(ann.delete(&cluster("hers")).await.status, StatusCode::OK);

    let path = format!("{}/{}", all("globalrolebindings"), name(binding));
    assert_eq!(admin.delete(&path).await.status, StatusCode::OK);
    let another = object("Cluster", "", json!({}));
    ann.post(&clusters(), &another).await.refusal(403);
    ann.get(&templates).await.refusal(403);
    let own = ann.get(&format!("{}/{ann_id}", users())).await;
    assert_eq!(own.status, StatusCode::OK);
    // Administrators choose others for who comes later.
    for (role, wanted) in [("user", false), ("user-base", true)] {
        let path = format!("{}/{role}", all("globalroles"));
        let mut role = admin.get(&path).await.json();
        role["newUserDefault"] = json!(wanted);
        assert_eq!(admin.put(&path, &role).await.status, StatusCode::OK);
    }
    let (bob, _) = server.user(&admin, "bob").await;
    bob.post(&clusters(), &another).await.refusal(403);
}

#[tokio::test]
async fn a_role_says_who_reads_metrics() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    ann.get("/metrics").await.refusal(403);
    let binding = grb(&ann_id, "view-rancher-metrics");
    made(&admin, &all("globalrolebindings"), &binding).await;
    assert_eq!(ann.get("/metrics").await.status, StatusCode::OK);
}

#[tokio::test]
async fn roles_of_kubernetes_give_more() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["one", "two"] {
        let cluster = object("Cluster", name, json!({}));
        admin.post(&clusters(), &cluster).await;
    }
    let own = ann.get(&clusters()).await.json();
    assert_eq!(own["items"], json!([]));
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    ann.get(&format!("{roles}/clusterroles")).await.refusal(403);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "support"}, "rules": [
            {"verbs": ["get", "list"], "apiGroups": ["management.cattle.io"],
                "resources": ["clusters"]},
            {"verbs": ["get", "update"], "apiGroups": ["management.cattle.io"],
                "resources": ["users"]}]});
    let made = admin.post(&format!("{roles}/clusterroles"), &role).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding", "metadata": {"name": "support"},
        "roleRef": {"kind": "ClusterRole", "name": "support"},
        "subjects": [{"kind": "User", "name": ann_id}]});
    let bindings = format!("{roles}/clusterrolebindings");
    assert_eq!(
        admin.post(&bindings, &binding).await.status,
        StatusCode::CREATED
    );
    let both = ann.get(&clusters()).await.json();
    assert_eq!(both["items"].as_array().unwrap().len(), 2);
    ann.delete(&cluster("one")).await.refusal(403);
    // A right to change users is no way to become an administrator.
    let path = format!("{}/{ann_id}", users());
    let mut user = ann.get(&path).await.json();
    user["description"] = json!("changed");
    assert_eq!(ann.put(&path, &user).await.status, StatusCode::OK);
    let admins = grb(&ann_id, "admin");
    ann.post(&all("globalrolebindings"), &admins)
        .await
        .refusal(403);
    // A token for one cluster stays one.
    let token = json!({"clusterName": "one"});
    let token = ann
        .post(&tokens(), &object("Token", "", token))
        .await
        .json();
    let limited = ann.with_token(token["token"].as_str().unwrap());
    limited.get(&cluster("two")).await.refusal(403);
    assert_eq!(limited.get(&cluster("one")).await.status, StatusCode::OK);
    assert_eq!(limited.get("/apis").await.status, StatusCode::OK);
    let review = |kind: &str, group: &str, spec: serde_json::Value| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec});
    let asked = review(
        "SelfSubjectAccessReview",
        "authorization.k8s.io",
        json!({
        "resourceAttributes": {"verb": "get", "resource": "clusters", "name": "two",
            "group": "management.cattle.io"}}),
    );
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(
        limited.post(path, &asked).await.json()["status"]["allowed"],
        false
    );
    assert_eq!(
        ann.post(path, &asked).await.json()["status"]["allowed"],
        true
    );

    let reviewed = |token: &str| {
        review(
            "TokenReview",
            "authentication.k8s.io",
            json!({"token": token}),
        )
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let mine = reviewed(ann.token.as_deref().unwrap());
    ann.post(path, &mine).await.refusal(403);
    let status = admin.post(path, &mine).await.json()["status"].clone();
    assert_eq!(status["user"]["username"], json!(ann_id));
    let status = admin
        .post(path, &reviewed(limited.token.as_deref().unwrap()))
        .await;
    assert_eq!(status.json()["status"]["authenticated"], json!(null));
}

/// Who may do everything with users is one step from being an administrator, and must not take it.
#[tokio::test]
async fn who_manages_users_has_no_power_over_administrators() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (_, bob_id) = server.user(&admin, "bob").await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "users"},
        "rules": [{"apiGroups": ["management.cattle.io"], "resources": ["users"], "verbs": ["*"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "users"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": ann_id}],
    });
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        assert_eq!(admin.post(&path, &object).await.status, StatusCode::CREATED);
    }
    // By a binding like everybody else.
    let (_, second) = server.user(&admin, "second").await;
    let binding = grb(&second, "admin");
    made(&admin, &all("globalrolebindings"), &binding).await;
    let path = format!("{}/{second}", users());
    let mut other = ann.get(&path).await.json();
    other["password"] = json!("correct horse battery staple");
    let refused = ann.put(&path, &other).await.refusal(403);
    assert!(refused.contains("only administrators"), "{refused}");
    let (first, _, _) = server.app.directory.login("admin").unwrap();
    let path = format!("{}/{first}", users());
    let mut administrator = ann.get(&path).await.json();
    administrator["password"] = json!("correct horse battery staple");
    ann.put(&path, &administrator).await.refusal(403);
    for how in ["", "?propagationPolicy=Foreground", "?dryRun=All"] {
        let message = ann.delete(&format!("{path}{how}")).await.refusal(403);
        assert!(
            message.contains("only administrators delete administrators"),
            "{message}"
        );
    }
    let kept = admin.get(&path).await.json();
    assert_eq!(kept["metadata"]["deletionTimestamp"], json!(null));
    let bob = format!("{}/{bob_id}", users());
    assert_eq!(ann.delete(&bob).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_watch_ends_when_something_is_taken_away() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["prod", "other"] {
        made(&admin, &clusters(), &object("Cluster", name, json!({}))).await;
    }
    let prod = within("prod", "clusterroletemplatebindings");
    let binding = made(&admin, &prod, &crtb(&ann_id, "cluster-member")).await;
    let watch = Request::get(format!("{}?watch=true", clusters()));
    let mut open = ann.request(watch.body(Empty::new()).unwrap()).await;
    let next = async |open: &mut http::Response<Incoming>| {
        let frame = tokio::time::timeout(LIMIT, open.body_mut().frame()).await;
        frame.expect("in time")
    };
    let first = next(&mut open).await.unwrap().unwrap();
    let first = String::from_utf8(first.into_data().unwrap().to_vec()).unwrap();
    assert!(first.contains("prod"), "{first}");
    // What is given on top ends nothing.
    let other = within("other", "clusterroletemplatebindings");
    made(&admin, &other, &crtb(&ann_id, "cluster-member")).await;
    let path = format!("{prod}/{}", name(&binding));
    assert_eq!(admin.delete(&path).await.status, StatusCode::OK);
    while let Some(frame) = next(&mut open).await {
        frame.expect("it ends in order");
    }
}
