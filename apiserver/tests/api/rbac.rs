//! Roles and bindings over a real store: what they give, and who may hand it on.

use crate::harness::{APPLY, LIMIT, TestServer, master, message, user};
use apiserver::rbac;
use apiserver::serve::User;
use serde_json::{Value, json};
use std::time::Duration;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Somebody who has logged in.
fn somebody(name: &str) -> User {
    user(name, &["system:authenticated"])
}

impl TestServer {
    async fn get(&self, user: &User, path: &str) -> u16 {
        self.ask_as(user, "GET", path, Value::Null).await.0
    }

    /// Makes an object as a user. `place` is empty, or `namespaces/NAME/`.
    async fn define_as(&self, user: &User, place: &str, object: Value) -> (u16, Value) {
        let kind = object["kind"].as_str().unwrap().to_ascii_lowercase();
        let mut object = object;
        object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        self.ask_as(user, "POST", &format!("{RBAC}/{place}{kind}s"), object)
            .await
    }

    async fn given(&self, place: &str, object: Value) {
        let (code, answer) = self.define_as(&master(), place, object).await;
        assert_eq!(code, 201, "{answer}");
    }

    /// The status of a review that a user makes.
    async fn review(&self, user: &User, group: &str, kind: &str, spec: Value) -> Value {
        let plural = format!("{}s", kind.to_ascii_lowercase());
        let review = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec});
        let path = format!("/apis/{group}/v1/{plural}");
        let (code, answer) = self.ask_as(user, "POST", &path, review).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"].clone()
    }
}

fn role(kind: &str, name: &str, verbs: &[&str], resource: &str) -> Value {
    json!({"kind": kind, "metadata": {"name": name}, "rules": [
        {"verbs": verbs, "apiGroups": [""], "resources": [resource]}]})
}

