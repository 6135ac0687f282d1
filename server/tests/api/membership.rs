//! Who sees and may change which clusters.

use http::StatusCode;
use serde_json::json;

use super::harness::{TestServer, cluster, clusters, object, registration_tokens, tokens, users};

#[tokio::test]
async fn strangers_see_nothing_members_read_owners_change() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    let (bob, bob_id) = server.user(&admin, "bob").await;
    let (eve, _) = server.user(&admin, "eve").await;
    let members = json!([{"userId": ann_id, "role": "owner"}, {"userId": bob_id}]);
    let spec = json!({"spec": {"displayName": "prod", "members": members}});
    let mut prod = admin
        .post(&clusters(), &object("Cluster", "prod", spec))
        .await
        .json();
    admin
        .post(&clusters(), &object("Cluster", "other", json!({})))
        .await;

    for member in [&ann, &bob] {
        let listed = member.get(&clusters()).await.json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        assert_eq!(member.get(&cluster("prod")).await.status, StatusCode::OK);
        member.get("/k8s/clusters/prod/api").await.refusal(503);
        member.get("/k8s/clusters/other/api").await.refusal(403);
        member.get("/metrics").await.refusal(403);
    }
    assert_eq!(eve.get(&clusters()).await.json()["items"], json!([]));
    let hidden = eve.get(&cluster("prod")).await.refusal(403);
    let absent = eve.get(&cluster("none")).await.refusal(403);
    assert_eq!(hidden.replace("prod", "none"), absent);
    eve.get("/k8s/clusters/prod/api").await.refusal(403);

    prod["spec"]["description"] = json!("changed");
    bob.put(&cluster("prod"), &prod).await.refusal(403);
    bob.post(
        &registration_tokens("prod"),
        &object("ClusterRegistrationToken", "", json!({})),
    )
    .await
    .refusal(403);
    assert_eq!(
        ann.put(&cluster("prod"), &prod).await.status,
        StatusCode::OK
    );
    let token = object("ClusterRegistrationToken", "", json!({}));
    assert_eq!(
        ann.post(&registration_tokens("prod"), &token).await.status,
        StatusCode::CREATED
    );
    ann.post(&clusters(), &object("Cluster", "", json!({})))
        .await
        .refusal(403);
    ann.post(&users(), &object("User", "", json!({"username": "x"})))
        .await
        .refusal(403);
}

#[tokio::test]
async fn roles_give_what_membership_does_not() {
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
    let all = ann.get(&clusters()).await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    ann.delete(&cluster("one")).await.refusal(403);
    // A right to change users is no way to become an administrator.
    let path = format!("{}/{ann_id}", users());
    let mut user = ann.get(&path).await.json();
    user["description"] = json!("changed");
    assert_eq!(ann.put(&path, &user).await.status, StatusCode::OK);
    let mut user = ann.get(&path).await.json();
    user["administrator"] = json!(true);
    let refused = ann.put(&path, &user).await.refusal(403);
    assert!(refused.contains("only administrators"), "{refused}");
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

#[tokio::test]
async fn a_user_does_not_make_an_administrator_of_itself() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, id) = server.user(&admin, "ann").await;
    let path = format!("{}/{id}", users());
    let mut user = ann.get(&path).await.json();
    user["administrator"] = json!(true);
    ann.put(&path, &user).await.refusal(403);
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
