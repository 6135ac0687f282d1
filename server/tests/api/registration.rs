//! Registration tokens and the import manifest.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::access::{crtb, made, within};
use super::harness::{Client, TestServer, cluster, clusters, object, registration_tokens};

async fn prepared(server: &TestServer, spec: Value) -> (Client, Value) {
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    let token = object("ClusterRegistrationToken", "", json!({"spec": spec}));
    let made = admin.post(&registration_tokens("prod"), &token).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    (admin, made.json())
}

fn import_path(token: &Value) -> String {
    let url = token["status"]["manifestUrl"].as_str().unwrap();
    url[url.find("/v3/import/").unwrap()..].to_owned()
}

#[tokio::test]
async fn the_token_and_its_commands_are_shown_once() {
    let server = TestServer::start().await;
    let (admin, made) = prepared(&server, json!({})).await;
    let token = made["status"]["token"].as_str().unwrap();
    assert!(
        made["status"]["command"]
            .as_str()
            .unwrap()
            .starts_with("kubectl apply -f https://")
    );
    let insecure = made["status"]["insecureCommand"].as_str().unwrap();
    assert!(insecure.contains("sha256sum -c"));
    let listed = admin.get(&registration_tokens("prod")).await.text();
    assert!(!listed.contains(token));
    assert!(!server.audit_log().contains(token));
}

#[tokio::test]
async fn the_manifest_says_where_the_server_is_and_how_to_know_it() {
    let server = TestServer::start().await;
    let (_, made) = prepared(&server, json!({})).await;
    let path = import_path(&made);
    let answer = server.stranger().get(&path).await;
    assert_eq!(answer.status, StatusCode::OK);
    let manifest = answer.text();
    assert!(manifest.contains(&format!(
        "server: \"https://localhost:{}\"",
        server.address.port()
    )));
    assert!(manifest.contains(&format!("token: {}", made["status"]["token"])));
    assert!(manifest.contains("management.cattle.io/cluster-id: \"prod\""));
    let authority = server.stranger().get("/cacerts").await.body;
    let checksum = hex::encode(sha2::Sha256::digest(authority));
    assert!(manifest.contains(&format!("caChecksum: \"{checksum}\"")));
    let other = server
        .stranger()
        .get(&format!("{path}?image=registry.example/agent:1"))
        .await
        .text();
    assert!(other.contains("image: \"registry.example/agent:1\""));
    let bad = server.stranger().get(&format!("{path}?image=a%0Ab")).await;
    bad.refusal(400);
    assert!(
        !server
            .audit_log()
            .contains(made["status"]["token"].as_str().unwrap())
    );
}

#[tokio::test]
async fn a_cluster_with_an_authorized_endpoint_gets_the_token_webhook_as_well() {
    let server = TestServer::start().await;
    let (admin, made) = prepared(&server, json!({"maxUses": 2})).await;
    let path = import_path(&made);
    let has_webhook = async |path: &str| {
        let answer = server.stranger().get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text().contains("kind: DaemonSet")
    };
    assert!(!has_webhook(&path).await);
    assert!(has_webhook(&format!("{path}?endpoint=true")).await);
    let mut changed = admin.get(&cluster("prod")).await.json();
    changed["spec"]["localClusterAuthEndpoint"] = json!({"enabled": true});
    let changed = admin.put(&cluster("prod"), &changed).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert!(has_webhook(&path).await);
    assert!(!has_webhook(&format!("{path}?endpoint=false")).await);
    let other = format!("{path}?authImage=registry.example/auth:1");
    let manifest = server.stranger().get(&other).await.text();
    assert!(manifest.contains("image: \"registry.example/auth:1\""));
    for wrong in ["endpoint=yes", "authImage=a%0Ab"] {
        let answer = server.stranger().get(&format!("{path}?{wrong}")).await;
        answer.refusal(400);
    }
}

#[tokio::test]
async fn unknown_expired_and_deleted_tokens_give_no_manifest() {
    let server = TestServer::start().await;
    let (admin, made) = prepared(&server, json!({"ttl": 10})).await;
    let unknown = server
        .stranger()
        .get("/v3/import/nothing.yaml")
        .await
        .refusal(404);
    assert!(unknown.contains("not known"));
    server.advance(Duration::from_secs(11 * 60));
    let expired = server
        .stranger()
        .get(&import_path(&made))
        .await
        .refusal(404);
    assert!(expired.contains("expired at"));
    let fresh = object("ClusterRegistrationToken", "", json!({}));
    let fresh = admin
        .post(&registration_tokens("prod"), &fresh)
        .await
        .json();
    assert_eq!(
        server.stranger().get(&import_path(&fresh)).await.status,
        StatusCode::OK
    );
    admin.delete(&cluster("prod")).await;
    server
        .stranger()
        .get(&import_path(&fresh))
        .await
        .refusal(404);
}

#[tokio::test]
async fn a_token_is_for_a_cluster_that_exists() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let token = object("ClusterRegistrationToken", "", json!({}));
    admin
        .post(&registration_tokens("none"), &token)
        .await
        .refusal(404);
}

#[tokio::test]
async fn a_registration_token_is_for_its_own_cluster_and_made_by_who_may() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, ann_id) = server.user(&admin, "ann").await;
    for name in ["one", "two"] {
        admin
            .post(&clusters(), &object("Cluster", name, json!({})))
            .await;
    }
    let bindings = within("one", "clusterroletemplatebindings");
    made(&admin, &bindings, &crtb(&ann_id, "cluster-owner")).await;
    let token = |spec: Value| object("ClusterRegistrationToken", "", json!({"spec": spec}));
    let (one, two) = (registration_tokens("one"), registration_tokens("two"));
    ann.post(&two, &token(json!({}))).await.refusal(403);
    let lied = token(json!({"clusterName": "two"}));
    ann.post(&one, &lied).await.refusal(422);
    ann.get(&two).await.refusal(403);

    // A token that somebody chooses is none.
    let chosen = hex::encode(sha2::Sha256::digest("chosen"));
    let mut forged = token(json!({"maxUses": 1}));
    forged["status"] = json!({"tokenHash": chosen, "uses": 0});
    let made = made(&ann, &one, &forged).await;
    let path = format!("{one}/{}", made["metadata"]["name"].as_str().unwrap());
    let import = "/v3/import/chosen.yaml";
    let mut changed = ann.get(&path).await.json();
    changed["status"]["tokenHash"] = json!(chosen);
    changed["spec"] = json!({"clusterName": "two", "maxUses": 100, "ttl": 100_000});
    ann.put(&path, &changed).await;
    ann.put(&format!("{path}/status"), &changed)
        .await
        .refusal(403);
    server.stranger().get(import).await.refusal(404);
    let after = ann.get(&path).await.json();
    assert_eq!(after["spec"]["clusterName"], "one", "{after}");
    assert_eq!(after["spec"]["maxUses"], 1, "{after}");
}