fn binding(kind: &str, name: &str, role: &str, to: &str) -> Value {
    let (role_kind, role) = role.split_once(' ').unwrap();
    let subject = json!({"kind": "User", "name": to});
    json!({"kind": kind, "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"kind": role_kind, "name": role}})
}

#[tokio::test]
async fn who_is_bound_may_from_then_on() {
    let server = TestServer::guarded().await;
    let ann = somebody("ann");
    let secrets = "/api/v1/namespaces/n/secrets";
    let refused = server.ask_as(&ann, "GET", secrets, Value::Null).await;
    assert_eq!(refused.0, 403);
    assert_eq!(
        message(&refused.1),
        r#"secrets is forbidden: User "ann" cannot list resource "secrets" in API group "" in the namespace "n""#
    );
    let reader = role("Role", "reader", &["get", "list"], "secrets");
    server.given("namespaces/n/", reader).await;
    let bound = binding("RoleBinding", "ann", "Role reader", "ann");
    server.given("namespaces/n/", bound).await;
    assert_eq!(server.get(&ann, secrets).await, 200);
    assert_eq!(server.get(&ann, "/api/v1/namespaces/m/secrets").await, 403);
    assert_eq!(server.get(&ann, "/api/v1/secrets").await, 403);
    let path = format!("{RBAC}/namespaces/n/rolebindings/ann");
    let change = json!({"roleRef": {"name": "other"}});
    let (code, _) = server.ask("PATCH", &path, change).await;
    assert_eq!(code, 422, "a roleRef does not change");
    server.ask("DELETE", &path, json!({})).await;
    assert_eq!(server.get(&ann, secrets).await, 403);
}

#[tokio::test]
async fn names_of_resources_bound_what_is_listed() {
    let server = TestServer::guarded().await;
    let ann = somebody("ann");
    let mut named = role("ClusterRole", "one", &["get", "list", "watch"], "secrets");
    named["rules"][0]["resourceNames"] = json!(["mine"]);
    server.given("", named).await;
    let bound = binding("ClusterRoleBinding", "one", "ClusterRole one", "ann");
    server.given("", bound).await;
    let secrets = "/api/v1/namespaces/n/secrets";
    assert_eq!(server.get(&ann, &format!("{secrets}/mine")).await, 404);
    assert_eq!(server.get(&ann, &format!("{secrets}/yours")).await, 403);
    for (query, code) in [
        ("", 403),
        ("?fieldSelector=metadata.name%3Dmine", 200),
        ("?fieldSelector=metadata.name%3Dyours", 403),
        ("?fieldSelector=metadata.name%21%3Dmine", 403),
        (
            "?fieldSelector=metadata.name%3Dmine&fieldSelector=metadata.name%3Dyours",
            200,
        ),
        (
            "?fieldSelector=metadata.name%3Dyours&fieldSelector=metadata.name%3Dmine",
            403,
        ),
    ] {
        let path = format!("{secrets}{query}");
        assert_eq!(server.get(&ann, &path).await, code, "{query}");
    }
}

#[tokio::test]
async fn nobody_hands_on_more_than_they_have() {
    let server = TestServer::guarded().await;
    let ann = somebody("ann");
    let mut writer = role("ClusterRole", "writer", &["get"], "secrets");
    let more = json!({"verbs": ["create", "update"], "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"]});
    writer["rules"].as_array_mut().unwrap().push(more);
    server.given("", writer).await;
    let bound = binding("ClusterRoleBinding", "writer", "ClusterRole writer", "ann");
    server.given("", bound).await;

    let held = role("Role", "held", &["get"], "secrets");
    assert_eq!(server.define_as(&ann, "namespaces/n/", held).await.0, 201);
    let grabbed = role("Role", "more", &["get", "list"], "secrets");
    let refused = server
        .define_as(&ann, "namespaces/n/", grabbed.clone())
        .await;
    assert_eq!(refused.0, 403);
    assert_eq!(
        message(&refused.1),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"list\"]}"
    );
    let path = format!("{RBAC}/namespaces/n/roles/held");
    let (_, mut widened) = server.ask("GET", &path, Value::Null).await;
    widened["rules"][0]["verbs"] = json!(["*"]);
    assert_eq!(
        server.ask_as(&ann, "PUT", &path, widened.clone()).await.0,
        403
    );

    let itself = binding(
        "ClusterRoleBinding",
        "up",
        "ClusterRole cluster-admin",
        "ann",
    );
    let refused = server.define_as(&ann, "", itself.clone()).await;
    assert_eq!(refused.0, 403);
    assert!(message(&refused.1).contains(r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#));
    let unknown = binding("ClusterRoleBinding", "up", "ClusterRole none", "ann");
    assert_eq!(server.define_as(&ann, "", unknown).await.0, 404);
    let lower = binding("RoleBinding", "down", "Role held", "bob");
    assert_eq!(server.define_as(&ann, "namespaces/n/", lower).await.0, 201);
    let gathers = json!({"kind": "ClusterRole", "metadata": {"name": "g"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    let refused = server.define_as(&ann, "", gathers).await;
    assert_eq!(
        message(&refused.1),
        "clusterroles.rbac.authorization.k8s.io \"g\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
    );

    let may = json!({"kind": "ClusterRole", "metadata": {"name": "may"}, "rules": [
        {"verbs": ["escalate"], "apiGroups": ["*"], "resources": ["roles"]},
        {"verbs": ["bind"], "apiGroups": ["*"], "resources": ["clusterroles"],
            "resourceNames": ["cluster-admin"]}]});
    server.given("", may).await;
    let bound = binding("ClusterRoleBinding", "may", "ClusterRole may", "ann");
    server.given("", bound).await;
    assert_eq!(
        server.define_as(&ann, "namespaces/n/", grabbed).await.0,
        201
    );
    assert_eq!(server.ask_as(&ann, "PUT", &path, widened).await.0, 200);
    assert_eq!(server.define_as(&ann, "", itself).await.0, 201);
    assert_eq!(server.get(&ann, "/api/v1/secrets").await, 200);
}

#[tokio::test]
async fn an_apply_that_makes_an_object_needs_the_right_to_make_it() {
    let server = TestServer::guarded().await;
    let ann = somebody("ann");
    let patcher = role("ClusterRole", "patcher", &["patch"], "configmaps");
    server.given("", patcher).await;
    let bound = binding("ClusterRoleBinding", "p", "ClusterRole patcher", "ann");
    server.given("", bound).await;
    let path = "/api/v1/namespaces/n/configmaps/c?fieldManager=t";
    let apply = async |user: &User| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let sent = server.send_as(user, "PATCH", path, [APPLY, ""], map.to_string());
        sent.await.status()
    };
    assert_eq!(apply(&ann).await, 403);
    assert_eq!(apply(&master()).await, 201);
    assert_eq!(apply(&ann).await, 200);
    let status = "/api/v1/namespaces/n/configmaps/c/anything";
    assert_eq!(server.get(&master(), status).await, 404, "no such part");
}

#[tokio::test]
async fn roles_gather_the_rules_of_others() {
    let server = TestServer::guarded().await;
    let ann = somebody("ann");
    let bound = binding("RoleBinding", "v", "ClusterRole view", "ann");
    server.given("namespaces/n/", bound).await;
    let mut widgets = role("ClusterRole", "widgets", &["get", "list"], "widgets");
    let label = "rbac.authorization.k8s.io/aggregate-to-view";
    widgets["metadata"]["labels"] = json!({label: "true"});
    server.given("", widgets).await;
    let asked = json!({"resourceAttributes": {
        "verb": "list", "resource": "widgets", "namespace": "n"}});
    let group = "authorization.k8s.io";
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let kind = "SelfSubjectAccessReview";
        let status = server.review(&ann, group, kind, asked.clone()).await;
        if status["allowed"] == true {
            let why = r#"RBAC: allowed by RoleBinding "v/n" of ClusterRole "view" to User "ann""#;
            assert_eq!(status["reason"], why);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "never gathered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        server.get(&ann, "/api/v1/namespaces/n/configmaps").await,
        200
    );
    assert_eq!(server.get(&ann, "/api/v1/namespaces/n").await, 200);
    assert_eq!(server.get(&ann, "/api/v1/namespaces/m").await, 403);
    assert_eq!(server.get(&ann, "/api/v1/namespaces/n/secrets").await, 403);
    // What every server has is whole again after a restart, and what is so is left alone.
    let path = format!("{RBAC}/clusterroles/system:basic-user");
    let read = || server.ask_as(&ann, "GET", &path, Value::Null);
    assert_eq!(read().await.0, 403);
    let (_, mut basic) = server.ask("GET", &path, Value::Null).await;
    let whole = basic.clone();
    rbac::reconcile(&server.api).await.unwrap();
    let (_, same) = server.ask("GET", &path, Value::Null).await;
    assert_eq!(same, whole);
    basic["rules"].as_array_mut().unwrap().remove(0);
    server.ask("PUT", &path, basic).await;
    rbac::reconcile(&server.api).await.unwrap();
    let (_, mended) = server.ask("GET", &path, Value::Null).await;
    assert_ne!(
        mended["metadata"]["resourceVersion"],
        whole["metadata"]["resourceVersion"]
    );
    assert!(mended["rules"].to_string().contains("selfsubjectreviews"));
    assert!(
        mended["rules"]
            .to_string()
            .contains("selfsubjectrulesreviews")
    );
}

#[tokio::test]
async fn reviews_are_answered_and_not_kept() {
    let server = TestServer::guarded().await;
    let (ann, root) = (somebody("ann"), master());
    let (authn, authz) = ("authentication.k8s.io", "authorization.k8s.io");
    let me = server
        .review(&ann, authn, "SelfSubjectReview", json!({}))
        .await;
    assert_eq!(me["userInfo"]["username"], "ann");
    let good = server
        .review(&root, authn, "TokenReview", json!({"token": "good"}))
        .await;
    assert_eq!(good["user"]["groups"], json!(["devs"]));
    assert_eq!(good["authenticated"], true);
    let bad = server
        .review(&root, authn, "TokenReview", json!({"token": "bad"}))
        .await;
    assert_eq!(bad["error"], "invalid bearer token");
    let rules = json!({"namespace": "n"});
    let rules = server
        .review(&ann, authz, "SelfSubjectRulesReview", rules)
        .await;
    assert_eq!(rules["incomplete"], false);
    assert!(rules["nonResourceRules"].to_string().contains("/openapi/*"));
    let asked = json!({"user": "eve", "groups": ["system:unauthenticated"],
        "nonResourceAttributes": {"verb": "get", "path": "/version"}});
    let eve = server
        .review(&root, authz, "SubjectAccessReview", asked.clone())
        .await;
    assert_eq!(eve["allowed"], true);
    let path = format!("/apis/{authz}/v1/subjectaccessreviews");
    let body = |spec: Value| {
        json!({"apiVersion": format!("{authz}/v1"),
        "kind": "SubjectAccessReview", "spec": spec})
    };
    let answer = server.ask_as(&ann, "POST", &path, body(asked)).await;
    assert_eq!(answer.0, 403, "who asks about others must be allowed to");
    let answer = server.ask_as(&root, "POST", &path, body(json!({}))).await;
    assert_eq!(answer.0, 422);
    assert_eq!(server.get(&root, &path).await, 405);
    let local = json!({"apiVersion": format!("{authz}/v1"), "kind": "LocalSubjectAccessReview",
        "spec": {"user": "ann", "resourceAttributes": {"namespace": "m", "verb": "get"}}});
    let path = format!("/apis/{authz}/v1/namespaces/n/localsubjectaccessreviews");
    let answer = server.ask_as(&root, "POST", &path, local).await;
    assert_eq!(answer.0, 422);
    assert!(message(&answer.1).contains("must match metadata.namespace"));
}

#[tokio::test]
async fn what_is_served_is_told_to_those_who_may_know() {
    let server = TestServer::guarded().await;
    let stranger = user("system:anonymous", &["system:unauthenticated"]);
    for path in [
        "/api",
        "/apis",
        "/openapi/v2",
        "/apis/authorization.k8s.io/v1",
    ] {
        assert_eq!(server.get(&somebody("ann"), path).await, 200, "{path}");
        let refused = server.ask_as(&stranger, "GET", path, Value::Null).await;
        assert_eq!(refused.0, 403);
        let expected = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
        assert_eq!(message(&refused.1), expected);
    }
    let (_, list) = server
        .ask("GET", "/apis/authorization.k8s.io/v1", Value::Null)
        .await;
    assert_eq!(list["resources"][0]["verbs"], json!(["create"]));
}
